//! What settings are that nobody sets, as the contract's comments state them: the one place for all services.

use std::time::Duration;

/// `MigrationSettings.metadata_concurrency`, unless the catalog's own configuration says another.
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
