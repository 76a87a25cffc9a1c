//! gRPC reflection, in both versions because old grpcurl asks for v1alpha only. Every import resolves, also those of
//! error details.

use axum::Router;
use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

/// Adds both versions of reflection for these services, which must be in the contracts.
pub(crate) fn add(routes: Routes, services: &[&'static str]) -> Result<Router, Error> {
    let routes = routes.add_service(builder(services).build_v1()?).add_service(builder(services).build_v1alpha()?);
    Ok(routes.into_axum_router())
}

fn builder(services: &[&'static str]) -> Builder<'static> {
    let builder = Builder::configure()
        // The first file of a name is kept: ours and their imports, before what other sets repeat.
        .register_encoded_file_descriptor_set(mms_proto::descriptor::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health")
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .with_service_name("grpc.reflection.v1alpha.ServerReflection");
    // Each version registers its own descriptors only; callers may look up those of either.
    let builder = builder
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET);
    services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
}
