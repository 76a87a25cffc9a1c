//! Owns the one retry policy: what is retried, when, and how often. The decision ([`RetryPolicy::next`]) is a pure function of
//! the policy, the error's class, the attempts made, the time left and a random number; [`run`] is a thin loop around it. A
//! general retry crate does not fit: here the server's own wait, a deadline and a shared budget decide together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Counts;

/// How failed attempts are retried.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Wait before the second attempt, before jitter.
    pub first_delay: Duration,
    /// Maximum wait, before jitter. A wait that the server asks for may be longer.
    pub max_delay: Duration,
    /// Factor between one wait and the next; below 1 counts as 1.
    pub factor: f64,
    /// Maximum number of failed attempts, the first included. Attempts that the server only told to wait are not counted. `None`
    /// leaves the limit to `total`.
    pub max_attempts: Option<u32>,
    /// Maximum time from the start of the first attempt to the start of the last.
    pub total: Duration,
}

impl Default for RetryPolicy {
    /// From 0.5 s doubling to 30 s, for at most 5 minutes.
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            factor: 2.0,
            max_attempts: None,
            total: Duration::from_secs(300),
        }
    }
}

/// Whether an error is worth another attempt. It is a property of the error, not of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The same request will fail again.
    Permanent,
    /// The same request may succeed later.
    Transient,
    /// The server is overloaded; it may have said how long to wait.
    Throttled {
        /// The wait that the server asked for.
        retry_after: Option<Duration>,
    },
}

/// An error that knows its [`RetryClass`].
pub trait Classify {
    /// The class of this error.
    fn retry_class(&self) -> RetryClass;
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this wait.
    Wait(Duration),
    /// Return the error to the caller.
    Stop(StopReason),
}

/// Why no further attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The error is [`RetryClass::Permanent`].
    Permanent,
    /// `max_attempts` is reached.
    Attempts,
    /// The next attempt would start after `total` or after the deadline.
    Time,
    /// The shared budget is empty.
    Budget,
}

impl RetryPolicy {
    /// The wait after the `attempts`-th attempt (1 = the first): exponential, then jittered to between half and all of it.
    /// `random` is in 0..1.
    pub fn delay(&self, attempts: u32, random: f64) -> Duration {
        let factor = if self.factor.is_finite() { self.factor.max(1.0) } else { 1.0 };
        let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = (self.first_delay.as_secs_f64() * factor.powi(exponent)).min(self.max_delay.as_secs_f64());
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 1.0 };
        // `full` is at most `max_delay`, itself a Duration, so the conversion cannot fail; rounding must not exceed the bound
        // either.
        Duration::try_from_secs_f64(full * (0.5 + 0.5 * random)).unwrap_or(self.max_delay).min(self.max_delay)
    }

    /// Decides what follows the `attempts`-th attempt. `failures` of the attempts failed; the others were told to wait. `elapsed`
    /// is the time since the start of the first attempt, `left` the time until the deadline.
    pub fn next(
        &self,
        class: RetryClass,
        attempts: u32,
        failures: u32,
        elapsed: Duration,
        left: Option<Duration>,
        random: f64,
    ) -> Next {
        let wait = match class {
            RetryClass::Permanent => return Next::Stop(StopReason::Permanent),
            RetryClass::Transient => self.delay(attempts, random),
            RetryClass::Throttled { retry_after } => {
                let own = self.delay(attempts, random);
                // Never earlier than the server asked, and spread beyond that, so that clients that were turned away together do
                // not return together.
                retry_after.map_or(own, |asked| asked.saturating_add(own.min(self.first_delay)))
            }
        };
        // Being told to wait is not a failure: only time limits it.
        let counts = class == RetryClass::Transient;
        if counts && self.max_attempts.is_some_and(|most| failures >= most) {
            return Next::Stop(StopReason::Attempts);
        }
        if elapsed.saturating_add(wait) > self.total || left.is_some_and(|left| wait >= left) {
            return Next::Stop(StopReason::Time);
        }
        Next::Wait(wait)
    }
}

/// A token bucket that all users of a client share. Each retry takes a token, each success returns a part of one, and time
/// returns some too. When a server fails for everybody, the load falls to first attempts instead of multiplying.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    settings: BudgetSettings,
    state: Arc<Mutex<BudgetState>>,
    counts: Arc<Counts>,
}

/// The sizes of a [`RetryBudget`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetSettings {
    /// Maximum number of tokens, which is also the initial number.
    pub capacity: f64,
    /// Tokens that a success returns.
    pub per_success: f64,
    /// Tokens that a second returns.
    pub per_second: f64,
}

