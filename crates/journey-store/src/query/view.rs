//! What readers see of one trace: the JSON types of the endpoint, files and the command line.
//!
//! As in journey-core: keys are camelCase, instants RFC 3339 in UTC with milliseconds, durations numbers in milliseconds
//! with the suffix `Ms`; events keep their nanoseconds. Fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::{
    event::{Event, EventStatus, SpanId, TraceId},
    query::{
        TraceQuery,
        compensation::{Compensation, Compensations},
        decision::Decision,
        node::{ErrorView, Node, NodeKind},
        text::millis,
        tree::TraceTree,
    },
    store::TraceStatus,
    why::{self, Why},
};

/// One trace, whole (`GET /api/v2/traces/{id}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceView {
    /// The trace; absent where there is no event.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub trace_id: Option<TraceId>,
    /// The message it is about.
    pub correlation_id: Option<String>,
    /// Its route.
    pub route: Option<String>,
    /// The trace that started it.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_trace_id: Option<TraceId>,
    /// How it stands, as its newest workflow end says; without one, whether anything failed.
    pub status: TraceStatus,
    /// When its earliest work began.
    pub started_at: Option<String>,
    /// When its last event happened; absent while it is pending.
    pub ended_at: Option<String>,
    /// How long it took, or has taken up to its last event.
    pub duration_ms: Option<f64>,
    /// Its events in order, each once.
    pub events: Vec<Event>,
    /// The same as a tree.
    pub tree: TraceTree,
    /// The failure that decided.
    pub failure: Option<FailureView>,
    /// What was undone, what could not be, and what nobody undid.
    pub compensations: CompensationsView,
    /// What was decided, with what followed.
    pub decisions: Vec<DecisionView>,
    /// All of it in one paragraph.
    pub why: String,
    /// There are more events in the store than were looked at.
    pub truncated: bool,
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its span.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// What people call it; cut and escaped.
    pub label: String,
    /// Id of the stage, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What it is.
    pub kind: NodeKind,
    /// Type of its newest event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// How it stands.
    pub status: EventStatus,
    /// When it began.
    pub started_at: String,
    /// From the start of the trace to its start.
    pub offset_ms: f64,
    /// How long it took; absent while it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// How often it was tried inside its span.
    pub attempts: u32,
    /// Its newest error, also where a later attempt succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
}

/// A piece of work, named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StepRef {
    /// Its span.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// What people call it.
    pub label: String,
    /// How it stands.
    pub status: EventStatus,
}

/// The failure that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    /// What failed.
    pub step: StepView,
    /// When it failed.
    pub at: String,
    /// From the start of the trace until then.
    pub after_ms: f64,
    /// Which try of this step it was, counted over retries in spans of their own.
    pub attempt: u32,
    /// The way from the root to it, both included.
    pub path: Vec<StepRef>,
}

/// What was undone, what could not be, and what nobody undid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CompensationsView {
    /// Every compensation, in the order of time.
    pub all: Vec<CompensationView>,
    /// Work whose compensations all failed.
    pub still_in_effect: Vec<StepRef>,
    /// Work that was done and that nobody undid, although the trace failed and other work was compensated. Work that
    /// says `data.compensable = false` is not in it.
    pub never_undone: Vec<StepRef>,
}

/// One piece of work that undoes another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CompensationView {
    /// The compensation.
    pub step: StepView,
    /// What it undoes; absent where it names nothing that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<StepRef>,
    /// The span or the work that it names, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// It failed, and another compensation of the same work succeeded.
    pub made_good: bool,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    /// Its span.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// When it was made.
    pub at: String,
    /// From the start of the trace until then.
    pub offset_ms: f64,
    /// What was decided about.
    pub decision: String,
    /// What was chosen.
    pub chosen: Option<String>,
    /// Why, in the words of whoever decided.
    pub reasoning: Option<String>,
    /// How sure, usually 0 to 1; as given.
    pub confidence: Option<f64>,
    /// What could have been chosen; at most 20.
    pub alternatives: Vec<String>,
    /// Work that began after it and before the next decision.
    pub followed: Vec<StepRef>,
    /// What names it as its parent.
    pub branch: Vec<StepRef>,
    /// How that ended; absent where nothing followed.
    pub outcome: Option<EventStatus>,
}

