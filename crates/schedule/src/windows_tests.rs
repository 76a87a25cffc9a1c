//! Windows compared with a table of cases, and with a simulated clock that is read every minute.

use super::*;
use crate::window::Days;
use crate::zone::Zone;
use jiff::Timestamp;
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;
const ZONES: [&str; 6] =
    ["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"];

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a moment").as_millisecond()
}

fn text(ms: Option<i64>) -> String {
    ms.map_or_else(|| "never".to_owned(), |ms| Timestamp::from_millisecond(ms).expect("in range").to_string())
}

fn windows(texts: &[&str]) -> Windows {
    Windows::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).expect("windows")
}

/// Windows, a moment, and when they next open and close from there.
const CASES: &[(&[&str], &str, &str, &str)] = &[
    (&[], "2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z", "never"),
    (&["22:00-06:00 in UTC"], "2026-11-30T12:00:00Z", "2026-11-30T22:00:00Z", "2026-11-30T12:00:00Z"),
    (&["22:00-06:00 in UTC"], "2026-11-30T23:00:00Z", "2026-11-30T23:00:00Z", "2026-12-01T06:00:00Z"),
    (&["22:00-06:00 in UTC"], "2026-12-01T05:59:59Z", "2026-12-01T05:59:59Z", "2026-12-01T06:00:00Z"),
    // It starts on Sunday, and is still open on Monday morning.
    (&["SUN 22:00-06:00 in UTC"], "2026-11-30T05:00:00Z", "2026-11-30T05:00:00Z", "2026-11-30T06:00:00Z"),
    (&["SUN 22:00-06:00 in UTC"], "2026-11-30T06:00:00Z", "2026-12-06T22:00:00Z", "2026-11-30T06:00:00Z"),
    // Overlapping windows count as one; windows that cover the whole day never close.
    (
        &["10:00-14:00 in UTC", "13:00-16:00 in UTC"],
        "2026-11-30T11:00:00Z",
        "2026-11-30T11:00:00Z",
        "2026-11-30T16:00:00Z",
    ),
    (&["00:00-12:00 in UTC", "12:00-00:00 in UTC"], "2026-11-30T11:00:00Z", "2026-11-30T11:00:00Z", "never"),
    (&["05:00-05:00 in UTC"], "2026-11-30T11:00:00Z", "2026-11-30T11:00:00Z", "never"),
    (&["TUE 05:00-05:00 in UTC"], "2026-11-30T11:00:00Z", "2026-12-01T05:00:00Z", "2026-11-30T11:00:00Z"),
    (&["TUE 05:00-05:00 in UTC"], "2026-12-01T11:00:00Z", "2026-12-01T11:00:00Z", "2026-12-02T05:00:00Z"),
    (&["22:00-06:00 in Asia/Shanghai"], "2026-11-30T12:00:00Z", "2026-11-30T14:00:00Z", "2026-11-30T12:00:00Z"),
    // New York skips 02:00 to 03:00: nothing of this window remains that day. It shows 01:00 to 02:00 twice.
    (&["02:10-02:50 in America/New_York"], "2026-03-08T05:00:00Z", "2026-03-09T06:10:00Z", "2026-03-08T05:00:00Z"),
    (&["01:00-05:00 in America/New_York"], "2026-03-08T06:00:00Z", "2026-03-08T06:00:00Z", "2026-03-08T09:00:00Z"),
    (&["01:00-02:00 in America/New_York"], "2026-11-01T05:00:00Z", "2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"),
];

#[test]
fn windows_by_a_table_of_cases() {
    for (given, at, opens, closes) in CASES {
        let (windows, at) = (windows(given), ms(at));
        assert_eq!(
            (text(windows.opens(at)), text(windows.closes(at))),
            ((*opens).to_owned(), (*closes).to_owned()),
            "{given:?}"
        );
    }
}

#[test]
fn what_closed_last_says_what_becomes_of_running_tasks() {
    let both = windows(&["08:00-10:00 in UTC", "18:00-20:00 in UTC checkpoint"]);
    assert_eq!(both.ended_by(ms("2026-11-30T12:00:00Z")), Some(AtEnd::Finish));
    assert_eq!(both.ended_by(ms("2026-11-30T20:00:00Z")), Some(AtEnd::Checkpoint));
    assert_eq!(both.ended_by(ms("2026-11-30T19:00:00Z")), None, "it is open");
    let together = windows(&["08:00-10:00 in UTC", "09:00-10:00 in UTC checkpoint"]);
    assert_eq!(together.ended_by(ms("2026-11-30T12:00:00Z")), Some(AtEnd::Checkpoint));
    assert_eq!(windows(&[]).ended_by(0), None);
}

