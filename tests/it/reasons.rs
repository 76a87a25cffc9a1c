//! Every reason of the contract is provoked by a test. A new value of one of these enums needs a line here, with its
//! test.

use std::collections::BTreeSet;
use std::path::Path;

use mms_proto::descriptor;

/// The enums whose values are reasons.
const ENUMS: [&str; 4] = [
    "mms.type.v1.ErrorReason",
    "mms.type.v1.FindingReason",
    "mms.scheduler.v1.DecisionReason",
    "mms.registry.v1.CheckStepId",
];

/// The file and name of each test, and the values that it provokes.
const PROVOKED: &[(&str, &str, &[&str])] = &[
    (
        "services/transfer/src/error.rs",
        "each_failure_has_its_reason",
        &["ERROR_REASON_STORAGE_DENIED", "ERROR_REASON_CREDENTIAL_EXPIRED"],
    ),
    (
        "tests/it/azurite.rs",
        "what_the_workspace_does_not_vend_is_told_by_check_and_plan",
        &["ERROR_REASON_EXTERNAL_USE_DENIED", "ERROR_REASON_EXTERNAL_ACCESS_OFF"],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "keys_and_kinds",
        &[
            "FINDING_REASON_PRIMARY_KEY_UNUSABLE",
            "FINDING_REASON_PRIMARY_KEY_MERGES",
            "FINDING_REASON_PRIMARY_KEY_LOST",
            "FINDING_REASON_PRIMARY_KEY_REDUCED",
        ],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "limits_are_blockers",
        &["FINDING_REASON_TOO_MANY_COLUMNS", "FINDING_REASON_TOO_MANY_PARTITIONS", "FINDING_REASON_NO_DATA_COLUMN"],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "names_are_mapped_checked_and_told_apart",
        &[
            "FINDING_REASON_TABLE_NAME_ILLEGAL",
            "FINDING_REASON_SCHEMA_NAME_ILLEGAL",
            "FINDING_REASON_COLUMN_NAME_ILLEGAL",
            "FINDING_REASON_COLUMN_NAME_COLLISION",
            "FINDING_REASON_COLUMN_UNKNOWN",
            "FINDING_REASON_COLUMN_RENAMED",
        ],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "partition_columns_follow_type_and_nulls",
        &["FINDING_REASON_PARTITION_TYPE_UNSUPPORTED"],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "twelve_partition_columns_become_six_and_keep_the_column_order",
        &[
            "FINDING_REASON_TABLE_RENAMED",
            "FINDING_REASON_PARTITION_BECOMES_STRING",
            "FINDING_REASON_PARTITION_BECOMES_COLUMN",
        ],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "what_has_no_counterpart_is_a_blocker_that_names_the_column",
        &[
            "FINDING_REASON_FIELD_NAME_ILLEGAL",
            "FINDING_REASON_FIELD_NAME_COLLISION",
            "FINDING_REASON_TYPE_UNSUPPORTED",
            "FINDING_REASON_DECIMAL_SCALE_TOO_LARGE",
        ],
    ),
    (
        "crates/mapping/tests/it/plan.rs",
        "what_is_lost_is_said_once_a_column",
        &[
            "FINDING_REASON_COMMENT_TRUNCATED",
            "FINDING_REASON_FIELD_RENAMED",
            "FINDING_REASON_LENGTH_BOUND_LOST",
            "FINDING_REASON_NESTED_CONSTRAINT_LOST",
            "FINDING_REASON_COLLATION_LOST",
            "FINDING_REASON_DEFAULT_LOST",
            "FINDING_REASON_GENERATION_LOST",
            "FINDING_REASON_CHECK_CONSTRAINT_LOST",
        ],
    ),
    (
        "crates/mms/tests/it/demo.rs",
        "every_sample_table_that_can_be_carried_arrives",
        &["FINDING_REASON_PARTITION_VALUE_UNSUPPORTED"],
    ),
    (
        "crates/mms/tests/it/retry.rs",
        "what_failed_runs_again",
        &["ERROR_REASON_SOURCE_CHANGED", "ERROR_REASON_TASKS_FAILED"],
    ),
    (
        "crates/server/src/layer/answer.rs",
        "a_text_that_nobody_chose_for_callers_stays_in_the_log",
        &["ERROR_REASON_INTERNAL"],
    ),
    (
        "crates/server/src/layer/answer.rs",
        "bare_failures_get_a_reason",
        &["ERROR_REASON_TOO_LARGE", "ERROR_REASON_DEADLINE", "ERROR_REASON_CANCELLED"],
    ),
    ("crates/server/src/rights.rs", "a_method_that_no_contract_has_is_refused", &["ERROR_REASON_MALFORMED"]),
    (
        "crates/server/tests/it/drain.rs",
        "calls_in_flight_finish_and_streams_end_with_a_reason",
        &["ERROR_REASON_UNAVAILABLE"],
    ),
    (
        "crates/server/tests/it/faults.rs",
        "a_process_at_its_limit_says_so_and_still_says_it_lives",
        &["ERROR_REASON_TOO_MANY_CALLS"],
    ),
    (
        "crates/server/tests/it/faults.rs",
        "the_transport_s_own_failures_have_a_reason",
        &["ERROR_REASON_NOT_YET", "ERROR_REASON_INVALID_FIELD"],
    ),
    (
        "crates/server/tests/it/rights.rs",
        "every_method_with_every_role",
        &["ERROR_REASON_UNAUTHENTICATED", "ERROR_REASON_ROLE_TOO_LOW"],
    ),
    (
        "services/catalog/src/plan/emit_tests.rs",
        "values_that_fall_together_are_a_blocker",
        &["FINDING_REASON_PARTITION_CLASH", "FINDING_REASON_PARTITION_VALUE_RENAMED"],
    ),
    ("services/catalog/src/error.rs", "a_full_disk_is_said_as_what_it_is", &["ERROR_REASON_STORAGE_FULL"]),
    (
        "services/catalog/tests/it/plan_of_odd_tables.rs",
        "what_cannot_arrive_is_said_by_column_in_the_plan",
        &[
            "FINDING_REASON_NESTING_TOO_DEEP",
            "FINDING_REASON_TIMESTAMP_OUT_OF_RANGE",
            "FINDING_REASON_TIMESTAMP_BY_STORAGE_API",
            "FINDING_REASON_LOG_FILE_UNREADABLE",
        ],
    ),
    (
        "services/catalog/src/plan/target.rs",
        "the_table_of_another_teaches_nothing_and_is_told",
        &["FINDING_REASON_TARGET_IS_VIEW"],
    ),
    (
        "services/catalog/src/plan/target.rs",
        "the_policy_of_the_job_says_what_a_table_that_is_there_means",
        &["FINDING_REASON_READERS_SEE_GAP"],
    ),
    ("services/catalog/tests/it/filters.rs", "each_list_shows_what_passes", &["ERROR_REASON_INVALID_PAGE_TOKEN"]),
    ("services/catalog/tests/it/reports.rs", "states_by_hand_are_all_or_none", &["ERROR_REASON_WRONG_STATE"]),
    (
        "services/catalog/tests/it/scan.rs",
        "a_scan_needs_a_started_source_and_a_request_id_makes_one_scan",
        &["ERROR_REASON_ALREADY_EXISTS", "ERROR_REASON_REQUEST_ID_REUSED", "ERROR_REASON_SOURCE_NOT_STARTED"],
    ),
    (
        "services/catalog/tests/it/scan_life.rs",
        "one_scan_at_a_time_and_a_cancelled_one_stays_cancelled",
        &["ERROR_REASON_SCAN_RUNNING"],
    ),
    (
        "services/catalog/tests/it/targets.rs",
        "a_target_belongs_to_one_table_until_it_is_sent_elsewhere",
        &["ERROR_REASON_ETAG_MISMATCH", "FINDING_REASON_TARGET_TAKEN"],
    ),
    (
        "services/catalog/tests/it/targets.rs",
        "schema_table_and_job_each_win_over_the_one_before",
        &["FINDING_REASON_PROJECT_NOT_ALLOWED"],
    ),
    (
        "services/catalog/tests/it/unreadable.rs",
        "each_is_a_blocker_with_its_reason_and_a_remedy",
        &[
            "FINDING_REASON_KIND_UNSUPPORTED",
            "FINDING_REASON_SHALLOW_CLONE_UNSUPPORTED",
            "FINDING_REASON_FORMAT_UNSUPPORTED",
            "FINDING_REASON_ROW_FILTER_OR_MASK",
            "FINDING_REASON_STORAGE_UNREADABLE",
            "FINDING_REASON_SCHEMA_RENAMED",
        ],
    ),
    (
        "services/registry/tests/it/check.rs",
        "a_good_source_passes_and_keeps_its_report",
        &[
            "CHECK_STEP_ID_CREDENTIALS_RESOLVED",
            "CHECK_STEP_ID_WORKSPACE_REACHABLE",
            "CHECK_STEP_ID_WORKSPACE_TOKEN",
            "CHECK_STEP_ID_CATALOG_VISIBLE",
            "CHECK_STEP_ID_GRANT",
            "CHECK_STEP_ID_CLUSTER_USABLE",
            "CHECK_STEP_ID_STORAGE_READABLE",
            "CHECK_STEP_ID_PROJECT_REACHABLE",
            "CHECK_STEP_ID_PROJECT_SCHEMAS",
            "CHECK_STEP_ID_TUNNEL_REACHABLE",
            "CHECK_STEP_ID_STATEMENTS_RUN",
            "CHECK_STEP_ID_CLOCK_SOURCE",
            "CHECK_STEP_ID_CLOCK_TARGET",
        ],
    ),
    ("services/registry/tests/it/network.rs", "a_check_connects_to_each_url", &["CHECK_STEP_ID_URL"]),
    (
        "services/registry/tests/it/running.rs",
        "a_use_holds_off_stop_and_delete_until_it_is_given_back",
        &["ERROR_REASON_IN_USE"],
    ),
    (
        "services/registry/tests/it/running.rs",
        "an_end_that_refuses_fails_the_start_and_says_which",
        &["ERROR_REASON_SOURCE_FAILED"],
    ),
    (
        "services/scheduler/src/api/job_tests.rs",
        "a_deletion_wants_the_job_as_it_was_read_and_ended",
        &["ERROR_REASON_NOT_FOUND"],
    ),
    ("services/scheduler/src/api/worker_tests.rs", "a_held_task_belongs_to_one_epoch", &["ERROR_REASON_FENCED"]),
    (
        "services/scheduler/src/api/worker_tests.rs",
        "a_process_that_did_not_register_is_told_to",
        &["ERROR_REASON_WORKER_UNKNOWN"],
    ),
    (
        "services/scheduler/src/job/tests.rs",
        "a_table_is_shared_by_jobs_that_make_the_same_and_drop_nothing",
        &["ERROR_REASON_TARGET_OWNED", "DECISION_REASON_TARGET_OWNED"],
    ),
    (
        "services/scheduler/src/job/tests.rs",
        "an_older_version_is_not_written_over_a_newer_one",
        &["ERROR_REASON_TARGET_NEWER", "DECISION_REASON_TARGET_NEWER", "ERROR_REASON_TABLES_BLOCKED"],
    ),
    (
        "services/scheduler/src/lease/limits_tests.rs",
        "bounds_of_a_table_hold_over_all_jobs_and_those_kept_waiting_say_so",
        &["ERROR_REASON_CONCURRENCY_REACHED"],
    ),
    (
        "services/scheduler/src/lease/limits_tests.rs",
        "a_job_whose_attempts_fail_is_paused_and_a_start_goes_on_with_it",
        &["ERROR_REASON_CIRCUIT_BROKEN"],
    ),
    (
        "services/catalog/src/plan/chosen_tests.rs",
        "what_does_not_fit_the_table_is_told_with_its_name",
        &["FINDING_REASON_PARTITION_FILTER_INVALID", "FINDING_REASON_PARTITION_FILTER_KEEPS_NONE"],
    ),
    (
        "services/catalog/src/plan/chosen_tests.rs",
        "named_partitions_are_found_however_they_are_spelled_and_missing_ones_told",
        &["FINDING_REASON_PARTITION_UNKNOWN", "FINDING_REASON_PARTITIONS_CHOSEN"],
    ),
    (
        "services/catalog/src/plan/chosen_tests.rs",
        "a_target_partition_is_taken_whole_or_not_at_all",
        &["FINDING_REASON_TARGET_PARTITION_SPLIT"],
    ),
    (
        "services/catalog/src/plan/changed_tests.rs",
        "the_plan_says_what_stays_and_what_is_moved",
        &["FINDING_REASON_UNITS_AT_TARGET"],
    ),
    (
        "services/catalog/src/plan/changed_tests.rs",
        "what_the_log_does_not_tell_is_a_reason_for_the_whole_table",
        &["FINDING_REASON_CHANGED_UNITS_WHOLE"],
    ),
    (
        "services/catalog/src/plan/gone.rs",
        "only_what_was_moved_is_there_and_is_planned_no_more_is_gone",
        &["FINDING_REASON_SOURCE_PARTITIONS_GONE"],
    ),
    (
        "services/scheduler/src/window_tests.rs",
        "nothing_is_leased_outside_and_the_job_says_until_when",
        &["ERROR_REASON_OUTSIDE_WINDOWS"],
    ),
    (
        "services/scheduler/src/window_tests.rs",
        "a_unit_that_fits_into_no_window_is_a_finding",
        &["FINDING_REASON_WINDOW_TOO_SHORT"],
    ),
    (
        "services/scheduler/src/timer/run_tests.rs",
        "a_job_that_lives_has_the_next_run_skipped_or_wait",
        &["ERROR_REASON_OVERLAP"],
    ),
    (
        "services/scheduler/src/timer/run_tests.rs",
        "what_was_missed_runs_once_or_is_skipped_and_says_so",
        &["ERROR_REASON_MISSED"],
    ),
    (
        "services/scheduler/src/timer/run_tests.rs",
        "a_run_whose_maker_may_no_longer_stops_its_timer",
        &["ERROR_REASON_MAKER_RIGHTS_GONE"],
    ),
    (
        "services/scheduler/src/lease/lacks.rs",
        "a_job_that_nobody_can_do_says_what_is_missing",
        &["ERROR_REASON_NO_WORKER"],
    ),
    (
        "services/scheduler/src/report/at_target.rs",
        "units_that_a_look_misses_are_written_again",
        &["ERROR_REASON_TARGET_CHANGED"],
    ),
    (
        "services/scheduler/src/lease/tests.rs",
        "a_task_whose_leases_keep_running_out_is_given_up",
        &["ERROR_REASON_LEASE_EXPIRED"],
    ),
    (
        "services/scheduler/src/plan/table_tests.rs",
        "what_a_finding_forbids_is_blocked_and_what_cannot_be_read_is_skipped",
        &["DECISION_REASON_KIND_UNSUPPORTED", "DECISION_REASON_FINDING"],
    ),
    (
        "services/scheduler/src/plan/listing_tests.rs",
        "what_cannot_be_planned_at_all_says_why",
        &["ERROR_REASON_EMPTY_SCOPE", "ERROR_REASON_TABLE_UNKNOWN", "ERROR_REASON_SCOPE_TOO_LARGE"],
    ),
    (
        "services/scheduler/src/report/tests.rs",
        "only_equal_sides_end_a_task_well",
        &["ERROR_REASON_VERIFICATION_FAILED"],
    ),
    ("services/scheduler/src/plan/scope.rs", "a_tables_scope_takes_exactly_what_it_names", &["DECISION_REASON_NAMED"]),
    (
        "services/scheduler/src/plan/scope.rs",
        "white_minus_black_and_case_makes_no_difference",
        &["DECISION_REASON_IN_SCHEMA", "DECISION_REASON_NOT_IN_WHITELIST", "DECISION_REASON_IN_BLACKLIST"],
    ),
    (
        "services/transfer/src/error.rs",
        "each_failure_has_its_reason",
        &[
            "ERROR_REASON_TARGET_FAILED",
            "ERROR_REASON_INTENT_OPEN",
            "ERROR_REASON_TARGET_CONFLICT",
            "ERROR_REASON_VALUE_UNSUPPORTED",
            "ERROR_REASON_STOPPED",
        ],
    ),
    ("services/transfer/src/error.rs", "a_target_that_went_is_a_failure_of_schema", &["ERROR_REASON_TARGET_GONE"]),
    (
        "tests/it/target_changes.rs",
        "unchanged_is_said_only_of_what_nobody_touched",
        &["DECISION_REASON_TARGET_CHANGED"],
    ),
    (
        "tests/it/target_changes.rs",
        "partitions_that_no_plan_has_are_told_and_replaced_ones_go",
        &["FINDING_REASON_TARGET_PARTITION_SURPLUS"],
    ),
    (
        "tests/it/owners.rs",
        "two_suites_with_one_data_source_id_never_own_each_others_tables",
        &["FINDING_REASON_TARGET_DIFFERS", "FINDING_REASON_TARGET_ADOPTED"],
    ),
    (
        "tests/it/skipped.rs",
        "a_table_that_cannot_be_planned_is_blocked_and_a_retry_plans_it_again",
        &[
            "ERROR_REASON_SOURCE_UNSUPPORTED",
            "FINDING_REASON_NO_PARTITION",
            "DECISION_REASON_PLAN_FAILED",
            "DECISION_REASON_RETRIED",
        ],
    ),
    (
        "tests/it/skipped.rs",
        "what_cannot_be_moved_is_skipped_and_the_rest_is_done",
        &["ERROR_REASON_BLOCKED", "ERROR_REASON_TABLES_SKIPPED", "DECISION_REASON_AT_TARGET"],
    ),
];

