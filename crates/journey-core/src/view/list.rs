//! Which journeys are there, and which of them are stuck?

use serde::{Deserialize, Serialize};

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
