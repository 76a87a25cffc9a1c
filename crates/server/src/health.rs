//! The health of a process: of each gRPC service, of the process as a whole (""), and of parts that can fail while the
//! rest works.

use std::sync::Arc;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Writing to the store: NOT_SERVING while its disk is full. Reads still work then.
pub const STORE: &str = "mms.store";
/// The certificates of this process and those that its channels present: NOT_SERVING once one has expired or soon will.
pub const CERTIFICATE: &str = "mms.certificate";

/// Reports to the gRPC health service. A part has a name of its own; its failure does not change the health of the
/// whole.
#[derive(Clone)]
pub struct Health {
    reporter: Arc<HealthReporter>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}

impl Health {
    pub(crate) fn new(reporter: HealthReporter) -> Self {
        Self { reporter: Arc::new(reporter) }
    }

    /// Sets whether a service or part works.
    pub async fn set(&self, name: &'static str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }

    /// Reports a part as failed while the watch holds true. Returns when the watch's sender is dropped.
    pub async fn follow(&self, name: &'static str, mut fails: tokio::sync::watch::Receiver<bool>) {
        loop {
            let failing = *fails.borrow_and_update();
            self.set(name, !failing).await;
            if fails.changed().await.is_err() {
                return;
            }
        }
    }
}
