//! Scheduled scans in an in-memory store: one scan for each time, whatever was changed or missed.

use mms_proto::registry::v1::MigrationSettings;
use mms_proto::types::v1::{self as types, schedule};
use mms_store::Store;

use super::*;
use crate::store::{SCANS, schema};

const HOUR_MS: i64 = 3_600_000;

fn schedule(text: &str) -> Option<Schedule> {
    Some(text.parse().expect("a schedule"))
}

struct Stand(Store);

impl Stand {
    fn new() -> Self {
        Self(Store::in_memory(schema()).expect("a store of memory"))
    }

    async fn set(&self, schedule: Option<Schedule>, now_ms: i64) {
        let set = move |tx: &mut Tx<'_>| set(tx, "lake", schedule.as_ref(), now_ms);
        self.0.commit(set).await.expect("stored");
    }

    fn next(&self) -> Option<i64> {
        let clock = self.0.read(|read| read.get(&SCAN_CLOCKS, &"lake".to_owned())).expect("readable");
        clock.map(|clock| clock.next_time_ms)
    }

    async fn pass(&self, id: &str, now_ms: i64) -> Moment {
        let key = ("lake".to_owned(), id.to_owned());
        let pass =
            move |tx: &mut Tx<'_>| pass(tx, &key, Some(Scan { create_time_ms: now_ms, ..Scan::default() }), now_ms);
        self.0.commit(pass).await.expect("passed")
    }

    async fn end(&self, id: &str) {
        let key = ("lake".to_owned(), id.to_owned());
        self.0.commit(move |tx| control::cancel(tx, &key, 1)).await.expect("ended");
    }
}

#[tokio::test]
async fn each_moment_makes_one_scan_and_what_was_missed_makes_one() {
    let stand = Stand::new();
    stand.set(schedule("hourly :15 in UTC"), 1).await;
    assert_eq!(stand.next(), Some(HOUR_MS / 4));
    assert_eq!(stand.pass("early", HOUR_MS / 4 - 1).await, Moment::Past);
    assert!(matches!(stand.pass("one", HOUR_MS / 4).await, Moment::Scan(_)));
    assert_eq!(stand.pass("two", HOUR_MS / 4).await, Moment::Past, "it has been");
    // The catalog is down for five hours.
    stand.end("one").await;
    assert!(matches!(stand.pass("three", 5 * HOUR_MS).await, Moment::Scan(_)));
    assert_eq!(stand.next(), Some(5 * HOUR_MS + HOUR_MS / 4));
    // The previous scan still runs.
    assert!(matches!(stand.pass("four", 6 * HOUR_MS).await, Moment::Busy(other) if other.ends_with("/scans/three")));
    assert_eq!(stand.next(), Some(6 * HOUR_MS + HOUR_MS / 4), "and the clock goes on");
    let scans = stand.0.read(|read| read.page(&SCANS, &Scope::all(), None, 10)).expect("readable");
    assert_eq!(scans.items.len(), 2);
}

#[tokio::test]
async fn a_change_of_the_settings_moves_the_next_scan_and_the_same_does_not() {
    let stand = Stand::new();
    stand.set(schedule("daily 03:00 in UTC"), 1).await;
    assert_eq!(stand.next(), Some(3 * HOUR_MS));
    // Reported again after the time has passed, as after a restart: the scan is still due.
    stand.set(schedule("daily 03:00 in UTC"), 4 * HOUR_MS).await;
    assert_eq!(stand.next(), Some(3 * HOUR_MS));
    stand.set(schedule("daily 03:00 in Asia/Shanghai"), 4 * HOUR_MS).await;
    assert_eq!(stand.next(), Some(19 * HOUR_MS));
    stand.set(None, 4 * HOUR_MS).await;
    assert_eq!(stand.next(), None);
}

#[test]
fn a_deleted_source_has_no_schedule() {
    let cron = types::Cron { expression: "0 3 * * *".to_owned() };
    let scan_schedule = Some(types::Schedule { schedule: Some(schedule::Schedule::Cron(cron)), ..Default::default() });
    let settings = Some(MigrationSettings { scan_schedule, ..MigrationSettings::default() });
    let source = DataSource { name: "dataSources/lake".to_owned(), settings, ..DataSource::default() };
    assert_eq!(schedule_of(&source), ("lake".to_owned(), schedule("cron 0 3 * * * in UTC")));
    let deleted = DataSource { delete_time: Some(prost_types::Timestamp::default()), ..source };
    assert_eq!(schedule_of(&deleted), ("lake".to_owned(), None));
}
