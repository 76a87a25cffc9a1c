//! `mms health` reports for each service whether it is serving, for people and for probes, which read its exit code.

use crate::support::{Client, lines, start};

#[test]
fn a_suite_is_healthy_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let suite = start(&["up", "--json", "--port-base", "0", "--data-dir", data]);
    let mms = Client(data);
    let healthy = mms.run(&["health", "--json"]);
    assert_eq!(healthy.status.code(), Some(0));
    let answers = lines(&healthy);
    let services: Vec<&str> = answers.iter().map(|answer| answer["service"].as_str().unwrap()).collect();
    assert_eq!(services, ["registry", "catalog", "scheduler", "transfer"]);
    assert!(answers.iter().all(|answer| answer["state"] == "SERVING"), "{answers:?}");
    // A single service, as a probe checks it.
    let url = suite.told("/catalog");
    let one = mms.text(&["health", &url]);
    assert!(one.contains("SERVING") && one.contains(&url) && one.lines().count() == 2, "{one}");

    suite.kill();
    let gone = mms.run(&["health", &url]);
    assert_eq!(gone.status.code(), Some(1));
    let told = String::from_utf8(gone.stdout).unwrap();
    assert!(told.contains("UNREACHABLE") && told.contains(&format!("at {url} cannot be reached")), "{told}");
}
