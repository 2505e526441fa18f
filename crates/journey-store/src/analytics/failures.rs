//! How often do workflows fail, at which stages, with which errors?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AnalyticsView, MAX_ROWS, OTHER, note_folded, route_of, share,
    table::{Row, Rows, Table},
};
use crate::{
    event::{Event, EventStatus},
    query::{error_of, instant, is_compensation, is_decision, is_workflow, name_of, status_of, text},
};

/// The most periods of one route.
const MOST_PERIODS: usize = 500;
/// The shortest period, nanoseconds.
const SHORTEST_PERIOD: i64 = 1_000_000_000;
/// The most error types kept of one stage.
const MOST_ERRORS: usize = 20;
/// The error type of failures that name none.
const NO_TYPE: &str = "(no type)";

/// How often the workflows of one route failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FailureRate {
    /// The route.
    pub route: String,
    /// Ends of workflows.
    pub ended: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Failed of ended, 0 to 1.
    pub rate: Option<f64>,
    /// Length of a period.
    pub period_ms: f64,
    /// The same by period, oldest first; periods without any end are left out.
    pub periods: Vec<PeriodRate>,
}

/// One period of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeriodRate {
    /// When it begins.
    pub start: String,
    /// Ends of workflows.
    pub ended: u64,
    /// Of them, failed.
    pub failed: u64,
    /// Failed of ended, 0 to 1.
    pub rate: Option<f64>,
}

/// How often one stage failed, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StageFailures {
    /// The route.
    pub route: String,
    /// The stage or other work.
    pub stage: String,
    /// Ends of it.
    pub ended: u64,
    /// Of them, failed; attempts that were overcome later included.
    pub failed: u64,
    /// Failed of ended, 0 to 1.
    pub rate: Option<f64>,
    /// The most frequent types of errors; at most 20 and `(other)`.
    pub errors: Vec<ErrorCount>,
}

/// How often one type of error came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ErrorCount {
    /// Type of the error.
    #[serde(rename = "type")]
    pub error_type: String,
    /// How often.
    pub count: u64,
    /// A message of it.
    pub example: Option<String>,
}

#[derive(Debug)]
pub(super) struct Failing {
    period: i64,
    routes: Table<String, Periods>,
    stages: Table<(String, String), Stage>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    ended: u64,
    failed: u64,
}

/// Ends by number of the period.
#[derive(Debug, Default)]
struct Periods(BTreeMap<i64, Ends>);

#[derive(Debug)]
struct Stage {
    ends: Ends,
    errors: Table<String, Errors>,
}

#[derive(Debug, Default)]
struct Errors {
    count: u64,
    /// The least, so that it does not depend on the order.
    example: Option<String>,
}

impl Failing {
    pub(super) fn new(period: i64) -> Self {
        Self { period: period.max(SHORTEST_PERIOD), routes: Table::new(MAX_ROWS), stages: Table::new(MAX_ROWS) }
    }

    pub(super) fn add(&mut self, event: &Event) {
        let status = status_of(event);
        if status == EventStatus::Pending || is_decision(&event.event_type) || is_compensation(&event.event_type) {
            return;
        }
        if is_workflow(&event.event_type) {
            let periods = &mut self.routes.at(route_of(event)).0;
            periods.entry(event.timestamp.div_euclid(self.period)).or_default().count(status);
            if periods.len() > MOST_PERIODS {
                self.double_the_period();
            }
            return;
        }
        let name = text::clean(name_of(event).unwrap_or(&event.event_type), text::NAME);
        let stage = self.stages.at((route_of(event), name));
        stage.ends.count(status);
        if status == EventStatus::Failed {
            let error = error_of(event).unwrap_or_default();
            let row = stage.errors.at(error.error_type.unwrap_or_else(|| NO_TYPE.to_owned()));
            row.merge(Errors { count: 1, example: error.message });
        }
    }

    fn double_the_period(&mut self) {
        self.period = self.period.saturating_mul(2);
        for Periods(periods) in self.routes.all_mut() {
            let finer = std::mem::take(periods);
            for (number, ends) in finer {
                periods.entry(number.div_euclid(2)).or_default().merge(ends);
            }
        }
    }

    pub(super) fn report(self, view: &mut AnalyticsView) {
        let period = self.period;
        let Rows { rows, other, folded } = self.routes.into_rows();
        note_folded("routes", folded, &mut view.notes);
        let other = other.map(|row| (OTHER.to_owned(), row));
        view.failure_rates = rows.into_iter().chain(other).map(|(route, row)| row.view(route, period)).collect();
        let Rows { rows, other, folded } = self.stages.into_rows();
        note_folded("stages", folded, &mut view.notes);
        let other = other.map(|row| ((OTHER.to_owned(), OTHER.to_owned()), row));
        let failed = rows.into_iter().chain(other).filter(|(_, row)| row.ends.failed > 0);
        view.failures_by_stage = failed.map(|((route, stage), row)| row.view(route, stage)).collect();
    }
}

impl Ends {
    fn count(&mut self, status: EventStatus) {
        self.ended += 1;
        self.failed += u64::from(status == EventStatus::Failed);
    }

    fn merge(&mut self, other: Self) {
        self.ended += other.ended;
        self.failed += other.failed;
    }
}

impl Periods {
    fn total(&self) -> Ends {
        let mut total = Ends::default();
        self.0.values().for_each(|ends| total.merge(*ends));
        total
    }

    fn view(self, route: String, period: i64) -> FailureRate {
        let total = self.total();
        let of_period = |(number, ends): (i64, Ends)| PeriodRate {
            start: instant(number.saturating_mul(period)),
            ended: ends.ended,
            failed: ends.failed,
            rate: share(ends.failed, ends.ended),
        };
        FailureRate {
            route,
            ended: total.ended,
            failed: total.failed,
            rate: share(total.failed, total.ended),
            period_ms: text::millis(period),
            periods: self.0.into_iter().map(of_period).collect(),
        }
    }
}

impl Stage {
    fn view(self, route: String, stage: String) -> StageFailures {
        let Rows { rows, other, .. } = self.errors.into_rows();
        let other = other.map(|row| (OTHER.to_owned(), row));
        let error = |(error_type, Errors { count, example })| ErrorCount { error_type, count, example };
        StageFailures {
            route,
            stage,
            ended: self.ends.ended,
            failed: self.ends.failed,
            rate: share(self.ends.failed, self.ends.ended),
            errors: rows.into_iter().chain(other).map(error).collect(),
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self { ends: Ends::default(), errors: Table::new(MOST_ERRORS) }
    }
}

impl Row for Periods {
    fn weight(&self) -> u64 {
        self.total().ended
    }

    fn merge(&mut self, other: Self) {
        for (number, ends) in other.0 {
            self.0.entry(number).or_default().merge(ends);
        }
    }
}

impl Row for Stage {
    fn weight(&self) -> u64 {
        // What never failed goes first, however busy it is.
        self.ends.failed.saturating_mul(1 << 32).saturating_add(self.ends.ended)
    }

    fn merge(&mut self, other: Self) {
        self.ends.merge(other.ends);
        self.errors.absorb(other.errors);
    }
}

impl Row for Errors {
    fn weight(&self) -> u64 {
        self.count
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.example = match (self.example.take(), other.example) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (one, another) => one.or(another),
        };
    }
}
