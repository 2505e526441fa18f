//! What is not known of a trace, or does not fit? One sentence each, so that nobody takes a gap for a fact.

use crate::{
    event::{EventStatus, SpanId},
    query::{
        Node, NodeKind, TraceQuery, status_of,
        text::{counted, list, long, millis, named},
    },
    store::TraceStatus,
    why::Verdict,
};

/// The most names in one sentence.
const MOST_NAMES: usize = 3;

/// Clocks of one trace that differ by less, nanoseconds, are not worth a sentence.
const CLOCKS_DIFFER: i64 = 5_000_000;

pub(super) fn sentences(query: &TraceQuery<'_>, verdict: Verdict, truncated: bool) -> Vec<String> {
    if query.trace_id().is_none() {
        return Vec::new();
    }
    let mut said = Vec::new();
    workflow(query, verdict, &mut said);
    if let Some(failure) = query.failure().filter(|failure| failure.error.is_none()) {
        said.push(format!("No error is recorded with the failure of {}.", named(&failure.label)));
    }
    let ended = query.status() == TraceStatus::Success || verdict == Verdict::Failed;
    let left_open = names(query.pending().filter(|node| node.kind == NodeKind::Work && ended));
    if !left_open.is_empty() {
        said.push(format!("Begun, with no end recorded: {}.", list(&left_open, MOST_NAMES)));
    }
    compensations(query, &mut said);
    shape(query, &mut said);
    if truncated {
        said.push("There are more events than were read: what comes after them is not in this account.".to_owned());
    }
    said
}

fn workflow(query: &TraceQuery<'_>, verdict: Verdict, said: &mut Vec<String>) {
    let workflows = || query.nodes().iter().filter(|node| node.kind == NodeKind::Workflow);
    let Some(root) = workflows().next() else {
        said.push("No start and no end of a workflow is recorded, only single steps.".to_owned());
        return;
    };
    let started = query.events_of(root).any(|event| status_of(event) == EventStatus::Pending);
    if !started && root.duration.is_none() {
        said.push("The start of the workflow is not recorded; times count from its earliest event.".to_owned());
    }
    if verdict == Verdict::Failed && workflows().all(|workflow| workflow.end.is_none()) {
        said.push(
            "No end of the workflow is recorded: it may still be running, or its process may have died.".to_owned(),
        );
    }
    let earliest = query.nodes().first().filter(|first| root.start.saturating_sub(first.start) > CLOCKS_DIFFER);
    if let Some(earliest) = earliest {
        let early = long(millis(root.start.saturating_sub(earliest.start)));
        said.push(format!(
            "{} is stamped {early} before the start of the workflow: clocks differ, so times are only roughly right.",
            named(&earliest.label)
        ));
    }
}

fn compensations(query: &TraceQuery<'_>, said: &mut Vec<String>) {
    let all = query.compensations().all;
    let unknown: Vec<String> = all
        .iter()
        .filter(|one| one.original.is_none())
        .map(|one| match &one.node.compensates {
            Some(span) if span.parse::<SpanId>().is_ok() => {
                format!("{} (span {})", named(&one.node.label), named(span))
            }
            Some(name) => format!("{} (of {})", named(&one.node.label), named(name)),
            None => named(&one.node.label),
        })
        .collect();
    if !unknown.is_empty() {
        said.push(format!("What these compensations undo is not recorded: {}.", list(&unknown, MOST_NAMES)));
    }
}

fn shape(query: &TraceQuery<'_>, said: &mut Vec<String>) {
    let loose = names(query.nodes().iter().filter(|node| node.parent_missing));
    if !loose.is_empty() {
        let steps = counted(loose.len(), "step");
        let what = if loose.len() == 1 { "names a parent" } else { "name parents" };
        said.push(format!(
            "{steps} {what} of which nothing is recorded ({}), so the path may lack its beginning.",
            list(&loose, MOST_NAMES)
        ));
    }
    let circles = names(query.nodes().iter().filter(|node| node.circle_cut));
    if !circles.is_empty() {
        said.push(format!("Parents that lead in a circle were cut at {}.", list(&circles, MOST_NAMES)));
    }
    match query.foreign_events() {
        0 => {}
        1 => said.push("1 event of another trace was left out.".to_owned()),
        count => said.push(format!("{count} events of other traces were left out.")),
    }
}

fn names<'q>(nodes: impl Iterator<Item = &'q Node>) -> Vec<String> {
    nodes.map(|node| named(&node.label)).collect()
}
