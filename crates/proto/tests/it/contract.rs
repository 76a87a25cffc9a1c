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
        name::JobTableName::COLLECTIONS,
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

/// The request and answer of every method whose name begins so.
fn methods(verb: &str) -> Vec<prost_reflect::MethodDescriptor> {
    let services = descriptor::pool().services();
    services.flat_map(|s| s.methods().collect::<Vec<_>>()).filter(|m| m.name().starts_with(verb)).collect()
}

#[test]
fn every_list_has_pages_a_filter_and_an_order() {
    let lists = methods("List");
    assert!(lists.len() > 15, "{} lists", lists.len());
    for list in lists {
        for (message, fields) in [
            (list.input(), ["page_size", "page_token", "filter", "order_by"].as_slice()),
            (list.output(), ["next_page_token"].as_slice()),
        ] {
            for name in fields {
                assert!(message.get_field_by_name(name).is_some(), "{} has no {name}", message.full_name());
            }
        }
    }
}

#[test]
fn whatever_makes_or_starts_something_can_be_repeated() {
    for verb in ["Create", "Start", "Retry", "Approve", "Trigger"] {
        let starting = methods(verb);
        assert!(!starting.is_empty(), "{verb}");
        for method in starting {
            let input = method.input();
            assert!(input.get_field_by_name("request_id").is_some(), "{} has no request_id", input.full_name());
        }
    }
}

#[test]
fn an_empty_request_changes_nothing() {
    let reading = ["Get", "List", "Watch"];
    let changing = methods("").into_iter().filter(|method| !reading.iter().any(|verb| method.name().starts_with(verb)));
    let mut judged = 0;
    for method in changing {
        let empty = prost_reflect::DynamicMessage::new(method.input());
        assert!(!mms_proto::validate::violations_of(&empty).is_empty(), "{}", method.full_name());
        judged += 1;
    }
    assert!(judged > 40, "{judged} methods change something");
}

#[test]
fn every_watch_can_be_resumed() {
    for watch in methods("Watch") {
        for message in [watch.input(), watch.output()] {
            assert!(message.get_field_by_name("position").is_some(), "{} has no position", message.full_name());
        }
    }
}
