//! `journey trace`, `why`, `events` and `stats`: what do stored events say?
//!
//! | module | question it answers |
//! |---|---|
//! | `tree` | how does one trace read? |
//! | `branch` | how are the lines of a tree drawn? |
//! | `said` | what does one event say in a line? |
//! | `events` | how do lists of events and traces read? |
//! | `stats` | how do days read? |

mod branch;
mod events;
pub(crate) mod said;
mod stats;
mod tree;

use std::io::Write;

use journey_http::{DailyView, EventsView, StoredTraceView, TracesView};
use serde_json::{Value, json};

use crate::{
    cli::{EventFilter, EventsArgs, StatsArgs},
    client::encode,
    commands::{write_json, write_page},
    error::{CliError, Exit},
    lines::progress,
    look::Look,
    page::{Page, Tone},
    source::Source,
    text::clean,
};

/// Path of the events of all traces.
pub(crate) const EVENTS_PATH: &str = "/api/v2/events";
/// Path of the traces.
const TRACES_PATH: &str = "/api/v2/traces";
/// Path of the statistics.
const DAILY_PATH: &str = "/api/v2/stats/daily";
/// The most entries of one page.
const PAGE: u32 = 1_000;
/// Lines longer than this are hard to read, however wide the terminal is.
const READABLE: usize = 100;

/// Path of one trace.
pub(crate) fn trace_path(id: &str) -> String {
    format!("{TRACES_PATH}/{}", encode(id))
}

/// `journey trace`.
///
/// # Errors
///
/// There is no such trace, nobody answers, or the output cannot be written.
pub(crate) fn trace(source: &Source, id: &str, json: bool, look: &Look, out: &mut dyn Write) -> Result<Exit, CliError> {
    let body = trace_body(source, id)?;
    write_trace(source, &body, json, look, out)
}

/// The document of a trace.
///
/// # Errors
///
/// There is no such trace, or nobody answers.
pub(crate) fn trace_body(source: &Source, id: &str) -> Result<String, CliError> {
    source.get(&trace_path(id), &[])
}

/// Writes a document of [`trace_body`].
///
/// # Errors
///
/// It is no such document, or the output cannot be written.
pub(crate) fn write_trace(
    source: &Source,
    body: &str,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let view: StoredTraceView = source.parse(body, "tree")?;
    if json { write_json(body, out) } else { write_page(&tree::trace(&view, look), look, out) }
}

/// `journey why`.
///
/// # Errors
///
/// As [`trace`].
pub(crate) fn why(source: &Source, id: &str, json: bool, look: &Look, out: &mut dyn Write) -> Result<Exit, CliError> {
    let body = trace_body(source, id)?;
    let view: StoredTraceView = source.parse(&body, "why")?;
    if !json {
        return write_page(&paragraph(&view, look), look, out);
    }
    // The same document without what `trace` is for.
    let mut document: Value = source.parse(&body, "why")?;
    if let Value::Object(members) = &mut document {
        members.retain(|key, _| !matches!(key.as_str(), "events" | "tree"));
    }
    write_json(&document.to_string(), out)
}

/// The answer in words; in a pipe it is one line.
fn paragraph(view: &StoredTraceView, look: &Look) -> Page {
    let mut page = Page::default();
    let columns = if look.width == Look::UNLIMITED { look.width } else { look.width.min(READABLE) };
    page.paragraph(Tone::Plain, &clean(&view.trace.why, look), columns);
    let others = view.other_traces.len() as u64 + view.omitted.other_traces;
    if others > 0 {
        let (noun, id) = (if others == 1 { "trace" } else { "traces" }, view.trace.correlation_id.as_deref());
        let text = format!(
            "This is the newest; {others} more {noun} of {}: see `journey trace`",
            clean(id.unwrap_or_default(), look)
        );
        page.line().paragraph(Tone::Faint, &text, columns);
    }
    page
}

