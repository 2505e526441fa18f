//! One stored trace as people read it: what was done inside what, how long it took, what failed, what was undone.

use std::collections::HashMap;

use journey_http::{StoredTraceView, TraceRow};
use journey_store::{DecisionView, ErrorView, EventStatus, Mark, NodeKind, SpanId, StepRef, TraceStatus, TreeNode};

use super::{
    branch::{Branch, branches},
    said::mark,
};
use crate::{
    look::Look,
    page::{Page, Tone},
    plan::label_of,
    table::{Cell, Table},
    text::{clean, column_duration, count, duration, fit, pad, pad_left, width, wrap},
};

/// Between two columns.
const GAP: usize = 2;
/// The names take at most this, so that the figures stay near.
const WIDEST_NAME: usize = 64;
/// Names are not cut below this.
const SHORTEST_NAME: usize = 16;
/// Explanations stand beside a line where there is so much room, else beneath it.
const NOTE_ROOM: usize = 24;
/// Names in one line of the closing.
const MOST_NAMES: usize = 12;

/// Draws a trace.
pub(crate) fn trace(view: &StoredTraceView, look: &Look) -> Page {
    let mut page = Page::default();
    header(view, look, &mut page);
    page.line();
    tree(view, look, &mut page);
    closing(view, look, &mut page);
    relatives(view, look, &mut page);
    page
}

/// One line of the tree.
struct Line {
    branch: Branch,
    mark: &'static str,
    tone: Tone,
    name: String,
    at: String,
    took: String,
    notes: Vec<(Tone, String)>,
}

/// Where things stand in a line.
struct Columns {
    name: usize,
    /// 0 where there is no room for it.
    at: usize,
    took: usize,
    /// Where explanations begin; `None`: beneath the line.
    notes: Option<usize>,
}

fn header(view: &StoredTraceView, look: &Look, page: &mut Page) {
    let trace = &view.trace;
    let route = trace.route.as_deref().map_or_else(|| "Trace".to_owned(), |route| label_of(route) + " trace");
    let id = trace.correlation_id.as_ref().map(|id| format!(" {}", clean(id, look)));
    let mut parts = vec![
        (Tone::Strong, clean(&route, look) + &id.unwrap_or_default()),
        (status_tone(trace.status), trace.status.as_str().to_owned()),
    ];
    parts.extend(trace.duration_ms.map(|ms| (Tone::Plain, duration(ms, look))));
    parts.extend(trace.started_at.as_deref().map(|at| (Tone::Plain, clean(at, look))));
    parts.extend(trace.trace_id.map(|id| (Tone::Faint, format!("trace {id}"))));
    parts.extend(trace.parent_trace_id.map(|id| (Tone::Faint, format!("started by trace {id}"))));
    page.parts(0, parts, look);
}

fn tree(view: &StoredTraceView, look: &Look, page: &mut Page) {
    let nodes = &view.trace.tree.nodes;
    let depths: Vec<u32> = nodes.iter().map(|node| node.depth).collect();
    let mut decisions: HashMap<(SpanId, &str), Vec<&DecisionView>> = HashMap::new();
    for decision in view.trace.decisions.iter().rev() {
        decisions.entry((decision.span_id, &decision.decision)).or_default().push(decision);
    }
    let mut lines = Vec::with_capacity(nodes.len());
    for (node, branch) in nodes.iter().zip(branches(&depths, look)) {
        let is_decision = node.step.kind == NodeKind::Decision;
        let decision = decisions.get_mut(&(node.step.span_id, &node.step.label)).and_then(Vec::pop);
        let (mark, tone) = mark(node.step.status, is_decision, look);
        // What was only said has no outcome.
        let is_note = node.step.kind == NodeKind::Note;
        let said = if look.unicode { "·" } else { "-" };
        let (mark, tone) = if is_note { (said, Tone::Faint) } else { (mark, tone) };
        lines.push(Line {
            branch,
            mark,
            tone,
            name: name(node, look),
            at: column_duration(node.step.offset_ms, look),
            took: node.step.duration_ms.map_or_else(String::new, |ms| column_duration(ms, look)),
            notes: notes(node, decision.filter(|_| is_decision), view, look),
        });
    }
    let columns = Columns::for_lines(&lines, look);
    let start = 1 + mark_width(look);
    columns.line(start, "", "at", "took", Tone::Faint, look, page);
    for line in &lines {
        draw(line, &columns, look, page);
    }
}

