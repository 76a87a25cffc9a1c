//! `mms up` answers on all four ports at once, keeps its secrets readable only by their owner, and drains at its end.

use std::time::{Duration, Instant};

use mms_server::{Client, ClientConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support;

async fn serves(url: &str, service: &str) -> bool {
    let mut health = HealthClient::new(Client::new(&ClientConfig::to(url), None).unwrap());
    let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
    answer.into_inner().status() == ServingStatus::Serving
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_on_all_four_within_three_seconds_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let begin = Instant::now();
    let up = support::start(&["up", "--json", "--port-base", "0", "--data-dir", data.to_str().unwrap()]);
    for (at, service) in [
        ("/registry", "mms.registry.v1.DataSourceService"),
        ("/catalog", "mms.catalog.v1.ScanService"),
        ("/scheduler", "mms.scheduler.v1.WorkerService"),
        ("/transfer", "mms.transfer.v1.TransferService"),
    ] {
        assert!(serves(&up.told(at), service).await, "{service}");
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    #[cfg(unix)]
    for file in ["service.token", "encryption.key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let token = std::fs::read(data.join("service.token")).unwrap();
    assert_eq!(up.stop(), (Some(0), Vec::new()));

    // The same folder can be served again, with the same token.
    let up = support::start(&["up", "--json", "--port-base", "0", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(std::fs::read(data.join("service.token")).unwrap(), token);
    let listed = support::run(&["source", "list", "--json", "--data-dir", data.to_str().unwrap()]);
    assert!(listed.status.success() && listed.stdout.is_empty());
    drop(up);
}

#[test]
fn a_data_folder_serves_one_suite() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let args = ["up", "--json", "--port-base", "0", "--data-dir", data];
    let _first = support::start(&args);
    let endpoints = std::fs::read(dir.path().join("endpoints.json")).unwrap();
    let second = support::run(&args);
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty());
    // The first error is reported, not the ends of the other services that followed from it.
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains("did not start") && told.contains("is in use"), "{told}");
    // The endpoints file still leads to the first suite.
    assert_eq!(std::fs::read(dir.path().join("endpoints.json")).unwrap(), endpoints);
    assert!(support::run(&["source", "list", "--json", "--data-dir", data]).status.success());
}

/// With a new key, a registry would start that can decrypt none of its secrets.
#[test]
fn a_lost_key_is_said_and_no_new_one_is_made_beside_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let args = ["up", "--json", "--port-base", "0", "--data-dir", data];
    assert_eq!(support::start(&args).stop().0, Some(0));
    let (key, aside) = (dir.path().join("encryption.key"), dir.path().join("aside"));
    std::fs::rename(&key, &aside).unwrap();
    for _ in 0..2 {
        let refused = support::run(&args);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains("encryption.key is gone") && told.contains("put it back"), "{told}");
        assert!(!key.exists(), "a key was made beside the store of another");
    }
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(support::start(&args).stop().0, Some(0));
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    assert_eq!(support::run(&["no-such-command"]).status.code(), Some(64));
    assert_eq!(support::run(&["--help"]).status.code(), Some(0));
    let nobody = support::run(&["source", "list", "--registry", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("mms up"));
}