/// `journey events`.
///
/// # Errors
///
/// Nobody answers, the question is wrong, or the output cannot be written.
pub(crate) fn events(
    source: &Source,
    args: &EventsArgs,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let (path, key) = if args.traces { (TRACES_PATH, "traces") } else { (EVENTS_PATH, "events") };
    let min_ms = args.min_ms.map(|ms| ms.to_string());
    let mut query = filter_query(&args.filter);
    // The list of traces has no time of its own; here both questions are about the same.
    query.push(("since", args.since.as_deref().unwrap_or("24h")));
    query.extend(args.until.as_deref().map(|until| ("until", until)));
    query.extend(min_ms.as_deref().map(|ms| ("minMs", ms)));

    let pages = pages(source, path, key, &query, args).map_err(|error| match &args.cursor {
        Some(_) if error.exit == Exit::Usage => {
            error.hint("--cursor takes what an earlier answer of the same question said")
        }
        _ => error,
    });
    let (items, next, truncated) = pages?;
    let document = json!({ key: items, "nextCursor": next, "truncated": truncated }).to_string();
    let exit = if json {
        write_json(&document, out)?
    } else if args.traces {
        let view: TracesView = source.parse(&document, key)?;
        write_page(&events::traces(&view, look), look, out)?
    } else {
        let view: EventsView = source.parse(&document, key)?;
        write_page(&events::events(&view, look), look, out)?
    };
    if let Some(next) = next {
        progress(&format!("there are more: --cursor {next}"), look);
    }
    if truncated {
        progress("there is more than was looked at, and no way on from here: narrow the question", look);
    }
    Ok(exit)
}

/// What is asked for, as the endpoint understands it.
pub(crate) fn filter_query(filter: &EventFilter) -> Vec<(&str, &str)> {
    let mut query = Vec::new();
    query.extend(filter.failed.then_some(("status", "failed")));
    query.extend(filter.event_type.as_deref().map(|event_type| ("type", event_type)));
    query.extend(filter.tags.iter().map(|tag| ("tag", tag.as_str())));
    query.extend(filter.route.as_deref().map(|route| ("route", route)));
    query
}

/// Asks page by page until there are as many as wanted or no more: the entries, where they ended, and whether there is
/// more that cannot be reached.
fn pages(
    source: &Source,
    path: &str,
    key: &str,
    query: &[(&str, &str)],
    args: &EventsArgs,
) -> Result<(Vec<Value>, Option<String>, bool), CliError> {
    let (mut items, mut cursor, mut truncated) = (Vec::new(), args.cursor.clone(), false);
    loop {
        let left = args.limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let size = left.min(PAGE).to_string();
        let mut query = query.to_vec();
        query.push(("limit", &size));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Value = source.fetch(path, &query, key)?;
        let next = page["nextCursor"].as_str().map(str::to_owned);
        truncated |= page["truncated"].as_bool().unwrap_or_default();
        // With tags a page can be empty and not the last; one that leads back to itself can only be a mistake.
        let stands_still = next == cursor;
        items.extend(page[key].as_array().cloned().unwrap_or_default().into_iter().take(left as usize));
        if next.is_none() || stands_still || items.len() >= args.limit as usize {
            return Ok((items, next, truncated));
        }
        cursor = next;
    }
}

/// `journey stats`.
///
/// # Errors
///
/// Nobody answers, the question is wrong, or the output cannot be written.
pub(crate) fn stats(
    source: &Source,
    args: &StatsArgs,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let days = args.days.to_string();
    let mut query = vec![("days", days.as_str())];
    query.extend(args.route.as_deref().map(|route| ("route", route)));
    query.extend(args.leg.as_deref().map(|leg| ("leg", leg)));
    let body = source.get(DAILY_PATH, &query)?;
    let view: DailyView = source.parse(&body, "statistics")?;
    let exit = if json {
        write_json(&body, out)?
    } else {
        write_page(&stats::stats(&view, args.leg.is_some(), look), look, out)?
    };
    if view.truncated {
        progress("there are more lines than these: name a --route or a --leg, or ask for fewer --days", look);
    }
    Ok(exit)
}
