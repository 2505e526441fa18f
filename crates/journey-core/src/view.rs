//! What readers see: the one set of JSON types used by the endpoint, the stream, files and the command line.
//!
//! Keys are camelCase, instants are RFC 3339 in UTC with milliseconds, durations are numbers in milliseconds with the
//! suffix `Ms`. Fields are only ever added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// One journey, whole (`GET /api/v2/metrics/journey/{correlationId}`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct JourneyView {
    /// The id that the application gave the message.
    pub correlation_id: String,
    /// Name of the route.
    pub route: String,
    /// Label of the route, for people.
    pub route_label: String,
    /// `active`, `completed`, `failed` or `expired`.
    pub status: String,
    /// Why it failed, where it did.
    pub reason: Option<String>,
    /// Whether an active journey has made no progress for longer than allowed.
    pub stuck: bool,
    /// 1 for the first journey of this id, 2 after the id was used again, and so on.
    pub generation: u32,
    /// The other generations of this id that can still be looked up.
    pub other_generations: Vec<u32>,
    /// No first stage was seen here, so segments that start with it are absent.
    pub partial: bool,
    /// A checkpoint arrived after the journey was finished.
    pub late: bool,
    /// Instant of the earliest reached stage.
    pub started_at: Option<String>,
    /// Instant of the latest reached stage, once finished.
    pub finished_at: Option<String>,
    /// From the earliest to the latest reached stage.
    pub total_ms: Option<f64>,
    /// The id under which an exporter sends this journey: 32 hex digits.
    pub trace_id: String,
    /// Stages seen, in the order of the route (an open route: in the order of time).
    pub checkpoints: Vec<CheckpointView>,
    /// Legs both of whose ends were reached.
    pub legs: Vec<LegView>,
    /// Segments both of whose ends were reached.
    pub segments: Vec<SegmentView>,
    /// Unix milliseconds by timings key, for the reached stages.
    pub timings: BTreeMap<String, i64>,
    /// The longest leg of a segment that has more than one leg.
    pub bottleneck: Option<BottleneckView>,
    /// Required stages that were not reached although a later one was: gaps in what was seen, not losses.
    pub missing: Vec<String>,
    /// Stage spans of this journey that are open in this process now.
    pub in_progress: Vec<InProgressView>,
    /// What does not fit the route: `too_often: T4 (3, at most 1)`, `out_of_sequence: T5 before T4`.
    pub deviations: Vec<String>,
}

/// One stage of a journey.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct CheckpointView {
    /// Stage id, such as `T4`.
    pub stage: String,
    /// Stage name, such as `db_stored`.
    pub name: String,
    /// Stage label, for people.
    pub label: String,
    /// `reached`, `failed` or `cancelled`.
    pub outcome: String,
    /// The instant that counts (of a stage that was never reached: of its last attempt).
    pub at: String,
    /// Since the earliest reached stage of the journey.
    pub offset_ms: f64,
    /// Service that saw it.
    pub service: String,
    /// Instance of that service.
    pub instance: String,
    /// How many times the stage was tried.
    pub attempts: u32,
    /// From the first attempt to the one that counts, when there was more than one.
    pub retry_ms: Option<f64>,
    /// Error of the last failed attempt.
    pub error: Option<ErrorView>,
    /// It arrived after the journey was finished.
    pub late: bool,
    /// Resolution of the instant where it is coarse: 1000 for a platform that gives whole seconds.
    pub resolution_ms: Option<f64>,
    /// The span that was this stage, where there was one.
    pub span: Option<SpanView>,
    /// Time spent in database and outgoing calls inside the stage, by kind (off by default).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub within: BTreeMap<String, WithinView>,
}

/// A stage span that is open now: the stage was entered and not yet left, so it is no checkpoint yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct InProgressView {
    /// Stage id, such as `T7`.
    pub stage: String,
    /// Stage name.
    pub name: String,
    /// How long the span is open.
    pub open_ms: f64,
}

/// Why an attempt failed. Both texts are cut to 256 bytes when they are recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorView {
    /// Low-cardinality kind: `error`, `cancelled`, or what `error.type` said.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the application said.
    pub message: String,
}

/// The span of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SpanView {
    /// 32 hex digits, or absent without OpenTelemetry.
    pub trace_id: Option<String>,
    /// 16 hex digits, or absent without OpenTelemetry.
    pub span_id: Option<String>,
    /// Time the span was entered.
    pub busy_ms: f64,
    /// Time the span was open and not entered.
    pub idle_ms: f64,
}

