//! One journey as people read it: stages under their segments, each with its latency and its share.

use journey_core::view::{CheckpointView, InProgressView, JourneyView, LegView};

use crate::{
    look::Look,
    page::{Page, Tone},
    plan::{Plan, label_of},
    text::{clean, column_duration, duration, fit, pad, pad_left, percent, rough_duration, width, window, wrap},
};

/// Columns of a bar; it shows a share of the segment.
const BAR: usize = 20;
/// Columns of a latency, with the space before it, unless one is longer.
const NUMBER: usize = 10;
/// Columns of a share, with the space before it.
const SHARE: usize = 6;
/// Labels take at least this, so that most journeys look alike.
const MIN_LABEL: usize = 20;
/// Below this a cut label says nothing.
const SHORTEST_LABEL: usize = 6;
/// Stage ids are cut here: those of open routes are whole names.
const MAX_STAGE_ID: usize = 16;
/// Segment totals stand this far behind the latencies.
const TOTAL_BEHIND: usize = 13;
/// Explanations beneath a stage start here.
const INDENT: usize = 6;

/// Draws a journey.
pub(crate) fn show(view: &JourneyView, plan: &Plan, look: &Look) -> Page {
    let rows = rows(view, plan);
    let columns = Columns::for_rows(&rows, view, look);
    let mut page = Page::default();
    header(view, look, &mut page);
    let mut segment = None;
    for (index, row) in rows.iter().enumerate() {
        if index == 0 || row.segment != segment {
            page.line();
            if let Some(name) = &row.segment {
                segment_line(view, plan, name, &columns, look, &mut page);
            }
            segment = row.segment.clone();
        }
        stage_line(row, view, &columns, look, &mut page);
    }
    other_totals(view, &rows, &columns, look, &mut page);
    closing(view, plan, look, &mut page);
    page
}

/// One stage with all that is said about it.
struct Row<'a> {
    stage: String,
    label: String,
    state: State<'a>,
    /// The leg that ends here, and any others that do too.
    legs: Vec<&'a LegView>,
    /// Its span that is open now.
    open: Option<&'a InProgressView>,
    segment: Option<String>,
}

enum State<'a> {
    Seen(&'a CheckpointView),
    /// Required, not seen, and a later stage was.
    Gap,
    /// The journey is active and has not come here.
    NotYet,
}

/// Where things stand in a line.
struct Columns {
    symbol: usize,
    label: usize,
    stage: usize,
    number: usize,
    bar: bool,
}

fn rows<'a>(view: &'a JourneyView, plan: &Plan) -> Vec<Row<'a>> {
    let place = |id: &str| plan.stages.iter().position(|stage| stage.id == id);
    let seen_places: Vec<Option<usize>> = view.checkpoints.iter().map(|seen| place(&seen.stage)).collect();
    let fits_plan = seen_places.iter().all(Option::is_some) && seen_places.is_sorted();
    let gap = |id: &str, name: &str| view.missing.iter().any(|missing| missing == id || missing == name);

    let mut rows: Vec<Row<'a>> = Vec::new();
    if fits_plan {
        let last = seen_places.iter().flatten().max().copied();
        for (index, stage) in plan.stages.iter().enumerate() {
            let seen = view.checkpoints.iter().find(|seen| seen.stage == stage.id);
            let state = match seen {
                Some(seen) => State::Seen(seen),
                None if gap(&stage.id, &stage.name) => State::Gap,
                None if view.in_progress.iter().any(|open| open.stage == stage.id) => State::NotYet,
                None if view.status == "active" && last.is_none_or(|last| index > last) => State::NotYet,
                None => continue,
            };
            rows.push(row(&stage.id, &stage.label, state, view, plan));
        }
    } else {
        rows.extend(view.checkpoints.iter().map(|seen| row(&seen.stage, "", State::Seen(seen), view, plan)));
    }
    for missing in &view.missing {
        let known = plan.stage(missing);
        let (id, name) = known.map_or((missing.as_str(), missing.as_str()), |stage| (&stage.id, &stage.name));
        if !rows.iter().any(|row| row.stage == id) {
            rows.push(row(id, &label_of(name), State::Gap, view, plan));
        }
    }
    for open in &view.in_progress {
        if !rows.iter().any(|row| row.stage == open.stage) {
            rows.push(row(&open.stage, &label_of(&open.name), State::NotYet, view, plan));
        }
    }
    // A stage about which nothing is known stays with its neighbour.
    let mut before = rows.iter().find_map(|row| row.segment.clone());
    for row in &mut rows {
        before = row.segment.clone().or(before);
        row.segment.clone_from(&before);
    }
    rows
}

