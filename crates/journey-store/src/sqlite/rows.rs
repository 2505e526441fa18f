//! An event and a summary as rows, there and back.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{CachedStatement, OptionalExtension as _, Row, params, types::Type};
use serde_json::{Map, Value};

use crate::{
    event::{Event, EventStatus, SpanId, TraceId},
    merge::SummaryPart,
    store::{EmitterAccount, TraceStatus, TraceSummary},
};

/// Columns of an event, as [`read_event`] wants them.
pub(super) const EVENT_COLUMNS: &str = "trace_id, timestamp, emitter, seq, span_id, parent_span_id, parent_trace_id, \
    correlation_id, event_type, status, duration, route, data, tags";

pub(super) const INSERT_EVENT: &str = "INSERT INTO events \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
    ON CONFLICT (trace_id, timestamp, emitter, seq) DO NOTHING";

/// Columns of a summary, as [`read_part`] wants them; `other_days` comes after them.
pub(super) const PART_COLUMNS: &str = "trace_id, first, last, any_failed, end_timestamp, end_emitter, end_seq, \
    end_status, correlation_id, route, parent_trace_id, types, tags, other_days";

pub(super) const INSERT_PART: &str =
    "INSERT INTO traces VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// What changes with nearly every event. To name a column is to write its index again, so the others are not.
pub(super) const UPDATE_PART: &str = "UPDATE traces SET first = ?2, last = ?3, any_failed = ?4, end_timestamp = ?5, \
    end_emitter = ?6, end_seq = ?7, end_status = ?8, types = ?9, tags = ?10 WHERE id = ?1";

/// What changes once, if at all.
pub(super) const UPDATE_KEYS: &str =
    "UPDATE traces SET correlation_id = ?2, route = ?3, parent_trace_id = ?4 WHERE id = ?1";

/// Columns of an account, as [`read_account`] wants them.
pub(super) const ACCOUNT_COLUMNS: &str = "emitter, service, started_at, said_at, emitted, dropped";

/// Runs [`INSERT_EVENT`]; whether the event is new.
pub(super) fn insert_event(statement: &mut CachedStatement<'_>, event: &Event) -> Result<bool, rusqlite::Error> {
    let data = (!event.data.is_empty()).then(|| json(&event.data));
    let tags = (!event.tags.is_empty()).then(|| json(&event.tags));
    let changed = statement.execute(params![
        event.trace_id.to_bytes(),
        event.timestamp,
        event.emitter as i64,
        event.seq as i64,
        event.span_id.get() as i64,
        event.parent_span_id.map(|id| id.get() as i64),
        event.parent_trace_id.map(TraceId::to_bytes),
        event.correlation_id,
        event.event_type,
        status_number(event.status),
        event.duration,
        event.route,
        data,
        tags,
    ])?;
    Ok(changed == 1)
}

/// Runs [`INSERT_PART`].
pub(super) fn insert_part(
    statement: &mut CachedStatement<'_>,
    part: &SummaryPart,
    other_days: bool,
) -> Result<(), rusqlite::Error> {
    let summary = &part.summary;
    statement.execute(params![
        summary.trace_id.to_bytes(),
        summary.first,
        summary.last,
        summary.any_failed,
        part.end.map(|end| end.0),
        part.end.map(|end| end.1 as i64),
        part.end.map(|end| end.2 as i64),
        part.end.map(|end| status_number(end.3)),
        summary.correlation_id,
        summary.route,
        summary.parent_trace_id.map(TraceId::to_bytes),
        json(&summary.types),
        json(&summary.tags),
        other_days,
    ])?;
    Ok(())
}

/// Runs [`UPDATE_PART`] on a row.
pub(super) fn update_part(
    statement: &mut CachedStatement<'_>,
    row: i64,
    part: &SummaryPart,
) -> Result<(), rusqlite::Error> {
    let summary = &part.summary;
    statement.execute(params![
        row,
        summary.first,
        summary.last,
        summary.any_failed,
        part.end.map(|end| end.0),
        part.end.map(|end| end.1 as i64),
        part.end.map(|end| end.2 as i64),
        part.end.map(|end| status_number(end.3)),
        json(&summary.types),
        json(&summary.tags),
    ])?;
    Ok(())
}

/// Runs [`UPDATE_KEYS`] on a row.
pub(super) fn update_keys(
    statement: &mut CachedStatement<'_>,
    row: i64,
    part: &SummaryPart,
) -> Result<(), rusqlite::Error> {
    let summary = &part.summary;
    let parent = summary.parent_trace_id.map(TraceId::to_bytes);
    statement.execute(params![row, summary.correlation_id, summary.route, parent])?;
    Ok(())
}

