//! Events of timers, in any order.

use mms_proto::ErrorReason;
use mms_store::Store;
use proptest::prelude::*;

use super::*;
use crate::store::schema;

const HOUR_MS: i64 = 3_600_000;

fn at(now_ms: i64) -> Moment {
    let store = Store::in_memory(schema()).expect("a store of memory");
    Moment { now_ms, spread: 0.5, incarnation: store.incarnation() }
}

fn told(schedule: &str) -> Told {
    Told { schedule: schedule.to_owned(), ..Told::default() }
}

fn any_event() -> impl Strategy<Value = TimerEvent> {
    let schedule = prop::sample::select(vec!["hourly :15 in UTC", "hourly :45 in UTC"]);
    prop_oneof![
        1 => schedule.prop_map(|text| TimerEvent::Told { told: Box::new(told(text)), maker: None }),
        1 => Just(TimerEvent::Resumed),
        1 => Just(TimerEvent::Paused),
        1 => Just(TimerEvent::Stopped(Reason::new(ErrorReason::MakerRightsGone, "gone"))),
        4 => Just(TimerEvent::Due),
        2 => any::<bool>().prop_map(|waits| TimerEvent::RunBegan { waits }),
        2 => prop::option::of(Just("j".to_owned())).prop_map(|job| TimerEvent::RunEnded { job }),
    ]
}

proptest! {
    /// Only an active timer has a next time, which lies in the future once the one before was handled. A rejected event
    /// changes nothing, the numbers of runs only grow, and at most one run waits.
    #[test]
    fn no_order_of_events_breaks_a_rule(events in prop::collection::vec((any_event(), 0..HOUR_MS), 0..60)) {
        let mut now = at(1_700_000_000_000);
        let mut timer = Timer::new("u".to_owned(), &now, told("hourly :15 in UTC"), "somebody".to_owned());
        for (event, pause) in events {
            now.now_ms += pause;
            let (before, said, is_due) = (timer.clone(), format!("{event:?}"), matches!(event, TimerEvent::Due));
            match timer.apply(&now, event) {
                Err(_) => prop_assert_eq!(&timer, &before, "{}", said),
                Ok(()) if is_due => {
                    prop_assert!(before.is_due(now.now_ms) && timer.next_time_ms > now.now_ms, "{}", said);
                }
                Ok(()) => {}
            }
            prop_assert_eq!(timer.next_time_ms != 0, timer.state == TimerState::Active, "{}", said);
            prop_assert_eq!(timer.reason.is_some(), timer.state == TimerState::Stopped, "{}", said);
            prop_assert!(timer.last_run >= before.last_run && timer.waiting.is_none_or(|run| run <= timer.last_run));
        }
    }
}
