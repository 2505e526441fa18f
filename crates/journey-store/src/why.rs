//! Why did it fail? All that a tired engineer needs of one trace, as data and as one paragraph.

mod missing;
mod paragraph;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::{Event, EventStatus, TraceId},
    query::{
        CompensationsView, DecisionView, FailureView, Node, NodeKind, StepRef, StepView, TraceQuery, instant, name_of,
        text::{self, NAME, millis},
    },
    store::TraceStatus,
};

/// The most ids that are picked from the data of events.
const MOST_IDS: usize = 12;

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No event is known.
    Unknown,
    /// A failure decided it.
    Failed,
    /// It succeeded, and something in it had failed on the way.
    Recovered,
    /// It succeeded, and nothing in it failed.
    Succeeded,
    /// No end is known, and nothing that failed has decided it.
    Running,
}

/// Why a trace stands as it does. Texts are cut and escaped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The trace.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub trace_id: Option<TraceId>,
    /// The message it is about.
    pub correlation_id: Option<String>,
    /// Its route or workflow.
    pub route: Option<String>,
    /// The trace that started it.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_trace_id: Option<TraceId>,
    /// In one word.
    pub verdict: Verdict,
    /// How it stands, as the store's summary says.
    pub status: TraceStatus,
    /// When its earliest work began.
    pub started_at: Option<String>,
    /// When its last event happened.
    pub last_event_at: Option<String>,
    /// How long it took, or has taken up to its last event.
    pub duration_ms: Option<f64>,
    /// What it was about: values of `id`, `*_id` and `*Id` in the data of the workflow and of the way to the failure,
    /// also inside `data.input`; at most 12.
    pub ids: BTreeMap<String, String>,
    /// Tags of its events.
    pub tags: BTreeMap<String, String>,
    /// The failure that decided.
    pub failure: Option<FailureView>,
    /// Other failures: attempts before, steps that may fail, what failed beside it. Not what is around the failure.
    pub other_failures: Vec<OtherFailureView>,
    /// Steps that succeeded; where there is a failure, only those that ended before it.
    pub succeeded: Vec<StepRef>,
    /// What was decided, with what followed.
    pub decisions: Vec<DecisionView>,
    /// What was undone, what could not be, and what nobody undid.
    pub compensations: CompensationsView,
    /// No step succeeded, or all that did say `data.compensable = false`.
    pub nothing_to_undo: bool,
    /// What has begun and not ended.
    pub pending: Vec<StepView>,
    /// From its last event until now, where now was given.
    pub idle_ms: Option<f64>,
    /// The longest time without any event.
    pub longest_pause: Option<PauseView>,
    /// What is not known or does not fit, one sentence each.
    pub missing: Vec<String>,
}

/// A failure that did not decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OtherFailureView {
    /// What failed.
    pub step: StepView,
    /// The later success of the same step, or its later attempt under way.
    pub overcome_by: Option<StepRef>,
    /// From the failure until that.
    pub overcome_after_ms: Option<f64>,
}

/// Time without any event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PauseView {
    /// How long.
    pub ms: f64,
    /// What the event before it was about.
    pub after: String,
    /// What the event that ended it was about.
    pub before: String,
}

/// Why a trace stands as it does, without a word on how long it has been silent. See [`why_at`].
///
/// ```
/// use journey_store::{TraceQuery, Verdict, fixture::Saga, why};
/// let order = TraceQuery::new(Saga { fails_at: Some(9), ..Saga::default() }.events());
/// let why = why(&order);
/// assert_eq!(why.verdict, Verdict::Failed);
/// assert!(why.paragraph().starts_with("Workflow `order` failed at `capture_payment`"));
/// ```
pub fn why(query: &TraceQuery<'_>) -> Why {
    look(query, None, false)
}

/// Why a trace stands as it does; `now`, unix nanoseconds, tells how long a pending one has been silent.
pub fn why_at(query: &TraceQuery<'_>, now: i64) -> Why {
    look(query, Some(now), false)
}

