//! The commands of the README, as they are written there, against `mms up`: a migration with grpcurl, and `mms
//! migrate`.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use mms_tests::process::program;
use mms_tests::suite::{SERVICES, Suite};
use mms_tests::{page, peers, sandbox::Sandbox, tables};

/// Runs a command, with the README's ports replaced by those of this test, and `cargo run` by the built program.
fn run(command: &str, suite: &Suite, folder: &Path) -> anyhow::Result<String> {
    let mut command = command.to_owned();
    for (at, service) in SERVICES.iter().enumerate() {
        let address = suite.endpoint(service).trim_start_matches("http://").to_owned();
        command = command.replace(&format!("127.0.0.1:{}", 7401 + at), &address);
    }
    command = command.replace("cargo run --release -p mms --", &program("mms")?.display().to_string());
    let path = std::env::join_paths(
        std::iter::once(peers::root().join(".peers/bin"))
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let output = peers::run(
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &command])
            .current_dir(folder)
            .env("PATH", path)
            .env("MMS_REGISTRY_URL", suite.endpoint("registry"))
            .env("MMS_CATALOG_URL", suite.endpoint("catalog"))
            .env("MMS_SCHEDULER_URL", suite.endpoint("scheduler")),
    )
    .with_context(|| command.clone())?;
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_the_line_by_hand() -> anyhow::Result<()> {
    if peers::find("grpcurl", "bin/grpcurl").is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let moved = tables::own(folder.path())?;
    let sandbox = Sandbox::start(folder.path(), &moved.delta_root)?;
    let suite = Suite::up(folder.path()).await?;
    // The README's source file, with the id of its example. JSON is valid YAML.
    for file in ["source.json", "source.yaml"] {
        std::fs::write(folder.path().join(file), sandbox.data_source("azure-sales").to_string())?;
    }
    let by_hand = page::commands("README.md", "With grpcurl")?;
    let mut said = String::new();
    for command in &by_hand {
        said.push_str(&run(command, &suite, folder.path())?);
    }
    for step in [
        "list",
        "describe",
        "CreateDataSource",
        "CheckDataSource",
        "StartDataSource",
        "CreateScan",
        "WatchScan",
        "CreateJob",
        "WatchJob",
        "ListJobTables",
    ] {
        assert!(by_hand.iter().any(|command| command.contains(step)), "the README does not show {step}");
    }
    assert!(said.contains("JOB_STATE_DONE") && said.contains("SCAN_STATE_DONE"), "{said}");
    moved.compare(&sandbox.project())?;

    // The short form, for the same source: tables that have arrived stay as they are.
    let section = page::commands("README.md", "Your own workspace")?;
    let short = section.iter().filter(|command| command.contains(" migrate -f "));
    let mut count = 0;
    for command in short {
        run(command, &suite, folder.path())?;
        count += 1;
    }
    assert_eq!(count, 2, "{section:?}");
    moved.compare(&sandbox.project())
}
