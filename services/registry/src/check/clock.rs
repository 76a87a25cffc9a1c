//! Compares this machine's clock with the source's or the target's: signatures and tokens are valid for minutes only.

use std::time::{Duration, SystemTime};

use mms_http::{HttpClient, Method, Url};
use mms_proto::registry::v1::CheckStepId;

use super::steps::Finding;

/// The steps of this module.
pub const STEPS: &[CheckStepId] = &[CheckStepId::ClockSource, CheckStepId::ClockTarget];

/// How far apart the clocks may be before the step warns or fails.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    warn: Duration,
    fail: Option<Duration>,
}

/// Tokens of a workspace do not depend on this machine's clock.
pub const SOURCE: Tolerance = Tolerance { warn: Duration::from_secs(60), fail: None };
/// The target rejects a signature whose time is 15 minutes off.
pub const TARGET: Tolerance = Tolerance { warn: Duration::from_secs(60), fail: Some(Duration::from_secs(840)) };

pub(super) async fn check(url: &str, http: &HttpClient, tolerance: Tolerance) -> Finding {
    let Ok(url) = Url::parse(url) else { return Finding::skipped("its address is no URL") };
    // Every answer has a `Date` header, whatever its status.
    match http.request(Method::GET, url).timeout(Duration::from_secs(15)).send().await {
        Ok(answer) => match answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok()) {
            Some(theirs) => judge(SystemTime::now(), theirs, tolerance),
            None => Finding::skipped("its answer carries no time"),
        },
        Err(error) => Finding::skipped(format!("it did not answer: {error}")),
    }
}

fn judge(ours: SystemTime, theirs: SystemTime, tolerance: Tolerance) -> Finding {
    let (apart, way) = match theirs.duration_since(ours) {
        Ok(apart) => (apart, "behind"),
        Err(before) => (before.duration(), "ahead of"),
    };
    let text = format!("this machine's clock is {} s {way} the other's", apart.as_secs());
    let remedy = "set this machine's clock, for example with NTP";
    if tolerance.fail.is_some_and(|limit| apart >= limit) {
        Finding::failed(text, remedy)
    } else if apart >= tolerance.warn {
        Finding::warning(text, remedy)
    } else {
        Finding::ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mms_proto::registry::v1::CheckState;

    #[test]
    fn only_the_target_fails_by_its_clock() {
        let now = SystemTime::now();
        let state = |seconds, tolerance| judge(now, now - Duration::from_secs(seconds), tolerance).state;
        assert_eq!(state(3, TARGET), CheckState::Ok);
        assert_eq!(state(100, TARGET), CheckState::Warning);
        assert_eq!(state(900, TARGET), CheckState::Failed);
        assert_eq!(state(900, SOURCE), CheckState::Warning);
        assert!(judge(now, now + Duration::from_secs(5), SOURCE).message.contains("behind"));
    }
}
