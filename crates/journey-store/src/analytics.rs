//! Questions over many traces: how often does it fail, where, what is slow, does compensation work, which decisions turn
//! out well? A pure fold over events as they pass, in bounded memory.
//!
//! | module | question it answers |
//! |---|---|
//! | `failures` | how often do workflows fail, at which stages, with which errors? |
//! | `stages` | which stages are slow? |
//! | `compensations` | how often is work undone, and how often does that fail? |
//! | `decisions` | how did workflows end after each choice? |
//! | `table` | how are rows counted by key without end? |
//! | `traces` | how did each trace end? |

mod compensations;
mod decisions;
mod failures;
mod stages;
mod table;
mod traces;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use self::{compensations::Compensating, decisions::Deciding, failures::Failing, stages::Slow};
pub use self::{
    compensations::{CompensatedWork, CompensationRate},
    decisions::DecisionOutcome,
    failures::{ErrorCount, FailureRate, PeriodRate, StageFailures},
    stages::SlowStage,
};
use crate::{event::Event, query::text};

/// The most rows of one table; the rest is one row named `(other)`.
pub const MAX_ROWS: usize = 1_000;
/// The name of the row that holds the rest.
pub const OTHER: &str = "(other)";
/// The route of events that name none.
pub const NO_ROUTE: &str = "(no route)";

/// Which question is asked over many traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AnalyticsKind {
    /// How often workflows fail, at which stages, with which errors.
    Failures,
    /// Which stages are slow.
    Stages,
    /// How often work is undone, and how often that fails.
    Compensations,
    /// How workflows ended after each choice.
    Decisions,
}

/// A fold over events as they pass. Each event is given once, as a store's scan does; the order of time is best, any
/// order is right as long as nothing had to be settled early.
#[derive(Debug)]
pub struct Analytics {
    kind: AnalyticsKind,
    events: u64,
    fold: Fold,
}

#[derive(Debug)]
enum Fold {
    Failures(Failing),
    Stages(Slow),
    Compensations(Compensating),
    Decisions(Deciding),
}

/// What came out (`GET /api/v2/analytics/{kind}`). Only the tables of its kind have rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AnalyticsView {
    /// Which question was asked.
    pub kind: AnalyticsKind,
    /// Since when.
    pub since: Option<String>,
    /// Until when.
    pub until: Option<String>,
    /// Of which route; all where absent.
    pub route: Option<String>,
    /// How many events this rests on.
    pub events: u64,
    /// There are more events than were looked at.
    pub truncated: bool,
    /// What is less exact than it looks, one sentence each.
    pub notes: Vec<String>,
    /// How often workflows fail, by route; the busiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_rates: Vec<FailureRate>,
    /// Which stages fail and with which errors; the most failures first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures_by_stage: Vec<StageFailures>,
    /// Which stages are slow; the greatest p95 first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowest_stages: Vec<SlowStage>,
    /// How often work is undone, by route; the most compensated traces first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compensation_rates: Vec<CompensationRate>,
    /// Which work is undone and how well that goes; the most failures first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compensated_work: Vec<CompensatedWork>,
    /// How workflows ended after each choice; the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decision_outcomes: Vec<DecisionOutcome>,
}

impl Analytics {
    /// Nothing counted yet. Failure rates are told by `period`, nanoseconds, at least one second; it doubles as often
    /// as needed to keep a route at no more than 500 of them.
    pub fn new(kind: AnalyticsKind, period: i64) -> Self {
        let fold = match kind {
            AnalyticsKind::Failures => Fold::Failures(Failing::new(period)),
            AnalyticsKind::Stages => Fold::Stages(Slow::new()),
            AnalyticsKind::Compensations => Fold::Compensations(Compensating::new()),
            AnalyticsKind::Decisions => Fold::Decisions(Deciding::new()),
        };
        Self { kind, events: 0, fold }
    }

    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        self.events += 1;
        match &mut self.fold {
            Fold::Failures(fold) => fold.add(event),
            Fold::Stages(fold) => fold.add(event),
            Fold::Compensations(fold) => fold.add(event),
            Fold::Decisions(fold) => fold.add(event),
        }
    }

    /// Everything counted so far.
    pub fn report(self) -> AnalyticsView {
        let mut view = AnalyticsView {
            kind: self.kind,
            since: None,
            until: None,
            route: None,
            events: self.events,
            truncated: false,
            notes: Vec::new(),
            failure_rates: Vec::new(),
            failures_by_stage: Vec::new(),
            slowest_stages: Vec::new(),
            compensation_rates: Vec::new(),
            compensated_work: Vec::new(),
            decision_outcomes: Vec::new(),
        };
        match self.fold {
            Fold::Failures(fold) => fold.report(&mut view),
            Fold::Stages(fold) => fold.report(&mut view),
            Fold::Compensations(fold) => fold.report(&mut view),
            Fold::Decisions(fold) => fold.report(&mut view),
        }
        view
    }
}

impl AnalyticsKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Failures, Self::Stages, Self::Compensations, Self::Decisions];

    /// The word in paths and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Stages => "stages",
            Self::Compensations => "compensations",
            Self::Decisions => "decisions",
        }
    }
}

impl fmt::Display for AnalyticsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no question over many traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAnalyticsKind(String);

impl fmt::Display for InvalidAnalyticsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(given) = self;
        write!(f, "`{given}` is no kind of analytics (try `failures`, `stages`, `compensations` or `decisions`)")
    }
}

impl std::error::Error for InvalidAnalyticsKind {}

impl FromStr for AnalyticsKind {
    type Err = InvalidAnalyticsKind;

    fn from_str(text: &str) -> Result<Self, InvalidAnalyticsKind> {
        let invalid = || InvalidAnalyticsKind(text::clean(text, 64));
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(invalid)
    }
}

fn route_of(event: &Event) -> String {
    event.route.as_deref().map_or_else(|| NO_ROUTE.to_owned(), |route| text::clean(route, text::NAME))
}

/// A share of 0 to 1; none of nothing.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Says aloud that a table has a row for the rest.
fn note_folded(what: &str, folded: u64, notes: &mut Vec<String>) {
    if folded > 0 {
        notes.push(format!(
            "{what}: more than {MAX_ROWS} rows; the smaller ones are `{OTHER}` ({folded} folded). Totals are exact, \
             single rows may be low."
        ));
    }
}

/// Says aloud that traces were counted before their end was known.
fn note_settled(settled_early: u64, notes: &mut Vec<String>) {
    if settled_early > 0 {
        notes.push(format!(
            "Too many traces were open at once: {settled_early} were counted as they stood before all events had \
             passed, and some may count as not ended, or twice. A shorter time or one route is exact."
        ));
    }
}
