//! What is counted while the server runs, under the names that Prometheus scrapes.
//!
//! Whoever does something counts it here; what can be read from the state is not counted but read when
//! metrics are rendered. docs/metrics.md says what each name means.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder,
};

/// Counters, gauges and histograms of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Queries asked for, answered or not.
    pub query_requests: IntCounter,
    /// Writes asked for, answered or not.
    pub ingest_requests: IntCounter,
    /// Requests refused for their key.
    pub auth_failures: IntCounter,
    /// Audit rows that were dropped.
    pub audit_failures: IntCounter,
    /// Connections that are open.
    pub active_connections: IntGauge,
    /// Requests under way.
    pub active_http_requests: IntGauge,
    query_latency_us: Histogram,
    query_latency_seconds: Histogram,
}

impl Metrics {
    /// All at zero, in a registry of their own.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(Opts::new(name, help)).expect("a good name");
            registry.register(Box::new(counter.clone())).expect("each name once");
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(Opts::new(name, help)).expect("a good name");
            registry.register(Box::new(gauge.clone())).expect("each name once");
            gauge
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let options = HistogramOpts::new(name, help).buckets(buckets);
            let histogram = Histogram::with_opts(options).expect("a good name");
            registry.register(Box::new(histogram.clone())).expect("each name once");
            histogram
        };
        let micros = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000];
        let micros: Vec<f64> = micros.into_iter().map(f64::from).collect();
        let seconds = micros.iter().map(|us| us / 1e6).collect();
        Metrics {
            query_requests: counter("nearfield_query_requests_total", "Queries asked for"),
            ingest_requests: counter("nearfield_ingest_requests_total", "Writes asked for"),
            auth_failures: counter(
                "nearfield_auth_failures_total",
                "Requests refused for their key",
            ),
            audit_failures: counter("nearfield_audit_failures_total", "Audit rows dropped"),
            active_connections: gauge("nearfield_active_connections", "Connections open"),
            active_http_requests: gauge("nearfield_active_http_requests", "Requests under way"),
            query_latency_us: histogram(
                "nearfield_query_latency_us",
                "Time of a query, µs",
                micros,
            ),
            query_latency_seconds: histogram(
                "nearfield_query_latency_seconds",
                "Time of a query, seconds",
                seconds,
            ),
            registry,
        }
    }

    /// Records how long a query took.
    pub fn observe_query(&self, seconds: f64) {
        self.query_latency_us.observe(seconds * 1e6);
        self.query_latency_seconds.observe(seconds);
    }

    /// Everything in the text format 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.expect("a vector takes everything");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
