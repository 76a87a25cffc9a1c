//! What every contract must have.

use mms_proto::Role;
use mms_proto::descriptor;
use mms_proto::name::{self, ResourceName};

#[test]
fn every_method_has_a_least_role() {
    assert!(descriptor::methods().count() > 50, "the contracts of four services have many methods");
    for method in descriptor::methods() {
        assert_ne!(method.least_role, Role::Unspecified, "{}", method.path);
    }
    assert_eq!(descriptor::method_role("/mms.registry.v1.SessionService/OpenSession"), Some(Role::Service));
    assert_eq!(descriptor::method_role("/grpc.health.v1.Health/Check"), None);
}

#[test]
fn every_resource_shape_of_the_contracts_has_a_name_type() {
    let known: Vec<String> = [
        name::NetworkConnectionName::COLLECTIONS,
        name::DataSourceName::COLLECTIONS,
        name::SchemaName::COLLECTIONS,
        name::TableName::COLLECTIONS,
        name::PartitionName::COLLECTIONS,
        name::ScanName::COLLECTIONS,
        name::JobName::COLLECTIONS,
        name::TaskName::COLLECTIONS,
        name::TimerName::COLLECTIONS,
        name::RunName::COLLECTIONS,
        name::WorkerName::COLLECTIONS,
        name::TransferName::COLLECTIONS,
    ]
    .iter()
    .map(|collections| collections.join("/"))
    .collect();
    for message in descriptor::pool().all_messages() {
        for (field, rules) in mms_proto::rules::of(&message).iter() {
            if let Some(shape) = &rules.resource {
                let collections: Vec<_> = shape.split('/').step_by(2).collect();
                assert!(known.contains(&collections.join("/")), "{}: {shape}", field.full_name());
            }
        }
    }
}
