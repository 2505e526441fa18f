//! The figures of the metrics as one JSON document, for home-made dashboards.

use std::collections::BTreeMap;

use journey_core::{
    MetricsSnapshot, Routes, Window, rfc3339,
    view::{AccountingView, LegStatsView, OperationView, StatsView, SummaryView},
};
use serde::{Deserialize, Serialize};

use crate::{health::HealthView, prometheus, router::App};

/// `GET /api/metrics`: everything since start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsDocument {
    /// When this was read.
    pub at: String,
    /// When the tracker started.
    pub started_at: String,
    /// One entry a route.
    pub routes: Vec<RouteMetrics>,
    /// Named operations.
    pub operations: Vec<OperationView>,
    /// Checkpoints offered, recorded and dropped by reason.
    pub accounting: AccountingView,
    /// Values that went into an overflow series because a limit on names was reached.
    pub overflowed: u64,
    /// The process itself.
    pub process: ProcessView,
    /// Registered components and resources.
    pub health: HealthView,
}

/// One route since start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMetrics {
    /// Name of the route.
    pub route: String,
    /// Open journeys.
    pub active: u64,
    /// Finished journeys by outcome.
    pub completions: BTreeMap<String, u64>,
    /// Every stage, in the order of the route.
    pub stages: Vec<StageMetrics>,
    /// Every leg, in the order of the route.
    pub legs: Vec<LegStatsView>,
    /// Every segment, one entry an outcome.
    pub segments: Vec<SegmentMetrics>,
}

/// One stage since start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StageMetrics {
    /// Stage name.
    pub stage: String,
    /// Checkpoints that reached it.
    pub reached: u64,
    /// Checkpoints that failed, by kind of error.
    pub errors: BTreeMap<String, u64>,
    /// Journeys that are stuck there now.
    pub stuck: u64,
}

/// One segment and outcome since start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SegmentMetrics {
    /// Segment name.
    pub name: String,
    /// `completed`, `failed` or `expired`.
    pub outcome: String,
    /// Latency.
    #[serde(flatten)]
    pub stats: StatsView,
}

/// The process itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessView {
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is in RAM, in bytes.
    pub resident_memory_bytes: u64,
    /// Address space, in bytes.
    pub virtual_memory_bytes: u64,
    /// When the process started, unix seconds.
    pub start_time_seconds: f64,
    /// Open files and sockets, where the system says so.
    pub open_fds: Option<u64>,
    /// How many files and sockets may be open, where the system says so.
    pub max_fds: Option<u64>,
}

/// Reads all figures.
pub(crate) fn document(app: &App) -> MetricsDocument {
    let snapshot = prometheus::snapshot(&app.live);
    MetricsDocument {
        at: rfc3339(snapshot.at),
        started_at: rfc3339(snapshot.started_at),
        routes: route_metrics(&snapshot, &app.live.summary(None, Window::Start), app.live.routes()),
        operations: snapshot
            .operations
            .iter()
            .map(|series| OperationView { name: series.name.clone(), stats: StatsView::of(&series.histogram) })
            .collect(),
        accounting: snapshot.accounting.view(),
        overflowed: snapshot.overflowed,
        process: app.process.read(),
        health: app.health.view(snapshot.at),
    }
}

/// Legs come from the summary since start, which counts skewed and coarse values beside the histogram.
fn route_metrics(snapshot: &MetricsSnapshot, summary: &SummaryView, routes: &Routes) -> Vec<RouteMetrics> {
    let mut all = Vec::with_capacity(routes.len());
    for (_, declared) in routes.iter() {
        let name = declared.name();
        let mut stages: Vec<StageMetrics> = Vec::new();
        for (_, stage, error, count) in snapshot.checkpoints.iter().filter(|(route, ..)| route == name) {
            let stage = stage_entry(&mut stages, stage);
            if error.is_empty() {
                stage.reached += count;
            } else {
                *stage.errors.entry(error.clone()).or_default() += count;
            }
        }
        for (_, stage, count) in snapshot.stuck.iter().filter(|(route, ..)| route == name) {
            stage_entry(&mut stages, stage).stuck += count;
        }
        let order = |stage: &StageMetrics| declared.find(&stage.stage).map_or(u16::MAX, |index| index.0);
        stages.sort_by_key(order);
        let completions = snapshot.completions.iter().filter(|(route, ..)| route == name);
        let active = snapshot.active.iter().filter(|(route, _)| route == name);
        all.push(RouteMetrics {
            route: name.to_owned(),
            active: active.map(|(_, count)| count).sum(),
            completions: completions.map(|(_, outcome, count)| (outcome.clone(), *count)).collect(),
            stages,
            legs: summary
                .routes
                .iter()
                .find(|route| route.route == name)
                .map_or_else(Vec::new, |route| route.legs.clone()),
            segments: snapshot
                .segments
                .iter()
                .filter(|series| series.route == name)
                .map(|series| SegmentMetrics {
                    name: series.name.clone(),
                    outcome: series.outcome.clone().unwrap_or_default(),
                    stats: StatsView::of(&series.histogram),
                })
                .collect(),
        });
    }
    all
}

fn stage_entry<'a>(stages: &'a mut Vec<StageMetrics>, name: &str) -> &'a mut StageMetrics {
    let index = stages.iter().position(|stage| stage.stage == name).unwrap_or_else(|| {
        stages.push(StageMetrics { stage: name.to_owned(), ..StageMetrics::default() });
        stages.len() - 1
    });
    &mut stages[index]
}
