//! Declares every metric of every service, once: name, type, unit, labels, the services that have it, help text, and
//! what a job does to it. docs/metrics.md is generated from here. It measures nothing.

use std::fmt;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 when the process starts.
    Counter,
    /// The present value.
    Gauge,
    /// The distribution of values, in buckets.
    Histogram,
}

/// The unit of a metric's values. Its name is the last part of the metric's name, before `_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    One,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The code of the unit in OTLP.
    pub fn code(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Seconds => "s",
            Self::Bytes => "By",
        }
    }

    /// The word in the metric's name; `None` for numbers of things.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::One => None,
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
        }
    }
}

/// What a migration without trouble does to a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InJob {
    /// It changes while the job runs.
    Moves,
    /// The series exists, and changes only when something is wrong or scarce.
    Quiet,
    /// The series exists, and its value does not change.
    Still,
}

impl fmt::Display for InJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moves => "moves",
            Self::Quiet => "quiet",
            Self::Still => "still",
        })
    }
}

/// The labels of metrics. Their values are few and fixed: never a name of a table, a source or a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A service of mms.
    Service,
    /// The version of mms.
    Version,
    /// A gRPC service, as in `mms.scheduler.v1.JobService`; `other` for those that no contract has.
    GrpcService,
    /// A method of that service; `other` for those that no contract has.
    GrpcMethod,
    /// A gRPC status, as in `NOT_FOUND`.
    GrpcCode,
    /// A class of callers: `health`, `reflection`, `service`, `people`.
    Class,
    /// The kind of place that a call did not get.
    Place,
    /// `workspace`, `storage`, `project`, or `other`: the target of a check of a network connection or of clocks.
    FarEnd,
    /// How the counted thing ended.
    Outcome,
    /// A state as in the contract, without its prefix.
    State,
    /// The step of a task that its state belongs to; `NONE` between steps.
    Step,
}

impl Label {
    /// The label's name in series.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Version => "version",
            Self::GrpcService => "grpc_service",
            Self::GrpcMethod => "grpc_method",
            Self::GrpcCode => "grpc_code",
            Self::Class => "class",
            Self::Place => "place",
            Self::FarEnd => "far_end",
            Self::Outcome => "outcome",
            Self::State => "state",
            Self::Step => "step",
        }
    }
}

const ALL: &[&str] = &["registry", "catalog", "scheduler", "transfer"];
const STORES: &[&str] = &["registry", "catalog", "scheduler"];
const FAR_ENDS: &[&str] = &["registry", "catalog", "transfer"];
const REGISTRY: &[&str] = &["registry"];
const CATALOG: &[&str] = &["catalog"];
const SCHEDULER: &[&str] = &["scheduler"];
const TRANSFER: &[&str] = &["transfer"];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $metric:ident: $name:literal, $kind:ident, $unit:ident, [$($label:ident),*], $by:ident, $in_job:ident;)+) => {
        /// A metric that a service of mms serves.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[doc = $help])+ $metric,)+
        }

        impl Metric {
            /// All metrics, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$metric,)+];

            /// The name, as in `mms_store_commits_total`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$metric => $name,)+ }
            }

            /// The type.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$metric => Kind::$kind,)+ }
            }

            /// The unit of the values.
            pub const fn unit(self) -> Unit {
                match self { $(Self::$metric => Unit::$unit,)+ }
            }

            /// The labels that tell its series apart.
            pub const fn labels(self) -> &'static [Label] {
                match self { $(Self::$metric => &[$(Label::$label),*],)+ }
            }

            /// The services that have it.
            pub const fn services(self) -> &'static [&'static str] {
                match self { $(Self::$metric => $by,)+ }
            }

            /// The help text.
            pub fn help(self) -> &'static str {
                match self { $(Self::$metric => concat!($($help),+).trim_ascii(),)+ }
            }

            /// What a migration without trouble does to it.
            pub const fn in_job(self) -> InJob {
                match self { $(Self::$metric => InJob::$in_job,)+ }
            }
        }
    };
}

