//! How does an event become columns, and columns an event?

use std::borrow::Cow;

use tokio_postgres::{Error, Row};

use super::error::unusable;
use crate::{
    day::{DAY_NANOS, Day},
    event::{Event, EventStatus, SpanId, TraceId},
    store::StoreError,
};

/// What [`event`] reads, in its order.
pub(super) const EVENT_COLUMNS: &str = "ts, emitter, seq, duration, status, trace_id, span_id, parent_span_id, \
     parent_trace_id, event_type, correlation_id, route, data::text, tags::text";

/// What names an event: `(trace_id, timestamp, emitter, seq)`, as columns.
pub(super) type Key = ([u8; 16], i64, i64, i64);

/// The columns of an event that take some making.
#[derive(Debug)]
pub(super) struct EncodedEvent<'a> {
    pub(super) event: &'a Event,
    /// Its place in the batch.
    pub(super) index: usize,
    pub(super) key: Key,
    pub(super) span_id: [u8; 8],
    pub(super) parent_span_id: Option<[u8; 8]>,
    pub(super) parent_trace_id: Option<[u8; 16]>,
    pub(super) data: Option<String>,
    pub(super) tags: Option<String>,
}

impl<'a> EncodedEvent<'a> {
    pub(super) fn of(index: usize, event: &'a Event) -> Self {
        Self {
            event,
            index,
            key: (event.trace_id.to_bytes(), event.timestamp, number(event.emitter), number(event.seq)),
            span_id: event.span_id.to_bytes(),
            parent_span_id: event.parent_span_id.map(SpanId::to_bytes),
            parent_trace_id: event.parent_trace_id.map(TraceId::to_bytes),
            data: (!event.data.is_empty()).then(|| json(&event.data)),
            tags: (!event.tags.is_empty()).then(|| json(&event.tags)),
        }
    }

    /// About how many bytes it takes on the wire.
    pub(super) fn size(&self) -> usize {
        let long = [&self.data, &self.tags].into_iter().flatten().map(String::len).sum::<usize>();
        long + 256
    }
}

/// Days since 1970-01-01, as the database adds them to a date.
pub(super) fn day_number(day: Day) -> i32 {
    i32::try_from(day.start().div_euclid(DAY_NANOS)).unwrap_or(i32::MAX)
}

pub(super) fn day_of_number(number: i32) -> Day {
    Day::of(i64::from(number).saturating_mul(DAY_NANOS))
}

/// Emitters and numbers are below 2^63: whoever comes here was asked `Event::check`.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as the database keeps it: never negative where nobody else wrote it.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A text that is only shown: PostgreSQL keeps no NUL in a text.
pub(super) fn shown_text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// Text keys and plain values always have a JSON form.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn status_number(status: EventStatus) -> i16 {
    match status {
        EventStatus::Success => 0,
        EventStatus::Failed => 1,
        EventStatus::Pending => 2,
    }
}

pub(super) fn status_of(number: i64) -> EventStatus {
    match number {
        0 => EventStatus::Success,
        1 => EventStatus::Failed,
        _ => EventStatus::Pending,
    }
}

/// The event of a row with [`EVENT_COLUMNS`].
pub(super) fn event(row: &Row) -> Result<Event, StoreError> {
    let damaged = |what: &str| unusable(format!("PostgreSQL: a stored event has no valid {what}"));
    let read = || -> Result<_, Error> {
        Ok((
            (row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?, row.try_get::<_, i64>(2)?),
            (row.try_get::<_, Option<i64>>(3)?, row.try_get::<_, i16>(4)?),
            (row.try_get::<_, &[u8]>(5)?, row.try_get::<_, &[u8]>(6)?),
            (row.try_get::<_, Option<&[u8]>>(7)?, row.try_get::<_, Option<&[u8]>>(8)?),
            (
                row.try_get::<_, String>(9)?,
                row.try_get::<_, Option<String>>(10)?,
                row.try_get::<_, Option<String>>(11)?,
            ),
            (row.try_get::<_, Option<&str>>(12)?, row.try_get::<_, Option<&str>>(13)?),
        ))
    };
    let (
        (timestamp, emitter, seq),
        (duration, status),
        (trace_id, span_id),
        (parent_span_id, parent_trace_id),
        (event_type, correlation_id, route),
        (data, tags),
    ) = read()?;
    Ok(Event {
        trace_id: TraceId::from_bytes(trace_id).ok_or_else(|| damaged("trace id"))?,
        span_id: SpanId::from_bytes(span_id).ok_or_else(|| damaged("span id"))?,
        parent_span_id: parent_span_id.and_then(SpanId::from_bytes),
        parent_trace_id: parent_trace_id.and_then(TraceId::from_bytes),
        correlation_id,
        event_type,
        timestamp,
        emitter: count(emitter),
        seq: count(seq),
        status: status_of(i64::from(status)),
        duration,
        route,
        data: from_json(data).ok_or_else(|| damaged("data"))?,
        tags: from_json(tags).ok_or_else(|| damaged("tags"))?,
    })
}

fn from_json<T: Default + serde::de::DeserializeOwned>(text: Option<&str>) -> Option<T> {
    match text {
        Some(text) => serde_json::from_str(text).ok(),
        None => Some(T::default()),
    }
}