/// What people call it, and what kind it is.
fn name(node: &TreeNode, look: &Look) -> String {
    let step = &node.step;
    let label = clean(&step.label, look);
    match (step.kind, &node.chosen, &step.stage) {
        (NodeKind::Compensation, ..) => format!("{} {label}", look.pick("↶", "<-")),
        (NodeKind::Decision, Some(chosen), _) => format!("{label} {} {}", look.pick("→", "->"), clean(chosen, look)),
        (_, _, Some(stage)) if *stage != step.label => format!("{label} ({})", clean(stage, look)),
        _ => label,
    }
}

/// What has to be said about a line beside its name and figures.
fn notes(node: &TreeNode, decision: Option<&DecisionView>, view: &StoredTraceView, look: &Look) -> Vec<(Tone, String)> {
    let step = &node.step;
    let has = |mark: Mark| node.marks.contains(&mark);
    let error = step.error.as_ref().map(|error| error_text(error, look)).filter(|text| !text.is_empty());
    let with = |text: &str| error.as_ref().map_or_else(|| text.to_owned(), |error| format!("{text}: {error}"));
    // The workflow fails with the error of the step that decided, which says it already.
    let decisive = view.trace.failure.as_ref().map(|failure| &failure.step);
    let is_said = step.kind == NodeKind::Workflow
        && decisive.is_some_and(|decisive| decisive.span_id != step.span_id && decisive.error == step.error);
    let mut notes = Vec::new();
    if has(Mark::Decisive) {
        notes.push((Tone::Bad, with("FAILED HERE")));
    } else if has(Mark::Overcome) {
        notes.push((Tone::Warn, with("failed, later overcome")));
    } else if has(Mark::CompensationFailed) {
        let what =
            node.compensates.as_ref().map_or_else(String::new, |original| format!(" {}", clean(&original.label, look)));
        notes.push((Tone::Bad, with(&format!("could not undo{what}"))));
    } else if has(Mark::Failed) && !is_said {
        notes.push((Tone::Bad, with("failed")));
    } else if let Some(error) = error.filter(|_| step.status == EventStatus::Success) {
        notes.push((Tone::Warn, format!("an attempt failed: {error}")));
    }
    if step.kind == NodeKind::Compensation && !has(Mark::CompensationFailed) {
        match &node.compensates {
            Some(original) => notes.push((Tone::Plain, format!("undoes {}", clean(&original.label, look)))),
            None => notes.push((Tone::Warn, "undoes nothing that is known".to_owned())),
        }
    }
    if has(Mark::StillInEffect) {
        notes.push((Tone::Bad, format!("STILL IN EFFECT: {} failed", labels(&node.compensated_by, look))));
    } else if has(Mark::Compensated) {
        notes.push((Tone::Plain, format!("undone by {}", labels(&node.compensated_by, look))));
    }
    if has(Mark::NeverUndone) {
        notes.push((Tone::Bad, "NEVER UNDONE".to_owned()));
    }
    if let Some(decision) = decision {
        notes.extend(reasons(decision, look).map(|text| (Tone::Plain, text)));
    }
    if step.attempts > 1 {
        notes.push((Tone::Warn, format!("{}{} attempts", look.pick("×", "x"), step.attempts)));
    }
    let can_end = matches!(step.kind, NodeKind::Workflow | NodeKind::Work | NodeKind::Compensation);
    if can_end && step.status == EventStatus::Pending {
        notes.push((Tone::Warn, "has not ended".to_owned()));
    }
    if has(Mark::ParentMissing) {
        notes.push((Tone::Faint, "what it is part of is not stored".to_owned()));
    }
    if has(Mark::CircleCut) {
        notes.push((Tone::Warn, "its parents lead in a circle".to_owned()));
    }
    notes
}

