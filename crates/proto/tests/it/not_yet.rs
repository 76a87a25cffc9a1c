//! ARCHITECTURE.md lists what the contract has and this version does not implement, exactly as the contract's options
//! say.

use std::collections::{BTreeMap, BTreeSet};

use mms_proto::{descriptor, rules};
use prost_reflect::{MessageDescriptor, ServiceDescriptor};

const ARCHITECTURE: &str = include_str!("../../../../ARCHITECTURE.md");
const HEADING: &str = "## In the contract, and not yet done";

/// The names by service, spelled as the page's bullets are: `Registry` for `mms.registry.v1`.
type Lists = BTreeMap<String, BTreeSet<String>>;

fn bullet(package: &str) -> String {
    let name = package.split('.').nth(1).unwrap_or_default();
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// What stands in backticks after each bullet of the section.
fn documented() -> Lists {
    let (_, section) = ARCHITECTURE.split_once(HEADING).expect("the page has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let bullets = section.split("\n- ").skip(1).filter_map(|text| text.split_once(':'));
    let names = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    bullets.map(|(service, text)| (service.to_owned(), names(text))).collect()
}

fn methods(service: &ServiceDescriptor) -> Vec<String> {
    let path = |method: &str| format!("/{}/{method}", service.full_name());
    let all: Vec<String> = service.methods().map(|method| method.name().to_owned()).collect();
    let undone = |name: &String| descriptor::method(&path(name)).is_some_and(|method| method.not_yet);
    let found: Vec<String> = all.iter().filter(|name| undone(name)).cloned().collect();
    // A service of which nothing is implemented is listed as a whole.
    if found.len() == all.len() { vec![service.name().to_owned()] } else { found }
}

fn fields(message: &MessageDescriptor) -> Vec<String> {
    let mut found = Vec::new();
    for (field, rules) in rules::of(message).iter() {
        if rules.not_yet {
            found.push(format!("{}.{}", message.name().trim_end_matches("Request"), field.name()));
        }
        found.extend(rules.not_yet_values.iter().cloned());
    }
    found
}

fn declared() -> Lists {
    let mut lists = Lists::new();
    for service in descriptor::pool().services() {
        lists.entry(bullet(service.package_name())).or_default().extend(methods(&service));
    }
    let ours = descriptor::pool().all_messages().filter(|message| message.package_name().starts_with("mms."));
    for message in ours {
        lists.entry(bullet(message.package_name())).or_default().extend(fields(&message));
    }
    lists.retain(|_, names| !names.is_empty());
    lists
}

/// `List*.filter` stands for the filters of all lists of the service.
fn collapsed(mut lists: Lists) -> Lists {
    for service in descriptor::pool().services() {
        let Some(names) = lists.get_mut(&bullet(service.package_name())) else { continue };
        let package = service.parent_file().package_name().to_owned();
        let services = descriptor::pool().services().filter(|other| other.package_name() == package);
        let methods: Vec<String> =
            services.flat_map(|s| s.methods().map(|m| m.name().to_owned()).collect::<Vec<_>>()).collect();
        for field in ["filter", "order_by"] {
            let each: Vec<String> =
                methods.iter().filter(|name| name.starts_with("List")).map(|name| format!("{name}.{field}")).collect();
            if each.iter().all(|name| names.contains(name)) {
                names.retain(|name| !each.contains(name));
                names.insert(format!("List*.{field}"));
            }
        }
    }
    lists
}

#[test]
fn the_page_lists_what_the_options_say() {
    let declared = collapsed(declared());
    assert!(declared.values().map(BTreeSet::len).sum::<usize>() > 10, "{declared:?}");
    assert_eq!(documented(), declared);
}
