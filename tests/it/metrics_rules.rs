//! The alert rules and the dashboard in deploy/: promtool accepts them, and they use only metrics that are served.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mms_tests::metrics;
use mms_tests::peers;
use mms_tests::suite::{SERVICES, Suite};

const RULES: &str = "deploy/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/mms.json";

fn promtool() -> Option<PathBuf> {
    peers::find("promtool", "bin/promtool")
}

/// The words of a text that look like names of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("mms_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The metric of a word that may be a series of a histogram.
fn metric<'a>(word: &'a str, known: &BTreeSet<String>) -> &'a str {
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
    stem.filter(|stem| known.contains(*stem)).unwrap_or(word)
}

#[test]
fn rules_and_dashboard_name_only_what_is_served() -> anyhow::Result<()> {
    let known: BTreeSet<String> = metrics::table()?.into_iter().map(|row| row.name).collect();
    for file in [RULES, DASHBOARD] {
        let text = std::fs::read_to_string(peers::root().join(file))?;
        let words = named(&text);
        anyhow::ensure!(words.len() > 10, "{file} names {words:?}");
        let strange: Vec<&String> = words.iter().filter(|word| !known.contains(metric(word, &known))).collect();
        anyhow::ensure!(strange.is_empty(), "{file} names {strange:?}, which docs/metrics.md does not have");
    }
    Ok(())
}

#[test]
fn promtool_takes_the_rules_and_every_expression_of_the_dashboard() -> anyhow::Result<()> {
    let Some(promtool) = promtool() else { return Ok(()) };
    peers::run(Command::new(&promtool).args(["check", "rules"]).arg(peers::root().join(RULES)))?;
    // The expression of a panel is checked as the expression of a recording rule.
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(peers::root().join(DASHBOARD))?)?;
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let expressions: Vec<String> = targets.filter_map(|target| Some(target["expr"].as_str()?.to_owned())).collect();
    anyhow::ensure!(expressions.len() >= 15, "{expressions:?}");
    let rules = expressions.iter().enumerate().map(|(at, text)| {
        // Grafana's variables stand in place of matchers and ranges.
        let text = text.replace("$__rate_interval", "5m").replace("$instance", ".*");
        serde_json::json!({ "record": format!("panel:{at}"), "expr": text })
    });
    let rules = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules.collect::<Vec<_>>() }] });
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("dashboard.yml");
    std::fs::write(&file, rules.to_string())?;
    peers::run(Command::new(promtool).args(["check", "rules"]).arg(file))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_takes_every_page() -> anyhow::Result<()> {
    let Some(promtool) = promtool() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut suite = Suite::up(folder.path()).await?;
    for service in SERVICES {
        let text = metrics::text(&metrics::address(&mut suite.processes[0].1, service).await?)?;
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        check.stdin.take().into_iter().try_for_each(|mut stdin| stdin.write_all(text.as_bytes()))?;
        let told = check.wait_with_output()?;
        let said = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
        anyhow::ensure!(told.status.success() && said.is_empty(), "{service}: {said}\n{text}");
    }
    Ok(())
}
