//! The metrics of the server, in the names that Prometheus scrapes: counters and histograms (`Metrics`), which each
//! part of the server counts, and gauges that are read from the state when metrics are rendered ([`Scrape`], filled by
//! `workers::stats`). docs/metrics.md says what each name means, and which name of earlier systems it answers.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    CounterVec, Encoder, GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Upper bounds of the buckets of a query's time, in microseconds.
const QUERY_MICROS: [u32; 13] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 1_000_000];

/// Defines [`Metrics`]: each counter and gauge with its name for Prometheus and its help.
macro_rules! metrics {
    ($($field:ident: $kind:ty = $make:ident($name:literal, $help:literal),)*) => {
        /// Counters, gauges and histograms of one server.
        #[derive(Debug)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
            query_latency_us: Histogram,
            query_latency_seconds: Histogram,
            registry: Registry,
        }

        impl Default for Metrics {
            /// All at zero, in a registry of their own.
            fn default() -> Metrics {
                let registry = Registry::new();
                let micros: Vec<f64> = QUERY_MICROS.into_iter().map(f64::from).collect();
                let seconds = micros.iter().map(|micros| micros / 1e6).collect();
                let query_time = |name, help, buckets| histogram(&registry, name, help, buckets);
                Metrics {
                    $($field: $make(&registry, $name, $help),)*
                    query_latency_us: query_time("query_latency_us", "Query time, µs", micros),
                    query_latency_seconds: query_time("query_latency_seconds", "Query time, seconds", seconds),
                    registry,
                }
            }
        }
    };
}

metrics! {
    query_requests: IntCounter = counter("query_requests_total", "Queries asked for"),
    ingest_requests: IntCounter = counter("ingest_requests_total", "Writes asked for"),
    ingest_ops: IntCounter = counter("ingest_ops_total", "Changes that became durable"),
    arrow_batches: IntCounter = counter("arrow_ingest_batches_total", "Record batches written"),
    arrow_rows: IntCounter = counter("arrow_ingest_rows_total", "Rows of record batches written"),
    arrow_decode_us: IntCounter = counter("arrow_decode_us_total", "Reading Arrow streams, µs"),
    arrow_commit_us: IntCounter = counter("arrow_commit_us_total", "Waiting for their writes, µs"),
    auth_failures: IntCounter = counter("auth_failures_total", "Requests refused for their key"),
    audit_failures: IntCounter = counter("audit_failures_total", "Audit rows dropped"),
    active_connections: IntGauge = gauge("active_connections", "Connections open"),
    active_http_requests: IntGauge = gauge("active_http_requests", "Requests under way"),
    active_streams: IntGauge = gauge("active_arrow_streams", "Arrow streams under way"),
    commit_groups: IntCounter = counter("commit_groups_total", "Groups of changes written by one sync"),
    backpressure_soft: IntCounter = counter("ingest_backpressure_soft_total", "Writes slowed down"),
    backpressure_hard: IntCounter = counter("ingest_backpressure_hard_total", "Requests refused, no room"),
    throttle_ms: IntCounter = counter("ingest_semantic_throttle_ms_total", "Slowing down of writes, ms"),
    accepted_lost: IntCounter = counter("ingest_accepted_lost_total", "wait=false changes not written"),
    searches_refused: IntCounter = counter("searches_refused_total", "Long searches refused, queue full"),
    searches_late: IntCounter = counter("searches_timed_out_total", "Searches that met the deadline"),
    searches_cancelled: IntCounter = counter("searches_cancelled_total", "Searches whose client disconnected"),
    exports_cancelled: IntCounter =
        counter("exports_cancelled_total", "Exports of .near files whose client disconnected"),
    checkpoints: IntCounter = counter("checkpoint_total", "Checkpoints done"),
    compactions: IntCounter = counter("compaction_total", "Compactions done"),
    checkpoints_inflight: IntGauge = gauge("checkpoint_jobs_inflight", "Checkpoints under way"),
    compactions_inflight: IntGauge = gauge("compaction_jobs_inflight", "Compactions under way"),
    upkeep_failures: IntCounter = counter("upkeep_failures_total", "Failed attempts of background work"),
    quarantine_evictions: IntCounter = counter("quarantine_evictions_total", "Files quarantine gave up"),
    scrubs: IntCounter = counter("scrubs_total", "Collections read and checked in the background"),
    panics: IntCounter = counter("panics_total", "Panics caught in threads of the server"),
}