metrics! {
    /// Always 1; the labels say which version runs.
    Build: "mms_build_info", Gauge, One, [Service, Version], ALL, Still;

    /// gRPC calls that ended, by status. A call whose caller went away is CANCELLED.
    RpcCalls: "mms_rpc_server_calls_total", Counter, One, [GrpcService, GrpcMethod, GrpcCode], ALL, Moves;
    /// From the head of a call to the end of its answer; a stream lasts as long as it is open, and LeaseTasks waits for tasks.
    RpcDuration: "mms_rpc_server_duration_seconds", Histogram, Seconds, [GrpcService, GrpcMethod], ALL, Moves;
    /// gRPC calls and streams that are being answered.
    RpcInFlight: "mms_rpc_server_in_flight", Gauge, One, [GrpcService, GrpcMethod], ALL, Moves;
    /// gRPC calls refused with TOO_MANY_CALLS because all places of their class were taken: for calls, streams or waits in progress, for arriving requests, or for the memory of request bodies.
    RpcRefused: "mms_rpc_server_refused_total", Counter, One, [Class, Place], ALL, Quiet;

    /// Processor time of the process, user and system. Services that share a process all show that process.
    ProcessCpu: "process_cpu_seconds_total", Counter, Seconds, [], ALL, Moves;
    /// Memory of the process that is in RAM.
    ProcessMemory: "process_resident_memory_bytes", Gauge, Bytes, [], ALL, Moves;
    /// Files and sockets that the process has open.
    ProcessFiles: "process_open_fds", Gauge, One, [], ALL, Moves;
    /// Most files and sockets that the process may have open.
    ProcessMostFiles: "process_max_fds", Gauge, One, [], ALL, Still;
    /// Threads of the process.
    ProcessThreads: "process_threads", Gauge, One, [], ALL, Moves;
    /// When the process started, in seconds since 1970.
    ProcessStart: "process_start_time_seconds", Gauge, Seconds, [], ALL, Still;

    /// Commits that wrote something and are on the disk.
    StoreCommits: "mms_store_commits_total", Counter, One, [], STORES, Moves;
    /// Time that it took to make one group of commits durable.
    StoreFlushDuration: "mms_store_flush_duration_seconds", Histogram, Seconds, [], STORES, Moves;
    /// Bytes of the keys and values that one group of commits wrote.
    StoreFlushSize: "mms_store_flush_size_bytes", Histogram, Bytes, [], STORES, Moves;
    /// Commits that wait for the committer or for the disk.
    StoreQueue: "mms_store_queued_commits", Gauge, One, [], STORES, Quiet;
    /// 1 while the disk is full and commits are refused, else 0.
    StoreFull: "mms_store_full", Gauge, One, [], STORES, Quiet;

    /// HTTP requests to a far end: `ok`, `refused` (4xx), `throttled` (429, 503), `failed` (other 5xx), `unanswered`. Each try counts.
    FarEndRequests: "mms_far_end_requests_total", Counter, One, [FarEnd, Outcome], FAR_ENDS, Moves;
    /// Time spent waiting for the heads of a far end's answers, with the time to send the bodies of requests.
    FarEndSeconds: "mms_far_end_request_duration_seconds_total", Counter, Seconds, [FarEnd], FAR_ENDS, Moves;
    /// Requests and blocks that the retry policy repeated. The storage's library repeats by itself, unseen: see outcomes other than `ok`.
    FarEndRetries: "mms_far_end_retries_total", Counter, One, [FarEnd], FAR_ENDS, Quiet;
    /// Bytes of bodies sent to a far end, as on the wire.
    FarEndSent: "mms_far_end_sent_bytes_total", Counter, Bytes, [FarEnd], FAR_ENDS, Moves;
    /// Bytes of bodies received from a far end. Tables on this machine's disk are not among them.
    FarEndReceived: "mms_far_end_received_bytes_total", Counter, Bytes, [FarEnd], FAR_ENDS, Moves;

    /// Data sources by state, deleted ones among them.
    RegistrySources: "mms_registry_data_sources", Gauge, One, [State], REGISTRY, Moves;
    /// Sessions that are open.
    RegistrySessions: "mms_registry_sessions", Gauge, One, [], REGISTRY, Moves;
    /// Uses of data sources that are held.
    RegistryUses: "mms_registry_uses", Gauge, One, [], REGISTRY, Moves;

    /// Scans that are kept, by state.
    CatalogScans: "mms_catalog_scans", Gauge, One, [State], CATALOG, Moves;
    /// Tables that scans have read, those that failed among them.
    CatalogTables: "mms_catalog_scan_tables_total", Counter, One, [Outcome], CATALOG, Moves;
    /// Partitions that scans have found.
    CatalogPartitions: "mms_catalog_scan_partitions_total", Counter, One, [], CATALOG, Moves;
    /// Tables that running scans have found and not read yet.
    CatalogTablesLeft: "mms_catalog_scan_tables_left", Gauge, One, [], CATALOG, Moves;

    /// Jobs that are kept, by state. Those PLANNING are the planner's queue.
    SchedulerJobs: "mms_scheduler_jobs", Gauge, One, [State], SCHEDULER, Moves;
    /// Tasks that are kept, by state and step. Those INIT, SCHEMA_DONE, DATA_DONE and VERIFICATION_DONE are the workers' queue.
    SchedulerTasks: "mms_scheduler_tasks", Gauge, One, [State, Step], SCHEDULER, Moves;
    /// Leases that workers hold.
    SchedulerLeases: "mms_scheduler_leases", Gauge, One, [], SCHEDULER, Moves;
    /// Leases that expired because their holders sent no heartbeat in time.
    SchedulerExpired: "mms_scheduler_leases_expired_total", Counter, One, [], SCHEDULER, Quiet;
    /// Commit intents that are open.
    SchedulerIntents: "mms_scheduler_open_intents", Gauge, One, [], SCHEDULER, Moves;
    /// Notices for the catalog that are not delivered yet.
    SchedulerNotices: "mms_scheduler_queued_notices", Gauge, One, [], SCHEDULER, Moves;

    /// Tasks that this worker can do at once.
    TransferSlots: "mms_transfer_slots", Gauge, One, [], TRANSFER, Still;
    /// Tasks that this worker is working on.
    TransferBusy: "mms_transfer_slots_busy", Gauge, One, [], TRANSFER, Moves;
    /// Attempts at tasks that ended: `done`, `failed`, or `given_up` (lost, drained or stopped).
    TransferAttempts: "mms_transfer_attempts_total", Counter, One, [Outcome], TRANSFER, Moves;
    /// Rows in blocks that arrived. One that is sent again by another attempt counts again.
    TransferRows: "mms_transfer_rows_total", Counter, One, [], TRANSFER, Moves;
    /// Bytes of source files behind those rows.
    TransferSource: "mms_transfer_source_bytes_total", Counter, Bytes, [], TRANSFER, Moves;
    /// Bytes of Arrow data of those rows, before compression.
    TransferArrow: "mms_transfer_arrow_bytes_total", Counter, Bytes, [], TRANSFER, Moves;
    /// Bytes of those blocks on the wire.
    TransferWire: "mms_transfer_wire_bytes_total", Counter, Bytes, [], TRANSFER, Moves;
    /// Blocks: `arrived`, or `lost` and sent again or given up.
    TransferBlocks: "mms_transfer_blocks_total", Counter, One, [Outcome], TRANSFER, Moves;
    /// Units published at the target.
    TransferUnits: "mms_transfer_units_total", Counter, One, [], TRANSFER, Moves;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_their_kind_and_unit() {
        let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len(), "one name, one metric");
        for metric in Metric::ALL {
            let name = metric.name();
            let stem = name.strip_suffix("_total");
            assert_eq!(stem.is_some(), metric.kind() == Kind::Counter, "{name}");
            let stem = stem.unwrap_or(name);
            match metric.unit().word() {
                Some(word) => assert!(stem.ends_with(&format!("_{word}")), "{name}"),
                None => assert!(!stem.ends_with("_seconds") && !stem.ends_with("_bytes"), "{name}"),
            }
            assert!(name.starts_with("mms_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}");
            assert!(metric.help().ends_with('.') && !metric.help().contains('|'), "{name}: {}", metric.help());
            assert!(!metric.services().is_empty());
        }
    }
}
