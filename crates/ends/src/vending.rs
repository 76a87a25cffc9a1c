//! Asks the registry for credentials of single tables, on behalf of a session, and computes when each must be replaced. It keeps
//! none: whoever reads with a credential keeps it.

use std::time::{Duration, SystemTime};

use mms_proto::ApiError;
use mms_proto::registry::v1 as pb;
use mms_proto::registry::v1::session_service_client::SessionServiceClient;
use mms_server::Client;
use mms_server::peer::PeerError;
use mms_storage::StorageCredential;
use pb::storage_access::Access;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::storage::{Storage, of};

const REGISTRY: &str = "registry";
/// The part of a credential's remaining life after which another is requested.
const USED: f64 = 0.8;

/// Requests credentials of tables as the holder of a session.
#[derive(Clone)]
pub struct Vending {
    registry: Client,
    session: SecretString,
}

/// A credential of one table.
pub struct Vended {
    /// The credential to read the table's files with.
    pub credential: StorageCredential,
    /// When to request another.
    pub renew: Instant,
}

impl Vending {
    /// Requests credentials under this session.
    pub fn new(registry: Client, session: &pb::Session) -> Self {
        Self { registry, session: SecretString::from(session.session_token.as_str()) }
    }

    /// Requests a credential for a table, named by its resource name.
    ///
    /// # Errors
    /// The registry is unavailable, or vends no credential; the contract's error reasons say why.
    pub async fn table(&self, table: &str) -> Result<Vended, PeerError> {
        let session_token = self.session.expose_secret().to_owned();
        let request = pb::VendCredentialsRequest { session_token, table: table.to_owned() };
        let mut client = SessionServiceClient::new(self.registry.clone());
        let given = client.vend_credentials(request).await.map_err(PeerError::of(REGISTRY))?.into_inner();
        let left = given.expire_time.map_or(0, |at| at.seconds).saturating_sub(unix_seconds());
        let renew = due(Instant::now(), left);
        // The secret part is remembered, so that it is masked from now on, like every secret of a session.
        match given.access.and_then(|access| access.access) {
            Some(access @ Access::AzureSas(_)) => match of(&access) {
                Storage::With(StorageCredential::Sas(sas)) => {
                    Ok(Vended { credential: StorageCredential::VendedSas(sas), renew })
                }
                _ => Err(nothing()),
            },
            _ => Err(nothing()),
        }
    }
}

fn nothing() -> PeerError {
    PeerError::new(
        REGISTRY,
        ApiError::internal("the registry vended a kind of credential that this version does not know"),
    )
}

fn unix_seconds() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// When to replace a credential that expires in `left` seconds.
fn due(now: Instant, left: i64) -> Instant {
    now + Duration::from_secs(u64::try_from(left).unwrap_or(0).min(86_400)).mul_f64(USED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_is_asked_for_when_four_fifths_are_over() {
        let now = Instant::now();
        assert_eq!(due(now, 3600), now + Duration::from_secs(2880));
        assert_eq!(due(now, -5), now);
        assert_eq!(due(now, i64::MAX), now + Duration::from_secs(86_400).mul_f64(USED));
    }
}
