//! Metrics pages of the suite's processes: fetched and parsed, and the table of docs/metrics.md that they must agree
//! with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;

use crate::peers;
use crate::process::Process;

/// A metric on a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family {
    /// The type, as in `counter`.
    pub kind: String,
    /// The help text.
    pub help: String,
    /// The value of each series, by its name and labels as the page has them.
    pub samples: BTreeMap<String, f64>,
}

impl Family {
    /// The sum over all series; for a histogram, the number of values.
    #[must_use]
    pub fn total(&self) -> f64 {
        let counts = |series: &str| {
            self.kind != "histogram" || series.split('{').next().is_some_and(|name| name.ends_with("_count"))
        };
        self.samples.iter().filter(|(series, _)| counts(series)).map(|(_, value)| value).sum()
    }

    /// The names of all labels of the series, without `le`, the bound of a bucket.
    #[must_use]
    pub fn labels(&self) -> BTreeSet<String> {
        let labels = self.samples.keys().filter_map(|series| series.split_once('{')?.1.strip_suffix('}'));
        // No label value has a comma or a quote.
        let names = labels.flat_map(|labels| labels.split(',')).filter_map(|label| Some(label.split_once('=')?.0));
        names.filter(|name| *name != "le").map(str::to_owned).collect()
    }
}

/// The metrics of a page, by name.
pub type Page = BTreeMap<String, Family>;

/// The address of a service's page, as the process has logged it.
///
/// # Errors
/// The process does not log it in time.
pub async fn address(process: &mut Process, service: &str) -> anyhow::Result<String> {
    let own = format!("service=\"{service}\"");
    let find = |line: &str| {
        let at = line.split_once("metrics at http://").filter(|_| line.contains(&own))?.1;
        Some(at.split('/').next().unwrap_or_default().to_owned())
    };
    process.says(find).await
}

/// Fetches the text of a page.
///
/// # Errors
/// The page is not served.
pub fn text(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: suite\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a head")?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(body.to_owned())
}

/// Parses a page.
///
/// # Errors
/// A line does not have the format.
pub fn read(text: &str) -> anyhow::Result<Page> {
    let mut page = Page::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').context("a help text")?;
            page.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').context("a type")?;
            page.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let name = series.split('{').next().unwrap_or_default();
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = stem.filter(|stem| page.get(*stem).is_some_and(|family| family.kind == "histogram"));
            let family = page.get_mut(family.unwrap_or(name)).with_context(|| format!("{line} has no type"))?;
            family.samples.insert(series.to_owned(), value.parse()?);
        }
    }
    Ok(page)
}

/// A row of the table in docs/metrics.md.
#[derive(Debug, Clone)]
pub struct Row {
    /// The metric's name.
    pub name: String,
    /// The type, as in `counter`.
    pub kind: String,
    /// The names of the labels.
    pub labels: BTreeSet<String>,
    /// The services that have it.
    pub services: Vec<String>,
    /// What a job does to it: `moves`, `quiet` or `still`.
    pub in_job: String,
    /// The help text.
    pub help: String,
}

/// Reads the table of docs/metrics.md.
///
/// # Errors
/// It cannot be read.
pub fn table() -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(peers::root().join("docs/metrics.md"))?;
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, _, labels, by, in_job, help] = cells[..] else { anyhow::bail!("{line}") };
        let list = |text: &str| {
            text.split(", ")
                .map(|word| word.trim_matches('`').to_owned())
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
        };
        let by = if by == "all" { "registry, catalog, scheduler, transfer" } else { by };
        rows.push(Row {
            name: name.trim_matches('`').to_owned(),
            kind: kind.to_owned(),
            labels: list(labels).into_iter().collect(),
            services: list(by),
            in_job: in_job.to_owned(),
            help: help.to_owned(),
        });
    }
    anyhow::ensure!(!rows.is_empty(), "there is no table in docs/metrics.md");
    Ok(rows)
}
