//! The stream of changes: first what exists, then every change once and in order; it can be resumed from any position.

use std::time::Duration;

use crate::common::{Ends, Registry, refusal, source, update};
use mms_proto::registry::v1 as pb;
use pb::DataSourceState as State;
use tonic::Streaming;

async fn watch(registry: &Registry, position: &str, name: &str) -> Streaming<pb::WatchDataSourcesResponse> {
    let request = pb::WatchDataSourcesRequest { position: position.into(), name: name.into() };
    registry.sources().watch_data_sources(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<pb::WatchDataSourcesResponse>) -> pb::WatchDataSourcesResponse {
    tokio::time::timeout(Duration::from_secs(20), stream.message()).await.expect("an answer").unwrap().unwrap()
}

async fn until_caught_up(stream: &mut Streaming<pb::WatchDataSourcesResponse>) -> (Vec<String>, String) {
    let mut names = Vec::new();
    loop {
        let answer = next(stream).await;
        names.extend(answer.data_source.map(|source| source.name));
        if answer.caught_up {
            return (names, answer.position);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    registry.create("a", source()).await;
    registry.create("lake", ends.source()).await;
    let mut all = watch(&registry, "", "").await;
    let (names, _) = until_caught_up(&mut all).await;
    assert_eq!(names, ["dataSources/a", "dataSources/lake"]);

    registry.start("lake").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(next(&mut all).await.data_source.unwrap().state());
    }
    assert_eq!(seen, [State::Starting, State::Started]);
    let delete = pb::DeleteDataSourceRequest { name: "dataSources/a".into(), ..Default::default() };
    registry.sources().delete_data_source(delete).await.unwrap();
    assert!(next(&mut all).await.data_source.unwrap().delete_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_from_its_position_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    registry.create("a", source()).await;
    let (_, position) = until_caught_up(&mut watch(&registry, "", "").await).await;
    for (id, name) in [("b", "one"), ("c", "two")] {
        registry.create(id, pb::DataSource { display_name: name.into(), ..source() }).await;
    }
    let renamed = pb::DataSource { display_name: "three".into(), ..Default::default() };
    registry.sources().update_data_source(update("b", renamed, &["display_name"])).await.unwrap();
    registry.shut().await;

    let registry = Registry::open(dir.path()).await;
    let mut stream = watch(&registry, &position, "").await;
    let (names, last) = until_caught_up(&mut stream).await;
    assert_eq!(names, ["dataSources/b", "dataSources/c", "dataSources/b"], "a was told before");
    let (names, _) = until_caught_up(&mut watch(&registry, &last, "").await).await;
    assert!(names.is_empty());
    let (names, _) = until_caught_up(&mut watch(&registry, &position, "dataSources/c").await).await;
    assert_eq!(names, ["dataSources/c"]);

    // A position of another incarnation of the store is invalid: everything is sent again.
    let foreign = format!("{}.5", "0".repeat(32));
    let (names, _) = until_caught_up(&mut watch(&registry, &foreign, "").await).await;
    assert_eq!(names.len(), 3);
    let nonsense = pb::WatchDataSourcesRequest { position: "nonsense".into(), name: String::new() };
    let status = registry.sources().watch_data_sources(nonsense).await.unwrap_err();
    assert_eq!(refusal(&status).1, ["position"]);
}
