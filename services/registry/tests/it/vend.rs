//! Credentials of single tables: vended to sessions that read files, for locations marked as `vended`; and the reasons why none
//! is vended.

use std::time::SystemTime;

use crate::common::{Ends, Registry, STORAGE_ACCOUNT, TOKEN, open_session, refusal};
use mms_proto::ErrorReason as Reason;
use mms_proto::registry::v1 as pb;
use pb::SessionPurpose as Purpose;
use pb::storage_access::Access;

fn vended(prefix: &str) -> pb::StorageAccess {
    pb::StorageAccess { location_prefix: prefix.to_owned(), access: Some(Access::Vended(pb::VendedCredentials {})) }
}

/// A table in a container of the account.
fn table(ends: &Ends, schema: &str, table: &str, container: &str) {
    let folder = ends.dir.path().join("tables").join(schema).join(table);
    std::fs::create_dir_all(&folder).unwrap();
    let place = format!("abfss://{container}@{STORAGE_ACCOUNT}.dfs.core.windows.net/{table}");
    std::fs::write(folder.join("_object.json"), format!(r#"{{ "storage_location": "{place}" }}"#)).unwrap();
}

struct Stand {
    registry: Registry,
    _ends: Ends,
    _dir: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
        table(&ends, "sales", "orders", "lake");
        table(&ends, "sales", "elsewhere", "archive");
        table(&ends, "closed", "orders", "lake");
        let mut source = ends.source();
        source.databricks_mut().unwrap().storage =
            vec![vended(&format!("abfss://lake@{STORAGE_ACCOUNT}.dfs.core.windows.net"))];
        for id in ["lake", "other"] {
            registry.create(id, pb::DataSource { display_name: id.into(), ..source.clone() }).await;
            registry.start(id).await.unwrap();
        }
        Self { registry, _ends: ends, _dir: dir }
    }

    async fn session(&self, purpose: Purpose) -> pb::Session {
        let request = pb::OpenSessionRequest { purposes: vec![purpose as i32], ..open_session("w") };
        self.registry.sessions().open_session(request).await.unwrap().into_inner().session.unwrap()
    }

    async fn vend(&self, session: &str, table: &str) -> Result<pb::VendCredentialsResponse, tonic::Status> {
        let request = pb::VendCredentialsRequest { session_token: session.into(), table: table.into() };
        Ok(self.registry.sessions().vend_credentials(request).await?.into_inner())
    }
}

const ORDERS: &str = "dataSources/lake/schemas/sales/tables/orders";

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_rows_gets_a_credential_of_one_table_and_never_the_workspaces() {
    let stand = Stand::start().await;
    let session = stand.session(Purpose::ReadRows).await;
    let shown = String::from_utf8_lossy(&prost::Message::encode_to_vec(&session)).into_owned();
    assert!(!shown.contains(TOKEN) && !shown.contains("sig="), "{session:?}");
    let given = stand.vend(&session.session_token, ORDERS).await.unwrap();
    let access = given.access.clone().unwrap();
    assert_eq!(access.location_prefix, format!("abfss://lake@{STORAGE_ACCOUNT}.dfs.core.windows.net/orders"));
    let Some(Access::AzureSas(sas)) = access.access else { panic!("another kind of access") };
    assert!(sas.sas.contains("sp=rl") && sas.sas.contains("sig="), "it reads and lists");
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    assert!((3500..3700).contains(&(given.expire_time.unwrap().seconds - now)));
    // All who ask in the same minute get the same credential.
    assert_eq!(stand.vend(&session.session_token, ORDERS).await.unwrap(), given);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_vended_beyond_what_a_session_is_for() {
    let stand = Stand::start().await;
    let (reads, writes) = (stand.session(Purpose::ReadRows).await, stand.session(Purpose::WriteRows).await);
    let (reads, writes) = (reads.session_token, writes.session_token);
    for (session, table, reason) in [
        (&writes, ORDERS, Reason::NotFound),
        (&"no-session".to_owned(), ORDERS, Reason::NotFound),
        (&reads, "dataSources/other/schemas/sales/tables/orders", Reason::NotFound),
        (&reads, "dataSources/lake/schemas/sales/tables/none", Reason::NotFound),
        // No access `vended` covers that container.
        (&reads, "dataSources/lake/schemas/sales/tables/elsewhere", Reason::SourceFailed),
        (&reads, "dataSources/lake/schemas/closed/tables/orders", Reason::ExternalUseDenied),
    ] {
        let refused = stand.vend(session, table).await.unwrap_err();
        assert_eq!(refusal(&refused).0, reason, "{table}: {refused}");
        assert!(!refused.message().contains("sig="), "{refused}");
    }
    let people = pb::VendCredentialsRequest { session_token: reads.clone(), table: ORDERS.into() };
    let refused = stand.registry.sessions_of_people().vend_credentials(people).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{refused}");
    let close = pb::CloseSessionRequest { session_token: reads.clone() };
    stand.registry.sessions().close_session(close).await.unwrap();
    let refused = stand.vend(&reads, ORDERS).await.unwrap_err();
    assert_eq!(refusal(&refused).0, Reason::NotFound, "what was kept goes to no closed session");
}
