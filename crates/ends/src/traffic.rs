//! Publishes the traffic with the ends of a data source as a service's metrics.

use mms_http::{Counts, Outcome, Traffic};
use mms_server::metrics::real;
use mms_server::{Label, Metric, Metrics};

/// The ends, by the names that their crates use. Their series exist from the start, so that a rate begins at zero.
const ENDS: [&str; 3] = ["workspace", "storage", "project"];

/// Makes the service's metrics report this traffic.
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