/// Calls of one kind inside a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WithinView {
    /// Number of calls.
    pub count: u32,
    /// Sum of their durations; calls that ran side by side count fully.
    pub ms: f64,
}

/// One leg of a journey.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LegView {
    /// Leg name, such as `db_write`.
    pub name: String,
    /// Stage id where it starts.
    pub from: String,
    /// Stage id where it ends.
    pub to: String,
    /// Latency as measured; may be negative (then `quality` is `skewed`).
    pub ms: f64,
    /// `exact`, `cross_clock`, `coarse` or `skewed`.
    pub quality: String,
    /// Half width of the uncertainty where it is known and not zero.
    pub uncertainty_ms: Option<f64>,
    /// Share of the narrowest segment that contains this leg, 0 to 1; absent where that segment is.
    pub share_of_segment: Option<f64>,
    /// Name of that segment.
    pub segment: Option<String>,
    /// Declared budget of the leg.
    pub budget_ms: Option<f64>,
}

/// One segment of a journey.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SegmentView {
    /// Segment name, such as `inbound`.
    pub name: String,
    /// Segment label, for people.
    pub label: String,
    /// Stage id where it starts.
    pub from: String,
    /// Stage id where it ends.
    pub to: String,
    /// Latency as measured.
    pub ms: f64,
}

/// The leg that took longest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct BottleneckView {
    /// Segment of the leg.
    pub segment: String,
    /// The leg.
    pub leg: String,
    /// Stage id where the leg ends.
    pub stage: String,
    /// Latency of the leg.
    pub ms: f64,
    /// Its share of the segment, 0 to 1.
    pub share_of_segment: f64,
}

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

/// Journeys by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct JourneyCountsView {
    /// Started within the window.
    pub started: u64,
    /// Open now.
    pub active: u64,
    /// Open now and stuck.
    pub stuck: u64,
    /// Completed within the window.
    pub completed: u64,
    /// Failed within the window.
    pub failed: u64,
    /// Expired within the window.
    pub expired: u64,
    /// Evicted within the window.
    pub evicted: u64,
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

/// A stuck journey.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct StuckView {
    /// The journey.
    pub correlation_id: String,
    /// Its route.
    pub route: String,
    /// Stage id reached last.
    pub stage: String,
    /// Time without any checkpoint.
    pub idle_ms: f64,
    /// Id of the stage whose span is open now, where one is: the message is inside it rather than before it.
    pub in_progress: Option<String>,
}

/// Checkpoints: `offered = recorded + sum(dropped)`, always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct AccountingView {
    /// Checkpoints that the application produced.
    pub offered: u64,
    /// Checkpoints that are or were part of a journey.
    pub recorded: u64,
    /// Checkpoints lost, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// `GET /api/v2/journeys`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ListView {
    /// Newest first, or slowest first where asked.
    pub journeys: Vec<ListItemView>,
    /// Give it back as `cursor` for the next page; absent on the last.
    pub next_cursor: Option<String>,
}

/// One journey in a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ListItemView {
    /// The journey.
    pub correlation_id: String,
    /// Its generation.
    pub generation: u32,
    /// Its route.
    pub route: String,
    /// `active`, `completed`, `failed` or `expired`.
    pub status: String,
    /// Why it failed, where it did.
    pub reason: Option<String>,
    /// Whether it is stuck.
    pub stuck: bool,
    /// Instant of the earliest reached stage.
    pub started_at: Option<String>,
    /// From the earliest to the latest reached stage.
    pub total_ms: Option<f64>,
    /// Stage id reached last, in the order of the route.
    pub stage: String,
    /// Time without any checkpoint, for an active journey.
    pub idle_ms: Option<f64>,
}

/// `GET /api/v2/metrics/self`: what the process knows about its own observing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct SelfView {
    /// When this was computed.
    pub at: String,
    /// When the tracker started.
    pub started_at: String,
    /// Version of Journey.
    pub version: String,
    /// Checkpoints offered, recorded and dropped by reason.
    pub accounting: AccountingView,
    /// Journeys started, and what became of them, since start: `started = active + completed + failed + expired + evicted`.
    pub journeys: JourneyCountsView,
    /// Finished journeys still readable.
    pub retained: u64,
    /// Stages never seen, by route.
    pub never_seen: BTreeMap<String, Vec<String>>,
    /// Clock domains seen.
    pub clock_domains: Vec<String>,
    /// Sentences for people: what is wrong or suspicious, with what to do. Empty when all is well.
    pub warnings: Vec<String>,
    /// What other parts say of themselves, by part (`intake`, `exporter`, `http`, ...).
    pub parts: BTreeMap<String, serde_json::Value>,
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
