//! What does the process know about its own observing?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