fn row<'a>(stage: &str, label: &str, state: State<'a>, view: &'a JourneyView, plan: &Plan) -> Row<'a> {
    let legs: Vec<&LegView> = view.legs.iter().filter(|leg| leg.to == stage).collect();
    let label = match &state {
        State::Seen(seen) if !seen.label.is_empty() => seen.label.clone(),
        State::Seen(seen) if label.is_empty() => label_of(&seen.name),
        _ => label.to_owned(),
    };
    let of_leg = legs.first().and_then(|leg| leg.segment.clone());
    let next = || view.legs.iter().find(|leg| leg.from == stage && legs.is_empty()).and_then(|leg| leg.segment.clone());
    let segment = of_leg.or_else(|| plan.segment_of_stage(stage).map(str::to_owned)).or_else(next);
    let open = view.in_progress.iter().find(|open| open.stage == stage);
    Row { stage: stage.to_owned(), label, state, legs, open, segment }
}

impl Columns {
    fn for_rows(rows: &[Row<'_>], view: &JourneyView, look: &Look) -> Self {
        let widest = |text: for<'a> fn(&'a Row<'_>) -> &'a str| {
            rows.iter().map(|row| width(&clean(text(row), look))).max().unwrap_or(0)
        };
        let mut columns = Self {
            symbol: if look.unicode { 1 } else { 2 },
            label: widest(|row| &row.label).max(MIN_LABEL),
            stage: widest(|row| &row.stage).clamp(3, MAX_STAGE_ID),
            number: rows.iter().map(|row| width(&number(row, view, look)) + 1).max().unwrap_or(0).max(NUMBER),
            bar: true,
        };
        columns.bar = columns.numbers_end() + 2 + BAR + SHARE <= look.width;
        let needed = columns.numbers_end() + SHARE;
        if needed > look.width {
            columns.label = columns.label.saturating_sub(needed - look.width).max(SHORTEST_LABEL);
        }
        columns
    }

    /// Where the column of latencies ends.
    fn numbers_end(&self) -> usize {
        2 + self.symbol + 1 + self.label + 2 + self.stage + self.number
    }
}

fn header(view: &JourneyView, look: &Look, page: &mut Page) {
    let label = if view.route_label.is_empty() { label_of(&view.route) } else { view.route_label.clone() };
    let id = clean(&view.correlation_id, look);
    let (status_tone, mut status) = (status_tone(&view.status, view.stuck), clean(&view.status, look));
    if view.stuck {
        status.push_str(", stuck");
    }
    let mut parts = vec![(Tone::Strong, format!("{} journey {id}", clean(&label, look))), (status_tone, status)];
    if let Some(total) = view.total_ms {
        parts.push((Tone::Plain, duration(total, look)));
    }
    if view.generation > 1 || !view.other_generations.is_empty() {
        let others: Vec<String> = view.other_generations.iter().map(u32::to_string).collect();
        let others = if others.is_empty() { String::new() } else { format!(" (also: {})", others.join(", ")) };
        parts.push((Tone::Plain, format!("generation {}{others}", view.generation)));
    }
    if !view.trace_id.is_empty() {
        let start: String = view.trace_id.chars().take(8).collect();
        let more = if view.trace_id.chars().count() > 8 { look.pick("…", "...") } else { "" };
        parts.push((Tone::Faint, format!("trace {}{more}", clean(&start, look))));
    }
    page.parts(0, parts, look);
    if let Some(reason) = &view.reason {
        note(Tone::Bad, "Reason: ", &clean(reason, look), look, page);
    }
    if view.partial {
        let text = "the first stage was not seen here, so totals that start there are absent";
        note(Tone::Warn, "Partial: ", text, look, page);
    }
    if view.late {
        note(Tone::Warn, "Late: ", "a checkpoint came after the journey was finished", look, page);
    }
}

/// A line of explanation at the left edge, wrapped where the terminal ends.
fn note(tone: Tone, title: &str, text: &str, look: &Look, page: &mut Page) {
    let room = look.width.saturating_sub(width(title)).max(SHORTEST_LABEL);
    for (index, line) in wrap(text, room).into_iter().enumerate() {
        let start = if index == 0 { title.to_owned() } else { " ".repeat(width(title)) };
        page.say(tone, start + &line);
    }
}

fn segment_line(view: &JourneyView, plan: &Plan, name: &str, columns: &Columns, look: &Look, page: &mut Page) {
    let seen = view.segments.iter().find(|segment| segment.name == name);
    let label = match (seen, plan.segment_label(name)) {
        (Some(segment), _) if !segment.label.is_empty() => segment.label.clone(),
        (_, Some(label)) if !label.is_empty() => label.to_owned(),
        _ => label_of(name),
    };
    let total = match seen {
        Some(segment) => column_duration(segment.ms, look),
        None if view.status == "active" => look.pick("…", "...").to_owned(),
        // A finished journey that has gaps, or one that never came so far.
        None if view.status == "completed" => "?".to_owned(),
        None => look.pick("–", "-").to_owned(),
    };
    total_line(&label, &total, columns, look, page);
}

fn total_line(label: &str, total: &str, columns: &Columns, look: &Look, page: &mut Page) {
    let end = columns.numbers_end() + TOTAL_BEHIND;
    let end = if end <= look.width { end } else { columns.numbers_end() };
    let room = end.saturating_sub(width(total) + 2);
    let label = fit(&clean(label, look), room, look);
    let gap = end.saturating_sub(width(&label));
    page.line().put(Tone::Strong, label).put(Tone::Strong, pad_left(total, gap));
}

fn stage_line(row: &Row<'_>, view: &JourneyView, columns: &Columns, look: &Look, page: &mut Page) {
    let (symbol, tone) = match &row.state {
        State::Seen(seen) => match seen.outcome.as_str() {
            "failed" => (look.pick("✗", "x"), Tone::Bad),
            "cancelled" => (look.pick("⊘", "-"), Tone::Warn),
            _ => (look.pick("✓", "ok"), Tone::Good),
        },
        State::Gap if row.open.is_none() => ("?", Tone::Warn),
        State::Gap | State::NotYet => (look.pick("…", ".."), Tone::Faint),
    };
    let leg = row.legs.first().copied();
    let label = pad(&fit(&clean(&row.label, look), columns.label, look), columns.label);
    let stage = pad(&fit(&clean(&row.stage, look), columns.stage, look), columns.stage);
    page.line().put(Tone::Plain, "  ").put(tone, pad(symbol, columns.symbol)).put(Tone::Plain, format!(" {label}  "));
    page.put(Tone::Faint, stage).put(Tone::Plain, pad_left(&number(row, view, look), columns.number));

    let mut column = columns.numbers_end();
    if let Some(share) = leg.and_then(|leg| leg.share_of_segment) {
        if columns.bar {
            page.put(Tone::Plain, "  ").put(Tone::Plain, bar(share, look));
            column += 2 + BAR;
        }
        page.put(Tone::Plain, pad_left(&percent(share), SHARE));
        column += SHARE;
    }
    for (tone, mark) in marks(row, leg, look) {
        if column.saturating_add(2 + width(&mark)) > look.width {
            page.say(Tone::Plain, " ".repeat(INDENT)).put(tone, mark.clone());
            column = INDENT + width(&mark);
        } else {
            column += 2 + width(&mark);
            page.put(Tone::Plain, "  ").put(tone, mark);
        }
    }
    beneath(row, look, page);
}

/// The latency of the leg that ends here. A leg that is absent is never guessed.
fn number(row: &Row<'_>, view: &JourneyView, look: &Look) -> String {
    let State::Seen(seen) = &row.state else { return String::new() };
    match row.legs.first() {
        Some(leg) if leg.ms < 0.0 => column_duration(leg.ms, look),
        Some(leg) => format!("+{}", column_duration(leg.ms, look)),
        // The stage from which offsets count, or one of a route without any legs.
        None if seen.outcome == "reached" && seen.offset_ms == 0.0 => "0 ms".to_owned(),
        None if seen.outcome == "reached" && view.legs.is_empty() => {
            format!("@{}", column_duration(seen.offset_ms, look))
        }
        None => String::new(),
    }
}

fn bar(share: f64, look: &Look) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    look.pick("█", "#").repeat(full) + &look.pick("░", ".").repeat(BAR - full)
}

