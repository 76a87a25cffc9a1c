//! Tests the retry decision by properties, and the loop on a paused clock.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

fn policies() -> impl Strategy<Value = RetryPolicy> {
    (0_u64..5_000, 0_u64..60_000, 0.0_f64..8.0, proptest::option::of(1_u32..20), 0_u64..600_000).prop_map(
        |(first, max, factor, max_attempts, total)| RetryPolicy {
            first_delay: Duration::from_millis(first),
            max_delay: Duration::from_millis(max),
            factor,
            max_attempts,
            total: Duration::from_millis(total),
        },
    )
}

proptest! {
    #[test]
    fn a_delay_never_passes_its_bound(policy in policies(), attempts: u32, random: f64) {
        prop_assert!(policy.delay(attempts, random) <= policy.max_delay);
    }

    #[test]
    fn delays_grow_with_attempts(policy in policies(), attempts in 1_u32..1_000, random in 0.0_f64..1.0) {
        prop_assert!(policy.delay(attempts + 1, random) >= policy.delay(attempts, random));
    }

    #[test]
    fn jitter_takes_at_most_half(policy in policies(), attempts in 1_u32..50, random in 0.0_f64..1.0) {
        let full = policy.delay(attempts, 1.0);
        prop_assert!(policy.delay(attempts, random) >= full.mul_f64(0.499));
    }

    #[test]
    fn nothing_starts_after_the_total_or_the_deadline(
        policy in policies(), attempts in 1_u32..30, elapsed in 0_u64..700_000, left in 0_u64..100_000, random in 0.0_f64..1.0,
        asked in proptest::option::of(0_u64..90_000), failures in 1_u32..30,
    ) {
        let (elapsed, left) = (Duration::from_millis(elapsed), Duration::from_millis(left));
        let class = RetryClass::Throttled { retry_after: asked.map(Duration::from_millis) };
        if let Next::Wait(wait) = policy.next(class, attempts, failures, elapsed, Some(left), random) {
            prop_assert!(elapsed + wait <= policy.total);
            prop_assert!(wait < left);
            prop_assert!(asked.is_none_or(|asked| wait >= Duration::from_millis(asked)));
        }
        if let Next::Wait(_) = policy.next(RetryClass::Transient, attempts, failures, elapsed, Some(left), random) {
            prop_assert!(policy.max_attempts.is_none_or(|most| failures < most));
        }
    }

    #[test]
    fn a_budget_never_gives_more_than_it_holds_and_gains(capacity in 0_u32..20, successes in 0_u32..50, tries in 0_u32..100) {
        let budget = RetryBudget::new(BudgetSettings { capacity: f64::from(capacity), per_success: 0.1, per_second: 0.0 });
        let now = Instant::now();
        let first = (0..tries).filter(|_| budget.withdraw(now)).count();
        prop_assert!(first <= capacity as usize);
        for _ in 0..successes { budget.deposit(); }
        let second = (0..tries).filter(|_| budget.withdraw(now)).count();
        prop_assert!(second <= (capacity as usize).min(capacity as usize - first + successes as usize / 10 + 1));
    }
}

#[test]
fn permanent_errors_stop_at_once() {
    let next = RetryPolicy::default().next(RetryClass::Permanent, 1, 1, Duration::ZERO, None, 0.5);
    assert_eq!(next, Next::Stop(StopReason::Permanent));
}

#[test]
fn a_budget_fills_with_time() {
    let budget = RetryBudget::new(BudgetSettings { capacity: 1.0, per_success: 0.0, per_second: 0.5 });
    let now = Instant::now();
    assert!(budget.withdraw(now));
    assert!(!budget.withdraw(now + Duration::from_secs(1)));
    assert!(budget.withdraw(now + Duration::from_secs(2)));
}

#[derive(Debug, PartialEq)]
struct Fails(RetryClass);

impl Classify for Fails {
    fn retry_class(&self) -> RetryClass {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn the_loop_waits_as_asked_and_ends_with_success() {
    let times = RefCell::new(Vec::new());
    let start = Instant::now();
    let result = run(&RetryPolicy::default(), &RetryBudget::default(), None, |attempt| {
        times.borrow_mut().push(start.elapsed());
        async move {
            if attempt < 3 {
                Err(Fails(RetryClass::Throttled { retry_after: Some(Duration::from_secs(7)) }))
            } else {
                Ok(attempt)
            }
        }
    })
    .await;
    assert_eq!(result, Ok(3));
    let times = times.into_inner();
    assert!(times[1] >= Duration::from_secs(7) && times[2] >= Duration::from_secs(14), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn being_told_to_wait_is_neither_a_failure_nor_a_charge() {
    let policy = RetryPolicy { max_attempts: Some(3), total: Duration::from_secs(3600), ..RetryPolicy::default() };
    let budget = RetryBudget::new(BudgetSettings { capacity: 2.0, per_success: 0.0, per_second: 0.0 });
    let mut attempts = Attempts::new(policy, budget, None);
    for _ in 0..50 {
        assert!(attempts.again(RetryClass::Throttled { retry_after: Some(Duration::from_secs(2)) }).await);
    }
    assert!(attempts.again(RetryClass::Transient).await);
    assert!(attempts.again(RetryClass::Transient).await);
    assert!(!attempts.again(RetryClass::Transient).await, "the third failure is the last");
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_at_the_deadline() {
    let start = Instant::now();
    let deadline = start + Duration::from_secs(20);
    let result: Result<(), _> = run(&RetryPolicy::default(), &RetryBudget::default(), Some(deadline), |_| async {
        Err(Fails(RetryClass::Transient))
    })
    .await;
    assert_eq!(result, Err(Fails(RetryClass::Transient)));
    assert!(Instant::now() <= deadline);
    assert!(start.elapsed() > Duration::from_secs(5), "it tried for most of the time");
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_leaves_only_first_attempts() {
    let budget = RetryBudget::new(BudgetSettings { capacity: 2.0, per_success: 0.0, per_second: 0.0 });
    let mut attempts = 0;
    for _ in 0..5 {
        let result: Result<(), _> = run(&RetryPolicy::default(), &budget, None, |_| {
            attempts += 1;
            async { Err(Fails(RetryClass::Transient)) }
        })
        .await;
        assert!(result.is_err());
    }
    assert_eq!(attempts, 5 + 2);
}
