//! Delivers the notices of [`super::notice`] to the catalog, in order, until the catalog has accepted them.

use std::time::Duration;

use mms_proto::catalog::v1::MigrationReport;
use mms_store::{Read, Scope};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::convert::{target_name_to, version_to};
use crate::error::Result;
use crate::record::{Notice, backoff};
use crate::scheduler::Scheduler;
use crate::store::{NOTICE_SEQUENCE, NOTICES};

/// Pause after a change before notices are delivered, so that those of many tables go in one call.
const TELL_PACE: Duration = Duration::from_millis(50);
/// Bounds of one call, in notices and in the partitions that they name: the catalog stores a call in one commit.
const NOTICES_AT_ONCE: usize = 200;
const PARTITIONS_AT_ONCE: usize = 20_000;
/// Longest wait in [`heard`].
const HEARD_AT_LATEST: Duration = Duration::from_secs(30);

/// Waits until the catalog has accepted all notices that exist now. Otherwise a job that is created right after another
/// has ended would be planned by what the catalog knew before, and move tables again. Gives up after
/// [`HEARD_AT_LATEST`] without an error: to move a table again is correct too.
pub async fn heard(scheduler: &Scheduler) -> Result<()> {
    let last = scheduler.store.read(|read| read.get(&NOTICE_SEQUENCE, &()))?.unwrap_or_default().last;
    let mut changes = scheduler.store.subscribe();
    let told = async {
        loop {
            let first = scheduler.store.read(|read| read.page(&NOTICES, &Scope::all(), None, 1))?.items.pop();
            if first.is_none_or(|(sequence, _)| sequence > last) || changes.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    timeout(HEARD_AT_LATEST, told).await.unwrap_or(Ok(()))
}

/// Delivers notices until the token is cancelled; retries after a backoff.
pub async fn tell(scheduler: Scheduler, stop: CancellationToken) {
    let mut changes = scheduler.store.subscribe();
    let mut failures = 0;
    loop {
        changes.mark_unchanged();
        let pause = match tell_all(&scheduler).await {
            Ok(()) => {
                failures = 0;
                None
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "cannot deliver migration reports to the catalog; retrying after a backoff");
                Some(backoff(failures.min(6), scheduler.random()))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            changed = changes.changed(), if pause.is_none() => {
                if changed.is_err() {
                    return;
                }
                // Many tables change together; their notices go in one call.
                tokio::time::sleep(TELL_PACE).await;
            }
        }
    }
}

async fn tell_all(scheduler: &Scheduler) -> Result<()> {
    loop {
        // The store bounds the bytes of a page, and a notice is small.
        let mut notices = scheduler.store.read(|read| read.page(&NOTICES, &Scope::all(), None, NOTICES_AT_ONCE))?.items;
        let mut partitions = 0;
        let fits = notices.iter().take_while(|(_, notice)| {
            partitions += notice.partitions.len();
            partitions <= PARTITIONS_AT_ONCE
        });
        let fits = fits.count().max(1);
        notices.truncate(fits);
        if notices.is_empty() {
            return Ok(());
        }
        match scheduler.peers.report(notices.iter().map(report_of).collect()).await {
            Ok(()) => {}
            Err(error) if !error.is_refused_for_good() => return Err(error),
            // A rejected notice would be rejected again. Each is sent alone, so that it does not keep the others from
            // being delivered.
            Err(_) if notices.len() > 1 => {
                for one in &notices {
                    tell_one(scheduler, one).await?;
                }
            }
            Err(error) => tracing::error!(%error, notice = ?notices, "the catalog refuses a report, which is dropped"),
        }
        let told: Vec<u64> = notices.into_iter().map(|(sequence, _)| sequence).collect();
        // A notice that is delivered twice counts once.
        scheduler.store.commit_soon(move |tx| told.iter().try_for_each(|at| tx.delete(&NOTICES, at).map(drop))).await?;
    }
}

async fn tell_one(scheduler: &Scheduler, one: &(u64, Notice)) -> Result<()> {
    match scheduler.peers.report(vec![report_of(one)]).await {
        Err(error) if error.is_refused_for_good() => {
            tracing::error!(%error, notice = ?one, "the catalog refuses a report, which is dropped");
            Ok(())
        }
        other => other,
    }
}

fn report_of((sequence, notice): &(u64, Notice)) -> MigrationReport {
    MigrationReport {
        task: notice.task.clone(),
        sequence: i64::try_from(*sequence).unwrap_or(i64::MAX),
        table: notice.table.clone(),
        partitions: notice.partitions.clone(),
        state: notice.state.number(),
        version: notice.version.as_ref().map(version_to),
        target: notice.target.as_ref().map(target_name_to),
        target_digest: notice.target_digest.clone().into(),
        of_part: notice.of_part,
        rules_digest: notice.rules_digest.clone().into(),
    }
}
