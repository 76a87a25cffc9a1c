//! Rewrites texts of services for people: where a text names an RPC, it names the command to type instead. Pure.

use crate::client::Remote;
use crate::names;

/// RPCs that texts of services name, and the command that calls each. JOB and SOURCE stand for the resource. A longer
/// RPC name must come before a shorter one that it begins with.
const COMMANDS: [(&str, &str); 11] = [
    ("RetryJob with repin", "job retry JOB --repin"),
    ("RetryJob", "job retry JOB"),
    ("ApproveJob", "job approve JOB"),
    ("StartJob", "job start JOB"),
    ("StopJob", "job stop JOB"),
    ("ListFindings", "job findings JOB"),
    ("ListTasks", "task list JOB"),
    ("ListJobTables", "job tables JOB"),
    ("ListTables", "table list SOURCE"),
    ("StartDataSource", "source start SOURCE"),
    ("CreateScan", "scan start SOURCE --watch"),
];

/// Rewrites a service's text about a resource for people. If the resource is not known, the command has NAME in its
/// place.
pub fn for_people(text: &str, resource: &str, remote: &Remote) -> String {
    let mut told = text.replace("with accept_blocked", "with --accept-blocked");
    for (method, command) in COMMANDS {
        if told.contains(method) {
            let command = command.replace("JOB", &job(resource)).replace("SOURCE", &source(resource));
            told = told.replace(method, &format!("`{}`", remote.command(&command)));
        }
    }
    told
}

fn job(resource: &str) -> String {
    let mut parts = resource.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("dataSources"), Some(source), Some("jobs"), Some(job)) => format!("{source}/{job}"),
        _ => "NAME".into(),
    }
}

fn source(resource: &str) -> String {
    match names::short(resource).split('/').next() {
        Some(source) if resource.starts_with("dataSources/") => source.to_owned(),
        _ => "NAME".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_to_type() {
        let text = "3 tasks failed: ListTasks says why; RetryJob runs them again";
        let told = for_people(text, "dataSources/sales/jobs/j1", &Remote::default());
        assert_eq!(told, "3 tasks failed: `mms task list sales/j1` says why; `mms job retry sales/j1` runs them again");
        let told = for_people("it is STOPPED: call StartDataSource", "dataSources/sales", &Remote::default());
        assert_eq!(told, "it is STOPPED: call `mms source start sales`");
        assert!(for_people("RetryJob with repin", "", &Remote::default()).contains("mms job retry NAME --repin"));
    }
}
