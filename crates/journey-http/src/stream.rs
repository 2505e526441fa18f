//! Server-sent events: what happens, as it happens.
//!
//! A client is only a position in the ring of the feed. Events are written when its connection takes them, so one that
//! does not read costs a buffer and its place, and never anything on the side of the tracker.

mod filter;
mod period;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use journey_core::{FeedItem, Live, rfc3339};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until},
};

use self::{filter::Filter, period::Seat};
use crate::{problem::Problem, query::Params, reply, router::App, stats::add};

pub(crate) use self::period::Streams;

/// How long news are gathered before they are written: at any rate of events a client is woken 50 times a second at most.
pub(crate) const GATHER: Duration = Duration::from_millis(20);

/// Events written in one gathering to all clients together. It bounds what streams can take from the machine (about
/// 100 000 events a second); clients that want more are told how many they missed.
const EVENTS_PER_GATHERING: usize = 2_048;

/// What one client gets of that: at least this many, however many clients there are, and at most that many.
const EVENTS_PER_CLIENT: (usize, usize) = (16, 512);

/// Events looked at in one step of the ring, under its lock.
const STEP: usize = 256;

/// Events looked at in one gathering; a filter may let none of them through.
const MAX_SCANNED: usize = 4_096;

/// How long an `EventSource` waits before it connects again, in milliseconds.
pub(crate) const RETRY_MS: u32 = 3_000;

/// When to come again if all places are taken.
const RETRY_AFTER_SECONDS: u64 = 5;

/// One connected client.
struct Client {
    live: Arc<Live>,
    seat: Seat,
    filter: Filter,
    /// Number of the last event this client is past.
    position: u64,
    /// What is written before anything else.
    hello: Option<Bytes>,
    /// Not before this is the ring looked at again.
    gathered: Instant,
    heartbeat: Interval,
    closing: watch::Receiver<bool>,
}

/// `GET /api/v2/metrics/stream`.
pub(crate) fn open(app: &App, parts: &Parts, params: &Params) -> Result<Response, Problem> {
    let filter = Filter::read(&app.live, params)?;
    let body = if parts.method == Method::HEAD {
        Body::empty()
    } else {
        let seat = app.streams.sit().ok_or_else(|| all_taken(&app.streams))?;
        let client = Client::new(app, seat, filter, parts.headers.get("last-event-id"));
        Body::from_stream(stream::unfold(client, Client::next))
    };
    Ok(response(body))
}

/// The response whose body is a stream of events.
pub(crate) fn response(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // A proxy in front must not gather the stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// No place is left for one more stream.
pub(crate) fn all_taken(streams: &Streams) -> Problem {
    let detail = format!("all {} event streams are taken (close one, or come again later)", streams.places());
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER_SECONDS)
}

impl Client {
    fn new(app: &App, seat: Seat, filter: Filter, last_event_id: Option<&HeaderValue>) -> Self {
        let head = app.live.feed().head();
        let asked = last_event_id.map(|id| resume_from(id, &seat, &app.live, head));
        let position = match asked {
            Some(Ok(seq)) => seq,
            _ => head,
        };
        // An id before any event: who loses the connection now can resume.
        let mut hello = format!("retry: {RETRY_MS}\nid: {}\ndata:\n\n", seat.event_id(position));
        if let Some(Err(reason)) = asked {
            hello.push_str(&event("reset", &serde_json::json!({ "reason": reason })));
        }
        let every = app.streams.heartbeat();
        let mut heartbeat = interval_at(Instant::now() + every, every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            live: Arc::clone(&app.live),
            seat,
            filter,
            position,
            hello: Some(hello.into()),
            gathered: Instant::now(),
            heartbeat,
            closing: app.closing.clone(),
        }
    }

    /// The next piece of the body; `None` ends it.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(hello) = self.hello.take() {
            return Some((Ok(hello), self));
        }
        let streams = Arc::clone(self.seat.streams());
        loop {
            tokio::select! {
                () = closed(&mut self.closing) => return None,
                _ = self.heartbeat.tick() => {
                    let alive = self.alive();
                    return Some((Ok(alive), self));
                }
                () = sleep_until(self.gathered) => {}
            }
            // Listening starts before the ring is read, so nothing falls in between.
            let news = streams.news();
            tokio::pin!(news);
            news.as_mut().listen();
            let events = self.read();
            if !events.is_empty() {
                self.gathered = Instant::now() + GATHER;
                return Some((Ok(events), self));
            }
            tokio::select! {
                () = closed(&mut self.closing) => return None,
                _ = self.heartbeat.tick() => {
                    let alive = self.alive();
                    return Some((Ok(alive), self));
                }
                () = news => sleep(GATHER).await,
            }
        }
    }

    /// Writes what came since the last time, within this client's share.
    fn read(&mut self) -> Bytes {
        let clients = usize::try_from(self.seat.streams().clients()).unwrap_or(usize::MAX).max(1);
        let share = (EVENTS_PER_GATHERING / clients).clamp(EVENTS_PER_CLIENT.0, EVENTS_PER_CLIENT.1);
        let mut text = String::new();
        let (mut written, mut scanned) = (0, 0);
        while written < share && scanned < MAX_SCANNED {
            let batch = self.live.feed().since(self.position, STEP.min(share - written));
            if batch.lagged > 0 {
                add(&self.seat.streams().stats().events_lagged, batch.lagged);
                text.push_str(&event("lagged", &serde_json::json!({ "count": batch.lagged })));
            }
            self.position = batch.next;
            if batch.items.is_empty() {
                break;
            }
            scanned += batch.items.len();
            for item in batch.items.iter().filter(|item| self.filter.lets_through(&item.event)) {
                text.push_str(&self.seat.rendered(item));
                written += 1;
            }
        }
        text.into()
    }

    /// A comment for proxies, an event for programs (comments are invisible to an `EventSource`), and the id, so that a
    /// client whose filter lets little through does not fall out of the ring.
    fn alive(&self) -> Bytes {
        let at = rfc3339(self.live.now());
        let id = self.seat.event_id(self.position);
        format!(": heartbeat\nid: {id}\n\n{}", event("heartbeat", &serde_json::json!({ "at": at }))).into()
    }
}

/// Where a client that comes back goes on, or why it cannot.
fn resume_from(id: &HeaderValue, seat: &Seat, live: &Live, head: u64) -> Result<u64, &'static str> {
    let parts = id.to_str().ok().and_then(|id| id.split_once('-'));
    let (nonce, seq) = parts.ok_or("the last event id is not one of this endpoint")?;
    let seq: u64 = seq.parse().map_err(|_| "the last event id is not one of this endpoint")?;
    if nonce != seat.nonce() {
        return Err("the last event is of an earlier process, or nobody followed for a while: events are missing");
    }
    if seq > head {
        return Err("the last event id is not one of this endpoint");
    }
    if live.feed().since(seq, 1).lagged > 0 {
        return Err("the last event is too old: events are missing");
    }
    Ok(seq)
}

/// One event without an id.
pub(crate) fn event(kind: &str, data: &serde_json::Value) -> String {
    // JSON has no line ends outside of escapes, so one `data` line holds it.
    format!("event: {kind}\ndata: {data}\n\n")
}

/// One event of the feed with its id.
fn render(item: &FeedItem, id: &str) -> String {
    let data = reply::json_bytes(&item.event);
    format!("event: {}\nid: {id}\ndata: {}\n\n", item.event.kind(), String::from_utf8_lossy(&data))
}

/// Waits until streams have to end; forever where nobody can say so.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