#[derive(Debug)]
struct BudgetState {
    tokens: f64,
    filled_at: Option<Instant>,
}

impl Default for RetryBudget {
    /// 100 tokens; a success returns a tenth of a token, a second returns one.
    fn default() -> Self {
        Self::new(BudgetSettings { capacity: 100.0, per_success: 0.1, per_second: 1.0 })
    }
}

impl RetryBudget {
    /// A full budget.
    pub fn new(settings: BudgetSettings) -> Self {
        Self {
            settings,
            state: Arc::new(Mutex::new(BudgetState { tokens: settings.capacity, filled_at: None })),
            counts: Arc::default(),
        }
    }

    /// The same budget, with its retries counted in `counts`.
    pub(crate) fn counted_in(self, counts: Arc<Counts>) -> Self {
        Self { counts, ..self }
    }

    /// Takes the token of one retry at `now`; false if there is none.
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.filled_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        state.filled_at = Some(now);
        state.tokens = (state.tokens + since.as_secs_f64() * self.settings.per_second).min(self.settings.capacity);
        let enough = state.tokens >= 1.0;
        if enough {
            state.tokens -= 1.0;
        }
        enough
    }

    /// Returns the part of a token that a success earns.
    pub fn deposit(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tokens = (state.tokens + self.settings.per_success).min(self.settings.capacity);
    }
}

/// The retry state of one operation, for callers that cannot put an attempt into a closure. [`run`] is the ready-made loop.
#[derive(Debug)]
pub struct Attempts {
    policy: RetryPolicy,
    budget: RetryBudget,
    deadline: Option<Instant>,
    start: Instant,
    made: u32,
    failed: u32,
}

impl Attempts {
    /// The state of an operation whose first attempt begins now.
    pub fn new(policy: RetryPolicy, budget: RetryBudget, deadline: Option<Instant>) -> Self {
        Self { policy, budget, deadline, start: Instant::now(), made: 0, failed: 0 }
    }

    /// The state of an operation that waits for a service of ours: the policy alone limits it, without a budget.
    pub fn patient(policy: RetryPolicy) -> Self {
        let budget = BudgetSettings { capacity: f64::INFINITY, per_success: 0.0, per_second: 0.0 };
        Self::new(policy, RetryBudget::new(budget), None)
    }

    /// Records a failed attempt. If there is to be another one, waits and returns true.
    pub async fn again(&mut self, class: RetryClass) -> bool {
        self.made = self.made.saturating_add(1);
        if !matches!(class, RetryClass::Throttled { .. }) {
            self.failed = self.failed.saturating_add(1);
        }
        let now = Instant::now();
        let left = self.deadline.map(|at| at.saturating_duration_since(now));
        let elapsed = now - self.start;
        let next = self.policy.next(class, self.made, self.failed, elapsed, left, fastrand::f64());
        // A server that names the wait spreads the load itself, so such a retry takes no token.
        let free = matches!(class, RetryClass::Throttled { retry_after: Some(_) });
        let stop = match next {
            Next::Wait(wait) if free || self.budget.withdraw(now) => {
                tracing::debug!(attempts = self.made, ?wait, "attempt failed; retrying");
                self.budget.counts.retried();
                tokio::time::sleep(wait).await;
                return true;
            }
            Next::Wait(_) => StopReason::Budget,
            Next::Stop(reason) => reason,
        };
        if stop != StopReason::Permanent {
            tracing::debug!(attempts = self.made, ?stop, "attempt failed; no further retry");
        }
        false
    }

    /// Records the success.
    pub fn succeeded(&self) {
        self.budget.deposit();
    }
}

/// Runs `op` (given the number of the attempt, from 1) until it succeeds, or until the policy, the budget or the deadline ends
/// it; then returns its last error. A running attempt is not interrupted: it has its own timeouts.
pub async fn run<T, E, F, Fut>(
    policy: &RetryPolicy,
    budget: &RetryBudget,
    deadline: Option<Instant>,
    mut op: F,
) -> Result<T, E>
where
    E: Classify,
    F: FnMut(u32) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut attempts = Attempts::new(policy.clone(), budget.clone(), deadline);
    loop {
        match op(attempts.made.saturating_add(1)).await {
            Ok(value) => {
                attempts.succeeded();
                return Ok(value);
            }
            Err(error) if attempts.again(error.retry_class()).await => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
