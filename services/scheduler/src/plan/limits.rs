//! Computes the limits that hold for a job from its data source's settings and its own spec, which overrides them.
//! Pure.

use mms_proto::defaults::{MAX_BYTES_PER_TASK, MAX_CONCURRENT_TASKS, MAX_PARTITIONS_PER_TASK};
use mms_proto::registry::v1 as registry;
use mms_proto::types::v1::TimeWindow;
use mms_schedule::Windows;

use crate::convert::{concurrency_from, rate_from};
use crate::record::{Limits, Spec};

/// Combines the settings of the data source with the job's own. The source's bound of concurrent tasks is kept beside
/// the job's, because it counts the tasks of all jobs of the source.
pub fn limits(spec: &Spec, settings: registry::MigrationSettings) -> Limits {
    let or = |first: i32, second: i32, default: i32| [first, second, default].into_iter().find(|n| *n > 0).unwrap_or(1);
    let bytes = [spec.max_bytes_per_task, settings.max_bytes_per_task, MAX_BYTES_PER_TASK];
    let mut limits = Limits {
        source_max_concurrent_tasks: or(settings.max_concurrent_tasks, 0, MAX_CONCURRENT_TASKS),
        max_partitions_per_task: or(
            spec.max_partitions_per_task,
            settings.max_partitions_per_task,
            MAX_PARTITIONS_PER_TASK,
        ),
        max_bytes_per_task: bytes.into_iter().find(|n| *n > 0).unwrap_or(MAX_BYTES_PER_TASK),
        sql_parameters: settings.sql_parameters.into_iter().chain(spec.sql_parameters.clone()).collect(),
        tunnel_quota: spec.tunnel_quota.clone(),
        // The registry has validated them. A window in a time zone that only the registry's machine knows stays closed,
        // and its stored text says why.
        source_time_windows: settings.time_windows.iter().map(window_text).collect(),
        source_rate: settings.rate_limit.map(rate_from),
        source_concurrency: settings.concurrency.map(concurrency_from),
        ..Limits::default()
    };
    limits.heed(spec);
    limits
}

/// The text in which a window is stored. A window that cannot be read here is stored as `unreadable in <zone>` and
/// never opens.
fn window_text(window: &TimeWindow) -> String {
    let read = Windows::read(std::slice::from_ref(window), "settings.time_windows");
    let text = read.ok().and_then(|windows| windows.texts().pop());
    text.unwrap_or_else(|| format!("unreadable in {}", window.time_zone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::types::v1::TimeOfDay;

    #[test]
    fn a_job_bounds_itself_and_never_its_source() {
        let bounds = |own: i32, source: i32| {
            let spec = Spec { max_concurrent_tasks: own, ..Spec::default() };
            let settings = registry::MigrationSettings { max_concurrent_tasks: source, ..Default::default() };
            let limits = limits(&spec, settings);
            (limits.max_concurrent_tasks, limits.source_max_concurrent_tasks)
        };
        assert_eq!(bounds(0, 0), (20, 20));
        assert_eq!(bounds(100, 5), (100, 5));
        assert_eq!(bounds(3, 5), (3, 5));
        assert_eq!(bounds(0, 5), (5, 5));
    }

    #[test]
    fn windows_of_a_job_stand_before_those_of_its_source() {
        let window = |zone: &str| TimeWindow {
            start: Some(TimeOfDay { hour: 22, minute: 0 }),
            end: Some(TimeOfDay { hour: 6, minute: 0 }),
            time_zone: zone.to_owned(),
            ..TimeWindow::default()
        };
        let of = |own: &[&str], zone: &str| {
            let own = own.iter().map(|text| (*text).to_owned()).collect();
            let settings = registry::MigrationSettings { time_windows: vec![window(zone)], ..Default::default() };
            limits(&Spec { time_windows: own, ..Spec::default() }, settings).time_windows
        };
        assert_eq!(of(&[], ""), ["22:00-06:00 in UTC"]);
        assert_eq!(of(&["01:00-02:00 in UTC"], ""), ["01:00-02:00 in UTC"]);
        assert_eq!(of(&[], "Nowhere"), ["unreadable in Nowhere"], "nothing starts, and it says why");
        assert!(limits(&Spec::default(), Default::default()).time_windows.is_empty());
    }
}
