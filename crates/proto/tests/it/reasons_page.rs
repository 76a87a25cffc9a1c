//! docs/reasons.md lists every stable reason with its meaning and remedy, as the comments of the contracts state them.
//! With MMS_BLESS=1 this test writes the page anew.

use mms_proto::descriptor;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reasons.md");

/// Each enum, its heading, and where its values are shown.
const PARTS: [(&str, &str, &str); 4] = [
    (
        "mms.type.v1.ErrorReason",
        "Errors, and why a job, table or task is in its state",
        "In `google.rpc.ErrorInfo` of an answer that is not OK (domain `mms`), and in `JobReason`.",
    ),
    (
        "mms.type.v1.FindingReason",
        "Findings of plans",
        "In `Finding`: what the plan of a table found (PlanTable, ListFindings, ListJobTables).",
    ),
    (
        "mms.scheduler.v1.DecisionReason",
        "Decisions about the tables of a job",
        "In `JobTable.decision_reason`, beside the decision.",
    ),
    ("mms.registry.v1.CheckStepId", "Steps of a check", "In `CheckStep`: CheckDataSource, CheckNetworkConnection."),
];

/// The prefix of an enum's values: "FINDING_REASON_" for "FindingReason".
fn prefix(name: &str) -> String {
    let mut prefix = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix + "_"
}

fn page() -> String {
    let mut page = String::from(
        "# Reasons\n\nEvery stable reason that mms gives, what it means and what to do. Programs may rely on the names.\n\nThis \
         page is made from the comments of `proto/`; after a change of those, `MMS_BLESS=1 cargo test --release -p mms -p \
         mms-proto --test it -- reasons_page` writes it anew.\n",
    );
    for (full_name, heading, shown) in PARTS {
        let kind = descriptor::pool().get_enum_by_name(full_name).expect("an enum of the contracts");
        page += &format!("\n## {heading}\n\n{shown}\n\n| `{}` | meaning, and what to do |\n|---|---|\n", kind.name());
        for value in kind.values().filter(|value| value.number() != 0) {
            let name = value.name().strip_prefix(&prefix(kind.name())).unwrap_or(value.name()).to_owned();
            let comment = descriptor::comment(&kind.parent_file(), value.path()).replace('|', "\\|");
            page += &format!("| `{name}` | {comment} |\n");
        }
    }
    page
}

#[test]
fn the_page_has_what_the_contracts_say() {
    let page = page();
    if std::env::var_os("MMS_BLESS").is_some() {
        std::fs::write(PAGE, &page).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(kept == page, "docs/reasons.md is not what the contracts say: run this test with MMS_BLESS=1");
}
