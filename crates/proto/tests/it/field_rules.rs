//! The contract's field rules, applied: all violations at once, by path, without secrets.

use mms_proto::ErrorReason;
use mms_proto::catalog::v1::{BatchUpdateTablesRequest, Table, UpdateTableRequest};
use mms_proto::registry::v1::databricks_source::WorkspaceAuth;
use mms_proto::registry::v1::{
    AccessToken, CreateDataSourceRequest, DataSource, DatabricksSource, GetDataSourceRequest, MaxComputeConfig,
    UpdateDataSourceRequest,
};
use mms_proto::scheduler::v1 as scheduler;
use mms_proto::types::v1::{Concurrency, RateLimit, SourceTable, TableOptions, TargetTable};
use mms_proto::validate::{clear_output_only, not_yet, validate, violations};
use scheduler::job_spec::Scope;

fn paths<T: prost::Message + prost::Name>(message: &T) -> Vec<String> {
    violations(message).into_iter().map(|violation| violation.field).collect()
}

#[test]
fn every_violation_is_named_at_once() {
    let request = CreateDataSourceRequest {
        data_source_id: "Not An Id".into(),
        data_source: Some(DataSource {
            display_name: "not allowed!".into(),
            network_connection: "dataSources/a".into(),
            source: Some(
                DatabricksSource {
                    workspace_url: "ftp://x".into(),
                    read_path: 99,
                    workspace_auth: Some(WorkspaceAuth::AccessToken(AccessToken {
                        token: "s3cret".repeat(1000),
                        ..AccessToken::default()
                    })),
                    ..DatabricksSource::default()
                }
                .into(),
            ),
            ..DataSource::default()
        }),
        ..CreateDataSourceRequest::default()
    };
    let found = paths(&request);
    for path in [
        "data_source_id",
        "data_source.display_name",
        "data_source.network_connection",
        "data_source.databricks.workspace_url",
        "data_source.databricks.catalog",
        "data_source.databricks.read_path",
        "data_source.databricks.access_token.token",
        "data_source.max_compute",
    ] {
        assert!(found.iter().any(|field| field == path), "{path} is missing in {found:?}");
    }
    let error = validate(&request).unwrap_err();
    assert_eq!((error.code, error.reason), (tonic::Code::InvalidArgument, ErrorReason::InvalidField));
    assert!(!format!("{error:?}").contains("s3cret"), "a violation must not repeat a secret");
}

#[test]
fn a_name_must_have_its_shape() {
    let request = |name: &str| GetDataSourceRequest { name: name.into() };
    assert!(paths(&request("dataSources/a")).is_empty());
    for wrong in ["", "dataSources/-", "dataSources/A", "networkConnections/a", "dataSources/a/jobs/b"] {
        assert_eq!(paths(&request(wrong)), ["name"], "{wrong:?}");
    }
}

#[test]
fn an_update_is_judged_where_its_mask_goes() {
    let update = |mask: &[&str], databricks: Option<DatabricksSource>| UpdateDataSourceRequest {
        name: "dataSources/a".into(),
        data_source: Some(DataSource {
            display_name: "new".into(),
            source: databricks.map(Into::into),
            ..DataSource::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: mask.iter().map(|path| (*path).to_owned()).collect() }),
        ..UpdateDataSourceRequest::default()
    };
    assert!(paths(&update(&["display_name"], None)).is_empty());
    let touched = paths(&update(&["databricks.workspace_url"], Some(DatabricksSource::default())));
    assert_eq!(touched, ["data_source.databricks.workspace_url"]);
    let mask = update(&["state", "no_such", "databricks.catalog", "display_name"], None);
    let found = paths(&mask);
    for wrong in ["update_mask.paths[0]", "update_mask.paths[1]", "update_mask.paths[2]"] {
        assert!(found.iter().any(|path| path == wrong), "{wrong} is missing in {found:?}");
    }
    assert!(!found.iter().any(|path| path == "update_mask.paths[3]"));
}

