//! How did workflows end after each choice?

use serde::{Deserialize, Serialize};

use super::{
    AnalyticsView, MAX_ROWS, NO_ROUTE, OTHER, note_folded, note_settled, share,
    table::{Row, Rows, Table},
    traces::{Noted, Trace, Traces},
};
use crate::{
    event::Event,
    query::{is_decision, text},
    store::TraceStatus,
};

/// The most decisions of one trace that are counted.
const MOST_OF_A_TRACE: usize = 100;
/// The choice of decisions that name none.
const NO_CHOICE: &str = "(no choice)";

/// How traces ended in which one choice was made. A trace that chose so twice counts twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DecisionOutcome {
    /// The route.
    pub route: String,
    /// What was decided about.
    pub decision: String,
    /// What was chosen.
    pub chosen: String,
    /// How often.
    pub count: u64,
    /// In traces that succeeded.
    pub succeeded: u64,
    /// In traces that failed.
    pub failed: u64,
    /// In traces of which no end is known.
    pub pending: u64,
    /// Failed of those that ended, 0 to 1.
    pub failure_rate: Option<f64>,
    /// Mean of the confidences that are known.
    pub mean_confidence: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Deciding {
    traces: Traces<Choices>,
    outcomes: Table<(String, String, String), Outcomes>,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Choices(Vec<Choice>);

#[derive(Debug)]
struct Choice {
    decision: String,
    chosen: String,
    confidence: Option<f64>,
}

#[derive(Debug, Default)]
struct Outcomes {
    succeeded: u64,
    failed: u64,
    pending: u64,
    confidence: f64,
    confident: u64,
}

impl Deciding {
    pub(super) fn new() -> Self {
        Self { traces: Traces::new(), outcomes: Table::new(MAX_ROWS), left_out: 0 }
    }

    pub(super) fn add(&mut self, event: &Event) {
        let choice = is_decision(&event.event_type).then(|| Choice::of(event));
        let left_out = &mut self.left_out;
        let settled = self.traces.add(event, |Choices(choices)| {
            let Some(choice) = choice else { return };
            if choices.len() < MOST_OF_A_TRACE {
                choices.push(choice);
            } else {
                *left_out += 1;
            }
        });
        settled.into_iter().for_each(|trace| self.count(trace));
    }

    fn count(&mut self, trace: Trace<Choices>) {
        let status = trace.status();
        let route = trace.route.unwrap_or_else(|| NO_ROUTE.to_owned());
        for Choice { decision, chosen, confidence } in trace.noted.0 {
            self.outcomes.at((route.clone(), decision, chosen)).merge(Outcomes {
                succeeded: u64::from(status == TraceStatus::Success),
                failed: u64::from(status == TraceStatus::Failed),
                pending: u64::from(status == TraceStatus::Pending),
                confidence: confidence.unwrap_or_default(),
                confident: u64::from(confidence.is_some()),
            });
        }
    }

    pub(super) fn report(mut self, view: &mut AnalyticsView) {
        for trace in self.traces.settle() {
            self.count(trace);
        }
        note_settled(self.traces.settled_early, &mut view.notes);
        if self.left_out > 0 {
            view.notes.push(format!(
                "{} decisions were left out: of one trace, at most {MOST_OF_A_TRACE} count.",
                self.left_out
            ));
        }
        let Rows { rows, other, folded } = self.outcomes.into_rows();
        note_folded("decisions", folded, &mut view.notes);
        let other = other.map(|row| ((OTHER.to_owned(), OTHER.to_owned(), OTHER.to_owned()), row));
        let row = |((route, decision, chosen), row): ((String, String, String), Outcomes)| DecisionOutcome {
            route,
            decision,
            chosen,
            count: row.weight(),
            succeeded: row.succeeded,
            failed: row.failed,
            pending: row.pending,
            failure_rate: share(row.failed, row.failed + row.succeeded),
            mean_confidence: (row.confident > 0).then(|| row.confidence / row.confident as f64),
        };
        view.decision_outcomes = rows.into_iter().chain(other).map(row).collect();
    }
}

impl Choice {
    fn of(event: &Event) -> Self {
        let said =
            |key| event.data.get(key).filter(|value| !value.is_null()).map(|value| text::plain(value, text::NAME));
        Self {
            decision: said("decision").unwrap_or_else(|| text::clean(&event.event_type, text::NAME)),
            chosen: said("chosen").unwrap_or_else(|| NO_CHOICE.to_owned()),
            confidence: event.data.get("confidence").and_then(serde_json::Value::as_f64),
        }
    }
}

impl Noted for Choices {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Row for Outcomes {
    fn weight(&self) -> u64 {
        self.succeeded + self.failed + self.pending
    }

    fn merge(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.pending += other.pending;
        self.confidence += other.confidence;
        self.confident += other.confident;
    }
}
