//! Secrets are never shown, are encrypted on disk, and leave the registry through sessions only.

use std::path::Path;

use crate::common::{Ends, KEY, Registry, TOKEN, open_session, refusal, source, token, update};
use mms_proto::ErrorReason as Reason;
use mms_proto::registry::v1 as pb;
use pb::databricks_source::WorkspaceAuth;

fn grep(dir: &Path, needle: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            grep(&path, needle, found);
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle) {
            found.push(path.display().to_string());
        }
    }
}

fn session_token(session: &pb::Session) -> String {
    match session.data_source.as_ref().unwrap().databricks().unwrap().workspace_auth.clone().unwrap() {
        WorkspaceAuth::AccessToken(token) => token.token,
        WorkspaceAuth::ClientCredentials(_) => panic!("another kind of access"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_file_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path()).await;
    let request = pb::CreateDataSourceRequest {
        data_source_id: "lake".into(),
        data_source: Some(source()),
        request_id: "r1".into(),
        ..Default::default()
    };
    let made = registry.sources().create_data_source(request).await.unwrap().into_inner().data_source.unwrap();
    let bytes = String::from_utf8_lossy(&prost::Message::encode_to_vec(&made)).into_owned();
    assert!(!bytes.contains(TOKEN) && !bytes.contains(KEY));
    assert!(matches!(
        made.databricks().unwrap().workspace_auth.clone(),
        Some(WorkspaceAuth::AccessToken(pb::AccessToken { is_set: true, .. }))
    ));
    registry.shut().await;
    let registry = Registry::open(dir.path()).await;
    registry.get("lake").await;
    let mut found = Vec::new();
    for secret in [TOKEN, KEY] {
        grep(&dir.path().join("data"), secret.as_bytes(), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
    // The search does find what is stored unencrypted.
    grep(&dir.path().join("data"), b"key-id", &mut found);
    assert_ne!(found, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_hands_out_what_was_sent_last_and_only_to_services() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    registry.create("lake", ends.source()).await;
    let open = open_session("workers/w1");
    let status = registry.sessions().open_session(open.clone()).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::SourceNotStarted);
    registry.start("lake").await.unwrap();
    let status = registry.sessions_of_people().open_session(open.clone()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);

    let session = registry.sessions().open_session(open.clone()).await.unwrap().into_inner().session.unwrap();
    assert_eq!(session_token(&session), TOKEN);
    let source = session.data_source.clone().unwrap();
    let renew = pb::RenewSessionRequest { session_token: session.session_token.clone(), etag: source.etag };
    assert!(!registry.sessions().renew_session(renew.clone()).await.unwrap().into_inner().changed);

    // An update without the token keeps it, one with a token replaces it; sessions learn of both.
    let mut new = ends.source();
    new.databricks_mut().unwrap().workspace_auth = token("");
    new.databricks_mut().unwrap().cluster_id = "c1".into();
    registry.sources().update_data_source(update("lake", new.clone(), &["databricks"])).await.unwrap();
    assert!(registry.sessions().renew_session(renew.clone()).await.unwrap().into_inner().changed);
    let session = registry.sessions().open_session(open.clone()).await.unwrap().into_inner().session.unwrap();
    assert_eq!(session_token(&session), TOKEN);
    new.databricks_mut().unwrap().workspace_auth = token("dapi-newer");
    let request = update("lake", new, &["databricks.access_token.token"]);
    registry.sources().update_data_source(request).await.unwrap();
    let newer = registry.sessions().open_session(open).await.unwrap().into_inner().session.unwrap();
    assert_eq!(session_token(&newer), "dapi-newer");
    assert!(!format!("{newer:?}").contains("dapi-newer"));

    registry.sessions().close_session(pb::CloseSessionRequest { session_token: newer.session_token }).await.unwrap();
    registry.shut().await;
    let registry = Registry::open(dir.path()).await;
    let status = registry.sessions().renew_session(renew).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::NotFound, "after a restart sessions are opened anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_resolved_when_they_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let file = ends.dir.path().join("token");
    let mut given = ends.source();
    given.databricks_mut().unwrap().workspace_auth = token(&format!("file:{}", file.display()));
    registry.create("lake", given.clone()).await;
    let status = registry.start("lake").await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::SourceFailed);
    assert!(status.message().contains("databricks.access_token.token"), "{status}");
    std::fs::write(&file, TOKEN).unwrap();
    registry.start("lake").await.unwrap();

    // The content of the file changes, and nobody tells the registry.
    let session = registry.sessions().open_session(open_session("w")).await.unwrap().into_inner().session.unwrap();
    let etag = session.data_source.as_ref().map(|source| source.etag.clone()).unwrap_or_default();
    let renew = pb::RenewSessionRequest { session_token: session.session_token, etag };
    let changed = async || registry.sessions().renew_session(renew.clone()).await.unwrap().into_inner().changed;
    assert!(!changed().await);
    std::fs::remove_file(&file).unwrap();
    assert!(!changed().await, "it may be about to be replaced");
    std::fs::write(&file, "dapi-newer").unwrap();
    assert!(changed().await);

    let own = format!("file:{}", dir.path().join("main.key").display());
    given.databricks_mut().unwrap().workspace_auth = token(&own);
    registry.sources().update_data_source(update("lake", given, &["databricks"])).await.unwrap();
    let open = open_session("w");
    let status = registry.sessions().open_session(open).await.unwrap_err();
    assert!(status.message().contains("belongs to the registry itself"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_can_be_changed_without_losing_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::start().await;
    let old = crate::common::config(dir.path());
    let file = dir.path().join("new.key");
    mms_registry::ensure_key_file(&file).unwrap();
    let both = mms_registry::Config {
        encryption_key_id: "new".into(),
        encryption_key_file: Some(file.clone()),
        other_encryption_keys: vec![format!("main={}", dir.path().join("main.key").display())],
        ..old.clone()
    };
    let new = mms_registry::Config { other_encryption_keys: Vec::new(), ..both.clone() };

    let registry = Registry::with(dir.path(), old).await;
    registry.create("lake", ends.source()).await;
    let unknown = pb::RotateEncryptionKeyRequest { key_id: "unknown".into() };
    let status = registry.sources().rotate_encryption_key(unknown).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::WrongState);
    registry.shut().await;

    let registry = Registry::with(dir.path(), both).await;
    let rotate = pb::RotateEncryptionKeyRequest { key_id: "new".into() };
    let rewrapped = registry.sources().rotate_encryption_key(rotate).await.unwrap().into_inner().rewrapped_count;
    assert_eq!(rewrapped, 1);
    registry.shut().await;
    let registry = Registry::with(dir.path(), new).await;
    registry.start("lake").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_secret_does_not_follow_a_change_of_where_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    registry.create("lake", ends.source()).await;
    let mut new = ends.source();
    new.databricks_mut().unwrap().workspace_url = "https://elsewhere.azuredatabricks.net".into();
    new.max_compute.as_mut().unwrap().endpoint = "https://elsewhere.example/api".into();
    for (path, secret) in [
        ("databricks.workspace_url", "data_source.databricks.access_token.token"),
        ("max_compute.endpoint", "data_source.max_compute.access_key.access_key_secret"),
    ] {
        let status = registry.sources().update_data_source(update("lake", new.clone(), &[path])).await.unwrap_err();
        assert_eq!(refusal(&status), (Reason::InvalidField, vec![secret.to_owned()]), "{status}");
    }
    let whole = ["databricks.workspace_url", "databricks.access_token.token"];
    let changed = registry.sources().update_data_source(update("lake", new, &whole)).await.unwrap();
    let url = changed.into_inner().data_source.unwrap().databricks().unwrap().workspace_url.clone();
    assert_eq!(url, "https://elsewhere.azuredatabricks.net");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_that_names_a_secret_removes_it_and_one_that_names_what_is_around_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let mut given = ends.source();
    let Some(pb::max_compute_config::Account::AccessKey(key)) =
        given.max_compute.as_mut().and_then(|config| config.account.as_mut())
    else {
        panic!("an access key")
    };
    key.security_token = "the-security-token".into();
    let key = pb::AccessKey { access_key_secret: String::new(), security_token: String::new(), ..key.clone() };
    registry.create("lake", given.clone()).await;
    let mut new = given;
    new.max_compute.as_mut().unwrap().account = Some(pb::max_compute_config::Account::AccessKey(key));
    let change = async |path: &str| {
        let answer = registry.sources().update_data_source(update("lake", new.clone(), &[path])).await;
        answer.map(|answer| match answer.into_inner().data_source.unwrap().max_compute.unwrap().account.unwrap() {
            pb::max_compute_config::Account::AccessKey(key) => (key.is_set, key.security_token_is_set),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(change("max_compute.access_key").await.unwrap(), (true, true));
    assert_eq!(change("max_compute.access_key.security_token").await.unwrap(), (true, false));
    let status = change("max_compute.access_key.access_key_secret").await.unwrap_err();
    let missing = "data_source.max_compute.access_key.access_key_secret".to_owned();
    assert_eq!(refusal(&status), (Reason::InvalidField, vec![missing]), "what is needed cannot be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_checks_what_is_stored_and_sends_no_file_of_the_registry_anywhere() {
    use mms_proto::registry::v1::check_data_source_request::Target;
    let dir = tempfile::tempdir().unwrap();
    let tokens = "[[tokens]]\ntoken = \"token-of-the-operator-00\"\nrole = \"OPERATOR\"\nsubject = \"o\"\n\
        [[tokens]]\ntoken = \"token-of-the-editor-0000\"\nrole = \"EDITOR\"\nsubject = \"e\"\n";
    crate::common::write_private(&dir.path().join("tokens.toml"), tokens);
    let (registry, ends) = (Registry::open(dir.path()).await, Ends::start().await);
    let (operator, editor) =
        (registry.sources_as("token-of-the-operator-00"), registry.sources_as("token-of-the-editor-0000"));
    let file = ends.dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let mut given = ends.source();
    let ask = |source: &pb::DataSource| pb::CheckDataSourceRequest {
        target: Some(Target::DataSource(source.clone())),
        start_cluster: false,
    };
    operator.clone().check_data_source(ask(&given)).await.unwrap();
    given.databricks_mut().unwrap().workspace_auth = token(&format!("file:{}", file.display()));
    let status = operator.clone().check_data_source(ask(&given)).await.unwrap_err();
    assert_eq!(refusal(&status).0, Reason::RoleTooLow);
    editor.clone().check_data_source(ask(&given)).await.unwrap();
    for stray in ["file:/etc/hostname", "env:HOME"] {
        given.databricks_mut().unwrap().workspace_auth = token(stray);
        let status = editor.clone().check_data_source(ask(&given)).await.unwrap_err();
        assert_eq!(refusal(&status).1, ["data_source.databricks.access_token.token"], "{stray}");
    }
}