const FIND_PART: &str = "SELECT trace_id, first, last, any_failed, end_timestamp, end_emitter, end_seq, end_status, \
    correlation_id, route, parent_trace_id, types, tags, other_days, id FROM traces WHERE trace_id = ?1";

/// The part of one trace in one day, and its row.
pub(super) fn find_part(
    connection: &rusqlite::Connection,
    id: TraceId,
) -> Result<Option<(SummaryPart, i64)>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(FIND_PART)?;
    statement.query_row([id.to_bytes()], |row| Ok((read_part(row)?.0, row.get(14)?))).optional()
}

pub(super) fn read_event(row: &Row<'_>) -> Result<Event, rusqlite::Error> {
    Ok(Event {
        trace_id: trace_id(row, 0)?,
        timestamp: row.get(1)?,
        emitter: number(row, 2)?,
        seq: number(row, 3)?,
        span_id: SpanId::new(row.get::<_, i64>(4)? as u64).ok_or_else(|| damaged(4, "a span id of 0"))?,
        parent_span_id: row.get::<_, Option<i64>>(5)?.and_then(|id| SpanId::new(id as u64)),
        parent_trace_id: optional_trace_id(row, 6)?,
        correlation_id: row.get(7)?,
        event_type: row.get(8)?,
        status: status(row, 9)?,
        duration: row.get(10)?,
        route: row.get(11)?,
        data: from_json::<Map<String, Value>>(row, 12)?,
        tags: from_json::<BTreeMap<String, String>>(row, 13)?,
    })
}

/// The part of one trace in one day, and whether there may be more in others.
pub(super) fn read_part(row: &Row<'_>) -> Result<(SummaryPart, bool), rusqlite::Error> {
    let end = match row.get::<_, Option<i64>>(4)? {
        Some(timestamp) => Some((timestamp, number(row, 5)?, number(row, 6)?, status(row, 7)?)),
        None => None,
    };
    let summary = TraceSummary {
        trace_id: trace_id(row, 0)?,
        first: row.get(1)?,
        last: row.get(2)?,
        status: TraceStatus::Pending,
        any_failed: row.get(3)?,
        correlation_id: row.get(8)?,
        route: row.get(9)?,
        parent_trace_id: optional_trace_id(row, 10)?,
        types: from_json::<BTreeSet<String>>(row, 11)?,
        tags: from_json::<BTreeSet<String>>(row, 12)?,
    };
    Ok((SummaryPart { summary, end }.settled(), row.get(13)?))
}

pub(super) fn read_account(row: &Row<'_>) -> Result<EmitterAccount, rusqlite::Error> {
    Ok(EmitterAccount {
        emitter: number(row, 0)?,
        service: row.get(1)?,
        started_at: row.get(2)?,
        said_at: row.get(3)?,
        emitted: number(row, 4)?,
        dropped: from_json::<BTreeMap<String, u64>>(row, 5)?,
        stored: 0,
    })
}

/// A number below 2^63.
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A status as it is stored.
pub(super) fn status_number(status: EventStatus) -> i64 {
    match status {
        EventStatus::Success => 0,
        EventStatus::Failed => 1,
        EventStatus::Pending => 2,
    }
}

/// Maps and sets of text always have a JSON form; an empty one stands for what could not be written.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn status(row: &Row<'_>, column: usize) -> Result<EventStatus, rusqlite::Error> {
    match row.get::<_, i64>(column)? {
        0 => Ok(EventStatus::Success),
        1 => Ok(EventStatus::Failed),
        2 => Ok(EventStatus::Pending),
        _ => Err(damaged(column, "a status that is none")),
    }
}

fn trace_id(row: &Row<'_>, column: usize) -> Result<TraceId, rusqlite::Error> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| damaged(column, "a trace id that is none"))?;
    TraceId::from_bytes(bytes).ok_or_else(|| damaged(column, "a trace id that is none"))
}

fn optional_trace_id(row: &Row<'_>, column: usize) -> Result<Option<TraceId>, rusqlite::Error> {
    Ok(match row.get_ref(column)?.as_blob_or_null() {
        Ok(Some(bytes)) => TraceId::from_bytes(bytes),
        _ => None,
    })
}

fn from_json<T: serde::de::DeserializeOwned + Default>(row: &Row<'_>, column: usize) -> Result<T, rusqlite::Error> {
    let text = row
        .get_ref(column)?
        .as_str_or_null()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))?;
    let Some(text) = text else { return Ok(T::default()) };
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn damaged(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, what.into())
}
