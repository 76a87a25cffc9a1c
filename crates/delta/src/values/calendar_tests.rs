//! Dates and instants of Spark's legacy calendar. The expected values are what Spark 3.5 reads for these stored numbers.

use proptest::prelude::*;

use super::*;

fn keys(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned())).collect()
}

fn julian() -> Calendar {
    Calendar::Julian(Zone::Fixed(0))
}

#[test]
fn a_day_keeps_its_year_month_and_day() {
    // Stored day, and the year, month and day that its writer meant.
    let days = [
        (-171_655, 1500, 1, 1),
        (-141_428, 1582, 10, 4),
        (-354_220, 1000, 3, 1),
        (-354_221, 1000, 3, 1), // 1000-02-29, which only the Julian calendar has
        (-354_222, 1000, 2, 28),
        (-719_164, 1, 1, 1),
        (-682_945, 100, 3, 1),
    ];
    for (stored, year, month, day) in days {
        let expected = i32::try_from(gregorian_days(year, month, day)).expect("a day");
        assert_eq!(julian().day(stored), Ok(expected), "{year}-{month}-{day}");
    }
    // 1500-01-10 in the Gregorian calendar is the day that was written as 1500-01-01.
    assert_eq!(gregorian_days(1500, 1, 10), -171_655);
    for same in [GREGORIAN_DAYS, 0, 19_000, i32::MAX] {
        assert_eq!(julian().day(same), Ok(same));
    }
}

#[test]
fn the_gap_of_1582_is_closed() {
    assert_eq!(gregorian_days(1582, 10, 15), i64::from(GREGORIAN_DAYS));
    // The day before 1582-10-15 was 1582-10-04.
    assert_eq!(julian().day(GREGORIAN_DAYS - 1).map(i64::from), Ok(gregorian_days(1582, 10, 4)));
}

#[test]
fn an_instant_keeps_its_clock() {
    let noon = DAY_MICROS / 2 + 7;
    let stored = -171_655 * DAY_MICROS + noon;
    assert_eq!(julian().instant(stored), Ok(gregorian_days(1500, 1, 1) * DAY_MICROS + noon));
    // By the clocks of +08:00 it is the next day already at 20:00 UTC.
    let east = Calendar::Julian(Zone::Fixed(8 * 3_600));
    let evening = -171_656 * DAY_MICROS + 20 * 3_600_000_000;
    assert_eq!(east.instant(evening), Ok((gregorian_days(1500, 1, 1) - 1) * DAY_MICROS + 20 * 3_600_000_000));
    for same in [SAME_INSTANT_MICROS, -1, 0, i64::MAX] {
        for calendar in [julian(), Calendar::Unknown, Calendar::Julian(Zone::Other("Asia/Shanghai".to_owned()))] {
            assert_eq!(calendar.instant(same), Ok(same));
        }
    }
    assert!(Calendar::Julian(Zone::Fixed(-1)).instant(i64::MIN).is_err());
}

#[test]
fn what_is_not_known_is_refused() {
    let zone = Calendar::Julian(Zone::Other("Asia/Shanghai".to_owned()));
    let why = zone.instant(SAME_INSTANT_MICROS - 1).expect_err("a zone with a history");
    assert!(why.contains("Asia/Shanghai") && why.contains("legacy calendar"), "{why}");
    assert_eq!(zone.day(-171_655), julian().day(-171_655), "days have no zone");
    assert!(Calendar::Unknown.day(GREGORIAN_DAYS - 1).is_err());
    assert!(Calendar::Unknown.instant(SAME_INSTANT_MICROS - 1).is_err());
}

#[test]
fn footers_say_which_calendar() {
    let of = |pairs: &[(&str, &str)]| Calendars::of(Some(&keys(pairs)));
    let (version, legacy, int96, zone, rows) = (
        "org.apache.spark.version",
        "org.apache.spark.legacyDateTime",
        "org.apache.spark.legacyINT96",
        "org.apache.spark.timeZone",
        "org.apache.spark.sql.parquet.row.metadata",
    );
    let gregorian = Calendars { dates: Calendar::Gregorian, int96: Calendar::Gregorian };
    assert_eq!(Calendars::of(None), gregorian);
    assert_eq!(of(&[("pandas", "{}")]), gregorian);
    assert_eq!(of(&[(version, "3.5.1"), (rows, "{}")]), gregorian);
    assert_eq!(of(&[(version, "10.0.0")]), gregorian);
    let both = Calendars { dates: julian(), int96: julian() };
    assert_eq!(of(&[(version, "2.4.8"), (zone, "UTC")]), both);
    assert_eq!(of(&[(version, "3.0.1"), (zone, "UTC")]), Calendars { dates: Calendar::Gregorian, int96: julian() });
    assert_eq!(
        of(&[(version, "3.5.0"), (legacy, ""), (zone, "Z")]),
        Calendars { dates: julian(), int96: Calendar::Gregorian }
    );
    assert_eq!(
        of(&[(version, "3.5.0"), (int96, ""), (zone, "+00:00")]),
        Calendars { dates: Calendar::Gregorian, int96: julian() }
    );
    assert_eq!(of(&[(rows, "{}")]), Calendars { dates: Calendar::Unknown, int96: Calendar::Unknown });
    let shanghai = Calendar::Julian(Zone::Other("Asia/Shanghai".to_owned()));
    assert_eq!(of(&[(version, "2.4.0"), (zone, "Asia/Shanghai")]).dates, shanghai);
    assert_eq!(fixed("GMT+08:00"), Some(28_800));
    assert_eq!(fixed("-03:30"), Some(-12_600));
    assert_eq!(fixed("Europe/Berlin"), None);
    assert_eq!(fixed("+99:00"), None);
}

proptest! {
    #[test]
    fn later_days_stay_later(days in -800_000..GREGORIAN_DAYS) {
        let (first, second) = (julian().day(days - 1).expect("a day"), julian().day(days).expect("a day"));
        prop_assert!(first <= second && second - first <= 2, "{first} {second}");
    }

    #[test]
    fn a_julian_date_is_a_date(days in -2_000_000_i64..0) {
        let (_, month, day) = julian_date(days + JULIAN_DAY_OF_EPOCH);
        prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
    }
}
