//! What readers see of several traces: the JSON types of those that are active, and of families.

use serde::{Deserialize, Serialize};

use crate::{
    event::TraceId,
    query::{instant, text::millis},
    store::{TraceStatus, TraceSummary},
};

/// Traces of which no end is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ActiveView {
    /// The traces; the one silent for longest first.
    pub traces: Vec<ActiveTrace>,
    /// How many are pending, shown or not.
    pub active: u64,
    /// How many of them are stuck, shown or not.
    pub stuck: u64,
    /// More were pending than are shown or were looked at.
    pub truncated: bool,
}

/// One trace of which no end is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ActiveTrace {
    /// The trace.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// The message it is about.
    pub correlation_id: Option<String>,
    /// Its route.
    pub route: Option<String>,
    /// When its first event happened.
    pub started_at: String,
    /// When its last event happened.
    pub last_event_at: String,
    /// Time without any event.
    pub idle_ms: f64,
    /// It was silent for longer than allowed.
    pub stuck: bool,
}

/// A trace and those that it started, across workflow boundaries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FamilyView {
    /// The traces, generation by generation, each generation the oldest first within one parent.
    pub traces: Vec<FamilyMember>,
    /// There are more than [`MAX_FAMILY`](crate::MAX_FAMILY), or than the store names.
    pub truncated: bool,
}

/// One trace of a family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FamilyMember {
    /// The trace.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// The trace that started it; absent for the one that was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_trace_id: Option<TraceId>,
    /// 0 for the one that was asked for, 1 for its children.
    pub depth: u32,
    /// The message it is about.
    pub correlation_id: Option<String>,
    /// Its route.
    pub route: Option<String>,
    /// How it stands.
    pub status: TraceStatus,
    /// When its first event happened.
    pub started_at: String,
    /// From its first to its last event.
    pub duration_ms: f64,
}

impl ActiveTrace {
    pub(super) fn of(summary: &TraceSummary, silent: i64, idle: i64) -> Self {
        Self {
            trace_id: summary.trace_id,
            correlation_id: summary.correlation_id.clone(),
            route: summary.route.clone(),
            started_at: instant(summary.first),
            last_event_at: instant(summary.last),
            idle_ms: millis(silent),
            stuck: silent >= idle,
        }
    }
}

impl FamilyMember {
    pub(super) fn of(summary: &TraceSummary, parent_trace_id: Option<TraceId>, depth: u32) -> Self {
        Self {
            trace_id: summary.trace_id,
            parent_trace_id,
            depth,
            correlation_id: summary.correlation_id.clone(),
            route: summary.route.clone(),
            status: summary.status,
            started_at: instant(summary.first),
            duration_ms: millis(summary.last.saturating_sub(summary.first)),
        }
    }
}
