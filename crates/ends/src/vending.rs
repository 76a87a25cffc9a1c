//! Credentials of single tables, asked for at the registry by a session, and when each is due. Who reads with one keeps it.

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
/// Of what is left of its life, how much passes before another is asked for.
const USED: f64 = 0.8;

/// Asks for the credentials of tables, as the holder of a session.
#[derive(Clone)]
pub struct Vending {
    registry: Client,
    session: SecretString,
}

/// A credential of one table.
pub struct Vended {
    /// What it is read with.
    pub credential: StorageCredential,
    /// When another is to be asked for.
    pub renew: Instant,
}

impl Vending {
    /// By this session.
    pub fn new(registry: Client, session: &pb::Session) -> Self {
        Self { registry, session: SecretString::from(session.session_token.as_str()) }
    }

    /// A credential of a table, by its resource name.
    ///
    /// # Errors
    /// The registry is away, or nothing is vended; the reasons of the contract say why.
    pub async fn table(&self, table: &str) -> Result<Vended, PeerError> {
        let session_token = self.session.expose_secret().to_owned();
        let request = pb::VendCredentialsRequest { session_token, table: table.to_owned() };
        let mut client = SessionServiceClient::new(self.registry.clone());
        let given = client.vend_credentials(request).await.map_err(PeerError::of(REGISTRY))?.into_inner();
        let left = given.expire_time.map_or(0, |at| at.seconds).saturating_sub(unix_seconds());
        let renew = due(Instant::now(), left);
        // What is secret in it is masked from now on, as with all that a session hands out.
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
    PeerError::new(REGISTRY, ApiError::internal("the registry vended what this version does not know"))
}

fn unix_seconds() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// When another is to be asked for, of one with so many seconds left.
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
