//! Which stages are slow?

use journey_core::Histogram;
use serde::{Deserialize, Serialize};

use super::{
    AnalyticsView, MAX_ROWS, OTHER, note_folded, route_of,
    table::{Row, Rows, Table},
};
use crate::{
    event::{Event, EventStatus},
    query::{is_compensation, is_decision, is_workflow, name_of, status_of, text},
};

/// How long one stage takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SlowStage {
    /// The route.
    pub route: String,
    /// The stage or other work.
    pub stage: String,
    /// Ends with a duration.
    pub count: u64,
    /// Of them, failed: their time counts too, because it was waited for.
    pub failed: u64,
    /// Arithmetic mean.
    pub mean_ms: f64,
    /// Median (reliable from 6 values); at most 0.54 % off, as all percentiles.
    pub p50_ms: f64,
    /// 95th percentile (reliable from 72 values).
    pub p95_ms: f64,
    /// 99th percentile (reliable from 368 values).
    pub p99_ms: f64,
    /// Largest value.
    pub max_ms: f64,
}

#[derive(Debug)]
pub(super) struct Slow(Table<(String, String), Times>);

#[derive(Debug, Default)]
struct Times {
    taken: Histogram,
    failed: u64,
}

impl Slow {
    pub(super) fn new() -> Self {
        Self(Table::new(MAX_ROWS))
    }

    pub(super) fn add(&mut self, event: &Event) {
        let (kind, status) = (&event.event_type, status_of(event));
        let Some(duration) = event.duration.and_then(|nanos| u64::try_from(nanos).ok()) else { return };
        if status == EventStatus::Pending || is_workflow(kind) || is_compensation(kind) || is_decision(kind) {
            return;
        }
        let name = text::clean(name_of(event).unwrap_or(kind), text::NAME);
        let times = self.0.at((route_of(event), name));
        times.taken.record(duration);
        times.failed += u64::from(status == EventStatus::Failed);
    }

    pub(super) fn report(self, view: &mut AnalyticsView) {
        let Rows { mut rows, other, folded } = self.0.into_rows();
        note_folded("stages", folded, &mut view.notes);
        let p95 = |times: &Times| times.taken.quantile_nanos(0.95).unwrap_or_default();
        rows.sort_by(|(key, times), (other_key, other)| {
            p95(other).total_cmp(&p95(times)).then_with(|| key.cmp(other_key))
        });
        let other = other.map(|times| ((OTHER.to_owned(), OTHER.to_owned()), times));
        let row = |((route, stage), times): ((String, String), Times)| times.view(route, stage);
        view.slowest_stages = rows.into_iter().chain(other).map(row).collect();
    }
}

impl Times {
    fn view(&self, route: String, stage: String) -> SlowStage {
        let ms = |nanos: Option<f64>| nanos.unwrap_or_default() / 1e6;
        SlowStage {
            route,
            stage,
            count: self.taken.count(),
            failed: self.failed,
            mean_ms: ms(self.taken.mean_nanos()),
            p50_ms: ms(self.taken.quantile_nanos(0.5)),
            p95_ms: ms(self.taken.quantile_nanos(0.95)),
            p99_ms: ms(self.taken.quantile_nanos(0.99)),
            max_ms: ms(self.taken.quantile_nanos(1.0)),
        }
    }
}

impl Row for Times {
    fn weight(&self) -> u64 {
        // All time spent in it: one slow call and many quick ones are both worth to be kept.
        u64::try_from(self.taken.sum_nanos()).unwrap_or(u64::MAX)
    }

    fn merge(&mut self, other: Self) {
        self.taken.merge(&other.taken);
        self.failed += other.failed;
    }
}
