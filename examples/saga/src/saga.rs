//! How does an order run, and how is it undone when a step fails?

use journey_store::{Event, EventDraft, SpanId, TraceContext};
use serde_json::json;

use crate::{
    shop::{Order, Refused, Shop},
    steps::Step,
};

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The steps that worked.
    pub(crate) done: Vec<Step>,
    /// The step that failed, and why.
    pub(crate) failure: Option<(Step, Refused)>,
    /// What was undone again, the last first.
    pub(crate) undone: Vec<Step>,
    /// What could not be undone, and why.
    pub(crate) left: Vec<(Step, Refused)>,
}

/// Does one step after the other. When one fails, what was done is undone in reverse order.
pub(crate) async fn run(shop: &mut Shop, order: &mut Order, trace: &TraceContext) -> Outcome {
    trace.record(received(order));
    let mut done: Vec<(Step, SpanId)> = Vec::new();
    let mut failure = None;
    for step in Step::ALL {
        // Steps that only look leave nothing behind that somebody would miss.
        let trace = if step.undone_by().is_some() { trace.clone() } else { trace.without_effect() };
        let work = format!("stage:{}", step.name());
        let result =
            trace.trace_with(&work, async |place| step.run(shop, order, &place).await.map(|()| place.span_id()));
        match result.await {
            Ok(span) => done.push((step, span)),
            Err(error) => {
                failure = Some((step, error));
                break;
            }
        }
    }
    let mut outcome =
        Outcome { done: done.iter().map(|(step, _)| *step).collect(), failure, undone: Vec::new(), left: Vec::new() };
    let Some((_, error)) = &outcome.failure else {
        trace.completed();
        return outcome;
    };
    let error = error.clone();
    undo(&done, shop, order, trace, &mut outcome).await;
    trace.failed(&error);
    outcome
}

async fn undo(done: &[(Step, SpanId)], shop: &mut Shop, order: &Order, trace: &TraceContext, outcome: &mut Outcome) {
    for (step, span) in done.iter().rev() {
        let Some(name) = step.undone_by() else { continue };
        match trace.compensate(*span, name, || step.undo(shop, order)).await {
            Ok(()) => outcome.undone.push(*step),
            Err(error) => outcome.left.push((*step, error)),
        }
    }
}

/// The order as it came in: with far more than anybody should keep. Without a status it is a note, no step.
fn received(order: &Order) -> EventDraft {
    let lines: Vec<_> =
        order.lines.iter().map(|line| json!({"article": line.article, "pieces": line.pieces})).collect();
    let login = json!({"user": order.customer, "password": order.password});
    Event::draft("order:received")
        .data("order_id", order.id.as_str())
        .data("lines", lines)
        .data("login", login)
        .data("note", format!("please charge {} and ring twice", order.card))
}
