//! Events that tests put into a store.

use std::{ops::Range, sync::Arc};

use journey_store::{Batch, Event, EventStatus, SpanId, TraceId};
use serde_json::json;

/// 2026-11-20T12:00:00Z, unix nanoseconds: what tests of stores take for now.
pub const NOW: i64 = 1_795_176_000_000_000_000;

/// Nanoseconds of a day.
pub const DAY: i64 = 86_400_000_000_000;

/// Events of a trace that tests put together.
pub const EVENTS_OF_A_TRACE: u64 = 12;

/// The events with these numbers: twelve a trace, a millisecond apart, the same ones every time.
///
/// # Panics
///
/// A number is 0 or too large for a trace id.
pub fn numbered(emitter: u64, numbers: Range<u64>) -> Vec<Event> {
    numbers.map(|seq| one(emitter, seq)).collect()
}

/// A batch of events at [`NOW`].
pub fn batch(events: Vec<Event>) -> Arc<Batch> {
    Arc::new(Batch { events, account: None, now: NOW })
}

fn one(emitter: u64, seq: u64) -> Event {
    let trace = u128::from(emitter) << 64 | u128::from((seq - 1) / EVENTS_OF_A_TRACE + 1);
    let trace = TraceId::new(trace).expect("an emitter or a number above 0");
    let span = SpanId::new(seq).expect("a number above 0");
    let at = NOW - 3_600_000_000_000 + seq as i64 * 1_000_000;
    let step = (seq - 1) % EVENTS_OF_A_TRACE;
    let kind = match step {
        0 => "workflow:started",
        11 => "workflow:completed",
        _ => "stage:completed",
    };
    let mut event = Event::new(trace, span, kind, at);
    (event.emitter, event.seq) = (emitter, seq);
    (event.status, event.duration) = (EventStatus::Success, Some(1_000_000 + seq as i64 % 977));
    event.correlation_id = Some(format!("msg_{}", trace.get() as u64));
    event.route = Some("orders".to_owned());
    let data = json!({ "stage": format!("T{step}"), "name": "db_stored", "attempt": 1, "queue": "orders.incoming" });
    event.data = data.as_object().cloned().unwrap_or_default();
    event.tags.insert("tenant".to_owned(), format!("t{}", seq % 7));
    event
}