#[test]
fn what_the_service_sets_is_ignored_and_cleared() {
    let source = DataSource {
        uid: "mine".into(),
        state: 3,
        display_name: "kept".into(),
        source: Some(
            DatabricksSource {
                workspace_auth: Some(WorkspaceAuth::AccessToken(AccessToken { token: "t".into(), is_set: true })),
                ..DatabricksSource::default()
            }
            .into(),
        ),
        max_compute: Some(MaxComputeConfig::default()),
        ..DataSource::default()
    };
    let cleared = clear_output_only(&source);
    assert_eq!((cleared.uid.as_str(), cleared.state, cleared.display_name.as_str()), ("", 0, "kept"));
    let auth = cleared.databricks().and_then(|databricks| databricks.workspace_auth.clone());
    assert_eq!(auth, Some(WorkspaceAuth::AccessToken(AccessToken { token: "t".into(), is_set: false })));
}

#[test]
fn a_number_that_is_not_set_is_judged_where_0_is_too_little() {
    let lease = |max_tasks| scheduler::LeaseTasksRequest {
        worker: "workers/a".into(),
        instance: "i".into(),
        max_tasks,
        wait: None,
    };
    assert_eq!(paths(&lease(0)), ["max_tasks"]);
    assert!(paths(&lease(1)).is_empty());
}

fn job(spec: scheduler::JobSpec) -> scheduler::CreateJobRequest {
    let job = scheduler::Job { spec: Some(spec), ..scheduler::Job::default() };
    scheduler::CreateJobRequest { parent: "dataSources/a".into(), job: Some(job), ..Default::default() }
}

fn table(schema: &str, table: &str) -> SourceTable {
    SourceTable { schema: schema.to_owned(), table: table.to_owned() }
}

fn tables() -> Option<Scope> {
    Some(Scope::Tables(scheduler::TablesScope { tables: vec![table("s", "t")] }))
}

