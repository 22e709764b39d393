//! Makes metrics under our prefix and adds them to a registry.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

pub(super) type Made<T> = Result<T, prometheus::Error>;

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("codexk8s")
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .namespace("codexk8s")
        .buckets(buckets.to_vec())
}

fn add<T: Collector + Clone + 'static>(registry: &Registry, metric: T) -> Made<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> Made<IntCounter> {
    add(registry, IntCounter::with_opts(opts(name, help))?)
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Made<IntCounterVec> {
    add(registry, IntCounterVec::new(opts(name, help), labels)?)
}

pub(super) fn int_gauge(registry: &Registry, name: &str, help: &str) -> Made<IntGauge> {
    add(registry, IntGauge::with_opts(opts(name, help))?)
}

pub(super) fn int_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Made<IntGaugeVec> {
    add(registry, IntGaugeVec::new(opts(name, help), labels)?)
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Made<Gauge> {
    add(registry, Gauge::with_opts(opts(name, help))?)
}

pub(super) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Made<GaugeVec> {
    add(registry, GaugeVec::new(opts(name, help), labels)?)
}

pub(super) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Made<Histogram> {
    add(
        registry,
        Histogram::with_opts(histogram_opts(name, help, buckets))?,
    )
}

pub(super) fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Made<HistogramVec> {
    add(
        registry,
        HistogramVec::new(histogram_opts(name, help, buckets), labels)?,
    )
}

/// Waits of people and queues: from seconds to a working day.
pub(super) const WAIT_SECONDS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 28_800.0,
];

/// Work of machines: from milliseconds to half a minute.
pub(super) const WORK_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