/// What else could have been chosen, how sure it was, and why.
fn reasons(decision: &DecisionView, look: &Look) -> Option<String> {
    let is_chosen = |other: &&String| decision.chosen.as_ref() != Some(*other);
    let others: Vec<String> = decision.alternatives.iter().filter(is_chosen).map(|other| clean(other, look)).collect();
    let over = (!others.is_empty()).then(|| format!("over {}", others.join(", ")));
    let sure = decision.confidence.map(|confidence| format!("confidence {confidence}"));
    let why = decision.reasoning.as_ref().map(|why| format!("\"{}\"", clean(why, look)));
    let parts: Vec<String> = [over, sure, why].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl Columns {
    fn for_lines(lines: &[Line], look: &Look) -> Self {
        let widest = |text: &dyn Fn(&Line) -> usize| lines.iter().map(text).max().unwrap_or(0);
        let name = widest(&|line: &Line| width(&line.branch.lead) + mark_width(look) + 1 + width(&line.name));
        let mut columns = Self {
            name: name.min(WIDEST_NAME),
            at: widest(&|line: &Line| width(&line.at)).max(2),
            took: widest(&|line: &Line| width(&line.took)).max(4),
            notes: None,
        };
        let spare = |columns: &Self| look.width.saturating_sub(columns.end());
        let is_short_of =
            |columns: &Self, wanted: usize| columns.end().saturating_add(wanted).saturating_sub(look.width);
        // Names are cut where that makes room for explanations beside them; else only to fit, or the instants go.
        let shortest = columns.name.min(SHORTEST_NAME.max(look.width / 5 * 2));
        let cut = columns.name.saturating_sub(is_short_of(&columns, GAP + NOTE_ROOM));
        if cut >= shortest {
            columns.name = cut;
        } else {
            if is_short_of(&columns, 0) > columns.name.saturating_sub(shortest) {
                columns.at = 0;
            }
            let over = is_short_of(&columns, 0);
            columns.name = columns.name.saturating_sub(over).max(SHORTEST_NAME.min(columns.name));
        }
        columns.notes = Some(columns.end().saturating_add(GAP)).filter(|_| spare(&columns) >= GAP + NOTE_ROOM);
        columns
    }

    /// Where the figures end.
    fn end(&self) -> usize {
        let at = if self.at > 0 { GAP + self.at } else { 0 };
        self.name + at + GAP + self.took
    }

    /// The figures of a line behind what takes `taken` columns and the name.
    #[expect(clippy::too_many_arguments, reason = "one line of one table, used twice")]
    fn line(&self, taken: usize, name: &str, at: &str, took: &str, tone: Tone, look: &Look, page: &mut Page) {
        if taken > 0 && name.is_empty() {
            page.line().put(Tone::Plain, " ".repeat(self.name));
        } else {
            let room = self.name.saturating_sub(taken);
            page.put(tone, pad(&fit(name, room, look), room));
        }
        if self.at > 0 {
            page.put(Tone::Faint, " ".repeat(GAP) + &pad_left(at, self.at));
        }
        let figure = if name.is_empty() { Tone::Faint } else { Tone::Plain };
        page.put(figure, " ".repeat(GAP) + &pad_left(took, self.took));
    }
}

fn draw(line: &Line, columns: &Columns, look: &Look, page: &mut Page) {
    let taken = width(&line.branch.lead) + mark_width(look) + 1;
    page.line().put(Tone::Faint, line.branch.lead.clone());
    page.put(line.tone, pad(line.mark, mark_width(look))).put(Tone::Plain, " ");
    let tone = if line.tone == Tone::Bad { Tone::Bad } else { Tone::Plain };
    let name = if line.name.is_empty() { "?" } else { &line.name };
    columns.line(taken, name, &line.at, &line.took, tone, look, page);

    let Some(start) = columns.notes else {
        // Beneath, as far in as what it explains.
        let below = format!("{}  ", line.branch.below);
        let room = look.width.saturating_sub(width(&below)).max(NOTE_ROOM);
        for (tone, note) in &line.notes {
            for text in wrap(note, room) {
                page.line().put(Tone::Faint, below.clone()).put(*tone, text);
            }
        }
        return;
    };
    let room = look.width.saturating_sub(start);
    let between = look.pick(" · ", " - ");
    let whole: usize = line.notes.iter().map(|(_, note)| width(note)).sum::<usize>()
        + line.notes.len().saturating_sub(1) * width(between);
    let mut first = true;
    for (tone, note) in &line.notes {
        if whole <= room {
            page.put(Tone::Faint, if first { " ".repeat(GAP) } else { between.to_owned() }).put(*tone, note.clone());
            first = false;
            continue;
        }
        for text in wrap(note, room) {
            if first {
                page.put(Tone::Plain, " ".repeat(GAP));
            } else {
                page.line().put(Tone::Faint, pad(&fit(&line.branch.below, start, look), start));
            }
            page.put(*tone, text);
            first = false;
        }
    }
}

/// What a person has to know at the end, however long the tree is.
fn closing(view: &StoredTraceView, look: &Look, page: &mut Page) {
    let (trace, omitted) = (&view.trace, &view.omitted);
    let mut said: Vec<(Tone, &str, String)> = Vec::new();
    if let Some(failure) = &trace.failure {
        let error = failure.step.error.as_ref().map(|error| error_text(error, look)).filter(|text| !text.is_empty());
        let error = error.map_or_else(String::new, |error| format!(": {error}"));
        let way: Vec<String> = failure.path.iter().map(|step| clean(&step.label, look)).collect();
        let way = if way.is_empty() { clean(&failure.step.label, look) } else { way.join(look.pick(" › ", " > ")) };
        said.push((Tone::Bad, "Failed at", way + &error));
    }
    let undone: Vec<StepRef> = {
        let good = trace.compensations.all.iter().filter(|one| one.step.status == EventStatus::Success);
        good.filter_map(|one| one.original.clone()).collect()
    };
    for (tone, title, steps) in [
        (Tone::Plain, "Undone", &undone),
        (Tone::Bad, "Still in effect", &trace.compensations.still_in_effect),
        (Tone::Bad, "Never undone", &trace.compensations.never_undone),
    ] {
        if !steps.is_empty() {
            said.push((tone, title, labels(steps, look)));
        }
    }
    if omitted.nodes > 0 {
        let text = format!("{} lines of the tree; every event: `journey watch ID`", count(omitted.nodes));
        said.push((Tone::Warn, "Not shown", text));
    }
    if trace.truncated {
        said.push((Tone::Warn, "Not read", "there are more events in the store than were looked at".to_owned()));
    }
    let column = said.iter().map(|(_, title, _)| width(title)).max().unwrap_or(0) + GAP;
    if !said.is_empty() {
        page.line();
    }
    for (tone, title, text) in said {
        let room = look.width.saturating_sub(column).max(NOTE_ROOM);
        for (index, line) in wrap(&text, room).into_iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            page.line().put(Tone::Strong, pad(title, column)).put(tone, line);
        }
    }
}

