//! What readers see of stored events (the JSON types), beside those of journey-store.

use std::collections::BTreeSet;

use journey_core::rfc3339;
use journey_store::{DailyStatistic, Event, Page, TraceId, TraceStatus, TraceSummary, TraceView};
use serde::{Deserialize, Serialize};

/// The most other traces that are named beside one.
const MAX_RELATIVES: usize = 100;

/// The most steps that one line names.
const MAX_REFERENCES: usize = 100;

/// `GET /api/v2/traces`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracesView {
    /// The traces, the one with the newest event first.
    pub traces: Vec<TraceRow>,
    /// Where the next page starts; absent on the last one.
    pub next_cursor: Option<String>,
    /// There is more than was looked at, and no way on from here: narrow the question.
    pub truncated: bool,
}

/// One trace in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceRow {
    /// The trace.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// The message it is about.
    pub correlation_id: Option<String>,
    /// Its route.
    pub route: Option<String>,
    /// The trace that started it.
    #[schema(value_type = Option<String>)]
    pub parent_trace_id: Option<TraceId>,
    /// How it stands.
    pub status: TraceStatus,
    /// Something in it failed, whatever came after.
    pub any_failed: bool,
    /// When its first event happened.
    pub started_at: String,
    /// When its last event happened.
    pub last_event_at: String,
    /// From its first to its last event.
    pub duration_ms: f64,
    /// Types of its events.
    pub types: BTreeSet<String>,
    /// Tags of its events, as `key=value`.
    pub tags: BTreeSet<String>,
}

/// `GET /api/v2/traces/{id}`: as much of a trace as one answer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredTraceView {
    /// The trace; lists are cut to `limit`, see `omitted`.
    #[serde(flatten)]
    pub trace: TraceView,
    /// Further traces of the same correlation id, the one with the newest event first.
    pub other_traces: Vec<TraceRow>,
    /// Traces that this one started, the one with the oldest event first.
    pub children: Vec<TraceRow>,
    /// What is known and left out here.
    pub omitted: Omitted,
}

/// How much of a trace was left out of an answer. Every event is in `GET /api/v2/traces/{id}/events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Omitted {
    /// Events: the last ones.
    pub events: u64,
    /// Lines of the tree: the last ones.
    pub nodes: u64,
    /// Compensations, and work that was not undone: the last ones.
    pub compensations: u64,
    /// Decisions: the last ones.
    pub decisions: u64,
    /// Steps that a line, a decision or the way to the failure names.
    pub references: u64,
    /// Other traces of the correlation id: the oldest ones.
    pub other_traces: u64,
    /// Children: the newest ones.
    pub children: u64,
}

/// `GET /api/v2/events` and `GET /api/v2/traces/{id}/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsView {
    /// The events in the order of time. With `tag`, a page can have fewer than `limit`, also none, and not be the last.
    pub events: Vec<Event>,
    /// Where the next page starts; absent on the last one.
    pub next_cursor: Option<String>,
    /// There is more than was looked at, and no way on from here: narrow the question.
    pub truncated: bool,
}

/// `GET /api/v2/stats/daily`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DailyView {
    /// The first day (UTC), as `2026-11-14`.
    pub first: String,
    /// The last day (UTC).
    pub last: String,
    /// One line a day, route and leg; the newest day first.
    pub statistics: Vec<DailyStatistic>,
    /// Days that got events since their statistics were computed, the oldest first: what is said of them is not all.
    #[serde(default)]
    pub due: Vec<String>,
    /// There are more lines than `limit`: name a route or a leg.
    pub truncated: bool,
}

impl TraceRow {
    pub(super) fn of(summary: TraceSummary) -> Self {
        Self {
            trace_id: summary.trace_id,
            correlation_id: summary.correlation_id,
            route: summary.route,
            parent_trace_id: summary.parent_trace_id,
            status: summary.status,
            any_failed: summary.any_failed,
            started_at: rfc3339(summary.first),
            last_event_at: rfc3339(summary.last),
            duration_ms: summary.last.saturating_sub(summary.first) as f64 / 1e6,
            types: summary.types,
            tags: summary.tags,
        }
    }
}

impl From<Page<TraceSummary>> for TracesView {
    fn from(page: Page<TraceSummary>) -> Self {
        let traces = page.items.into_iter().map(TraceRow::of).collect();
        Self { traces, next_cursor: page.next, truncated: page.truncated }
    }
}

impl From<Page<Event>> for EventsView {
    fn from(page: Page<Event>) -> Self {
        Self { events: page.items, next_cursor: page.next, truncated: page.truncated }
    }
}

impl StoredTraceView {
    /// Cuts every list, so that an answer is bounded whatever the trace is.
    pub(super) fn new(
        mut trace: TraceView,
        limit: usize,
        others: Page<TraceSummary>,
        children: Page<TraceSummary>,
    ) -> Self {
        let mut omitted = Omitted {
            events: cut(&mut trace.events, limit),
            nodes: cut(&mut trace.tree.nodes, limit),
            decisions: cut(&mut trace.decisions, limit),
            ..Omitted::default()
        };
        let undone = &mut trace.compensations;
        omitted.compensations = cut(&mut undone.all, limit)
            + cut(&mut undone.still_in_effect, limit)
            + cut(&mut undone.never_undone, limit);
        for node in &mut trace.tree.nodes {
            omitted.references += cut(&mut node.compensated_by, MAX_REFERENCES);
        }
        for decision in &mut trace.decisions {
            omitted.references +=
                cut(&mut decision.followed, MAX_REFERENCES) + cut(&mut decision.branch, MAX_REFERENCES);
        }
        if let Some(failure) = &mut trace.failure {
            // What is next to the failure says most.
            let far = failure.path.len().saturating_sub(MAX_REFERENCES);
            omitted.references += failure.path.drain(..far).len() as u64;
        }
        let mut rows = |page: Page<TraceSummary>| {
            trace.truncated |= page.truncated || page.next.is_some();
            let mut rows: Vec<_> = page.items.into_iter().map(TraceRow::of).collect();
            let left_out = cut(&mut rows, MAX_RELATIVES);
            (rows, left_out)
        };
        let (other_traces, left_out) = rows(others);
        omitted.other_traces = left_out;
        let (children, left_out) = rows(children);
        omitted.children = left_out;
        Self { trace, other_traces, children, omitted }
    }
}

/// Shortens a list; how many were left out.
fn cut<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let left_out = list.len().saturating_sub(most);
    list.truncate(most);
    left_out as u64
}
