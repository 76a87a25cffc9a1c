//! What can be judged offline about a configuration and no option of the contract says: all violations at once. Pure,
//! but for the machine's time zones.

mod databricks;
mod judge;
mod max_compute;
mod network;
mod settings;

use mms_proto::FieldViolation;
use mms_proto::registry::v1 as pb;

use judge::Judge;

pub use judge::Offline;
pub use network::judge_network;

/// All violations of a data source that are judged here.
pub fn judge(source: &pb::DataSource, offline: Offline<'_>) -> Vec<FieldViolation> {
    let Offline { at, secrets, guard, denied_hosts, .. } = offline;
    let mut judge = Judge { at, secrets, guard, denied_hosts, found: Vec::new() };
    if let Some(config) = source.databricks() {
        databricks::judge(config, offline, &mut judge);
    }
    if let Some(config) = &source.max_compute {
        max_compute::judge(config, &mut judge);
    }
    if let Some(config) = &source.settings {
        settings::judge(config, &mut judge);
    }
    judge.found
}