/// Other traces of the message, and what this one started.
fn relatives(view: &StoredTraceView, look: &Look, page: &mut Page) {
    for (title, rows, omitted) in [
        ("other traces of it", &view.other_traces, view.omitted.other_traces),
        ("traces it started", &view.children, view.omitted.children),
    ] {
        if rows.is_empty() {
            continue;
        }
        page.line();
        let mut table = Table::new(title).words("status", 0).numbers("took", 1).words("message", 3).words("started", 2);
        for row in rows {
            table.row(relative(row, look));
        }
        table.draw(0, look, page);
        if omitted > 0 {
            page.say(Tone::Warn, format!("and {} more", count(omitted)));
        }
    }
}

fn relative(row: &TraceRow, look: &Look) -> Vec<Cell> {
    vec![
        row.trace_id.to_string().into(),
        Cell::new(status_tone(row.status), row.status.as_str()),
        duration(row.duration_ms, look).into(),
        clean(row.correlation_id.as_deref().unwrap_or_default(), look).into(),
        Cell::new(Tone::Faint, clean(&row.started_at, look)),
    ]
}

/// The tone of how a trace stands.
pub(super) fn status_tone(status: TraceStatus) -> Tone {
    match status {
        TraceStatus::Success => Tone::Good,
        TraceStatus::Failed => Tone::Bad,
        TraceStatus::Pending => Tone::Warn,
    }
}

fn error_text(error: &ErrorView, look: &Look) -> String {
    let parts = [&error.error_type, &error.message].into_iter().flatten();
    parts.map(|part| clean(part, look)).collect::<Vec<_>>().join(": ")
}

/// Names in a row; of many, the first.
fn labels(steps: &[StepRef], look: &Look) -> String {
    let shown: Vec<String> = steps.iter().take(MOST_NAMES).map(|step| clean(&step.label, look)).collect();
    let more = steps.len().saturating_sub(MOST_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

fn mark_width(look: &Look) -> usize {
    if look.unicode { 1 } else { 2 }
}

#[cfg(test)]
mod tests;
