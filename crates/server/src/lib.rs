//! The frame that every process of mms shares: configuration, telemetry, rights, limits, deadlines, health, reflection,
//! graceful drain, supervised tasks, and channels to other services.
//!
//! It knows no service: each hands in its section of the configuration and the gRPC services that it mounts. It never
//! answers a call of theirs, except to reject it. Nothing here is global but what [`telemetry::init`] installs once a
//! process, so that several services can run in one process.

mod audit;
pub mod client;
pub mod config;
pub mod context;
mod entry;
pub mod filter;
pub mod health;
mod layer;
pub mod list;
mod listen;
pub mod metrics;
pub mod order;
pub mod pace;
pub mod peer;
pub mod propagate;
mod reflect;
mod reload;
pub mod requests;
pub mod rights;
pub mod serve;
mod state;
pub mod stream;
pub mod supervise;
pub mod telemetry;
mod tls;
pub mod tokens;
mod turns;

pub use client::{Client, ClientConfig};
pub use config::{Faults, FrameConfig, MetricsConfig, Recover, Secret, ServiceConfig, TelemetryConfig};
pub use context::CallContext;
pub use entry::{EXIT_CONFIG, EXIT_START, EXIT_USAGE, cancel_on_signal, harden, main};
pub use filter::Filter;
pub use health::Health;
pub use metrics::{Label, Metric, Metrics};
pub use peer::{PeerError, patiently};
pub use rights::{Caller, caller};
pub use serve::{BoundServer, Context, FrameError, Services};
pub use stream::stream;
pub use supervise::{Critical, Supervisor};
pub use tokens::SuiteToken;
pub use tokio_util::sync::CancellationToken;
pub use turns::{Turn, Turns};

/// An error of a service that the frame only passes on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Gives a generated server or client the frame's message size, both ways. Without it tonic refuses messages above
/// 4 MiB.
#[macro_export]
macro_rules! sized {
    ($grpc:expr, $max_message_bytes:expr) => {
        $grpc.max_decoding_message_size($max_message_bytes).max_encoding_message_size($max_message_bytes)
    };
}