#[test]
fn the_longest_opening_joins_windows_that_meet() {
    let at = ms("2026-11-30T12:00:00Z");
    assert_eq!(windows(&["22:00-23:00 in UTC", "23:00-00:30 in UTC"]).longest(at), Some(150 * MINUTE_MS));
    assert_eq!(windows(&["SAT 22:00-22:05 in UTC"]).longest(at), Some(5 * MINUTE_MS));
    assert_eq!(windows(&["05:00-05:00 in UTC"]).longest(at), None);
    assert_eq!(windows(&[]).longest(at), None);
}

fn any_window() -> impl Strategy<Value = Window> {
    let days = prop::collection::vec(1i8..8, 0..3);
    let time = (0u8..24, prop::sample::select(vec![0u8, 15, 30, 59]));
    (time.clone(), time, days, 0..ZONES.len(), any::<bool>()).prop_map(|(start, end, days, zone, checkpoint)| {
        let at_end = if checkpoint { AtEnd::Checkpoint } else { AtEnd::Finish };
        let zone = Zone::named(ZONES[zone]).expect("a zone");
        Window::new(start, end, Days::of(days), zone, at_end).expect("a window")
    })
}

/// Whether a window is open by a simple calculation, in minutes since Monday.
fn looks_open(window: &Window, at: i64) -> bool {
    let shows = window.zone().civil(at);
    let of = |(hour, minute): (i8, i8)| i64::from(hour) * 60 + i64::from(minute);
    let week = 7 * 24 * 60;
    let now = i64::from(shows.weekday().to_monday_zero_offset()) * 24 * 60 + of((shows.hour(), shows.minute()));
    let (start, end) = (of(window.start()), of(window.end()));
    let length = if end > start { end - start } else { end - start + 24 * 60 };
    let days: Vec<i8> = window.days().numbers().collect();
    let days = if days.is_empty() { (1..=7).collect() } else { days };
    days.into_iter().any(|day| (now - (i64::from(day - 1) * 24 * 60 + start)).rem_euclid(week) < length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn windows_agree_with_a_look_at_the_clock_each_minute(
        given in prop::collection::vec(any_window(), 1..4),
        year in 2010i64..2030,
        before in 0i64..3_000,
    ) {
        let zone = given[0].zone();
        let year_ms = (year - 1970) * 31_557_600_000;
        let near = zone.change_after(year_ms).unwrap_or(year_ms) - before * MINUTE_MS;
        let from = near.div_euclid(MINUTE_MS) * MINUTE_MS;
        let windows = Windows::new(given.clone());
        let open = |at: i64| given.iter().any(|window| looks_open(window, at));
        let minutes = 3 * 24 * 60;
        let seen: Vec<(i64, bool)> = (0..minutes).map(|step| from + step * MINUTE_MS).map(|at| (at, open(at))).collect();
        for (at, open) in seen.iter().step_by(7) {
            prop_assert_eq!(windows.is_open(*at), *open, "{}", text(Some(*at)));
        }
        // When the windows open and close, within the simulated time.
        let (is_open, last) = (seen[0].1, seen[seen.len() - 1].0);
        let change = seen.iter().find(|(_, open)| *open != is_open).map(|(at, _)| *at);
        let told = if is_open { windows.closes(from) } else { windows.opens(from) };
        prop_assert_eq!(text(told.filter(|at| *at <= last)), text(change));
        // When they last closed.
        if let Some(closed) = seen.windows(2).rev().find(|pair| pair[0].1 && !pair[1].1).map(|pair| pair[1].0) && !seen[seen.len() - 1].1 {
            let own: Vec<i64> = given.iter().filter_map(|window| window.closed(last)).collect();
            prop_assert_eq!(text(own.into_iter().max()), text(Some(closed)));
        }
    }

    #[test]
    fn a_window_is_kept_as_its_text(window in any_window()) {
        prop_assert_eq!(window.to_string().parse::<Window>().expect("its own text"), window);
    }
}
