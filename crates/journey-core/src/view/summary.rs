//! Where does the time of many journeys go?

use serde::{Deserialize, Serialize};

use super::{AccountingView, JourneyCountsView, StuckView};
use crate::histogram::Histogram;

/// `GET /api/v2/metrics/summary`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SummaryView {
    /// When this was computed.
    pub at: String,
    /// `1m`, `5m`, `15m`, `1h` or `start`.
    pub window: String,
    /// Seconds the window covers by now (less than its name while the process is young).
    pub window_seconds: f64,
    /// One entry a route.
    pub routes: Vec<RouteSummaryView>,
    /// Named operations (`measure`, server middleware), over the same window.
    pub operations: Vec<OperationView>,
    /// Checkpoints offered, recorded and dropped by reason, since start.
    pub accounting: AccountingView,
}

/// One route in a summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RouteSummaryView {
    /// Name of the route.
    pub route: String,
    /// Label of the route.
    pub label: String,
    /// Journeys by what became of them.
    pub journeys: JourneyCountsView,
    /// Journeys finished per second in the window.
    pub throughput_per_second: f64,
    /// Every leg of the route, in its order.
    pub legs: Vec<LegStatsView>,
    /// Every segment of the route, in its order.
    pub segments: Vec<SegmentStatsView>,
    /// The three largest shares of the widest segment and the largest of every other segment of more than one leg.
    pub bottlenecks: Vec<BottleneckStatsView>,
    /// Active journeys by the stage they reached last, in the order of the route.
    pub active_by_stage: Vec<StageCountView>,
    /// Stuck journeys, longest without progress first, at most 20.
    pub stuck: Vec<StuckView>,
    /// Stages that have never been seen since start.
    pub never_seen: Vec<String>,
}

/// Statistics of one leg.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LegStatsView {
    /// Leg name.
    pub name: String,
    /// Stage id where it starts.
    pub from: String,
    /// Stage id where it ends.
    pub to: String,
    /// Declared budget.
    pub budget_ms: Option<f64>,
    /// Latency.
    #[serde(flatten)]
    pub stats: StatsView,
    /// Negative latencies since start: shown on the journey, never counted in `count`.
    pub skewed: u64,
    /// Latencies since start with an end in whole seconds: counted as measured, each up to a second off.
    pub coarse: u64,
}

/// Statistics of one segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SegmentStatsView {
    /// Segment name.
    pub name: String,
    /// Segment label.
    pub label: String,
    /// Stage id where it starts.
    pub from: String,
    /// Stage id where it ends.
    pub to: String,
    /// Latency over journeys of every outcome.
    #[serde(flatten)]
    pub stats: StatsView,
    /// Negative latencies since start.
    pub skewed: u64,
    /// Latencies since start with an end in whole seconds: counted as measured, each up to a second off.
    pub coarse: u64,
}

/// A latency distribution. Quantiles carry a relative error of at most 0.54 %; all are absent when `count` is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct StatsView {
    /// Number of values.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_ms: Option<f64>,
    /// Smallest value.
    pub min_ms: Option<f64>,
    /// Largest value.
    pub max_ms: Option<f64>,
    /// Median (reliable from 6 values).
    pub p50_ms: Option<f64>,
    /// 95th percentile (reliable from 72 values).
    pub p95_ms: Option<f64>,
    /// 99th percentile (reliable from 368 values).
    pub p99_ms: Option<f64>,
    /// 99.9th percentile.
    pub p999_ms: Option<f64>,
}

/// A named operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct OperationView {
    /// Name given to `measure`, or the endpoint of the server middleware.
    pub name: String,
    /// Latency.
    #[serde(flatten)]
    pub stats: StatsView,
}

/// How much of a segment one leg is, over the finished journeys of the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct BottleneckStatsView {
    /// Segment that is explained.
    pub segment: String,
    /// Leg, or `unexplained` for time that no leg covers.
    pub leg: String,
    /// Stage id where the leg ends; empty for `unexplained`.
    pub stage: String,
    /// Sum of the leg over sum of the segment, 0 to 1.
    pub mean_share: f64,
    /// Mean of the leg among the journeys around the segment's p95, scaled so that all legs add up to that p95.
    pub at_p95_ms: f64,
    /// `at_p95_ms` over the segment's p95, 0 to 1.
    pub at_p95_share: f64,
    /// How often this leg was the largest, 0 to 1.
    pub largest: f64,
    /// Number of journeys this rests on.
    pub journeys: u64,
    /// The same in one sentence.
    pub sentence: String,
}

/// A stage and how many active journeys reached it last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct StageCountView {
    /// Stage id.
    pub stage: String,
    /// Stage name.
    pub name: String,
    /// Active journeys that reached this stage last.
    pub active: u64,
    /// Sightings since start.
    pub seen: u64,
}

impl StatsView {
    /// The distribution that a histogram holds.
    pub fn of(values: &Histogram) -> Self {
        let ms = |nanos: f64| nanos / 1e6;
        let quantile = |q| values.quantile_nanos(q).map(ms);
        Self {
            count: values.count(),
            mean_ms: values.mean_nanos().map(ms),
            min_ms: values.min_nanos().map(|nanos| ms(nanos as f64)),
            max_ms: values.max_nanos().map(|nanos| ms(nanos as f64)),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
        }
    }
}
