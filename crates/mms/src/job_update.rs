//! `mms job update`: the options that change a job while it exists. The request's mask names only the fields that were
//! given.

use clap::Args;
use mms_proto::scheduler::v1::{self as pb, CircuitBreaker, JobSpec, UpdateJobRequest};
use mms_proto::types::v1::{Concurrency, RateLimit};
use prost_types::FieldMask;

use crate::spec;

/// The fields to change. Fields that are not given stay as they are.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Update {
    /// Deadline, RFC 3339; "none" removes it.
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    deadline: Option<Deadline>,
    /// Priority among jobs with the same deadline, -1000 to 1000; greater is first.
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Most tasks that run at once; 0: the data source's setting.
    #[arg(long, value_name = "TASKS")]
    max_concurrent_tasks: Option<i32>,
    /// Most tasks of each schema that run at once; 0: no limit of its own.
    #[arg(long, value_name = "TASKS")]
    tasks_per_schema: Option<i32>,
    /// Most tasks of each table that run at once; 0: no limit of its own.
    #[arg(long, value_name = "TASKS")]
    tasks_per_table: Option<i32>,
    /// Most bytes of source files a second; 0: no limit of its own.
    #[arg(long, value_name = "BYTES")]
    bytes_per_second: Option<i64>,
    /// Most rows a second; 0: no limit of its own.
    #[arg(long, value_name = "ROWS")]
    rows_per_second: Option<i64>,
    /// Whether the job pauses by itself when too many tasks fail: "on", with the defaults, or "off".
    #[arg(long, value_name = "ON|OFF", value_parser = ["on", "off"])]
    circuit_breaker: Option<String>,
    /// A JobSpec, YAML or JSON, of which only the fields that it sets are applied; `-` is stdin. The other options
    /// override it.
    #[arg(short, long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
}

#[derive(Debug, Clone, Copy)]
struct Deadline(Option<prost_types::Timestamp>);

fn deadline(text: &str) -> Result<Deadline, String> {
    match text {
        "none" => Ok(Deadline(None)),
        _ => {
            text.parse().map(|time| Deadline(Some(time))).map_err(|_| "write 2026-01-31T23:59:59Z, or none".to_owned())
        }
    }
}

impl Update {
    /// The request for a job whose spec is now `now`. A field with several parts keeps the parts that are not given.
    pub fn request(self, name: String, now: JobSpec) -> anyhow::Result<UpdateJobRequest> {
        let (mut spec, mut paths) = (JobSpec::default(), Vec::new());
        if let Some(file) = &self.file {
            spec = spec::read_as::<JobSpec>(file)?.message;
            paths = given(&spec);
        }
        if let Some(Deadline(deadline)) = self.deadline {
            spec.deadline = deadline;
            paths.push("deadline");
        }
        if let Some(priority) = self.priority {
            spec.priority = priority;
            paths.push("priority");
        }
        if let Some(tasks) = self.max_concurrent_tasks {
            spec.max_concurrent_tasks = tasks;
            paths.push("max_concurrent_tasks");
        }
        if self.tasks_per_schema.is_some() || self.tasks_per_table.is_some() {
            let known = spec.concurrency.take().or(now.concurrency).unwrap_or_default();
            spec.concurrency = Some(Concurrency {
                tasks_per_schema: self.tasks_per_schema.unwrap_or(known.tasks_per_schema),
                tasks_per_table: self.tasks_per_table.unwrap_or(known.tasks_per_table),
                ..known
            });
            paths.push("concurrency");
        }
        if self.bytes_per_second.is_some() || self.rows_per_second.is_some() {
            let known = spec.rate_limit.or(now.rate_limit).unwrap_or_default();
            spec.rate_limit = Some(RateLimit {
                bytes_per_second: self.bytes_per_second.unwrap_or(known.bytes_per_second),
                rows_per_second: self.rows_per_second.unwrap_or(known.rows_per_second),
                ..known
            });
            paths.push("rate_limit");
        }
        if let Some(word) = self.circuit_breaker {
            spec.circuit_breaker = Some(CircuitBreaker { disabled: word == "off", ..CircuitBreaker::default() });
            paths.push("circuit_breaker");
        }
        paths.sort_unstable();
        paths.dedup();
        let paths = paths.into_iter().map(|path| format!("spec.{path}")).collect();
        let job = pb::Job { spec: Some(spec), ..pb::Job::default() };
        Ok(UpdateJobRequest { name, job: Some(job), update_mask: Some(FieldMask { paths }) })
    }
}

/// The names of the fields that a spec sets, among those that can be changed.
fn given(spec: &JobSpec) -> Vec<&'static str> {
    let descriptor = mms_proto::descriptor::message::<JobSpec>();
    let mut message = prost_reflect::DynamicMessage::new(descriptor);
    // This cannot fail: the descriptor is that of the message.
    let _same = message.transcode_from(spec).is_ok();
    let known = [
        "deadline",
        "priority",
        "max_concurrent_tasks",
        "time_windows",
        "concurrency",
        "rate_limit",
        "circuit_breaker",
    ];
    known.into_iter().filter(|name| message.has_field_by_name(name)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn request(line: &[&str], now: JobSpec) -> (JobSpec, Vec<String>) {
        let update = Line::try_parse_from([&["x"], line].concat()).unwrap().update;
        let request = update.request("dataSources/s/jobs/j".to_owned(), now).unwrap();
        (request.job.unwrap().spec.unwrap(), request.update_mask.unwrap().paths)
    }

    #[test]
    fn just_what_is_given_is_named_and_parts_that_are_not_stay() {
        let (spec, paths) = request(&["--priority", "-3", "--deadline", "none"], JobSpec::default());
        assert_eq!(
            (spec.priority, spec.deadline, paths),
            (-3, None, vec!["spec.deadline".to_owned(), "spec.priority".to_owned()])
        );
        let bounds = Concurrency { tasks_per_schema: 7, tasks_per_table: 5, ..Concurrency::default() };
        let now = JobSpec { concurrency: Some(bounds), ..JobSpec::default() };
        let (spec, paths) =
            request(&["--tasks-per-table", "2", "--rows-per-second", "9", "--circuit-breaker", "off"], now);
        let told = spec.concurrency.unwrap();
        assert_eq!((told.tasks_per_schema, told.tasks_per_table), (7, 2));
        assert_eq!(spec.rate_limit.unwrap().rows_per_second, 9);
        assert!(spec.circuit_breaker.unwrap().disabled);
        assert_eq!(paths, ["spec.circuit_breaker", "spec.concurrency", "spec.rate_limit"]);
        assert!(Line::try_parse_from(["x"]).is_err(), "an update without anything");
        assert!(Line::try_parse_from(["x", "--deadline", "soon"]).is_err());
    }

    #[test]
    fn a_file_changes_what_it_sets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "priority: 4\nmaxConcurrentTasks: 9\ncircuitBreaker: {failedPercent: 50}\n")
            .unwrap();
        let (spec, paths) = request(&["-f", file.path().to_str().unwrap(), "--priority", "5"], JobSpec::default());
        assert_eq!((spec.priority, spec.max_concurrent_tasks), (5, 9));
        assert_eq!(paths, ["spec.circuit_breaker", "spec.max_concurrent_tasks", "spec.priority"]);
    }
}
