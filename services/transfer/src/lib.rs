//! Transfer: moves the rows of one table, exactly once.
//!
//! A worker leases tasks from the scheduler and does their steps: it makes the target table, reads the pinned files, writes
//! them to a session of the target, publishes under an intent that the scheduler has stored, and counts the rows. It must
//! never decide what is moved, nor keep anything that others need: it may be killed at any moment, and its successor works
//! from what the scheduler has.

mod api;
mod batch;
mod codecs;
mod config;
mod context;
mod count;
mod counters;
mod data;
mod definition;
mod ends;
mod error;
mod identity;
mod look;
mod manifest;
mod pace;
mod peers;
mod progress;
mod publish;
mod query;
mod rows;
mod run;
mod schema;
mod schemas;
mod source;
mod target;
mod term;
mod transfers;
mod upload;
mod values;
mod verify;
mod way;
mod worker;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use mms_proto::transfer::v1::transfer_service_server::TransferServiceServer;
use mms_server::metrics::real;
use mms_server::{BoxError, Context, Critical, Metric, Services, sized};
use tokio_util::sync::CancellationToken;

pub use config::{BlockCodec, Config};

/// Assembles the service. The worker runs under the supervisor of `mms_server`.
///
/// # Errors
/// When a channel to another service cannot be made, another process uses the data folder, or the worker's id cannot be
/// stored there.
pub async fn start(ctx: Context<Config>) -> Result<Services, BoxError> {
    mms_http::install_crypto_provider();
    mms_server::telemetry::mask_lines(mms_http::redact::redact_known);
    mms_ends::guard_addresses(ctx.config.allow_loopback);
    let config = &ctx.config;
    let peers = peers::Peers::new(ctx.channel(&config.scheduler)?, ctx.channel(&config.registry)?);
    let lock = only_one(ctx.data_dir())?;
    let id = match &config.worker_id {
        Some(id) => id.clone(),
        None => kept_id(ctx.data_dir()).await?,
    };
    let instance = uuid::Uuid::new_v4().to_string();
    let endpoint = ctx.endpoint().unwrap_or_default();
    let slots = config.slots as u64;
    let register = worker::registration(id, instance, config.pool.clone(), config.slots, endpoint);
    let transfers = Arc::new(transfers::Transfers::new(format!("workers/{}", register.worker_id)));
    let settings = context::Settings {
        codecs: Arc::new(codecs::Codecs::new(config.codec)),
        block_bytes: config.block_bytes,
        slot_memory_bytes: config.slot_memory_bytes,
        allow_local_files: config.allow_local_files,
    };
    let worker = worker::Worker::new(
        peers,
        register,
        settings,
        counters::Counters::of(&ctx.metrics),
        transfers.clone(),
        CancellationToken::new(),
    );
    mms_ends::follow_traffic(&ctx.metrics, worker.traffic());
    let busy = worker.clone();
    ctx.metrics.follow(Metric::TransferSlots, move |tell| tell(real(slots), &[]));
    ctx.metrics.follow(Metric::TransferBusy, move |tell| tell(real(busy.at_hand()), &[]));
    let (working, stop) = (worker.clone(), ctx.shutdown.clone());
    ctx.spawn("worker", Critical::Yes, async move {
        working.work(stop).await;
        drop(lock);
        Ok(())
    });
    let api = api::Api::new(transfers, worker);
    Ok(Services::new().add(sized!(TransferServiceServer::new(api), ctx.max_message_bytes())))
}

/// Locks the data folder for this process. The scheduler would take two processes in one folder for one worker, and each
/// would end the other's leases.
fn only_one(dir: &Path) -> Result<File, BoxError> {
    std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let path = dir.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|error| format!("{}: {error}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(format!(
            "the data folder {} is in use by another transfer process: give each its own (server.data_dir)",
            dir.display()
        )
        .into()),
        Err(TryLockError::Error(error)) => Err(format!("{} cannot be locked: {error}", path.display()).into()),
    }
}

/// The worker's id, kept in the data folder and made at the first start. A worker that lost its folder is a new worker.
async fn kept_id(dir: &Path) -> Result<String, BoxError> {
    let file = dir.join("worker-id");
    match tokio::fs::read_to_string(&file).await {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tokio::fs::create_dir_all(dir).await?;
            let id = format!("w{}", uuid::Uuid::now_v7().simple());
            let fresh = dir.join("worker-id.new");
            tokio::fs::write(&fresh, &id).await?;
            tokio::fs::rename(&fresh, &file).await?;
            Ok(id)
        }
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_data_folder_is_one_process_s() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = super::only_one(dir.path()).expect("free");
        let refused = super::only_one(dir.path()).expect_err("taken").to_string();
        assert!(refused.contains("in use by another transfer process"), "{refused}");
        drop(first);
        assert!(super::only_one(dir.path()).is_ok());
    }
}