/// What is remarkable about a stage, in words.
fn marks(row: &Row<'_>, leg: Option<&LegView>, look: &Look) -> Vec<(Tone, String)> {
    let mut marks = Vec::new();
    marks.extend(row.open.map(|open| (Tone::Plain, format!("running for {}", rough_duration(open.open_ms, look)))));
    let seen = match &row.state {
        State::Gap | State::NotYet if row.open.is_some() => return marks,
        State::Gap => return vec![(Tone::Warn, "not seen".to_owned())],
        State::NotYet => return vec![(Tone::Faint, "not yet".to_owned())],
        State::Seen(seen) => seen,
    };
    match seen.outcome.as_str() {
        "reached" | "" => {}
        "failed" => marks.push((Tone::Bad, "failed".to_owned())),
        other => marks.push((Tone::Warn, clean(other, look))),
    }
    if let Some(leg) = leg {
        let uncertainty = leg.uncertainty_ms.map(|ms| format!("{}{}", look.pick("±", "+-"), duration(ms, look)));
        match (leg.quality.as_str(), uncertainty) {
            ("skewed", uncertainty) => {
                marks.push((Tone::Warn, "skewed".to_owned()));
                marks.extend(uncertainty.map(|text| (Tone::Faint, text)));
            }
            (_, Some(text)) => marks.push((Tone::Faint, text)),
            ("cross_clock", None) => marks.push((Tone::Faint, "two clocks".to_owned())),
            _ => {}
        }
        if let Some(budget) = leg.budget_ms.filter(|budget| leg.ms > *budget) {
            marks.push((Tone::Bad, format!("over budget of {}", duration(budget, look))));
        }
    }
    if seen.attempts > 1 {
        let over = seen.retry_ms.map(|ms| format!(" over {}", duration(ms, look))).unwrap_or_default();
        marks.push((Tone::Warn, format!("{}{} attempts{over}", look.pick("×", "x"), seen.attempts)));
    }
    if seen.late {
        marks.push((Tone::Warn, "late".to_owned()));
    }
    marks
}

