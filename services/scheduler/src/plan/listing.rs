//! Turns a job's scope into the list of its tables, read from the catalog, and fails the job if the scope is empty, too
//! large or names an unknown table. A listing that was interrupted is discarded and made again, so a job never mixes
//! two listings.

use mms_proto::ErrorReason;
use mms_proto::registry::v1 as registry;
use mms_proto::scheduler::v1::TableDecision;

use super::limits::limits;
use super::scope::{Chosen, Scope};
use super::tasks;
use crate::error::Result;
use crate::key::JobKey;
use crate::record::{Job, Reason, TablePlan};
use crate::scheduler::Scheduler;

/// Most tables of one job, including those that its lists exclude.
const TABLES_MAX: usize = 100_000;
/// Tables that one commit stores.
const TABLES_AT_ONCE: usize = 5_000;

/// Lists the tables of a job's scope, stores them with the decision about each, and stores the job's limits.
pub async fn list(scheduler: &Scheduler, key: &JobKey, job: &Job, settings: registry::MigrationSettings) -> Result<()> {
    let mut tables = Vec::new();
    let mut scope = Scope::of(job.spec());
    let mut token = String::new();
    loop {
        let page = scheduler.peers.tables(&key.data_source, token).await?;
        for table in page.tables {
            let (decision, reason, message) = match scope.choose(&table.source_schema, &table.source_name) {
                Chosen::Taken(reason, message) => (TableDecision::Move, reason, message),
                Chosen::Left(reason, message) => (TableDecision::Excluded, reason, message),
                Chosen::Outside => continue,
            };
            tables.push((table.source_schema, table.source_name, TablePlan::new(decision, reason, message)));
        }
        if page.next_page_token.is_empty() || tables.len() > TABLES_MAX {
            break;
        }
        token = page.next_page_token;
    }
    let taken = tables.iter().filter(|(_, _, table)| table.moves()).count();
    if let Some(reason) = unusable(&scope, taken, tables.len()) {
        let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        return scheduler.store.commit(move |tx| tasks::fail(tx, &at, &key, &uid, reason)).await;
    }
    loop {
        let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        if !scheduler.store.commit(move |tx| tasks::unlist(tx, &at, &key, &uid)).await? {
            break;
        }
    }
    while !tables.is_empty() {
        let some = tables.split_off(tables.len().saturating_sub(TABLES_AT_ONCE));
        let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
        if !scheduler.store.commit(move |tx| tasks::list(tx, &at, &key, &uid, some)).await? {
            return Ok(());
        }
    }
    let (key, uid, at) = (key.clone(), job.uid().to_owned(), scheduler.moment());
    let limits = limits(job.spec(), settings);
    scheduler.store.commit(move |tx| tasks::listed(tx, &at, &key, &uid, limits)).await
}

/// Returns why a scope cannot be planned, or None if it can. `taken`: tables to be moved; `listed`: all tables in
/// scope.
fn unusable(scope: &Scope, taken: usize, listed: usize) -> Option<Reason> {
    let (reason, message) = if listed > TABLES_MAX {
        let text = format!(
            "the scope has more than {TABLES_MAX} tables, {taken} of them to be moved among the first {listed}, and one \
             job takes at most {TABLES_MAX}: name schemas or tables, and make several jobs"
        );
        (ErrorReason::ScopeTooLarge, text)
    } else if scope.missing().len() > 0 {
        let names: Vec<String> =
            scope.missing().take(10).map(|table| format!("{}.{}", table.schema, table.table)).collect();
        let text = format!(
            "the job names {}, and no table of that name is in the catalog and in the scope: scan the source, or mend the \
             names",
            names.join(", ")
        );
        (ErrorReason::TableUnknown, text)
    } else if taken == 0 {
        let text = "the scope keeps no table: look at the lists of the job, and at ListTables for what was scanned";
        (ErrorReason::EmptyScope, text.to_owned())
    } else {
        return None;
    };
    Some(Reason::new(reason, message))
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
