//! Converts the bounds of a job's circuit breaker.

use mms_proto::FieldViolation;
use mms_proto::scheduler::v1::{CircuitBreaker, FailureBurst};
use mms_proto::time::duration;

use crate::error::{Result, SchedulerError};
use crate::record::BreakerBounds;

/// The bounds that a request gives, with defaults filled in. `field` is their path in the request.
pub fn breaker_from(given: Option<CircuitBreaker>, field: &str) -> Result<BreakerBounds> {
    let default = BreakerBounds::DEFAULT;
    let Some(given) = given else { return Ok(default) };
    if given.disabled {
        if given != (CircuitBreaker { disabled: true, ..CircuitBreaker::default() }) {
            let violation = FieldViolation::new(format!("{field}.disabled"), "is set, so the other fields must not be");
            return Err(SchedulerError::Invalid(vec![violation]));
        }
        return Ok(BreakerBounds::NEVER);
    }
    let millis = |given: Option<prost_types::Duration>, default: i64| {
        given
            .map_or(default, |time| time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000))
    };
    let number = |given: i32| given.unsigned_abs();
    Ok(BreakerBounds {
        failed_percent: given.failed_percent.map_or(default.failed_percent, number),
        no_success_ms: millis(given.no_success, default.no_success_ms),
        burst: given.burst.as_ref().map_or(default.burst, |burst| number(burst.count)),
        burst_ms: given.burst.map_or(default.burst_ms, |burst| millis(burst.window, default.burst_ms)),
    })
}

/// The bounds as callers see them.
pub fn breaker_to(bounds: BreakerBounds) -> CircuitBreaker {
    if bounds == BreakerBounds::NEVER {
        return CircuitBreaker { disabled: true, ..CircuitBreaker::default() };
    }
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let time = |ms: i64| duration(std::time::Duration::from_millis(ms.unsigned_abs()));
    CircuitBreaker {
        failed_percent: Some(number(bounds.failed_percent)),
        no_success: time(bounds.no_success_ms),
        burst: Some(FailureBurst { count: number(bounds.burst), window: time(bounds.burst_ms) }),
        disabled: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_shown_is_taken_again(failed_percent in 0..=100_u32, no_success_ms in 0..10_000_000_i64, burst in 0..1_000_u32, burst_ms in 0..10_000_000_i64) {
            let bounds = BreakerBounds { failed_percent, no_success_ms, burst, burst_ms };
            prop_assert_eq!(breaker_from(Some(breaker_to(bounds)), "f").unwrap(), bounds);
        }
    }

    #[test]
    fn it_is_on_unless_disabled_and_disabled_alone() {
        assert_eq!(breaker_from(None, "f").unwrap(), BreakerBounds::DEFAULT);
        assert_eq!(breaker_from(Some(CircuitBreaker::default()), "f").unwrap(), BreakerBounds::DEFAULT);
        let off = CircuitBreaker { disabled: true, ..CircuitBreaker::default() };
        assert_eq!(breaker_from(Some(off), "f").unwrap(), BreakerBounds::NEVER);
        assert!(breaker_from(Some(CircuitBreaker { failed_percent: Some(1), ..off }), "f").is_err());
    }
}
