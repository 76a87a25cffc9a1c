//! What a request may cost in memory: for every request of every method, with each of its lists filled up to nearly the
//! largest message, checking, decoding and validating takes at most eight times its bytes plus 16 MB.
//!
//! Measured in a child process by a counting allocator.

#![allow(clippy::print_stdout, reason = "the child tells its figures on stdout")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use mms_proto::{bounds, descriptor};
use prost::{Message, Name};
use prost_reflect::{FieldDescriptor, Kind};

use crate::wire::{field, lists};

const CHILD: &str = "MMS_PROTO_MEMORY_CHILD";
const BYTES: usize = 15 << 20;
const FACTOR: usize = 8;
const FREE: usize = 16_000_000;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

impl Counting {
    fn grown(bytes: usize) {
        let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator has no other form; it hands on to that of the system")]
// SAFETY: every call is passed to the system allocator with the arguments it was made with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grown(layout.size());
        // SAFETY: as this call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as this call.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // As if the old and the new block exist at once, which they may.
        Self::grown(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as this call.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a service does with a request before its handler runs.
fn handle<T: Message + Name + Default>(bytes: &[u8]) {
    if bounds::check(&descriptor::message::<T>(), bytes).is_err() {
        return;
    }
    if let Ok(request) = T::decode(bytes) {
        drop(mms_proto::validate(&request));
    }
}

type Handle = fn(&[u8]);

macro_rules! requests {
    ($($service:ident: $($request:ident)*;)*) => {
        fn handlers() -> BTreeMap<String, Handle> {
            let all = [$($((
                <mms_proto::$service::v1::$request as Name>::full_name(),
                handle::<mms_proto::$service::v1::$request> as Handle,
            ),)*)*];
            all.into()
        }
    };
}

requests! {
    audit: ListAuditEntriesRequest;
    catalog: BatchSetMigrationStateRequest BatchUpdateTablesRequest CancelScanRequest CreateScanRequest
        GetPartitionRequest GetScanRequest GetSchemaRequest GetSourceSummaryRequest GetTableRequest
        ListPartitionsRequest ListScansRequest ListSchemasRequest ListTablesRequest PinTableRequest
        PlanTableRequest ReportMigrationRequest RequestScanRequest UpdateSchemaRequest UpdateTableRequest WatchScanRequest;
    registry: AcquireUseRequest CheckDataSourceRequest CheckNetworkConnectionRequest CloseSessionRequest
        CreateDataSourceRequest CreateNetworkConnectionRequest DeleteDataSourceRequest
        DeleteNetworkConnectionRequest GetDataSourceRequest GetNetworkConnectionRequest ListConfigItemsRequest
        ListDataSourcesRequest ListNetworkConnectionsRequest ListUsesRequest OpenSessionRequest ReleaseUseRequest
        RenewSessionRequest RotateEncryptionKeyRequest StartDataSourceRequest StopDataSourceRequest
        UndeleteDataSourceRequest UpdateDataSourceRequest UpdateNetworkConnectionRequest VendCredentialsRequest
        WatchDataSourcesRequest;
    scheduler: ApproveJobRequest BeginCommitRequest CancelIntentRequest CreateJobRequest CreateTimerRequest
        DeleteJobRequest DeleteTimerRequest ExportJobRequest GetJobRequest GetJobTableRequest GetTaskRequest
        GetTimerRequest GetTimerRunRequest GetWorkerRequest HeartbeatRequest LeaseTasksRequest ListFindingsRequest
        ListIntentsRequest ListJobTablesRequest ListJobsRequest ListLineageRequest ListTaskLogsRequest
        ListTasksRequest ListTimerRunsRequest ListTimersRequest ListVerificationChecksRequest ListWorkersRequest
        ReadPublishedUnitsRequest ReadTaskManifestRequest RegisterWorkerRequest ReleaseTasksRequest
        ReportTasksRequest ResolveCommitsRequest RetryJobRequest RetryTaskRequest StartJobRequest StopJobRequest
        TriggerTimerRequest UpdateJobRequest UpdateTimerRequest WatchJobRequest WatchTaskRequest;
    transfer: DrainWorkerRequest GetTransferRequest ListTransfersRequest WatchTransferRequest;
}

/// The list filled with items of several sizes, as many as fit: once as one item of the lists around it, and once as
/// many items of the outer lists, each with a few of these.
fn messages(way: &[FieldDescriptor]) -> Vec<Vec<u8>> {
    let [around @ .., list] = way else { return Vec::new() };
    let item = |bytes: usize| match list.kind() {
        Kind::Message(_) if bytes > 2 => field(list.number(), &field(1, &vec![b'a'; bytes - 2])),
        Kind::Message(_) | Kind::String | Kind::Bytes => field(list.number(), &vec![b'a'; bytes]),
        _ => field(list.number(), &vec![1; bytes.max(1)]),
    };
    let wrap = |inner: Vec<u8>| around.iter().rev().fold(inner, |inner, around| field(around.number(), &inner));
    let mut made = Vec::new();
    for bytes in [0, 3, 40, 4000] {
        let item = item(bytes);
        made.push(wrap(item.repeat(BYTES / item.len())));
        let few = wrap(item.repeat(3));
        made.push(few.repeat(BYTES / few.len()));
    }
    made
}

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let handlers = handlers();
    let (mut tried, mut worst) = (0, (0, String::new()));
    let mut seen = BTreeMap::new();
    for method in descriptor::methods() {
        seen.insert(method.input.full_name().to_owned(), method.input.clone());
    }
    for (name, input) in seen {
        let handle = handlers.get(&name).unwrap_or_else(|| panic!("{name} is not tried: add it to the list above"));
        let mut found = Vec::new();
        lists(&input, &mut Vec::new(), &mut found);
        for way in found {
            for message in messages(&way) {
                let before = NOW.load(Ordering::Relaxed) - message.capacity();
                PEAK.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
                handle(&message);
                let took = PEAK.load(Ordering::Relaxed) - before;
                let path = way.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
                assert!(
                    took <= FACTOR * message.len() + FREE,
                    "{name} {path}: {took} bytes for a message of {} ({:02x?}…)",
                    message.len(),
                    &message[..16]
                );
                tried += 1;
                worst = worst.max((took * 10 / message.len(), format!("{name} {path}")));
            }
        }
    }
    println!("\nTRIED {tried}, most is {}.{} times the bytes: {}", worst.0 / 10, worst.0 % 10, worst.1);
}

#[test]
fn no_request_takes_more_than_eight_times_its_bytes_and_sixteen_megabytes() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "memory::child", "--nocapture"]).env(CHILD, "1");
    let output = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let told = said.lines().find_map(|line| line.strip_prefix("TRIED "));
    assert!(output.status.success() && told.is_some(), "{said}\n{errors}");
    println!("{}", told.unwrap());
}
