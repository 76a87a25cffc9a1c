//! What durability costs: commits per second alone and together, with the real fdatasync and without it.
//!
//! `cargo run --release -p mms-store --example group_commit [DIR]`; DIR should lie on the disk in question.
#![allow(clippy::print_stdout)] // printing is what it is for

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mms_store::{DiskSync, Options, Schema, Store, StoreError, Table};

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

static VALUES: Table<(u64, u64), Value> = Table::new("values", 1);

/// sled's own flush only: survives the death of the process, not a power cut.
struct NoSync;

impl DiskSync for NoSync {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

async fn rate(store: &Store, writers: u64, time: Duration) -> Result<f64, Box<dyn Error>> {
    let end = Instant::now() + time;
    let writers: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut number = 0u64;
                while Instant::now() < end {
                    let record = Value { bytes: vec![7; 200] };
                    store.commit(move |tx| tx.put(&VALUES, &(writer, number % 1000), &record)).await?;
                    number += 1;
                }
                Ok::<_, StoreError>(number)
            })
        })
        .collect();
    let mut commits = 0;
    for writer in writers {
        commits += writer.await??;
    }
    Ok(commits as f64 / time.as_secs_f64())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("group-commit-{}", std::process::id()));
    for (name, options) in
        [("fdatasync", Options::default()), ("sled alone", Options::default().around_disk_sync(|_| Box::new(NoSync)))]
    {
        let store = Store::open(root.join(name), Schema::new("bench"), options)?;
        for writers in [1, 32, 256] {
            let rate = rate(&store, writers, Duration::from_secs(3)).await?;
            println!("{name:>10}: {writers:>3} writers {rate:>8.0} commits/s");
        }
        store.close().await?;
    }
    std::fs::remove_dir_all(root)?;
    Ok(())
}
