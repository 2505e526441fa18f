//! How often is work undone, and how often does that fail?

use serde::{Deserialize, Serialize};

use super::{
    AnalyticsView, MAX_ROWS, NO_ROUTE, OTHER, note_folded, note_settled, route_of, share,
    table::{Row, Rows, Table},
    traces::{Noted, Trace, Traces},
};
use crate::{
    event::{Event, EventStatus},
    query::{error_of, is_compensation, name_of, status_of, text},
    store::TraceStatus,
};

/// How often the traces of one route were compensated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CompensationRate {
    /// The route.
    pub route: String,
    /// Traces with any event.
    pub traces: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Traces with at least one compensation.
    pub compensated: u64,
    /// Compensated of all traces, 0 to 1.
    pub rate: Option<f64>,
    /// Compensated traces in which a compensation failed.
    pub with_failed_compensation: u64,
    /// Of the compensated traces, those in which a compensation failed, 0 to 1.
    pub failure_rate: Option<f64>,
}

/// How well one kind of work is undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CompensatedWork {
    /// The route.
    pub route: String,
    /// The compensation.
    pub compensation: String,
    /// Ends of it.
    pub ended: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Failed of ended, 0 to 1.
    pub failure_rate: Option<f64>,
    /// Mean of the durations that are known.
    pub mean_ms: Option<f64>,
    /// A message of a failure.
    pub example: Option<String>,
}

#[derive(Debug)]
pub(super) struct Compensating {
    traces: Traces<Undoing>,
    routes: Table<String, Counts>,
    work: Table<(String, String), Work>,
}

#[derive(Debug, Default)]
struct Undoing {
    any: bool,
    failed: bool,
}

#[derive(Debug, Default)]
struct Counts {
    traces: u64,
    failed: u64,
    compensated: u64,
    with_failed: u64,
}

#[derive(Debug, Default)]
struct Work {
    ended: u64,
    failed: u64,
    nanos: u128,
    timed: u64,
    example: Option<String>,
}

impl Compensating {
    pub(super) fn new() -> Self {
        Self { traces: Traces::new(), routes: Table::new(MAX_ROWS), work: Table::new(MAX_ROWS) }
    }

    pub(super) fn add(&mut self, event: &Event) {
        let (undoes, status) = (is_compensation(&event.event_type), status_of(event));
        let failed = undoes && status == EventStatus::Failed;
        let settled = self.traces.add(event, |undoing| {
            undoing.any |= undoes;
            undoing.failed |= failed;
        });
        settled.into_iter().for_each(|trace| self.count(trace));
        if undoes && status != EventStatus::Pending {
            let name = text::clean(name_of(event).unwrap_or(&event.event_type), text::NAME);
            let taken = event.duration.and_then(|nanos| u128::try_from(nanos).ok());
            self.work.at((route_of(event), name)).merge(Work {
                ended: 1,
                failed: u64::from(failed),
                nanos: taken.unwrap_or_default(),
                timed: u64::from(taken.is_some()),
                example: failed.then(|| error_of(event)?.message).flatten(),
            });
        }
    }

    fn count(&mut self, trace: Trace<Undoing>) {
        let failed = trace.status() == TraceStatus::Failed;
        let Trace { route, noted, .. } = trace;
        self.routes.at(route.unwrap_or_else(|| NO_ROUTE.to_owned())).merge(Counts {
            traces: 1,
            failed: u64::from(failed),
            compensated: u64::from(noted.any),
            with_failed: u64::from(noted.failed),
        });
    }

    pub(super) fn report(mut self, view: &mut AnalyticsView) {
        for trace in self.traces.settle() {
            self.count(trace);
        }
        note_settled(self.traces.settled_early, &mut view.notes);
        let Rows { rows, other, folded } = self.routes.into_rows();
        note_folded("routes", folded, &mut view.notes);
        let other = other.map(|row| (OTHER.to_owned(), row));
        let rate = |(route, row): (String, Counts)| CompensationRate {
            route,
            traces: row.traces,
            failed: row.failed,
            compensated: row.compensated,
            rate: share(row.compensated, row.traces),
            with_failed_compensation: row.with_failed,
            failure_rate: share(row.with_failed, row.compensated),
        };
        view.compensation_rates = rows.into_iter().chain(other).map(rate).collect();
        let Rows { rows, other, folded } = self.work.into_rows();
        note_folded("compensations", folded, &mut view.notes);
        let other = other.map(|row| ((OTHER.to_owned(), OTHER.to_owned()), row));
        let work = |((route, compensation), row): ((String, String), Work)| CompensatedWork {
            route,
            compensation,
            ended: row.ended,
            failed: row.failed,
            failure_rate: share(row.failed, row.ended),
            mean_ms: (row.timed > 0).then(|| row.nanos as f64 / row.timed as f64 / 1e6),
            example: row.example,
        };
        view.compensated_work = rows.into_iter().chain(other).map(work).collect();
    }
}

impl Noted for Undoing {
    fn len(&self) -> usize {
        0
    }
}

impl Row for Counts {
    fn weight(&self) -> u64 {
        self.compensated.saturating_mul(1 << 32).saturating_add(self.traces)
    }

    fn merge(&mut self, other: Self) {
        self.traces += other.traces;
        self.failed += other.failed;
        self.compensated += other.compensated;
        self.with_failed += other.with_failed;
    }
}

impl Row for Work {
    fn weight(&self) -> u64 {
        self.failed.saturating_mul(1 << 32).saturating_add(self.ended)
    }

    fn merge(&mut self, other: Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.timed += other.timed;
        self.example = match (self.example.take(), other.example) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (one, another) => one.or(another),
        };
    }
}
