//! Publishes this service's metrics from what it holds in memory. Decides nothing.

use mms_proto::registry::v1::DataSourceState;
use mms_server::metrics::real;
use mms_server::{Label, Metric, Metrics};

use crate::core::Core;
use crate::error::Result;
use crate::store::{DELETED, SOURCES};

/// Registers the metrics that are read on demand.
pub async fn follow(metrics: &Metrics, core: &Core) -> Result<()> {
    mms_ends::follow_traffic(metrics, &core.traffic);
    metrics.follow_classes(Metric::RegistrySources, core.store.count(&SOURCES).await?, states());
    let leases = core.leases.clone();
    metrics.follow(Metric::RegistrySessions, move |tell| tell(real(leases.count().0), &[]));
    let leases = core.leases.clone();
    metrics.follow(Metric::RegistryUses, move |tell| tell(real(leases.count().1), &[]));
    Ok(())
}

fn states() -> Vec<(u32, Vec<(Label, &'static str)>)> {
    let known = (1..100).filter_map(|number| DataSourceState::try_from(number).ok());
    let name = |state: DataSourceState| state.as_str_name().trim_start_matches("DATA_SOURCE_STATE_");
    let live = known.map(|state| (state as u32, vec![(Label::State, name(state))]));
    live.chain([(DELETED, vec![(Label::State, "DELETED")])]).collect()
}
