//! The rules of a configuration that can be checked offline and that options of the contract cannot express. Reports all
//! violations at once. Pure, except that it reads the machine's time zones.

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

/// All violations of these rules in a data source.
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
