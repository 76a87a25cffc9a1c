//! Converts migration settings.

use mms_proto::registry::v1 as pb;
use mms_proto::types::v1::{self as types, schedule};
use mms_schedule::{Window, Windows};

use super::value::duration_of;
use crate::record::{CharacterMapping, Clock, Concurrency, Rate, Schedule, Settings, TableBound};

pub(super) fn settings_from(settings: pb::MigrationSettings) -> Settings {
    Settings {
        scan_schedule: settings.scan_schedule.map(schedule_from),
        metadata_concurrency: settings.metadata_concurrency,
        schema_whitelist: settings.schema_whitelist,
        schema_blacklist: settings.schema_blacklist,
        table_whitelist: settings.table_whitelist,
        table_blacklist: settings.table_blacklist,
        max_concurrent_tasks: settings.max_concurrent_tasks,
        sql_parameters: settings.sql_parameters.into_iter().collect(),
        table_names: settings.table_names.map(mapping_from),
        column_names: settings.column_names.map(mapping_from),
        partition_values: settings.partition_values.map(mapping_from),
        max_partitions_per_task: settings.max_partitions_per_task,
        max_bytes_per_task: settings.max_bytes_per_task,
        // The windows were validated before.
        time_windows: Windows::read(&settings.time_windows, "").unwrap_or_default().texts(),
        target_kind: settings.target_kind,
        rate_limit: settings
            .rate_limit
            .map(|rate| Rate { bytes_per_second: rate.bytes_per_second, rows_per_second: rate.rows_per_second }),
        idle_stop_after_ms: settings
            .idle_stop_after
            .map(|idle| idle.seconds.saturating_mul(1000).saturating_add(i64::from(idle.nanos) / 1_000_000)),
        auto_start: settings.auto_start,
        concurrency: settings.concurrency.map(concurrency_from),
    }
}

pub(super) fn settings_to(settings: &Settings) -> pb::MigrationSettings {
    let settings = settings.clone();
    pb::MigrationSettings {
        scan_schedule: settings.scan_schedule.map(schedule_to),
        metadata_concurrency: settings.metadata_concurrency,
        schema_whitelist: settings.schema_whitelist,
        schema_blacklist: settings.schema_blacklist,
        table_whitelist: settings.table_whitelist,
        table_blacklist: settings.table_blacklist,
        max_concurrent_tasks: settings.max_concurrent_tasks,
        sql_parameters: settings.sql_parameters.into_iter().collect(),
        table_names: settings.table_names.map(mapping_to),
        column_names: settings.column_names.map(mapping_to),
        partition_values: settings.partition_values.map(mapping_to),
        max_partitions_per_task: settings.max_partitions_per_task,
        max_bytes_per_task: settings.max_bytes_per_task,
        time_windows: windows_to(&settings.time_windows),
        target_kind: settings.target_kind,
        rate_limit: settings.rate_limit.map(|rate| types::RateLimit {
            bytes_per_second: rate.bytes_per_second,
            rows_per_second: rate.rows_per_second,
            ..types::RateLimit::default()
        }),
        idle_stop_after: settings.idle_stop_after_ms.and_then(duration_of),
        auto_start: settings.auto_start,
        concurrency: settings.concurrency.map(concurrency_to),
    }
}

fn concurrency_from(given: types::Concurrency) -> Concurrency {
    let table = |one: types::TableConcurrency| {
        let named = one.table.unwrap_or_default();
        TableBound { schema: named.schema, table: named.table, tasks: one.tasks }
    };
    Concurrency {
        per_schema: given.tasks_per_schema,
        per_table: given.tasks_per_table,
        schemas: given.schemas.into_iter().collect(),
        tables: given.tables.into_iter().map(table).collect(),
    }
}

fn concurrency_to(own: Concurrency) -> types::Concurrency {
    let table = |one: TableBound| types::TableConcurrency {
        table: Some(types::SourceTable { schema: one.schema, table: one.table }),
        tasks: one.tasks,
    };
    types::Concurrency {
        tasks_per_schema: own.per_schema,
        tasks_per_table: own.per_table,
        schemas: own.schemas.into_iter().collect(),
        tables: own.tables.into_iter().map(table).collect(),
    }
}

/// The stored windows. A window whose time zone this machine does not know is left out.
fn windows_to(texts: &[String]) -> Vec<types::TimeWindow> {
    texts.iter().filter_map(|text| text.parse::<Window>().ok()).map(|window| window.message()).collect()
}

fn schedule_from(schedule: types::Schedule) -> Schedule {
    let mut record = Schedule { time_zone: schedule.time_zone, ..Schedule::default() };
    match schedule.schedule {
        Some(schedule::Schedule::Daily(at)) => {
            record.daily = at.time.map(|time| Clock { hour: time.hour, minute: time.minute });
        }
        Some(schedule::Schedule::Hourly(at)) => record.hourly = Some(at.minute),
        Some(schedule::Schedule::Cron(cron)) => record.cron = Some(cron.expression),
        None => {}
    }
    record
}

fn schedule_to(record: Schedule) -> types::Schedule {
    let daily = |at: Clock| types::Daily { time: Some(types::TimeOfDay { hour: at.hour, minute: at.minute }) };
    let daily = record.daily.map(|at| schedule::Schedule::Daily(daily(at)));
    let hourly = record.hourly.map(|minute| schedule::Schedule::Hourly(types::Hourly { minute }));
    let cron = record.cron.map(|expression| schedule::Schedule::Cron(types::Cron { expression }));
    types::Schedule { schedule: daily.or(hourly).or(cron), time_zone: record.time_zone }
}

fn mapping_from(mapping: pb::CharacterMapping) -> CharacterMapping {
    CharacterMapping {
        characters: mapping.characters.into_iter().collect(),
        other: mapping.other,
        prefix: mapping.prefix,
    }
}

fn mapping_to(mapping: CharacterMapping) -> pb::CharacterMapping {
    pb::CharacterMapping {
        characters: mapping.characters.into_iter().collect(),
        other: mapping.other,
        prefix: mapping.prefix,
    }
}
