//! The configuration section `[transfer]` of a worker, besides what every service has.

use mms_server::{ClientConfig, Faults, FrameConfig, ServiceConfig};
use serde::{Deserialize, Serialize};

/// The settings of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The registry of the suite.
    pub registry: ClientConfig,
    /// The scheduler of the suite.
    pub scheduler: ClientConfig,
    /// Id of this worker, `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`. None: made at the first start and kept in the data folder.
    pub worker_id: Option<String>,
    /// Pool that it belongs to; empty: the default pool.
    pub pool: String,
    /// Tasks that it runs at once.
    pub slots: usize,
    /// How blocks are compressed on their way; each task's log says which codec it was, and why.
    pub codec: BlockCodec,
    /// Bytes of Arrow data after which a block ends. A service takes at most 20,000 blocks a session and 10 MB/s a block.
    pub block_bytes: u64,
    /// Bytes that one task may hold of the file it reads: a row group of up to a quarter of it is fetched whole, larger ones
    /// page by page, and a file with a page of more than half of it is refused. Besides that a task holds a few batches.
    pub slot_memory_bytes: u64,
    /// Whether tables may lie on this machine. Only for the sandbox; otherwise such tables are refused.
    pub allow_local_files: bool,
    /// Whether far ends may lie on this machine's loopback: for the sandbox. Metadata and link-local addresses are denied
    /// whatever this says, private ones unless the data source's network connection names the host.
    pub allow_loopback: bool,
}

/// Compression of blocks: a codec of the tunnel by name, or the automatic choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockCodec {
    /// LZ4 where the link is the bottleneck, no compression where it is not, by measurements of the last blocks.
    Auto,
    /// No compression.
    None,
    /// LZ4 frames, which every client of the vendor sends.
    Lz4,
    /// Zstandard.
    Zstd,
    /// zlib.
    Deflate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            registry: ClientConfig::to("http://127.0.0.1:7401"),
            scheduler: ClientConfig::to("http://127.0.0.1:7403"),
            worker_id: None,
            pool: String::new(),
            slots: 2,
            codec: BlockCodec::Auto,
            block_bytes: 256 << 20,
            slot_memory_bytes: 512 << 20,
            allow_local_files: false,
            allow_loopback: false,
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "transfer";
    const DEFAULT_PORT: u16 = 7404;

    fn check(&self, _: &FrameConfig, faults: &mut Faults) {
        self.registry.check("transfer.registry", faults);
        self.scheduler.check("transfer.scheduler", faults);
        if let Some(id) = &self.worker_id
            && let Err(reason) = mms_proto::name::ResourceId::new(id.clone())
        {
            faults.add("transfer.worker_id", reason);
        }
        if !(1..=100).contains(&self.slots) {
            faults.add("transfer.slots", "must be from 1 to 100");
        }
        if !((1 << 20)..=(16 << 30)).contains(&self.block_bytes) {
            faults.add("transfer.block_bytes", "must be from 1 MiB to 16 GiB");
        }
        if !((64 << 20)..=(64 << 30)).contains(&self.slot_memory_bytes) {
            faults.add("transfer.slot_memory_bytes", "must be from 64 MiB to 64 GiB");
        }
    }
}
