//! Both versions of reflection serve every service of the contracts, so that old and new grpcurl can describe all of
//! it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use mms_tests::peers;
use mms_tests::suite::{SERVICES, Suite};
use serde_json::{Value, json};

/// The gRPC services that the contracts of one of our services declare, read from their text.
fn declared(service: &str) -> anyhow::Result<BTreeSet<String>> {
    let folder = peers::root().join("proto/mms").join(service).join("v1");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        let names = text.lines().filter_map(|line| line.strip_prefix("service ")?.split([' ', '{']).next());
        found.extend(names.map(|name| format!("mms.{service}.v1.{name}")));
    }
    anyhow::ensure!(!found.is_empty(), "{} declares no service", folder.display());
    Ok(found)
}

fn ours<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.filter(|name| name.starts_with("mms.")).map(str::to_owned).collect()
}

/// Asks the v1alpha reflection service one question.
fn old(grpcurl: &Path, address: &str, question: &Value) -> anyhow::Result<Value> {
    let method = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    let output = peers::run(Command::new(grpcurl).args(["-plaintext", "-d", &question.to_string(), address, method]))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_describes_every_service() -> anyhow::Result<()> {
    let Some(grpcurl) = peers::find("grpcurl", "bin/grpcurl") else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let suite = Suite::processes(folder.path(), 30).await?;
    for service in SERVICES {
        let address = suite.endpoint(service).trim_start_matches("http://").to_owned();
        let mut all = declared(service)?;
        // Every process also serves AuditService, for its own calls.
        all.extend(declared("audit")?);
        let list = peers::run(Command::new(&grpcurl).args(["-plaintext", &address, "list"]))?;
        assert_eq!(ours(String::from_utf8(list.stdout)?.lines()), all);
        let listed = old(&grpcurl, &address, &json!({ "list_services": "*" }))?;
        let listed = listed["listServicesResponse"]["service"].as_array().context("services")?.clone();
        assert_eq!(ours(listed.iter().filter_map(|found| found["name"].as_str())), all);
        for name in &all {
            let shown = peers::run(Command::new(&grpcurl).args(["-plaintext", &address, "describe", name]))?;
            let shown = String::from_utf8(shown.stdout)?;
            let (methods, comments) = (shown.matches("  rpc ").count(), shown.matches("  // ").count());
            assert!(methods > 0 && comments >= methods, "{name} comes without its comments: {shown}");
            let answer = old(&grpcurl, &address, &json!({ "file_containing_symbol": name }))?;
            assert!(answer["fileDescriptorResponse"]["fileDescriptorProto"].is_array(), "{name}: {answer}");
        }
    }
    Ok(())
}
