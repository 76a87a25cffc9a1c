//! Defaults of settings, as the comments of the contract state them. All services take them from here.

use std::time::Duration;

/// `MigrationSettings.metadata_concurrency`; the catalog's configuration can set another default.
pub const METADATA_CONCURRENCY: usize = 8;
/// `MigrationSettings.max_concurrent_tasks`.
pub const MAX_CONCURRENT_TASKS: i32 = 20;
/// `MigrationSettings.max_partitions_per_task`.
pub const MAX_PARTITIONS_PER_TASK: i32 = 50;
/// `MigrationSettings.max_bytes_per_task`.
pub const MAX_BYTES_PER_TASK: i64 = 5 << 30;
/// `MigrationSettings.idle_stop_after`.
pub const IDLE_STOP_AFTER: Duration = Duration::from_secs(30 * 60);
/// `JobSpec.max_attempts`.
pub const MAX_ATTEMPTS: i32 = 5;
