//! Schedules compared with a table of cases, and with a simulated clock that is read every minute.

use super::*;
use jiff::Timestamp;
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a moment").as_millisecond()
}

fn text(ms: i64) -> String {
    Timestamp::from_millisecond(ms).expect("in range").to_string()
}

fn schedule(text: &str) -> Schedule {
    text.parse().expect("a schedule")
}

/// The next `count` times after a moment.
fn runs(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let next = |at: &i64| schedule.next_after(*at);
    std::iter::successors(next(&ms(from)), next).take(count).map(text).collect()
}

/// Cases where clocks change: the schedule, a moment, and the next times after it.
const CASES: &[(&str, &str, &[&str])] = &[
    // New York skips 02:00 to 03:00 on 8 March 2026: a schedule for 02:30 runs at 03:00, and at 02:30 again the day after.
    (
        "daily 02:30 in America/New_York",
        "2026-03-07T12:00:00Z",
        &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"],
    ),
    ("daily 02:00 in America/New_York", "2026-03-07T12:00:00Z", &["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]),
    // It shows 01:00 to 02:00 twice on 1 November: a schedule for 01:30 runs once, the first time.
    ("daily 01:30 in America/New_York", "2026-10-31T12:00:00Z", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
    ("daily 01:30 in America/New_York", "2026-11-01T05:45:00Z", &["2026-11-02T06:30:00Z"]),
    ("daily 01:30 in America/New_York", "2026-11-01T06:15:00Z", &["2026-11-02T06:30:00Z"]),
    // Intervals follow the clock: once in every hour that it shows.
    (
        "hourly :30 in America/New_York",
        "2026-11-01T04:45:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z"],
    ),
    ("hourly :30 in America/New_York", "2026-03-08T06:00:00Z", &["2026-03-08T06:30:00Z", "2026-03-08T07:30:00Z"]),
    // Several fixed times in a gap run once, at its end.
    ("cron 0,30 2 * * * in Europe/Berlin", "2026-03-29T00:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
    ("cron 0 2,3 * * * in Europe/Berlin", "2026-03-29T00:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
    ("cron */20 2 * * * in Europe/Berlin", "2026-03-29T00:00:00Z", &["2026-03-30T00:00:00Z", "2026-03-30T00:20:00Z"]),
    // Lord Howe puts its clock forward by half an hour, from 02:00 to 02:30.
    ("daily 02:15 in Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]),
    ("hourly :15 in Australia/Lord_Howe", "2026-10-03T14:00:00Z", &["2026-10-03T14:45:00Z", "2026-10-03T16:15:00Z"]),
    // Havana skips midnight.
    ("daily 00:00 in America/Havana", "2026-03-07T12:00:00Z", &["2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"]),
    // Apia skipped 30 December 2011.
    (
        "daily 09:00 in Pacific/Apia",
        "2011-12-29T12:00:00Z",
        &["2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"],
    ),
    ("daily 02:30 in Asia/Shanghai", "2026-03-07T12:00:00Z", &["2026-03-07T18:30:00Z", "2026-03-08T18:30:00Z"]),
    ("cron 0 6 29 2 * in UTC", "2025-01-01T00:00:00Z", &["2028-02-29T06:00:00Z", "2032-02-29T06:00:00Z"]),
    ("cron 30 1 * * SUN in UTC", "2026-11-30T00:00:00Z", &["2026-12-06T01:30:00Z"]),
    (
        "cron 0 0 13 * 5 in UTC",
        "2026-11-01T00:00:00Z",
        &["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"],
    ),
];

#[test]
fn clocks_that_change_by_a_table_of_cases() {
    for (schedule_text, from, expected) in CASES {
        assert_eq!(runs(&schedule(schedule_text), from, expected.len()), *expected, "{schedule_text} from {from}");
    }
}

#[test]
fn what_never_comes_or_only_some_programs_take_is_refused() {
    let cases = [
        ("cron 0 0 30 2 * in UTC", "never comes"),
        ("cron 0 0 31 4,6,9,11 * in UTC", "never comes"),
        ("cron * * * * in UTC", "five fields"),
        ("cron 0 0 0 * * * in UTC", "five fields"),
        ("cron @daily in UTC", "five fields"),
        ("cron 60 * * * * in UTC", "no cron expression"),
        ("cron 0 0 L * * in UTC", "L in field L"),
        ("cron 0 0 15W * * in UTC", "15W"),
        ("cron 0 0 * * 5#3 in UTC", "# in field 5#3"),
        ("cron 0 0 ? * * in UTC", "? in field ?"),
        ("cron 0 0 * FRI * in UTC", "FRI in field FRI"),
        ("daily 24:00 in UTC", "24:00"),
        ("daily 02:30 in Mars/Olympus", "Mars/Olympus"),
        ("weekly 02:30 in UTC", "no schedule"),
    ];
    for (text, said) in cases {
        let refused = text.parse::<Schedule>().expect_err(text).to_string();
        assert!(refused.contains(said), "{text}: {refused}");
    }
}

const ZONES: [&str; 9] = [
    "UTC",
    "Asia/Shanghai",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Apia",
];

/// A moment shortly before the first clock change after the beginning of a year; before that beginning if there is none.
fn near_a_change(zone: &Zone, year: i64, before_min: i64) -> i64 {
    let from = (year - 1970) * 31_557_600_000;
    zone.change_after(from).unwrap_or(from) - before_min * MINUTE_MS
}

/// The moments at which a clock that is read every minute finds the schedule due.
fn looked(zone: &Zone, hour: Option<i8>, minute: i8, from: i64, minutes: i64) -> Vec<i64> {
    let mut due = Vec::new();
    // The latest time that the clock has shown so far: what it shows again is not due again.
    let mut latest = zone.civil(from - 3 * 24 * 60 * MINUTE_MS);
    for step in -3 * 24 * 60..=minutes {
        let at = from + step * MINUTE_MS;
        let shows = zone.civil(at);
        let fires = match hour {
            None => shows.minute() == minute,
            Some(hour) => {
                // The gap may contain a day.
                let days = [latest.date(), shows.date()];
                days.iter().any(|day| {
                    let due = day.at(hour, minute, 0, 0);
                    latest < due && due <= shows
                })
            }
        };
        if fires && step > 0 {
            due.push(at);
        }
        latest = latest.max(shows);
    }
    due
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No time is missed and none occurs twice, whatever the clock does.
    #[test]
    fn runs_are_those_that_a_look_at_the_clock_each_minute_finds(
        zone in 0..ZONES.len(),
        year in 2009i64..2037,
        before in 0i64..2_000,
        hour in proptest::option::of(0i8..24),
        minute in 0i8..60,
    ) {
        let zone = Zone::named(ZONES[zone]).expect("a zone");
        let from = near_a_change(&zone, year, before).div_euclid(MINUTE_MS) * MINUTE_MS;
        let minutes = 3 * 24 * 60;
        let rule = match hour {
            Some(hour) => Rule::Daily { hour: hour.unsigned_abs(), minute: minute.unsigned_abs() },
            None => Rule::Hourly { minute: minute.unsigned_abs() },
        };
        let schedule = Schedule::new(rule, zone.clone()).expect("a schedule");
        let next = |at: &i64| schedule.next_after(*at).filter(|at| *at <= from + minutes * MINUTE_MS);
        let found: Vec<String> = std::iter::successors(next(&from), next).map(text).collect();
        let expected: Vec<String> = looked(&zone, hour, minute, from, minutes).into_iter().map(text).collect();
        prop_assert_eq!(found, expected);
    }

    /// The next time is the same from every moment before it.
    #[test]
    fn the_next_run_does_not_depend_on_where_it_is_looked_for_from(
        zone in 0..ZONES.len(),
        year in 2009i64..2037,
        before in 0i64..2_000,
        part in 0.0f64..1.0,
        cron in prop::sample::select(vec!["*/7 * * * *", "5 1-4 * * *", "0,59 */3 * * *", "30 2 * * 0", "0 0 * * *"]),
    ) {
        let zone = Zone::named(ZONES[zone]).expect("a zone");
        let schedule = Schedule::new(Rule::Cron(cron.to_owned()), zone.clone()).expect("a schedule");
        let from = near_a_change(&zone, year, before);
        let next = schedule.next_after(from).expect("it comes");
        prop_assert!(next > from);
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let between = from + ((next - from) as f64 * part) as i64;
        if between < next {
            prop_assert_eq!(schedule.next_after(between), Some(next));
        }
    }

    #[test]
    fn a_schedule_is_kept_as_its_text(hour in 0u8..24, minute in 0u8..60, zone in 0..ZONES.len(), kind in 0..3) {
        let rule = match kind {
            0 => Rule::Daily { hour, minute },
            1 => Rule::Hourly { minute },
            _ => Rule::Cron(format!("{minute} {hour} * * MON-FRI")),
        };
        let schedule = Schedule::new(rule, Zone::named(ZONES[zone]).expect("a zone")).expect("a schedule");
        prop_assert_eq!(schedule.to_string().parse::<Schedule>().expect("its own text"), schedule);
    }
}