/// The spellings of a value in tests: without the prefix of its enum, as in NO_PARTITION and NoPartition.
fn spellings(enum_name: &str, value: &str) -> [String; 2] {
    let words = |text: &str| text.split('_').map(str::to_owned).collect::<Vec<_>>();
    let prefix = enum_name.chars().filter(|letter| letter.is_uppercase()).count();
    let own = words(value).split_off(prefix);
    let camel = own.iter().map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
    [own.join("_"), camel]
}

/// All values of the enums that this version can give.
fn values() -> Vec<(String, String)> {
    let mut values = Vec::new();
    for name in ENUMS {
        let kind = descriptor::pool().get_enum_by_name(name).expect("an enum of the contracts");
        for value in kind.values().filter(|value| value.number() != 0) {
            let comment = descriptor::comment(&kind.parent_file(), value.path());
            assert!(!comment.is_empty(), "{} says nothing", value.name());
            if !comment.contains("Not yet") {
                values.push((kind.name().to_owned(), value.name().to_owned()));
            }
        }
    }
    values
}

#[test]
fn each_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let values = values();
    assert!(values.len() > 90, "{} values", values.len());
    let listed: Vec<&str> = PROVOKED.iter().flat_map(|(_, _, values)| values.iter().copied()).collect();
    let known: BTreeSet<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(listed.len(), known.len(), "a value is listed twice");
    for (file, test, provoked) in PROVOKED {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        for (kind, value) in values.iter().filter(|(_, value)| provoked.contains(&value.as_str())) {
            let named = spellings(kind, value).iter().any(|spelling| text.contains(spelling.as_str()));
            assert!(named, "{file} does not speak of {value}");
        }
    }
}
