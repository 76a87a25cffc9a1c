//! Who may call what: every method of every contract with every role, over the wire.

use crate::support::{get, private, serve};
use mms_proto::{ApiError, ErrorReason, Role, descriptor};
use mms_server::{BoundServer, Client, ClientConfig, FrameConfig, FrameError};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};

const ROLES: [(&str, Role); 5] = [
    ("VIEWER", Role::Viewer),
    ("OPERATOR", Role::Operator),
    ("EDITOR", Role::Editor),
    ("ADMIN", Role::Admin),
    ("SERVICE", Role::Service),
];

fn token(role: &str) -> String {
    format!("token-of-{role}-0123456789")
}

fn tokens_file() -> String {
    ROLES
        .iter()
        .map(|(role, _)| format!("[[tokens]]\ntoken = \"{}\"\nrole = \"{role}\"\nsubject = \"{role}\"\n", token(role)))
        .collect()
}

/// Calls a method with an empty message and reports only whether the rights admitted the call.
async fn outcome(client: &Client, path: &str, bearer: Option<&str>) -> Result<(), ApiError> {
    let mut grpc = tonic::client::Grpc::new(client.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(futures::stream::iter([()]));
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
    }
    request.set_timeout(std::time::Duration::from_secs(5));
    let codec = tonic_codec();
    let answer = grpc.streaming(request, PathAndQuery::try_from(path).unwrap(), codec).await;
    let status = match answer {
        Ok(answer) => answer.into_inner().message().await.err(),
        Err(status) => Some(status),
    };
    match status.as_ref().map(ApiError::from_status) {
        Some(error) if matches!(error.code, Code::Unauthenticated | Code::PermissionDenied) => Err(error),
        // UNIMPLEMENTED (the method is not mounted here) or an answer: the rights admitted the call.
        _ => Ok(()),
    }
}

fn tonic_codec() -> tonic_prost::ProstCodec<(), ()> {
    tonic_prost::ProstCodec::default()
}

#[tokio::test]
async fn every_method_with_every_role() {
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "tokens.toml", &tokens_file());
    let running = serve(FrameConfig { tokens_file: Some(file), ..FrameConfig::default() }).await;
    let client = Client::new(&running.config(), None).unwrap();
    for method in descriptor::methods() {
        for (name, role) in ROLES {
            let allowed = match (role, method.least_role) {
                (Role::Service, least) => matches!(least, Role::Service | Role::Viewer),
                (_, Role::Service) => false,
                (role, least) => role >= least,
            };
            let outcome = outcome(&client, &method.path, Some(&token(name))).await;
            assert_eq!(outcome.is_ok(), allowed, "{name} on {} ({:?}): {outcome:?}", method.path, method.least_role);
            if let Err(error) = outcome {
                assert_eq!((error.code, error.reason), (Code::PermissionDenied, ErrorReason::RoleTooLow));
                assert_eq!(error.metadata["method"], method.path);
            }
        }
        for wrong in [None, Some("token-that-nobody-knows")] {
            let error = outcome(&client, &method.path, wrong).await.unwrap_err();
            assert_eq!((error.code, error.reason), (Code::Unauthenticated, ErrorReason::Unauthenticated));
        }
    }
}

#[tokio::test]
async fn on_loopback_without_tokens_people_are_admin_and_services_still_need_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "service.token", "the-token-of-the-suite-42\n");
    let running = serve(FrameConfig { service_token_file: Some(file.clone()), ..FrameConfig::default() }).await;
    let client = Client::new(&running.config(), None).unwrap();
    for method in descriptor::methods() {
        let without = outcome(&client, &method.path, None).await;
        assert_eq!(without.is_ok(), method.least_role != Role::Service, "{}", method.path);
    }
    let suite = ClientConfig { token_file: Some(file), ..running.config() };
    let suite = Client::new(&suite, None).unwrap();
    outcome(&suite, "/mms.registry.v1.SessionService/OpenSession", None).await.unwrap();
    let transfer = running.client().get_transfer(get("x")).await.unwrap().into_inner().transfer.unwrap();
    assert_eq!(transfer.name, "anonymous");
}

#[tokio::test]
async fn another_address_needs_tls_and_tokens_or_insecure() {
    let open = FrameConfig { listen: "0.0.0.0:0".parse().unwrap(), ..FrameConfig::default() };
    let error = BoundServer::bind("transfer", open.clone()).await.unwrap_err();
    assert!(matches!(&error, FrameError::Config(faults) if faults.keys().eq(["server.listen"])), "{error}");
    BoundServer::bind("transfer", FrameConfig { insecure: true, ..open }).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_tokens_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "tokens.toml", &tokens_file());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let frame = FrameConfig { tokens_file: Some(file), ..FrameConfig::default() };
    let error = BoundServer::bind("transfer", frame).await.unwrap_err().to_string();
    assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_broken_tokens_file_is_refused_without_its_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let broken = [
        "[[tokens]]\ntoken = \"canary-0123456789\"\nrole = \"KING\"\nsubject = \"x\"",
        "[[tokens]]\ntoken = \"canary\"\nrole = \"VIEWER\"\nsubject = \"x\"",
        "[[tokens]]\ntoken = \"canary-0123456789\"\nrole = \"VIEWER\"",
        "token = canary-0123456789",
    ];
    for text in broken {
        let file = private(folder.path(), "tokens.toml", text);
        let frame = FrameConfig { tokens_file: Some(file), ..FrameConfig::default() };
        let error = BoundServer::bind("transfer", frame).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