#[test]
fn items_keys_and_values_have_rules_of_their_own() {
    let long = "x".repeat(600);
    let options = TableOptions {
        table: Some(table("s", "t")),
        target: Some(TargetTable { project: "1".into(), ..TargetTable::default() }),
        column_names: [("a".to_owned(), String::new()), (String::new(), "b".to_owned())].into(),
        ..TableOptions::default()
    };
    let named = vec![table("s", "t"), table("s", ""), table("s", &long)];
    let spec = scheduler::JobSpec {
        scope: Some(Scope::Tables(scheduler::TablesScope { tables: named })),
        table_options: vec![TableOptions::default(), options],
        ..scheduler::JobSpec::default()
    };
    let mut found = paths(&job(spec));
    found.sort();
    let mut expected = [
        "job.spec.table_options[0].table",
        "job.spec.table_options[1].column_names[\"\"]",
        "job.spec.table_options[1].column_names[\"a\"]",
        "job.spec.table_options[1].target.project",
        "job.spec.tables.tables[1].table",
        "job.spec.tables.tables[2].table",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let bounds = Concurrency { schemas: [("s".to_owned(), 0)].into(), ..Concurrency::default() };
    let spec = scheduler::JobSpec { scope: tables(), concurrency: Some(bounds), ..scheduler::JobSpec::default() };
    assert_eq!(paths(&job(spec)), ["job.spec.concurrency.schemas[\"s\"]"]);
}

#[test]
fn what_bounds_multiply_to_is_bounded_in_bytes() {
    let beat = |bytes: usize| scheduler::LeaseBeat {
        task: "t".to_owned(),
        epoch: Some(scheduler::Epoch::default()),
        checkpoint: vec![7; bytes].into(),
        ..scheduler::LeaseBeat::default()
    };
    let heartbeat = |beats: Vec<scheduler::LeaseBeat>| scheduler::HeartbeatRequest {
        worker: "workers/w".to_owned(),
        instance: "i".to_owned(),
        beats,
    };
    assert!(paths(&heartbeat(vec![beat(65_536); 190])).is_empty());
    let found = violations(&heartbeat(vec![beat(65_536); 200]));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert!(one.field == "beats" && one.description.contains("at most 12582912"), "{one:?}");
}

#[test]
fn one_of_several_must_be_chosen() {
    let found = violations(&job(scheduler::JobSpec::default()));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(one.field, "job.spec.scope");
    assert_eq!(one.description, "is required: set one of schemas, tables, partitions");
}

#[test]
fn each_update_of_a_batch_is_judged_by_its_own_mask() {
    let update = |paths: &[&str]| UpdateTableRequest {
        name: "dataSources/a/schemas/s/tables/t".into(),
        table: Some(Table::default()),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
    };
    let request = BatchUpdateTablesRequest {
        parent: "dataSources/a".into(),
        requests: vec![update(&["target"]), update(&["state", "nothing"]), update(&[])],
    };
    let found = paths(&request);
    assert_eq!(
        found,
        ["requests[1].update_mask.paths[0]", "requests[1].update_mask.paths[1]", "requests[2].update_mask.paths"]
    );
}

#[test]
fn all_that_this_version_has_not_is_named_at_once_and_after_what_is_wrong() {
    let spec = scheduler::JobSpec {
        scope: tables(),
        engine: scheduler::Engine::Spark as i32,
        rate_limit: Some(RateLimit { source_queries_per_second: 0.5, ..RateLimit::default() }),
        ..scheduler::JobSpec::default()
    };
    let request = job(spec.clone());
    let expected = ["job.spec.engine ENGINE_SPARK", "job.spec.rate_limit.source_queries_per_second"];
    assert_eq!(not_yet(&request), expected);
    let error = validate(&request).unwrap_err();
    assert_eq!((error.code, error.reason), (tonic::Code::Unimplemented, ErrorReason::NotYet));
    assert_eq!(error.metadata["feature"], expected.join(", "));
    let wrong = validate(&job(scheduler::JobSpec { scope: None, ..spec })).unwrap_err();
    assert_eq!(wrong.reason, ErrorReason::InvalidField);
    let zeros =
        scheduler::JobSpec { scope: tables(), rate_limit: Some(RateLimit::default()), ..scheduler::JobSpec::default() };
    assert!(not_yet(&job(zeros)).is_empty());
}

#[test]
fn a_duration_is_judged_in_seconds() {
    let wait = |seconds, nanos| scheduler::LeaseTasksRequest {
        worker: "workers/w".into(),
        instance: "i".into(),
        max_tasks: 1,
        wait: Some(prost_types::Duration { seconds, nanos }),
    };
    for (seconds, nanos) in [(0, 0), (30, 0), (29, 999_999_999)] {
        assert!(paths(&wait(seconds, nanos)).is_empty(), "{seconds} s {nanos} ns");
    }
    for (seconds, nanos) in [(0, -1), (-5, 0), (30, 1), (i64::MAX, 0)] {
        assert_eq!(paths(&wait(seconds, nanos)), ["wait"], "{seconds} s {nanos} ns");
    }
    let unset = scheduler::LeaseTasksRequest { wait: None, ..wait(0, 0) };
    assert!(paths(&unset).is_empty());
}

#[test]
fn what_is_the_services_own_to_say_is_refused_in_any_case() {
    let with = |name: &str| {
        let sql_parameters = [(name.to_owned(), "true".to_owned())].into();
        let job = scheduler::JobSpec { sql_parameters, ..scheduler::JobSpec::default() };
        violations(&scheduler::CreateJobRequest {
            job: Some(scheduler::Job { spec: Some(job), ..scheduler::Job::default() }),
            ..scheduler::CreateJobRequest::default()
        })
    };
    for own in ["odps.namespace.schema", "odps.sql.TimeZone", "odps.sql.decimal.odps2"] {
        let field = format!("job.spec.sql_parameters[{own:?}]");
        let found: Vec<_> = with(own).into_iter().filter(|violation| violation.field == field).collect();
        assert!(matches!(&found[..], [one] if one.description.contains("leave it out")), "{own}: {found:?}");
    }
    assert!(with("odps.sql.mapper.split.size").iter().all(|violation| !violation.field.contains("sql_parameters")));
}