/// Numbers read from the state when metrics are rendered: name, help, and values by collection (`None` for
/// the whole server).
pub type Scrape = Vec<(&'static str, &'static str, Vec<(Option<String>, f64)>)>;

impl Metrics {
    /// Records how long a query took.
    pub fn observe_query(&self, seconds: f64) {
        self.query_latency_us.observe(seconds * 1e6);
        self.query_latency_seconds.observe(seconds);
    }

    /// Everything in the text format 0.0.4, with numbers read from the state.
    pub fn render(&self, scrape: Scrape) -> String {
        let mut families = self.registry.gather();
        // A name without a value is no line of the format.
        for (name, help, values) in scrape.into_iter().filter(|(_, _, values)| !values.is_empty()) {
            let labelled = values.iter().any(|(collection, _)| collection.is_some());
            let labels: &[&str] = if labelled { &["collection"] } else { &[] };
            families.extend(read(Opts::new(full(name), help), labels, &values));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).expect("a vector takes everything");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

/// Numbers as they are now: of a name that ends in `_total` a counter, else a gauge.
fn read(opts: Opts, labels: &[&str], values: &[(Option<String>, f64)]) -> Vec<MetricFamily> {
    if opts.name.ends_with("_total") {
        let counters = CounterVec::new(opts, labels).expect("a good name");
        for (collection, value) in values {
            counters.with_label_values(collection.as_slice()).inc_by(*value);
        }
        return counters.collect();
    }
    let gauges = GaugeVec::new(opts, labels).expect("a good name");
    for (collection, value) in values {
        gauges.with_label_values(collection.as_slice()).set(*value);
    }
    gauges.collect()
}

fn full(name: &str) -> String {
    format!("nearfield_{name}")
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::with_opts(Opts::new(full(name), help)))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::with_opts(Opts::new(full(name), help)))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    let options = HistogramOpts::new(full(name), help).buckets(buckets);
    registered(registry, Histogram::with_opts(options))
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let made = made.expect("a good name");
    registry.register(Box::new(made.clone())).expect("each name once");
    made
}

/// One more in a gauge, as long as it lives.
#[derive(Debug)]
pub(crate) struct GaugeGuard(IntGauge);

impl GaugeGuard {
    pub(crate) fn new(gauge: &IntGauge) -> GaugeGuard {
        gauge.inc();
        GaugeGuard(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_histograms_and_scraped_numbers_are_rendered() {
        let metrics = Metrics::default();
        metrics.query_requests.inc();
        metrics.observe_query(0.000_02);
        let by_collection = vec![(Some("a\"b".to_owned()), 5.0), (Some("c".to_owned()), 6.0)];
        let scrape = vec![
            ("wal_size_bytes", "Bytes of the log", by_collection),
            ("ready", "Whether it is ready", vec![(None, 1.0)]),
            ("none", "No collection", Vec::new()),
            ("wal_fsyncs_total", "Syncs", vec![(Some("c".to_owned()), 3.0)]),
        ];
        let text = metrics.render(scrape);
        for line in [
            "nearfield_query_requests_total 1",
            "nearfield_query_latency_us_bucket{le=\"25\"} 1",
            "nearfield_query_latency_us_bucket{le=\"10\"} 0",
            "nearfield_wal_size_bytes{collection=\"a\\\"b\"} 5",
            "nearfield_ready 1",
            "# TYPE nearfield_wal_fsyncs_total counter",
            "nearfield_wal_fsyncs_total{collection=\"c\"} 3",
            "# TYPE nearfield_checkpoint_total counter",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in:\n{text}");
        }
    }
}
