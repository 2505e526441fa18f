//! What happens in all traces? An endpoint sends what its process emits; what is stored before that, and where nobody
//! sends anything, is asked for.

use std::{
    sync::mpsc::SyncSender,
    thread,
    time::{Duration, Instant},
};

use journey_http::EventsView;
use journey_store::Event;

use super::{EVENT, seen::Seen};
use crate::{
    cli::WatchArgs,
    error::{CliError, Exit},
    source::Source,
    sse::{SseEvent, Update, follow},
    stored::{EVENTS_PATH, filter_query},
};

/// Path of what a process emits.
const STREAM_PATH: &str = "/api/v2/events/stream";
/// How far back it begins.
const FROM_THE_START: &str = "5m";
/// Every look begins so long before the one before it ended: events come to a store a little later than they happened.
const LOOK_BACK: Duration = Duration::from_secs(15);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// After a look that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Looks for events again and again, and remembers what it showed.
struct Looks<'a> {
    source: &'a Source,
    args: &'a WatchArgs,
    sender: &'a SyncSender<Update>,
    seen: Seen,
    /// Up to when nothing is missing; `None` before the first look.
    complete: Option<Instant>,
}

/// Nobody wants to know any more.
struct Gone;

/// Follows all traces until nobody listens.
pub(super) fn follow_all(source: &Source, args: &WatchArgs, sender: &SyncSender<Update>) {
    let mut looks = Looks { source, args, sender, seen: Seen::default(), complete: None };
    if let Source::Endpoint(_) = source {
        let query = filter_query(&args.filter);
        let mut refused = None;
        follow(
            |last| source.stream(STREAM_PATH, &query, last),
            false,
            |update| match update {
                // An endpoint that cannot send what happens may still have a store.
                Update::Ended(Some(error)) if error.exit == Exit::Refused && !error.passing => {
                    refused = Some(error);
                    false
                }
                update => looks.pass_on(update).is_ok(),
            },
        );
        if refused.is_none() {
            return;
        }
    }
    if let Ok(Err(error)) = looks.poll() {
        let _ = sender.send(Update::Ended(Some(error)));
    }
}

impl Looks<'_> {
    /// Passes on what is sent; with every connection, what was missed before it is asked for.
    fn pass_on(&mut self, update: Update) -> Result<(), Gone> {
        match update {
            Update::Connected => {
                self.send(Update::Connected)?;
                match self.look()? {
                    Ok(()) => Ok(()),
                    Err(error) => self.send(incomplete(&error)),
                }
            }
            Update::Event(event) if event.name == EVENT => {
                self.complete = Some(Instant::now());
                let is_known = |read: Event| !self.seen.is_new(&read);
                if serde_json::from_str(&event.data).is_ok_and(is_known) {
                    Ok(())
                } else {
                    self.send(Update::Event(event))
                }
            }
            Update::Event(event) if event.name == "reset" => Ok(()),
            Update::Event(event) => {
                self.complete = Some(Instant::now());
                self.send(Update::Event(event))
            }
            update => self.send(update),
        }
    }

    /// Looks again and again, until nobody listens or asking makes no sense.
    fn poll(&mut self) -> Result<Result<(), CliError>, Gone> {
        let mut is_connected = false;
        loop {
            match self.look()? {
                Ok(()) if !is_connected => {
                    self.send(Update::Connected)?;
                    is_connected = true;
                }
                Ok(()) => {}
                Err(error) if !error.passing || self.complete.is_none() => return Ok(Err(error)),
                Err(error) => {
                    is_connected = false;
                    self.send(Update::Lost { why: error.message, wait: AFTER_FAILURE })?;
                    thread::sleep(AFTER_FAILURE);
                    continue;
                }
            }
            thread::sleep(EVERY);
        }
    }

    /// Shows what was not shown yet, page by page.
    fn look(&mut self) -> Result<Result<(), CliError>, Gone> {
        let began = Instant::now();
        let since = match self.complete {
            None => self.args.since.clone().unwrap_or_else(|| FROM_THE_START.to_owned()),
            // By the clock of whoever answers.
            Some(complete) => format!("{}ms", (complete.elapsed() + LOOK_BACK).as_millis()),
        };
        let mut cursor: Option<String> = None;
        loop {
            let mut query = filter_query(&self.args.filter);
            query.push(("since", &since));
            query.push(("limit", "1000"));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: EventsView = match self.source.fetch(EVENTS_PATH, &query, "events") {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            for event in &page.events {
                if self.seen.is_new(event)
                    && let Ok(data) = serde_json::to_string(event)
                {
                    self.send(Update::Event(SseEvent { name: EVENT.to_owned(), data, id: String::new() }))?;
                }
            }
            if page.next_cursor.is_none() || page.next_cursor == cursor {
                self.complete = Some(began);
                return Ok(Ok(()));
            }
            cursor = page.next_cursor;
        }
    }

    fn send(&self, update: Update) -> Result<(), Gone> {
        self.sender.send(update).map_err(|_| Gone)
    }
}

/// The beginning, or what was missed, could not be had.
fn incomplete(error: &CliError) -> Update {
    let data = serde_json::json!({ "reason": error.message }).to_string();
    Update::Event(SseEvent { name: super::INCOMPLETE.to_owned(), data, id: String::new() })
}
