//! Schedules and windows of requests.

use super::*;
use mms_proto::types::v1::{Cron, Daily, Hourly, TimeOfDay, TimeWindow, Weekday};
use schedule::Schedule as Kind;

fn message(kind: Option<Kind>, time_zone: &str) -> types::Schedule {
    types::Schedule { schedule: kind, time_zone: time_zone.to_owned() }
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let cron = |text: &str| Some(Kind::Cron(Cron { expression: text.to_owned() }));
    let cases = [
        (message(None, ""), "t.schedule"),
        (message(cron("0 0 30 2 *"), ""), "t.cron.expression"),
        (message(cron("0 0 * *"), ""), "t.cron.expression"),
        (message(cron("0 0 * * *"), "Nowhere"), "t.time_zone"),
        (message(Some(Kind::Hourly(Hourly { minute: 60 })), ""), "t.hourly.minute"),
        (message(Some(Kind::Daily(Daily { time: Some(TimeOfDay { hour: -1, minute: 0 }) })), ""), "t.daily.time"),
    ];
    for (message, path) in cases {
        let wrong = Schedule::read(&message, "t").expect_err(path);
        assert_eq!(wrong.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), [path]);
    }
    let both = Schedule::read(&message(cron("0 0 30 2 *"), "Nowhere"), "t").expect_err("twice wrong");
    assert_eq!(both.len(), 2, "all at once");
    let window = |time_zone: &str, hour| TimeWindow {
        start: Some(TimeOfDay { hour: 1, minute: 0 }),
        end: Some(TimeOfDay { hour, minute: 0 }),
        time_zone: time_zone.to_owned(),
        ..TimeWindow::default()
    };
    let wrong = Windows::read(&[window("", 2), window("Nowhere", 2), window("", 24)], "w").expect_err("two are wrong");
    let paths: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(paths, ["w[1].time_zone", "w[2].end"]);
}

#[test]
fn schedules_and_windows_go_there_and_back() {
    let asked = message(Some(Kind::Daily(Daily { time: Some(TimeOfDay { hour: 2, minute: 30 }) })), "Asia/Shanghai");
    let read = Schedule::read(&asked, "").expect("well");
    assert_eq!((read.to_string().as_str(), read.message()), ("daily 02:30 in Asia/Shanghai", asked));
    let asked = TimeWindow {
        start: Some(TimeOfDay { hour: 22, minute: 0 }),
        end: Some(TimeOfDay { hour: 6, minute: 0 }),
        days: vec![Weekday::Monday.into(), Weekday::Sunday.into()],
        time_zone: "UTC".to_owned(),
        at_end: WindowEnd::Checkpoint.into(),
    };
    let read = Windows::read(std::slice::from_ref(&asked), "").expect("well");
    assert_eq!(read.texts(), ["MON,SUN 22:00-06:00 in UTC checkpoint"]);
    assert_eq!(Windows::parse(&read.texts()).expect("its own"), read);
    assert_eq!(read.all()[0].message(), asked);
}
