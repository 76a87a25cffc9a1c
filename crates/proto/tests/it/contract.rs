//! What every contract must have: roles, pages, request ids, uids, flags of secrets, bounds.

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

/// Every method whose name begins with this verb.
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

fn ours() -> impl Iterator<Item = prost_reflect::MessageDescriptor> {
    descriptor::pool().all_messages().filter(|message| message.package_name().starts_with("mms."))
}

#[test]
fn every_resource_has_a_uid() {
    let resources = ours().filter(|message| {
        let name =
            message.get_field_by_name("name").map(|field| descriptor::comment(&message.parent_file(), field.path()));
        // Resources: messages that say how their name is built, and that are no request or response.
        let request = message.name().ends_with("Request") || message.name().ends_with("Response");
        !request && name.is_some_and(|comment| comment.contains("Name, `") || comment.starts_with("`workers/"))
    });
    let resources: Vec<_> = resources.collect();
    assert!(resources.len() > 10, "{} resources", resources.len());
    for resource in resources {
        assert!(resource.get_field_by_name("uid").is_some(), "{} has no uid", resource.full_name());
    }
}

#[test]
fn whoever_sees_a_secret_s_place_sees_whether_one_is_stored() {
    let mut secrets = 0;
    for message in ours().filter(|message| !message.name().ends_with("Request") && message.name() != "Session") {
        for field in message.fields().filter(mms_proto::redact::is_secret) {
            secrets += 1;
            let shown = message.fields().any(|other| {
                let told =
                    other.name().strip_suffix("_is_set").or(if other.name() == "is_set" { Some("") } else { None });
                told.is_some_and(|told| told.is_empty() || field.name().starts_with(told))
            });
            assert!(shown, "{} has no is_set beside it", field.full_name());
            let optional = ["security_token", "proxy_authorization", "client_key_pem"].contains(&field.name());
            let own =
                message.fields().any(|other| other.name().len() > "is_set".len() && other.name().ends_with("_is_set"));
            assert!(!optional || own, "{} can be left out, and has no flag of its own", field.full_name());
        }
    }
    assert!(secrets > 6, "{secrets} secrets");
}

/// The most bytes that a message can have by the rules of its fields; `None` if only the transport bounds it. A
/// recursive message is bounded by what holds it.
fn most(message: &prost_reflect::MessageDescriptor, depth: usize) -> Option<u64> {
    use prost_reflect::Kind;
    let mut sum: u64 = 0;
    for (field, rules) in mms_proto::rules::of(message).iter().filter(|(_, rules)| !rules.output_only && !rules.not_yet)
    {
        if rules.max_bytes > 0 {
            sum = sum.saturating_add(rules.max_bytes);
            continue;
        }
        let text = |rules: &mms_proto::rules::Rules| rules.max_len.saturating_mul(4);
        let one = match field.kind() {
            Kind::Message(inner) if depth < 8 && !field.is_map() => most(&inner, depth + 1)?,
            Kind::String | Kind::Bytes if !field.is_list() => text(rules),
            Kind::String | Kind::Bytes => rules.values.as_ref().map_or(0, |values| text(values)),
            _ => 16,
        };
        let many = if field.is_list() { rules.max_len.max(1) } else { 1 };
        sum = sum.saturating_add(one.saturating_mul(many));
    }
    Some(sum)
}

#[test]
fn no_request_of_a_worker_can_be_larger_than_a_message() {
    let worker = descriptor::pool().get_service_by_name("mms.scheduler.v1.WorkerService").expect("the lease contract");
    for method in worker.methods() {
        let bound = most(&method.input(), 0).expect("bounded");
        assert!(bound <= 16 << 20, "{}: {bound} bytes", method.input().full_name());
    }
}

#[test]
fn whatever_is_listed_page_by_page_takes_any_page_size() {
    for list in methods("List") {
        let input = list.input();
        let rules = mms_proto::rules::of(&input);
        let (_, size) = rules.iter().find(|(field, _)| field.name() == "page_size").expect("every list has pages");
        assert_eq!((size.min, size.max), (Some(0.0), None), "{}", input.full_name());
        assert!(list.output().get_field_by_name("total_size").is_some(), "{}", list.output().full_name());
    }
}

#[test]
fn every_file_says_what_generators_of_other_languages_need() {
    for file in descriptor::pool().files().filter(|file| file.package_name().starts_with("mms.")) {
        let options = file.file_descriptor_proto().options.clone().unwrap_or_default();
        let set = [options.go_package.is_some(), options.java_package.is_some(), options.csharp_namespace.is_some()];
        assert!(set == [true; 3] && options.java_multiple_files == Some(true), "{}", file.name());
    }
}
