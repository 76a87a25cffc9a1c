use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

/// What the callers of a workspace do and hear.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    Answered,
    Throttled,
    GaveUp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Begin),
        3 => Just(Step::Answered),
        1 => Just(Step::Throttled),
        1 => Just(Step::GaveUp),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// There are never more requests under way than the width allowed when they began, and the width stays between 1 and the
    /// most. Refusals of requests that were under way together halve it once; only answers widen it again.
    #[test]
    fn the_width_keeps_its_bounds_whatever_the_workspace_says(steps in steps()) {
        let gate = Gate::new();
        let mut under_way: VecDeque<Place<'_>> = VecDeque::new();
        for step in steps {
            let before = gate.state().width.clone();
            match step {
                Step::Begin => {
                    let free = under_way.len() < before.now() as usize;
                    let place = gate.try_enter();
                    prop_assert_eq!(place.is_some(), free);
                    under_way.extend(place);
                }
                Step::Answered => {
                    if let Some(place) = under_way.pop_front() {
                        place.answered();
                    }
                    prop_assert!(gate.state().width.now() >= before.now());
                }
                Step::Throttled => {
                    if let Some(place) = under_way.pop_front() {
                        place.throttled();
                        let expected = if place.era == before.era() { (before.now() / 2).max(1) } else { before.now() };
                        prop_assert_eq!(gate.state().width.now(), expected);
                    }
                }
                Step::GaveUp => drop(under_way.pop_front()),
            }
            let state = gate.state();
            prop_assert!((1..=MOST).contains(&state.width.now()));
            prop_assert_eq!(state.under_way as usize, under_way.len());
        }
        drop(under_way);
        for _ in 0..MOST * MOST {
            if let Some(place) = gate.try_enter() {
                place.answered();
            }
        }
        prop_assert_eq!(gate.state().width.now(), MOST);
    }
}

#[tokio::test]
async fn who_waits_gets_each_place_that_is_given_back() {
    let (gate, most) = (Arc::new(Gate::new()), Arc::new(AtomicU32::new(0)));
    {
        let place = gate.enter().await;
        place.throttled();
    }
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (gate, most) = (Arc::clone(&gate), Arc::clone(&most));
            tokio::spawn(async move {
                let place = gate.enter().await;
                let under_way = place.gate.state().under_way;
                most.fetch_max(under_way, Ordering::SeqCst);
                tokio::task::yield_now().await;
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!((most.load(Ordering::SeqCst), gate.state().under_way), (MOST / 2, 0));
}
