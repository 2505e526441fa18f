//! What is known of one journey?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
