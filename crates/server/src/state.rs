//! Opens the durable state of a service as configured, watches it while the process lives, and closes it when no call
//! is in flight any more. It knows no table.

use std::sync::Arc;

use mms_store::{Options, Recovery, Schema, Store};

use crate::config::Recover;
use crate::metrics::Stored;
use crate::{BoxError, Context, Critical, health};

/// The store's folder in the data directory.
const FOLDER: &str = "store";

impl<C> Context<C> {
    /// Opens the store of this service. A store that fails ends the process; a full disk is reported in the health.
    ///
    /// # Errors
    /// The store does not open; the text says what to do.
    pub async fn open_store(&self, schema: Schema) -> Result<Store, BoxError> {
        let recovery = match self.frame.recover {
            Recover::Refuse => Recovery::Refuse,
            Recover::NewestExport => Recovery::NewestExport,
            Recover::AcceptCopy => Recovery::AcceptCopy,
        };
        let (folder, options) = (self.data_dir().join(FOLDER), Options::default().recovering(recovery));
        let options = options.observed_by(Arc::new(Stored::of(&self.metrics)));
        let store = tokio::task::spawn_blocking(move || Store::open(folder, schema, options)).await??;
        Stored::follow(&self.metrics, &store);
        let (health, full) = (self.health.clone(), store.full());
        self.spawn("space", Critical::No, async move {
            health.follow(health::STORE, full).await;
            Ok(())
        });
        let (kept, drained) = (store.clone(), self.drained.clone());
        // Not before the drain has ended: calls in flight still write.
        self.spawn("store", Critical::Yes, async move { Ok(kept.keep(drained.cancelled()).await?) });
        Ok(store)
    }
}
