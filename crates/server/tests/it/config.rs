//! The configuration is read in layers and checked as a whole: every fault is reported at once, and no secret is shown.

use mms_server::config::{LogFormat, load};
use mms_server::{Faults, FrameConfig, Secret, ServiceConfig};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Example {
    key: Option<Secret>,
    name: String,
    retries: u32,
    inner: Inner,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Inner {
    pools: Vec<String>,
}

impl ServiceConfig for Example {
    const SERVICE: &'static str = "example";
    const DEFAULT_PORT: u16 = 7999;

    fn check(&self, _: &FrameConfig, faults: &mut Faults) {
        if self.retries > 5 {
            faults.add("example.retries", "must be at most 5");
        }
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn defaults_are_whole() {
    let loaded = load::<Example>(None, &[]).unwrap();
    assert_eq!(loaded.frame.listen.to_string(), "127.0.0.1:7999");
    assert!(loaded.frame.data_dir.ends_with("mms-data/example"));
    assert_eq!(loaded.frame.limits.max_message_bytes, 16 << 20);
}

#[test]
fn flags_win_over_the_file() {
    let file =
        file("[server]\nlisten = \"127.0.0.1:1\"\n[telemetry]\nformat = \"json\"\n[example.inner]\npools = [\"a\"]");
    let loaded = load::<Example>(Some(file.path()), &[("server.listen", "127.0.0.1:2".into())]).unwrap();
    assert_eq!(loaded.frame.listen.port(), 2);
    assert_eq!(loaded.telemetry.format, LogFormat::Json);
    assert_eq!(loaded.service.inner.pools, ["a"]);
}

#[test]
fn every_fault_is_told_at_once() {
    let file = file(
        "[server]\nlisten = \"0.0.0.0:1\"\nlimits = { concurrent_calls = \"many\", max_mesage_bytes = 1 }\n\
         shutdown_grace_seconds = 99999\n[server.tls]\ncert_file = \"c.pem\"\n[telemetry]\nformat = \"xml\"\n\
         filter = \"mms=loud=x\"\n[example]\nretries = 9\nkey = [\"canary\"]\n[other]\nx = 1",
    );
    let faults = load::<Example>(Some(file.path()), &[]).unwrap_err();
    let mut keys: Vec<_> = faults.keys().collect();
    keys.sort();
    let expected = [
        "example.key",
        "example.retries",
        "other",
        "server.limits.concurrent_calls",
        "server.limits.max_mesage_bytes",
        "server.listen",
        "server.shutdown_grace_seconds",
        "server.tls",
        "telemetry.filter",
        "telemetry.format",
    ];
    assert_eq!(keys, expected, "{faults}");
    assert!(faults.to_string().contains(file.path().to_str().unwrap()), "a fault names its source: {faults}");
    assert!(!faults.to_string().contains("canary"));
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_a_fault() {
    assert!(!load::<Example>(Some("no/such.toml".as_ref()), &[]).unwrap_err().is_empty());
    let file = file("[example]\nname = \"n\"\nkey = \"canary\nretries = 1\n");
    let faults = load::<Example>(Some(file.path()), &[]).unwrap_err().to_string();
    assert!(faults.contains("line 3") && !faults.contains("canary"), "it tells where, never what: {faults}");
}

#[test]
fn what_is_printed_is_toml_that_loads_again_without_secrets() {
    let first = file("[example]\nkey = \"canary\"\nname = \"n\"");
    let loaded = load::<Example>(Some(first.path()), &[]).unwrap();
    assert_eq!(loaded.service.key.as_ref().unwrap().expose(), "canary");
    let printed = loaded.print().unwrap();
    assert!(printed.contains("key = \"***\"") && !format!("{printed}{loaded:?}").contains("canary"), "{printed}");
    let again = file(&printed);
    assert_eq!(load::<Example>(Some(again.path()), &[]).unwrap().service.name, "n");
}
