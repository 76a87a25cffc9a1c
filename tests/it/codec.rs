//! Blocks are compressed where the link is the bottleneck and nowhere else, and the task's log says which codec was
//! used and why. A codec that is configured by name is always used.

#![allow(clippy::print_stdout, reason = "what the logs say is shown")]

use anyhow::Context;
use mms_proto::scheduler::v1::JobSpec;
use mms_tests::sandbox::Sandbox;
use mms_tests::slow_link::SlowLink;
use mms_tests::suite::{Suite, everything};
use serde_json::json;

const SCALE: f64 = 0.05;

/// What the logs of a job's tasks say about its blocks.
#[derive(Debug, Default)]
struct Said {
    blocks: u64,
    compressed: u64,
    sent: u64,
    codecs: Vec<String>,
}

impl Said {
    /// Parses `unit 3: 900 rows in 2 blocks, 1 of them compressed, 4711 bytes sent`, and lines about the codec.
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["unit", _, _, "rows", "in", blocks, "blocks,", compressed, "of", "them", "compressed,", sent, ..] =
            words[..]
        {
            let number = |text: &str| text.parse::<u64>().expect("a number");
            self.blocks += number(blocks);
            self.compressed += number(compressed);
            self.sent += number(sent);
        } else if line.starts_with("codec ") {
            self.codecs.push(line.to_owned());
        }
    }
}

/// Moves the line items of TPC-H over a link with so many bytes per second, or over no slow link.
async fn moved(rate: Option<f64>, settings: &[(&str, &str)]) -> anyhow::Result<Said> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("delta-root");
    mms_sandbox::samples::tpch(&root, SCALE, 1_700_000_000_000)?;
    let sandbox = Sandbox::start(folder.path(), &root)?;
    let mut request = sandbox.data_source("lake");
    let link = match rate {
        Some(rate) => {
            let endpoint = sandbox.told("/project/endpoint");
            let upstream = endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default().parse()?;
            let link = SlowLink::start(upstream, rate).await?;
            request["data_source"]["max_compute"]["tunnel_endpoint"] = json!(link.url);
            Some(link)
        }
        None => None,
    };
    let settings: Vec<_> = [("BLOCK_BYTES", "2097152")].iter().chain(settings).copied().collect();
    let suite = Suite::processes_with(folder.path(), 60, &settings).await?;
    let source = Box::pin(suite.source(&request)).await?;
    let scan = suite.begin_scan(&source).await?;
    suite.scanned(&scan).await?;
    let job = suite.begin_job(&source, JobSpec { max_attempts: 1, ..everything() }).await?;
    suite.done(&job).await?;
    let mut said = Said::default();
    for task in suite.tasks(&job).await? {
        suite.task_logs(&task.name).await?.iter().for_each(|line| said.hear(&line.message));
    }
    println!("{rate:?} {settings:?}: {said:#?}");
    anyhow::ensure!(said.blocks > 20 && !said.codecs.is_empty(), "{said:?}");
    if let Some(link) = link {
        let sent = link.sent().await;
        anyhow::ensure!(sent >= said.sent && sent < said.sent * 11 / 10 + 100_000, "{sent} bytes of {said:?}");
    }
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_slow_link_blocks_are_compressed() -> anyhow::Result<()> {
    let said = Box::pin(moved(Some(8e6), &[])).await?;
    let why = "codec lz4: transfer.codec is auto, and the link is the bottleneck (";
    let line = said.codecs.iter().find(|line| line.starts_with(why));
    line.with_context(|| format!("no task says that the link is slow: {said:?}"))?;
    anyhow::ensure!(said.compressed * 2 > said.blocks, "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_they_go_as_they_are() -> anyhow::Result<()> {
    let said = Box::pin(moved(None, &[])).await?;
    let last = said.codecs.iter().filter(|line| line.starts_with("codec none: transfer.codec is auto, and ")).count();
    anyhow::ensure!(last * 10 >= said.codecs.len() * 8, "{said:?}");
    // The sandbox is slower than a worker, so now and then compression is tried.
    anyhow::ensure!(said.compressed * 3 < said.blocks, "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_is_named_is_used() -> anyhow::Result<()> {
    for name in ["zstd", "deflate"] {
        let said = Box::pin(moved(None, &[("CODEC", name)])).await?;
        let line = format!("codec {name}: transfer.codec says so");
        anyhow::ensure!(said.codecs.iter().all(|said| *said == line), "{said:?}");
        anyhow::ensure!(said.compressed == said.blocks, "{said:?}");
    }
    Ok(())
}
