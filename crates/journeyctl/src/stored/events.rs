//! Lists of events and of traces, one a line.

use journey_http::{EventsView, TracesView};

use super::{said::Said, tree::status_tone};
use crate::{
    look::Look,
    page::{Page, Tone},
    table::{Cell, Table},
    text::{clean, duration},
};

/// The date of an RFC 3339 instant.
const DATE: usize = 10;

/// Draws events.
pub(crate) fn events(view: &EventsView, look: &Look) -> Page {
    let mut page = Page::default();
    if view.events.is_empty() {
        page.say(Tone::Faint, "No events.");
        return page;
    }
    // On a terminal a day is said once above its events; in a file every line stands for itself.
    let by_day = look.width != Look::UNLIMITED;
    let mut table = Table::new("at").words("work", 0).numbers("took", 2).words("message", 1).words("event", 4);
    table = if by_day { table } else { table.words("trace", 3) };
    let mut table = table.rest("what was said");
    let mut day = String::new();
    for event in &view.events {
        let Said { at, mark, tone, event_type, what, took, about, note } = Said::of(event, look);
        let mut at = at;
        if by_day && at.is_char_boundary(DATE) {
            let time = at.split_off(DATE);
            if at != day {
                table.heading(at.clone());
                day = at;
            }
            at = time.trim_start_matches('T').trim_end_matches('Z').to_owned();
        }
        let mut cells = vec![
            Cell::new(Tone::Faint, at),
            Cell::new(tone, format!("{mark} {what}")),
            took.into(),
            about.into(),
            Cell::new(Tone::Faint, event_type),
        ];
        if !by_day {
            cells.push(Cell::new(Tone::Faint, event.trace_id.to_string()));
        }
        let note_tone = if tone == Tone::Bad { Tone::Bad } else { Tone::Plain };
        cells.push(Cell::new(note_tone, note));
        table.row(cells);
    }
    table.draw(0, look, &mut page);
    page
}

/// Draws traces.
pub(crate) fn traces(view: &TracesView, look: &Look) -> Page {
    let mut page = Page::default();
    if view.traces.is_empty() {
        page.say(Tone::Faint, "No traces.");
        return page;
    }
    let mut table = Table::new("message").words("status", 0).numbers("took", 0).words("route", 3);
    table = table.words("started", 1).words("trace", 2);
    for row in &view.traces {
        let status = match row.status.as_str() {
            "success" if row.any_failed => "success, with failures".to_owned(),
            status => status.to_owned(),
        };
        table.row([
            clean(row.correlation_id.as_deref().unwrap_or(&row.trace_id.to_string()), look).into(),
            Cell::new(status_tone(row.status), status),
            duration(row.duration_ms, look).into(),
            clean(row.route.as_deref().unwrap_or_default(), look).into(),
            clean(&row.started_at, look).into(),
            Cell::new(Tone::Faint, row.trace_id.to_string()),
        ]);
    }
    table.draw(0, look, &mut page);
    page
}

#[cfg(test)]
mod tests;
