//! Publishes this service's metrics from what it holds in memory. Decides nothing.

use mms_proto::catalog::v1::ScanState;
use mms_server::metrics::real;
use mms_server::{Label, Metric, Metrics};

use crate::core::Core;
use crate::error::Result;
use crate::scan::control;
use crate::store::SCANS;

/// Registers the metrics that are read on demand.
pub async fn follow(metrics: &Metrics, core: &Core) -> Result<()> {
    mms_ends::follow_traffic(metrics, core.sources.traffic());
    metrics.follow_classes(Metric::CatalogScans, core.store.count(&SCANS).await?, states());
    let store = core.store.clone();
    metrics.follow(Metric::CatalogTablesLeft, move |tell| {
        // There is at most one live scan for each data source. If the store cannot be read, the process is about to end.
        let Ok(live) = store.read(|read| control::live(read)) else { return };
        let left = live.iter().map(|(_, scan)| scan.progress.tables_found - scan.progress.tables_read);
        tell(real(left.map(|left| left.max(0).unsigned_abs()).sum()), &[]);
    });
    Ok(())
}

fn states() -> Vec<(u32, Vec<(Label, &'static str)>)> {
    let known = (1..100).filter_map(|number| ScanState::try_from(number).ok());
    let name = |state: ScanState| state.as_str_name().trim_start_matches("SCAN_STATE_");
    known.map(|state| (state as u32, vec![(Label::State, name(state))])).collect()
}