/// An instant in JSON.
pub(crate) fn instant(nanos: i64) -> String {
    journey_core::rfc3339(nanos)
}

impl TraceView {
    /// Everything about a trace. `now`, unix nanoseconds, tells how long a pending one has been silent.
    pub fn of(query: &TraceQuery<'_>, now: Option<i64>, truncated: bool) -> Self {
        let why = why::look(query, now, truncated);
        let paragraph = why.paragraph();
        let Why { failure, compensations, decisions, .. } = why;
        Self {
            trace_id: query.trace_id(),
            correlation_id: query.correlation_id().map(str::to_owned),
            route: query.route().map(str::to_owned),
            parent_trace_id: query.parent_trace_id(),
            status: query.status(),
            started_at: query.started_at().map(instant),
            ended_at: query.last_event_at().filter(|_| query.status() != TraceStatus::Pending).map(instant),
            duration_ms: query.duration().map(millis),
            events: query.events().cloned().collect(),
            tree: query.tree(),
            failure,
            compensations,
            decisions,
            why: paragraph,
            truncated,
        }
    }
}

impl StepView {
    pub(crate) fn of(query: &TraceQuery<'_>, node: &Node) -> Self {
        Self {
            span_id: node.span_id,
            label: node.label.clone(),
            stage: node.stage.clone(),
            kind: node.kind,
            event_type: node.event_type.clone(),
            status: node.status,
            started_at: instant(node.start),
            offset_ms: offset(query, node.start),
            duration_ms: node.duration.map(millis),
            attempts: node.attempts,
            error: node.error.clone(),
        }
    }
}

impl StepRef {
    pub(crate) fn of(node: &Node) -> Self {
        Self { span_id: node.span_id, label: node.label.clone(), status: node.status }
    }

    fn all(nodes: &[&Node]) -> Vec<Self> {
        nodes.iter().map(|node| Self::of(node)).collect()
    }
}

impl FailureView {
    pub(crate) fn of(query: &TraceQuery<'_>) -> Option<Self> {
        let node = query.failure()?;
        let before = query.failures().filter(|other| {
            let same_step = (other.parent, other.kind, &other.label) == (node.parent, node.kind, &node.label);
            same_step && other.index < node.index && other.last() <= node.start
        });
        Some(Self {
            step: StepView::of(query, node),
            at: instant(node.last()),
            after_ms: offset(query, node.last()),
            attempt: before.map(|earlier| earlier.attempts).fold(node.attempts, u32::saturating_add),
            path: StepRef::all(&query.failure_path()),
        })
    }
}

impl CompensationsView {
    pub(crate) fn of(query: &TraceQuery<'_>) -> Self {
        let Compensations { all, failed, never_undone } = query.compensations();
        let view = |one: &Compensation<'_>| CompensationView {
            step: StepView::of(query, one.node),
            original: one.original.map(StepRef::of),
            names: one.node.compensates.clone(),
            made_good: one.made_good,
        };
        Self {
            all: all.iter().map(view).collect(),
            still_in_effect: StepRef::all(&failed),
            never_undone: StepRef::all(&never_undone),
        }
    }
}

impl DecisionView {
    pub(crate) fn of(query: &TraceQuery<'_>, decision: Decision<'_>) -> Self {
        Self {
            span_id: decision.node.span_id,
            at: instant(decision.at),
            offset_ms: offset(query, decision.at),
            decision: decision.node.label.clone(),
            chosen: decision.chosen,
            reasoning: decision.reasoning,
            confidence: decision.confidence,
            alternatives: decision.alternatives,
            followed: StepRef::all(&decision.followed),
            branch: StepRef::all(&decision.branch),
            outcome: decision.outcome,
        }
    }
}

/// From the start of the trace, milliseconds.
pub(crate) fn offset(query: &TraceQuery<'_>, at: i64) -> f64 {
    millis(at.saturating_sub(query.started_at().unwrap_or(at)))
}