/// Errors, calls inside the stage, and further legs, indented beneath it.
fn beneath(row: &Row<'_>, look: &Look, page: &mut Page) {
    let mut say = |tone: Tone, text: String| {
        for line in wrap(&text, look.width.saturating_sub(INDENT).max(SHORTEST_LABEL)) {
            page.say(tone, format!("{}{line}", " ".repeat(INDENT)));
        }
    };
    let State::Seen(seen) = &row.state else { return };
    if let Some(error) = &seen.error {
        let start = if seen.outcome == "reached" { "an attempt failed: " } else { "" };
        let kind = clean(&error.kind, look);
        let message =
            if error.message.is_empty() { String::new() } else { format!(": {}", clean(&error.message, look)) };
        say(Tone::Bad, format!("{start}{kind}{message}"));
    }
    for (kind, calls) in &seen.within {
        let noun = if calls.count == 1 { "call" } else { "calls" };
        say(Tone::Faint, format!("{}: {} {noun}, {}", clean(kind, look), calls.count, duration(calls.ms, look)));
    }
    for leg in row.legs.iter().skip(1) {
        let from = clean(&leg.from, look);
        say(Tone::Plain, format!("{} from {from}: {}", clean(&leg.name, look), duration(leg.ms, look)));
    }
}

/// Totals over several of the segments shown, where they say more than the total in the header.
fn other_totals(view: &JourneyView, rows: &[Row<'_>], columns: &Columns, look: &Look, page: &mut Page) {
    let same = |ms: f64| view.total_ms.is_some_and(|total| (total - ms).abs() < 0.5);
    let shown = |name: &str| rows.iter().any(|row| row.segment.as_deref() == Some(name));
    let others: Vec<_> = view.segments.iter().filter(|segment| !shown(&segment.name) && !same(segment.ms)).collect();
    if !others.is_empty() {
        page.line();
    }
    for segment in others {
        let label = if segment.label.is_empty() { label_of(&segment.name) } else { segment.label.clone() };
        total_line(&label, &column_duration(segment.ms, look), columns, look, page);
    }
}

fn closing(view: &JourneyView, plan: &Plan, look: &Look, page: &mut Page) {
    if let Some(worst) = &view.bottleneck {
        let usual =
            plan.p95_ms(&worst.leg).map(|p95| format!("; p95 of {} is {}", window(&plan.window), duration(p95, look)));
        let text = format!(
            "{} ({}) took {}, {} of {}{}",
            clean(&worst.leg, look),
            clean(&worst.stage, look),
            duration(worst.ms, look),
            percent(worst.share_of_segment),
            clean(&worst.segment, look),
            usual.unwrap_or_default(),
        );
        page.line();
        note(Tone::Plain, "Bottleneck: ", &text, look, page);
    }
    if !view.deviations.is_empty() {
        page.line();
    }
    for deviation in &view.deviations {
        note(Tone::Warn, "Deviation: ", &clean(deviation, look), look, page);
    }
}

/// The tone of a status; `stuck` outweighs `active`.
pub(crate) fn status_tone(status: &str, stuck: bool) -> Tone {
    match status {
        "completed" => Tone::Good,
        "failed" => Tone::Bad,
        "expired" => Tone::Warn,
        _ if stuck => Tone::Warn,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests;
