//! Bounds on the wire, before decoding: what is too long is named by its path, also where it is sent in pieces that
//! decoding would merge; what would take much more memory than its bytes is rejected. `tests/it/hostile.rs` shows what
//! each request of each method costs a running process.

use mms_proto::catalog::v1::BatchUpdateTablesRequest;
use mms_proto::registry::v1::{DataSource, UpdateDataSourceRequest};
use mms_proto::scheduler::v1::{BeginCommitRequest, CreateJobRequest};
use mms_proto::{ApiError, ErrorReason, bounds, descriptor};
use prost::{Message, Name};

use crate::wire::field;

fn check<T: Name>(bytes: &[u8]) -> Result<(), ApiError> {
    bounds::check(&descriptor::message::<T>(), bytes)
}

fn number<T: Name>(name: &str) -> u32 {
    descriptor::message::<T>().get_field_by_name(name).unwrap().number()
}

#[test]
fn items_are_counted_and_named() {
    let tables = field(number::<BatchUpdateTablesRequest>("requests"), &[]).repeat(8_000_000);
    let error = check::<BatchUpdateTablesRequest>(&tables).unwrap_err();
    assert_eq!((error.reason, error.violations[0].field.as_str()), (ErrorReason::InvalidField, "requests"));
    assert!(error.message.contains("at most"), "{error}");

    let paths = field(1, &[]).repeat(500_000);
    let mask = field(number::<UpdateDataSourceRequest>("update_mask"), &paths);
    let error = check::<UpdateDataSourceRequest>(&mask).unwrap_err();
    assert_eq!(error.violations[0].field, "update_mask.paths");
}

#[test]
fn pieces_that_decoding_merges_count_together() {
    let (settings, list) = (number::<DataSource>("settings"), "schema_whitelist");
    let settings_type = descriptor::message::<DataSource>().get_field(settings).unwrap();
    let list = settings_type.kind().as_message().unwrap().get_field_by_name(list).unwrap().number();
    // Each piece alone keeps every bound.
    let source = field(settings, &field(list, b"a").repeat(50)).repeat(10_000);
    let request = field(number::<UpdateDataSourceRequest>("data_source"), &source);
    let error = check::<UpdateDataSourceRequest>(&request).unwrap_err();
    assert_eq!(error.violations[0].field, "data_source.settings.schema_whitelist");
}

#[test]
fn lists_in_lists_that_multiply_are_refused_as_a_whole() {
    let message = descriptor::message::<BeginCommitRequest>();
    let requests = message.get_field_by_name("requests").unwrap();
    let commit = requests.kind().as_message().unwrap().clone();
    let intent = commit.get_field_by_name("intent").unwrap();
    let units = intent.kind().as_message().unwrap().get_field_by_name("units").unwrap().number();
    let one = field(intent.number(), &field(units, &[]).repeat(900));
    let request = field(requests.number(), &one).repeat(100);
    let error = check::<BeginCommitRequest>(&request).unwrap_err();
    assert_eq!(error.reason, ErrorReason::TooLarge, "{error}");
}

#[test]
fn what_is_legitimate_or_not_well_formed_passes() {
    let scope = |tables: usize| {
        let mut job = CreateJobRequest { parent: "dataSources/a".into(), ..CreateJobRequest::default() };
        job.request_id = "x".repeat(tables.min(60));
        job.encode_to_vec()
    };
    check::<CreateJobRequest>(&scope(10)).unwrap();
    for bytes in [&[0xFF; 20][..], &[0x0A, 0xFF, 0x01], &[0x0B], b""] {
        check::<CreateJobRequest>(bytes).unwrap();
    }
}
