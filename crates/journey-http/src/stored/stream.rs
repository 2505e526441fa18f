//! What happens in a trace now? Server-sent events: those stored, then live ones.
//!
//! Live events come from the emitter of this process, where the endpoint was given one. Between them the store is looked
//! into again and again, because other processes emit events of the same trace, and because live events that came faster
//! than a client took them are in the store. What was sent is known by its identity, so nothing comes twice. Every look
//! asks for single pages: neither a transaction nor memory is held for a client that does not read.

mod looks;

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures_util::{FutureExt, StreamExt, stream};
use http::{Method, StatusCode, request::Parts};
use journey_core::{CorrelationId, Live, rfc3339};
use journey_store::{Event, EventStatus, TraceId, TraceReader, TraceStream, Watched};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};

use self::looks::Looks;
use super::{
    desk::{Desk, Length, Refusal},
    parameters, traces,
};
use crate::{
    problem::Problem,
    query::Params,
    reply,
    router::App,
    stats::add,
    stream::{GATHER, RETRY_MS, Streams, all_taken, closed, event, response},
};

/// Live events that are written at once.
const BURST: usize = 256;

/// One connected client.
struct Client {
    live: Arc<Live>,
    place: Place,
    /// What is written before anything else.
    hello: Option<Bytes>,
    /// What this process emits.
    emitted: Option<TraceStream>,
    /// Not before this are emitted events taken again.
    gathered: Instant,
    /// Of one trace: what the store has.
    looks: Option<Looks>,
    /// Of all traces: which events.
    filter: Filter,
    heartbeat: Interval,
    closing: watch::Receiver<bool>,
}

/// One of the places for streams; given back when the client is gone.
struct Place(Arc<Streams>);

/// Which events of all traces a client wants.
#[derive(Debug, Default)]
struct Filter {
    event_type: Option<String>,
    status: Option<EventStatus>,
    route: Option<String>,
    tags: Vec<String>,
}

/// `GET /api/v2/traces/{id}/stream`.
pub(super) async fn of_trace(
    app: &App,
    desk: &Arc<Desk>,
    parts: &Parts,
    id: CorrelationId,
) -> Result<Response, Problem> {
    let trace_id = wanted(desk, id).await?;
    if parts.method == Method::HEAD {
        return Ok(response(Body::empty()));
    }
    let place = Place::take(app)?;
    // Live events wait from here on, so none falls between the first look and them.
    let emitted = desk.emitter.as_ref().map(|emitter| emitter.watch_live(trace_id));
    let mut hello = format!("retry: {RETRY_MS}\n\n");
    let last = parts.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let looks = Looks::new(Arc::clone(desk), trace_id, last, &mut hello);
    Ok(response(Client::new(app, place, hello, emitted, Some(looks), Filter::default()).into_body()))
}

/// `GET /api/v2/events/stream`.
pub(super) fn of_all(app: &App, desk: &Desk, parts: &Parts, params: &Params) -> Result<Response, Problem> {
    let filter = Filter {
        event_type: parameters::event_type_or_beginning(params)?,
        status: parameters::event_status(params)?,
        route: parameters::route(params)?,
        tags: parameters::tags(params)?,
    };
    let Some(emitter) = &desk.emitter else {
        let detail = "events of all traces are shown as they are emitted, and this endpoint was given no emitter (see \
                      `StoredEvents::with_emitter`; stored events are at `/api/v2/events`)";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, detail));
    };
    if parts.method == Method::HEAD {
        return Ok(response(Body::empty()));
    }
    let place = Place::take(app)?;
    let mut hello = format!("retry: {RETRY_MS}\n\n");
    if let Some(last) = parts.headers.get("last-event-id") {
        let at: Option<i64> = last.to_str().ok().and_then(|id| id.split('.').next()?.parse().ok());
        let reason = "what was emitted meanwhile is not sent again; what the store has of it is at `/api/v2/events`";
        hello.push_str(&event("reset", &json!({ "reason": reason, "since": at.map(rfc3339) })));
    }
    let emitted = emitter.watch_all(None);
    Ok(response(Client::new(app, place, hello, Some(emitted), None, filter).into_body()))
}

/// The trace that is meant. One that is not known yet can be waited for, by its trace id.
async fn wanted(desk: &Desk, id: CorrelationId) -> Result<TraceId, Problem> {
    let question = move |reader: TraceReader| async move {
        match traces::find(&reader, &id).await?.or_else(|| id.as_str().parse().ok()) {
            Some(found) => Ok(found),
            None => Err(Refusal::from(traces::unknown(&reader, &id).await)),
        }
    };
    desk.ask(Length::Quick, question).await
}