/// As [`why_at`], of a trace that may have more events than were read.
pub(crate) fn look(query: &TraceQuery<'_>, now: Option<i64>, truncated: bool) -> Why {
    let failure = FailureView::of(query);
    let other_failures = other_failures(query);
    let verdict = match query.status() {
        _ if query.trace_id().is_none() => Verdict::Unknown,
        _ if failure.is_some() => Verdict::Failed,
        TraceStatus::Success if other_failures.is_empty() => Verdict::Succeeded,
        TraceStatus::Success => Verdict::Recovered,
        TraceStatus::Pending | TraceStatus::Failed => Verdict::Running,
    };
    let decisive = query.failure();
    let before = |node: &&Node| decisive.is_none_or(|failure| node.last() <= failure.last());
    let shown = |text: &str| text::clean(text, NAME);
    let idle = now.zip(query.last_event_at()).map(|(now, last)| now.saturating_sub(last).max(0));
    Why {
        trace_id: query.trace_id(),
        correlation_id: query.correlation_id().map(shown),
        route: query.route().map(shown),
        parent_trace_id: query.parent_trace_id(),
        verdict,
        status: query.status(),
        started_at: query.started_at().map(instant),
        last_event_at: query.last_event_at().map(instant),
        duration_ms: query.duration().map(millis),
        ids: ids(query),
        tags: query.tags().into_iter().map(|(key, value)| (shown(key), shown(value))).collect(),
        failure,
        other_failures,
        succeeded: query.successes().filter(before).map(StepRef::of).collect(),
        decisions: query.decisions().into_iter().map(|one| DecisionView::of(query, one)).collect(),
        compensations: CompensationsView::of(query),
        nothing_to_undo: query.successes().filter(before).all(|node| !node.compensable),
        pending: query.pending().map(|node| StepView::of(query, node)).collect(),
        idle_ms: idle.map(millis),
        longest_pause: longest_pause(query),
        missing: missing::sentences(query, verdict, truncated),
    }
}

fn other_failures(query: &TraceQuery<'_>) -> Vec<OtherFailureView> {
    let around: Vec<usize> = query.failure_path().iter().map(|node| node.index).collect();
    // Both lists are long only in bad data; a set keeps that linear.
    let around: std::collections::HashSet<usize> = around.into_iter().collect();
    let is_other = |node: &&Node| {
        let counts = node.kind == NodeKind::Work && !query.is_compensating(node);
        // What only failed with something inside it is told by that.
        let explained =
            query.children(node).any(|child| child.kind == NodeKind::Work && child.status == EventStatus::Failed);
        counts && !explained && !around.contains(&node.index)
    };
    let view = |node: &Node| {
        let by = query.overcome_by(node);
        OtherFailureView {
            step: StepView::of(query, node),
            overcome_by: by.map(StepRef::of),
            overcome_after_ms: by.map(|by| millis(by.last().saturating_sub(node.last()))),
        }
    };
    query.failures().filter(is_other).map(view).collect()
}

fn ids(query: &TraceQuery<'_>) -> BTreeMap<String, String> {
    let is_id = |key: &str| key == "id" || key.ends_with("_id") || key.ends_with("Id") || key.ends_with("ID");
    let mut ids = BTreeMap::new();
    let mut pick = |event: &Event| {
        let inside = event.data.get("input").and_then(Value::as_object);
        for (key, value) in event.data.iter().chain(inside.into_iter().flatten()) {
            let is_value = value.is_string() || value.is_number();
            if ids.len() < MOST_IDS && is_value && is_id(key) {
                ids.entry(text::clean(key, NAME)).or_insert_with(|| text::plain(value, NAME));
            }
        }
    };
    // The failure before what is around it: at the limit, the nearest ids are worth most.
    for node in query.failure_path().into_iter().rev().chain(query.root()) {
        query.events_of(node).for_each(&mut pick);
    }
    ids
}

fn longest_pause(query: &TraceQuery<'_>) -> Option<PauseView> {
    let mut longest: Option<(i64, &Event, &Event)> = None;
    for (event, next) in query.events().zip(query.events().skip(1)) {
        let pause = next.timestamp.saturating_sub(event.timestamp);
        if longest.is_none_or(|(length, _, _)| length < pause) {
            longest = Some((pause, event, next));
        }
    }
    let (length, event, next) = longest?;
    let label = |event: &Event| {
        let decision = event.data.get("decision").and_then(Value::as_str);
        text::clean(name_of(event).or(decision).unwrap_or(&event.event_type), NAME)
    };
    Some(PauseView { ms: millis(length), after: label(event), before: label(next) })
}
