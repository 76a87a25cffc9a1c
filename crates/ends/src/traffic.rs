//! What goes to the far ends and comes from them, for whoever watches a service.

use mms_http::{Counts, Outcome, Traffic};
use mms_server::metrics::real;
use mms_server::{Label, Metric, Metrics};

/// The far ends, as their crates name themselves: there from the start, so that a rate has a zero to begin with.
const ENDS: [&str; 3] = ["workspace", "storage", "project"];

/// Has a service's traffic followed.
pub fn follow_traffic(metrics: &Metrics, traffic: &Traffic) {
    ENDS.iter().for_each(|end| drop(traffic.of(end)));
    let requests = traffic.clone();
    metrics.follow(Metric::FarEndRequests, move |tell| {
        requests.each(|end, counts| {
            for outcome in Outcome::ALL {
                tell(real(counts.requests(outcome)), &[(Label::FarEnd, end), (Label::Outcome, outcome.name())]);
            }
        });
    });
    let one = |metric, value: fn(&Counts) -> f64| {
        let traffic = traffic.clone();
        metrics.follow(metric, move |tell| {
            traffic.each(|end, counts| tell(value(counts), &[(Label::FarEnd, end)]));
        });
    };
    one(Metric::FarEndSeconds, |counts| counts.waited().as_secs_f64());
    one(Metric::FarEndRetries, |counts| real(counts.retries()));
    one(Metric::FarEndSent, |counts| real(counts.sent()));
    one(Metric::FarEndReceived, |counts| real(counts.received()));
}
