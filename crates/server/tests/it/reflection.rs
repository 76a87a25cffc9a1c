//! Health and reflection, both versions: what is listed is served, every import resolves, and the contracts have their
//! comments.

use std::collections::BTreeSet;

use crate::support::{private, serve};
use mms_server::{Client, FrameConfig};
use prost::Message;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

const LISTED: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "mms.audit.v1.AuditService",
    "mms.transfer.v1.TransferService",
];

macro_rules! walk {
    ($client:expr, $version:ident) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let mut reflection = ServerReflectionClient::new($client);
        let mut ask = async |question| {
            let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
            let answers = reflection.server_reflection_info(futures::stream::iter([request])).await.unwrap();
            answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
        };
        let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
            panic!("no list of services")
        };
        let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(names, LISTED);
        let mut known = BTreeSet::new();
        let mut open: Vec<MessageRequest> = names.into_iter().map(MessageRequest::FileContainingSymbol).collect();
        let details = ["ErrorInfo", "BadRequest", "RetryInfo", "Status"];
        open.extend(details.map(|name| MessageRequest::FileContainingSymbol(format!("google.rpc.{name}"))));
        while let Some(question) = open.pop() {
            let asked = format!("{question:?}");
            let MessageResponse::FileDescriptorResponse(files) = ask(question).await else {
                panic!("{asked} does not resolve")
            };
            for file in files.file_descriptor_proto {
                let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
                let comments = file.source_code_info.iter().flat_map(|info| &info.location);
                let comments = comments.filter(|place| place.leading_comments.is_some()).count();
                let ours = file.name().starts_with("mms/");
                assert!(!ours || comments >= file.message_type.len(), "{} comes without its comments", file.name());
                if known.insert(file.name().to_owned()) {
                    open.extend(file.dependency.into_iter().map(MessageRequest::FileByFilename));
                }
            }
        }
        assert!(known.contains("mms/type/v1/options.proto") && known.contains("google/protobuf/descriptor.proto"));
    }};
}

#[tokio::test]
async fn both_versions_list_what_is_served_and_every_import_resolves() {
    let running = serve(FrameConfig::default()).await;
    let client = Client::new(&running.config(), None).unwrap();
    walk!(client.clone(), v1);
    walk!(client, v1alpha);
}

#[tokio::test]
async fn health_needs_no_token_and_knows_each_service() {
    let folder = tempfile::tempdir().unwrap();
    let file = private(folder.path(), "tokens.toml", "");
    let running = serve(FrameConfig { tokens_file: Some(file), ..FrameConfig::default() }).await;
    let mut health = HealthClient::new(Client::new(&running.config(), None).unwrap());
    for service in ["", "mms.transfer.v1.TransferService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let status = health.check(HealthCheckRequest { service: "no.such".into() }).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}
