//! The kernel's engine, with handlers of ours in place of its own for listing, JSON and Parquet, so that whatever it reads of
//! a log is checked first.

use std::num::NonZero;
use std::sync::Arc;

use delta_kernel::{Engine, EvaluationHandler, JsonHandler, ParquetHandler, StorageHandler};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use object_store::ObjectStore;

use super::json::LogJson;
use super::parquet::LogParquet;
use super::storage::LogStorage;
use super::{LOG_BATCH_ROWS, LOG_READ_AHEAD, LogReading};
use crate::DeltaError;
use crate::drive::io;

struct LogEngine {
    inner: Arc<dyn Engine>,
    storage: Arc<LogStorage>,
    json: Arc<LogJson>,
    parquet: Arc<LogParquet>,
}

impl Engine for LogEngine {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        self.inner.evaluation_handler()
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        self.storage.clone()
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        self.json.clone()
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        self.parquet.clone()
    }
}

/// The engine for one reading of a log.
pub(crate) fn engine(reading: Arc<LogReading>) -> Result<Arc<dyn Engine>, DeltaError> {
    let inner = default_engine(reading.store.clone(), LOG_READ_AHEAD, LOG_BATCH_ROWS)?;
    Ok(Arc::new(LogEngine {
        storage: Arc::new(LogStorage { inner: inner.storage_handler(), reading: reading.clone() }),
        json: Arc::new(LogJson { inner: inner.json_handler(), io: io()?, reading: reading.clone() }),
        parquet: Arc::new(LogParquet { inner: inner.parquet_handler(), reading }),
        inner,
    }))
}

/// The kernel's own engine over `store`. Its I/O runs on the runtime of this crate.
pub(super) fn default_engine(
    store: Arc<dyn ObjectStore>,
    read_ahead: NonZero<usize>,
    batch_rows: NonZero<usize>,
) -> Result<Arc<dyn Engine>, DeltaError> {
    let executor = Arc::new(TokioMultiThreadExecutor::new(io()?));
    let builder = DefaultEngineBuilder::new(store).with_task_executor(executor);
    Ok(Arc::new(builder.with_buffer_size(read_ahead).with_batch_size(batch_rows).build()))
}
