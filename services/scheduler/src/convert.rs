//! Converts between the contract's messages and this service's records. Shapes only, no decisions. Defaults are filled
//! in on the way in, and an enum number that this version does not know is an error of the request or of the catalog.

mod breaker;
mod intent;
mod job;
mod limits;
mod lineage;
mod number;
mod plan;
mod task;
mod timer;
mod worker;

pub use intent::{intent_from, intent_to};
pub use job::{job_from, job_table_to, job_to, spec_change_from, table_options_to};
pub use limits::{concurrency_from, rate_from, rate_to};
pub use lineage::lineage_to;
pub use number::told;
pub use plan::{
    delta_from, dropped_to, file_from, file_to, finding_from, finding_to, gone_from, target_from, target_name_from,
    target_name_to, value_from, value_to, version_from, version_to,
};
pub use task::{check_to, lease_to, log_to, said_from, task_to};
pub use timer::{run_to, timer_to, told_from};
#[cfg(test)]
pub use worker::epoch_to;
pub use worker::{epoch_from, worker_from, worker_to};
