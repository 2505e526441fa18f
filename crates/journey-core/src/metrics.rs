//! Everything that is exported as metrics, as plain data: read once, written as OTLP or Prometheus.

use crate::{drops::Accounting, histogram::Histogram};

/// All metrics at one instant, cumulative since start.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// When the tracker started, unix nanoseconds.
    pub started_at: i64,
    /// When this was read, unix nanoseconds.
    pub at: i64,
    /// `journey.leg.duration`.
    pub legs: Vec<Series>,
    /// `journey.segment.duration`, one series per outcome.
    pub segments: Vec<Series>,
    /// `journey.operation.duration`.
    pub operations: Vec<Series>,
    /// `journey.active` by route.
    pub active: Vec<(String, u64)>,
    /// `journey.stuck` by route and stage name.
    pub stuck: Vec<(String, String, u64)>,
    /// `journey.completions` by route and outcome.
    pub completions: Vec<(String, String, u64)>,
    /// `journey.checkpoints` by route, stage name and `error.type` (empty for a success).
    pub checkpoints: Vec<(String, String, String, u64)>,
    /// `journey.skewed` by route and leg: negative latencies.
    pub skewed: Vec<(String, String, u64)>,
    /// `journey.drops` by reason, and what was offered and recorded.
    pub accounting: Accounting,
    /// Values that went into an overflow series because a limit on names was reached.
    pub overflowed: u64,
}

/// Figures under one name that a part of the process adds to the page for Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// As Prometheus reads it (`a-z`, `0-9` and `_`), with its unit and without `_total`: `journey_events_stored`.
    pub name: &'static str,
    /// What is counted, in a sentence.
    pub help: &'static str,
    /// Whether it can fall.
    pub kind: MetricKind,
    /// Each value with its labels, every set of labels once. What is counted by reason has a value for every reason, also 0:
    /// a counter that first appears at 1 has no rate.
    pub values: Vec<(MetricLabels, u64)>,
}

/// Names and values of labels. The values are words of the code, never ids, hosts or addresses.
pub type MetricLabels = Vec<(&'static str, String)>;

/// Whether a figure can fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, from 0 at the start of the process. Its series end in `_total`.
    Counter,
    /// Is what it is now.
    Gauge,
}

impl MetricFamily {
    /// Figures that only grow.
    pub fn counter(
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (MetricLabels, u64)>,
    ) -> Self {
        Self { name, help, kind: MetricKind::Counter, values: values.into_iter().collect() }
    }

    /// Figures that are what they are now.
    pub fn gauge(
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (MetricLabels, u64)>,
    ) -> Self {
        Self { name, help, kind: MetricKind::Gauge, values: values.into_iter().collect() }
    }
}

/// One histogram with its attributes.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// `journey.name`; empty for operations.
    pub route: String,
    /// `journey.leg.name`, `journey.segment.name` or `journey.operation.name`.
    pub name: String,
    /// `journey.outcome`, for segments.
    pub outcome: Option<String>,
    /// Values in seconds since start.
    pub histogram: Histogram,
    /// At most one per power-of-two bucket, each of a journey that was really exported.
    pub exemplars: Vec<Exemplar>,
}

/// A value that can be looked up as a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The value, nanoseconds.
    pub nanos: u64,
    /// When it was recorded, unix nanoseconds.
    pub at: i64,
    /// Trace of the journey.
    pub trace_id: u128,
    /// Span of the leg in that trace; of a segment, the root span.
    pub span_id: u64,
}
