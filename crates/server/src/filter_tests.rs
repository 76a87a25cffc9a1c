use mms_proto::registry::v1 as pb;

use super::*;

fn source() -> pb::DataSource {
    pb::DataSource {
        name: "dataSources/lake".into(),
        display_name: "Lake".into(),
        state: pb::DataSourceState::Started as i32,
        create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 500_000_000 }),
        source: Some(pb::DatabricksSource { catalog: "main".into(), ..pb::DatabricksSource::default() }.into()),
        settings: Some(pb::MigrationSettings { max_concurrent_tasks: 7, ..pb::MigrationSettings::default() }),
        ..pb::DataSource::default()
    }
}

fn passes(filter: &str) -> bool {
    Filter::<pb::DataSource>::parse(filter).unwrap().passes(&source())
}

fn refused(filter: &str) -> String {
    let error = Filter::<pb::DataSource>::parse(filter).unwrap_err();
    assert_eq!(error.violations[0].field, "filter");
    error.violations[0].description.clone()
}

#[test]
fn fields_of_every_kind_are_found() {
    for filter in [
        "",
        "display_name LIKE 'La%'",
        "state = 'STARTED' AND databricks.catalog IN ('main', 'other')",
        "settings.max_concurrent_tasks BETWEEN 7 AND 9",
        "create_time > '2023-11-14T22:13:20Z' AND create_time < '2023-11-14T22:13:20.6Z'",
        "create_time = '2023-11-14T23:13:20.5+01:00'",
        "delete_time IS NULL AND max_compute.endpoint IS NULL AND state_message IS NULL",
    ] {
        assert!(passes(filter), "{filter}");
    }
    for filter in ["state != 'STARTED'", "NOT display_name = 'Lake'", "delete_time < '2030-01-01T00:00:00Z'"] {
        assert!(!passes(filter), "{filter}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place_or_name() {
    assert!(refused("state =").contains("at character"), "{}", refused("state ="));
    assert!(refused("colour = 'red'").contains("display_name"), "the fields that there are");
    assert!(refused("state = 'STRATED'").contains("STARTED"), "the values that there are");
    assert!(refused("state < 'STARTED'").contains("no order"));
    assert!(refused("state BETWEEN 'CREATED' AND 'STARTED'").contains("no order"));
    assert!(refused("create_time > 'yesterday'").contains("2026-01-31T23:59:59Z"));
    assert!(refused("databricks = 'main'").contains("no field"));
    assert!(refused("databricks.access_token.token = 'x'").contains("no field"), "secrets cannot be guessed at");
}

#[test]
fn a_page_ends_when_it_is_full_or_enough_was_looked_at() {
    let records: Vec<u64> = (1..=60_000).collect();
    let read = |after: Option<&u64>, limit: usize| {
        let begin = after.map_or(0, |after| usize::try_from(*after).unwrap());
        let end = (begin + limit).min(records.len());
        Ok::<_, ()>((records[begin..end].iter().map(|n| (*n, *n)).collect(), end < records.len()))
    };
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let show = |_: &u64, n: u64| Ok((n.is_multiple_of(25_000) || n == 60_000).then_some(n));
        let (page, next) = fill(2, usize::MAX, after, read, show).unwrap();
        pages.push(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![], vec![25_000], vec![50_000, 60_000]]);
    let all = |_: &u64, n: u64| Ok(Some(n));
    assert_eq!(fill(3, usize::MAX, Some(10), read, all).unwrap(), (vec![11, 12, 13], Some(13)));
    assert_eq!(fill(3, usize::MAX, Some(59_997), read, all).unwrap(), (vec![59_998, 59_999, 60_000], None));
    assert_eq!(fill(3, 1, Some(10), read, all).unwrap().0, [11], "bounded in bytes");
}
