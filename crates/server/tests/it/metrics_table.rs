//! docs/metrics.md lists every metric as it is declared. With MMS_BLESS=1 this test writes the page anew.

use mms_server::Metric;
use mms_server::metrics::Kind;
use mms_server::metrics::names::{InJob, Unit};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

const HEAD: &str = "\
# Metrics

Each service serves what it counts at `/metrics`, in Prometheus' text format, once `server.metrics.listen` is set
(`MMS_REGISTRY__SERVER__METRICS__LISTEN=127.0.0.1:7501`); `mms up` does so on its ports and 100, and the compose file inside its
network. With `telemetry.otlp_endpoint` the same metrics go to the OTLP collector beside the traces, under the same names, every
60 s (`OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds).

The page is plain HTTP, and whoever reaches it reads it: values of labels are methods, states and the like, never the name of a
table, a data source or a caller. Counters begin at 0 with the process. Figures of the process are those of the whole process,
also where several services share one.

`deploy/alerts.yml` has rules for Prometheus and `deploy/grafana/mms.json` a dashboard, both over these metrics only.

In a job: `moves` changes while a job runs that goes well, `quiet` is there and changes only when something is wrong or scarce,
`still` says what does not change. A test runs a job and looks.

This page is made from `crates/server/src/metrics/names.rs`; after a change of that,
`MMS_BLESS=1 cargo test --release --workspace --test it -- metrics_table` writes it anew.

| metric | type | unit | labels | served by | in a job | meaning |
|---|---|---|---|---|---|---|
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for metric in Metric::ALL {
        let kind = match metric.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let unit = match metric.unit() {
            Unit::One => "",
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
        };
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{}`", label.name())).collect();
        let by = if metric.services().len() == 4 { "all".to_owned() } else { metric.services().join(", ") };
        let (name, labels, help) = (metric.name(), labels.join(", "), metric.help());
        page += &format!("| `{name}` | {kind} | {unit} | {labels} | {by} | {} | {help} |\n", metric.in_job());
    }
    page
}

#[test]
fn the_table_has_what_is_declared() {
    let page = page();
    if std::env::var_os("MMS_BLESS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(kept == page, "docs/metrics.md is not what is declared: run this test with MMS_BLESS=1");
    assert!(Metric::ALL.iter().any(|metric| metric.in_job() == InJob::Quiet));
}
