//! `journey watch`: what is stored first, then what comes, line by line.
//!
//! | module | question it answers |
//! |---|---|
//! | `all` | what happens in all traces, also where nobody sends it? |
//! | `bus` | what is published to Redis or NATS? |
//! | `seen` | was this event shown already? |

mod all;
mod bus;
mod seen;

use std::{
    io::Write,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use journey_store::Event;
use serde_json::Value;

use crate::{
    cli::WatchArgs,
    error::{CliError, Exit},
    lines::{self, Shown, WAITING, json_line},
    look::Look,
    page::{Page, Tone},
    signals::Stop,
    source::{Access, Source},
    sse::{SseEvent, Update, follow},
    stored::{said::Said, trace_path},
    text::count,
};

/// Names the server where events are published.
pub(crate) const LIVE_VARIABLE: &str = "JOURNEY_LIVE";

/// The name of an event of the stream that holds a stored event.
const EVENT: &str = "event";
/// The name of one that says that something may be missing, and why.
const INCOMPLETE: &str = "incomplete";

/// Watches until stopped.
///
/// # Errors
///
/// Nobody answers at the start, there is no such trace, or the output cannot be written.
pub(crate) fn run(
    access: &Access<'_>,
    args: &WatchArgs,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let stop = Stop::on_signals()?;
    let (sender, updates) = sync_channel(WAITING);
    let name = match live_address(access, args) {
        Some(address) => bus::start(&address, args, sender)?,
        None => {
            let source = access.source(&args.from)?;
            let name = source.name().to_owned();
            let args = args.clone();
            thread::spawn(move || match &args.id {
                Some(id) => one(&source, id, &sender),
                None => all::follow_all(&source, &args, &sender),
            });
            name
        }
    };
    let show = |event: &SseEvent| {
        let shown = shown(event, look);
        let line = if json { (event.name != "heartbeat").then(|| json_line(event)) } else { shown.line };
        Shown { line, ..shown }
    };
    lines::print(&updates, &name, show, look, out, &stop)
}

/// Where events are published, if that is to be watched: as for a store, what was given wins over the environment.
fn live_address(access: &Access<'_>, args: &WatchArgs) -> Option<String> {
    let is_given = args.from.store.is_some() || access.url().is_some();
    let variable = || if is_given { None } else { access.variable(LIVE_VARIABLE) };
    args.live.clone().filter(|address| !address.is_empty()).or_else(variable)
}

/// Follows one trace.
fn one(source: &Source, id: &str, sender: &SyncSender<Update>) {
    let path = format!("{}/stream", trace_path(id));
    follow(|last| source.stream(&path, &[], last), false, |update| sender.send(update).is_ok());
}

/// How one event of a stream reads.
fn shown(event: &SseEvent, look: &Look) -> Shown {
    let text = |key: &str| {
        let data: Value = serde_json::from_str(&event.data).ok()?;
        data.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let reason = || text("reason").unwrap_or_else(|| "not said why".to_owned());
    let (line, warning) = match event.name.as_str() {
        EVENT => match serde_json::from_str::<Event>(&event.data) {
            Ok(event) => (Some(line(&Said::of(&event, look), look)), None),
            Err(error) => (None, Some(format!("an event cannot be read: {error}"))),
        },
        "lagged" => {
            let missed = text("count").and_then(|text| text.parse().ok());
            let many = missed.map_or_else(|| "some".to_owned(), count);
            (None, Some(format!("{many} events were missed here: reading was too slow or interrupted")))
        }
        "reset" => (None, Some(format!("it begins anew: {}", reason()))),
        INCOMPLETE => (None, Some(format!("not everything can be shown: {}", reason()))),
        bus::AWAY => (None, Some(format!("the server is not reached: {}; trying again", reason()))),
        _ => (None, None),
    };
    Shown { line, warning }
}

/// An event as a line. It is never cut: what is said last is why it failed.
fn line(said: &Said, look: &Look) -> String {
    let whole = said.line();
    let mut page = Page::default();
    // The mark stands after the instant; the rest is as it is.
    match whole.split_once(said.mark).filter(|(at, _)| at.trim_end() == said.at) {
        Some((at, rest)) => {
            let tone = if said.tone == Tone::Bad { Tone::Bad } else { Tone::Plain };
            page.put(Tone::Faint, at).put(said.tone, said.mark).put(tone, rest);
        }
        None => {
            page.put(Tone::Plain, whole);
        }
    }
    page.to_text(look).trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use journey_store::fixture::Saga;

    use super::*;

    #[test]
    fn what_a_stream_says_beside_events_is_a_warning() {
        let look = Look { width: 60, color: false, unicode: true };
        let said = |name: &str, data: &str| {
            shown(&SseEvent { name: name.into(), data: data.into(), id: String::new() }, &look)
        };
        for (name, data, warning) in [
            ("lagged", r#"{"count":1200}"#, "1 200 events were missed here: reading was too slow or interrupted"),
            ("lagged", "?", "some events were missed here: reading was too slow or interrupted"),
            ("reset", r#"{"reason":"all events follow"}"#, "it begins anew: all events follow"),
            ("incomplete", r#"{"reason":"the store is away"}"#, "not everything can be shown: the store is away"),
            ("incomplete", "{}", "not everything can be shown: not said why"),
        ] {
            assert_eq!(said(name, data), Shown { line: None, warning: Some(warning.to_owned()) });
        }
        assert_eq!((said("heartbeat", "{}"), said("news", "")), (Shown::default(), Shown::default()));
        assert!(said("event", "{}").warning.unwrap().starts_with("an event cannot be read: "));
    }

    #[test]
    fn an_event_is_one_line() {
        let events = Saga { fails_at: Some(9), ..Saga::default() }.events();
        let failed = events.into_iter().find(|event| event.event_type == "stage:failed").unwrap();
        let event = SseEvent { name: "event".into(), data: serde_json::to_string(&failed).unwrap(), id: String::new() };
        let line = |color| shown(&event, &Look { width: 60, color, unicode: true }).line.unwrap();
        assert_eq!(
            line(false),
            "2026-11-20T10:00:01.804Z ✗ order-1042 stage:failed capture_payment 180 ms PaymentTimeout: no answer from \
             the bank within 180 ms"
        );
        assert!(line(true).starts_with("\x1b[2m2026-11-20T10:00:01.804Z \x1b[0m\x1b[31m✗\x1b[0m"), "{:?}", line(true));
    }
}
