//! Counts the gRPC calls of a service. Methods that no contract has are one series, because callers choose their names.

use std::time::Duration;

use mms_proto::descriptor;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use tonic::Code;

use super::{Label, Metric, Metrics};
use crate::rights;

/// Bounds of the buckets, in seconds: from calls answered from memory to calls that wait for work.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The metrics of calls.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    ended: Counter<u64>,
    duration: Histogram<f64>,
    in_flight: UpDownCounter<i64>,
}

/// A call that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight {
    calls: Calls,
    method: [KeyValue; 2],
}

impl Calls {
    pub fn of(metrics: &Metrics) -> Self {
        let meter = &metrics.0.meter;
        let [ended, duration, in_flight] = [Metric::RpcCalls, Metric::RpcDuration, Metric::RpcInFlight];
        Self {
            ended: meter
                .u64_counter(ended.name())
                .with_description(ended.help())
                .with_unit(ended.unit().code())
                .build(),
            duration: metrics.histogram(duration, SECONDS.to_vec()),
            in_flight: meter
                .i64_up_down_counter(in_flight.name())
                .with_description(in_flight.help())
                .with_unit(in_flight.unit().code())
                .build(),
        }
    }

    /// Counts the beginning of a call.
    pub fn begin(&self, path: &str) -> InFlight {
        let (service, method) = names(path);
        let method =
            [KeyValue::new(Label::GrpcService.name(), service), KeyValue::new(Label::GrpcMethod.name(), method)];
        self.in_flight.add(1, &method);
        InFlight { calls: self.clone(), method }
    }
}

impl InFlight {
    /// Counts its end.
    pub fn end(&self, code: Code, took: Duration) {
        let [service, method] = self.method.clone();
        self.calls.in_flight.add(-1, &self.method);
        self.calls.duration.record(took.as_secs_f64(), &self.method);
        self.calls.ended.add(1, &[service, method, KeyValue::new(Label::GrpcCode.name(), name(code))]);
    }
}

fn names(path: &str) -> (&'static str, &'static str) {
    let known = descriptor::method(path).map(|method| method.path.as_str());
    let known = known.or_else(|| rights::Open::known(path));
    known.and_then(|path| path.strip_prefix('/')?.split_once('/')).unwrap_or(("other", "other"))
}

/// A status code as the gRPC documents spell it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_contract_has_is_one_series() {
        let own = "/mms.scheduler.v1.JobService/GetJob";
        assert_eq!(names(own), ("mms.scheduler.v1.JobService", "GetJob"));
        assert_eq!(names("/grpc.health.v1.Health/Check"), ("grpc.health.v1.Health", "Check"));
        for strange in ["/grpc.health.v1.Health/X1", "/a/b", "/", "", "/mms.scheduler.v1.JobService/GetJobs"] {
            assert_eq!(names(strange), ("other", "other"), "{strange:?}");
        }
    }
}