impl Client {
    fn new(
        app: &App,
        place: Place,
        hello: String,
        emitted: Option<TraceStream>,
        looks: Option<Looks>,
        filter: Filter,
    ) -> Self {
        let every = app.streams.heartbeat();
        let mut heartbeat = interval_at(Instant::now() + every, every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            live: Arc::clone(&app.live),
            place,
            hello: Some(hello.into()),
            emitted,
            gathered: Instant::now(),
            looks,
            filter,
            heartbeat,
            closing: app.closing.clone(),
        }
    }

    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, Self::next))
    }

    /// The next piece of the body; `None` ends it.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(hello) = self.hello.take() {
            return Some((Ok(hello), self));
        }
        loop {
            // First what was, then what is: live events wait until the store was read once, or could not be.
            let has_caught_up = self.looks.as_ref().is_none_or(Looks::has_caught_up);
            let text = tokio::select! {
                () = closed(&mut self.closing) => return None,
                _ = self.heartbeat.tick() => self.alive(),
                text = look(&mut self.looks) => text,
                watched = watched(&mut self.emitted, has_caught_up, self.gathered) => match watched {
                    Some(watched) => self.show(watched),
                    // The emitter was shut down. Other processes may go on with the trace.
                    None if self.looks.is_some() => {
                        self.emitted = None;
                        String::new()
                    }
                    None => return None,
                },
            };
            if !text.is_empty() {
                return Some((Ok(text.into()), self));
            }
        }
    }

    /// Writes what was emitted, and what else waits.
    fn show(&mut self, first: Watched) -> String {
        let mut text = String::new();
        self.write(first, &mut text);
        for _ in 1..BURST {
            let more = self.emitted.as_mut().and_then(|emitted| emitted.next().now_or_never());
            let Some(Some(watched)) = more else { break };
            self.write(watched, &mut text);
        }
        self.gathered = Instant::now() + GATHER;
        text
    }

    fn write(&mut self, watched: Watched, text: &mut String) {
        match watched {
            Watched::Event(emitted) => match &mut self.looks {
                Some(looks) => looks.write_live(&emitted, text),
                None if self.filter.lets_through(&emitted) => {
                    let id = format!("{}.{}.{}", emitted.timestamp, emitted.emitter, emitted.seq);
                    text.push_str(&written(&emitted, Some(&id)));
                }
                None => {}
            },
            Watched::Missed(count) => {
                add(&self.place.0.stats().events_lagged, count);
                text.push_str(&event("lagged", &json!({ "count": count })));
                if let Some(looks) = &mut self.looks {
                    looks.look_now();
                }
            }
            Watched::BacklogIncomplete(reason) => text.push_str(&event("incomplete", &json!({ "reason": reason }))),
            _ => {}
        }
    }

    /// A comment for proxies, and an event for programs: comments are invisible to an `EventSource`.
    fn alive(&self) -> String {
        let at = rfc3339(self.live.now());
        format!(": heartbeat\n\n{}", event("heartbeat", &json!({ "at": at })))
    }
}

impl Place {
    fn take(app: &App) -> Result<Self, Problem> {
        if app.streams.take_place() { Ok(Self(Arc::clone(&app.streams))) } else { Err(all_taken(&app.streams)) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.stats().streams.give();
    }
}

impl Filter {
    fn lets_through(&self, event: &Event) -> bool {
        let is_type = |wanted: &String| {
            event.event_type == *wanted || (wanted.ends_with(':') && event.event_type.starts_with(wanted.as_str()))
        };
        self.event_type.as_ref().is_none_or(is_type)
            && self.status.is_none_or(|status| event.status == status)
            && self.route.as_ref().is_none_or(|route| event.route.as_ref() == Some(route))
            && traces::has_tags(event, &self.tags)
    }
}

/// What the store has more; waits for ever where nobody looks.
async fn look(looks: &mut Option<Looks>) -> String {
    match looks {
        Some(looks) => looks.next().await,
        None => std::future::pending().await,
    }
}

/// What this process emits; waits for ever where nobody says so, or it is not time yet.
async fn watched(emitted: &mut Option<TraceStream>, may: bool, from: Instant) -> Option<Watched> {
    match emitted {
        Some(emitted) if may => {
            sleep_until(from).await;
            emitted.next().await
        }
        _ => std::future::pending().await,
    }
}

/// An event as it is sent.
fn written(event: &Event, id: Option<&str>) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    // JSON has no line ends outside of escapes, so one `data` line holds it.
    let data = reply::json_bytes(event);
    format!("event: event\n{id}data: {}\n\n", String::from_utf8_lossy(&data))
}

#[cfg(test)]
mod tests;
