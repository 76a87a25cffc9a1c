//! What a process says of its health: each gRPC service, the whole (""), and parts that can fail while the rest goes on.

use std::sync::Arc;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The part of the store that writes: NOT_SERVING while its disk is full. Reading goes on.
pub const STORE: &str = "mms.store";
/// The certificate of this process, and those that its channels show: NOT_SERVING once one has expired or soon will.
pub const CERTIFICATE: &str = "mms.certificate";

/// Tells the health service. Parts are asked for by their names; who asks for the whole hears only of the process.
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

    /// Says whether a service or part does its work.
    pub async fn set(&self, name: &'static str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }

    /// Follows a watch that is true while a part fails, until nobody tells any more.
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
