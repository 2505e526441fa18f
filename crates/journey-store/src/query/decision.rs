//! What was decided, and what followed?

use serde_json::Value;

use crate::{
    event::{Event, EventStatus},
    query::{
        TraceQuery,
        node::{Node, NodeKind},
        text::{self, NAME, SENTENCE},
    },
};

/// The most alternatives of one decision that are shown.
const MOST_ALTERNATIVES: usize = 20;

/// One decision, with what came of it. Its texts are safe to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'q> {
    /// Its node; the label says what was decided about.
    pub node: &'q Node,
    /// When it was made, unix nanoseconds.
    pub at: i64,
    /// What was chosen.
    pub chosen: Option<String>,
    /// Why, in the words of whoever decided.
    pub reasoning: Option<String>,
    /// How sure, usually 0 to 1; as given.
    pub confidence: Option<f64>,
    /// What could have been chosen instead.
    pub alternatives: Vec<String>,
    /// Work that began after it and before the next decision, in the order of time; compensations are left out.
    pub followed: Vec<&'q Node>,
    /// What names the decision as its parent, in the order of time.
    pub branch: Vec<&'q Node>,
    /// How what followed and the branch ended: failed where a failure in it was not overcome, pending where something
    /// in it is; `None` where nothing followed.
    pub outcome: Option<EventStatus>,
}

/// All decisions of a trace, in the order of time.
pub(super) fn find<'q>(query: &'q TraceQuery<'_>) -> Vec<Decision<'q>> {
    let nodes = query.nodes();
    let mut made: Vec<(i64, &Node)> = nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Decision)
        .map(|node| (query.events_of(node).last().map_or(node.start, |event| event.timestamp), node))
        .collect();
    made.sort_by_key(|(at, node)| (*at, node.index));
    let follows = |node: &&Node| node.is_work() && !query.failures.in_compensation[node.index];
    let mut work = nodes.iter().filter(follows).peekable();
    let mut decisions = Vec::with_capacity(made.len());
    for (place, (at, node)) in made.iter().enumerate() {
        let until = made.get(place + 1).map(|(at, _)| *at);
        let mut followed = Vec::new();
        while let Some(next) = work.next_if(|next| until.is_none_or(|until| next.start < until)) {
            if next.start >= *at {
                followed.push(next);
            }
        }
        decisions.push(decision(query, node, *at, followed));
    }
    decisions
}

/// What a decision's event says was chosen.
pub(super) fn chosen(event: &Event) -> Option<String> {
    said(event, "chosen", NAME)
}

fn said(event: &Event, key: &str, most: usize) -> Option<String> {
    let value = event.data.get(key).filter(|value| !value.is_null())?;
    Some(text::plain(value, most)).filter(|text| !text.is_empty())
}

fn decision<'q>(query: &'q TraceQuery<'_>, node: &'q Node, at: i64, followed: Vec<&'q Node>) -> Decision<'q> {
    let event = query.events_of(node).next_back();
    let value = |key| event.and_then(|event| event.data.get(key));
    let alternatives = value("alternatives").and_then(Value::as_array).into_iter().flatten();
    let branch: Vec<&Node> = query.children(node).collect();
    Decision {
        node,
        at,
        chosen: event.and_then(chosen),
        reasoning: event.and_then(|event| said(event, "reasoning", SENTENCE)),
        confidence: value("confidence").and_then(Value::as_f64),
        alternatives: alternatives.take(MOST_ALTERNATIVES).map(|value| text::plain(value, NAME)).collect(),
        outcome: outcome(query, followed.iter().chain(&branch)),
        followed,
        branch,
    }
}

fn outcome<'a, 'q: 'a>(query: &TraceQuery<'_>, nodes: impl Iterator<Item = &'a &'q Node>) -> Option<EventStatus> {
    let mut outcome = None;
    for node in nodes.filter(|node| node.is_work()) {
        let this = match node.status {
            EventStatus::Failed if query.overcome_by(node).is_some() => continue,
            status => status,
        };
        // Failed tells more than pending, and that more than success.
        let rank = |status| match status {
            EventStatus::Success => 0,
            EventStatus::Pending => 1,
            EventStatus::Failed => 2,
        };
        if outcome.is_none_or(|outcome| rank(outcome) < rank(this)) {
            outcome = Some(this);
        }
    }
    outcome
}
