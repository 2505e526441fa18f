//! Which events are wanted, of one trace or of all?

use tokio_postgres::{Client, types::Type};

use super::{
    page_query::{Found, PageQuery},
    rows::{EVENT_COLUMNS, event, number, status_number},
};
use crate::{
    cursor::{EventPlace, page_size},
    event::{Event, EventStatus, TraceId},
    store::{Page, ScanFilter, StoreError},
};

/// Most events are of stages: all others have an index by type.
const STAGE: &str = "stage:";

/// What is the same in the definition of that index.
const NO_STAGE: &str = "NOT starts_with(event_type, 'stage:')";

/// The events of one trace, in order.
pub(super) async fn trace(
    client: &Client,
    id: TraceId,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<Event>, StoreError> {
    let after = cursor.map(EventPlace::from_cursor).transpose()?;
    let after = after.map(|place| (place.timestamp, number(place.emitter), number(place.seq)));
    let id = id.to_bytes();
    let id = &id[..];

    // From when to when the trace goes is known: only the partitions of those days are looked at.
    let sql = "SELECT first_ts, last_ts FROM traces WHERE trace_id = $1";
    let Some(row) = client.query_typed_opt(sql, &[(&id, Type::BYTEA)]).await? else { return Ok(Page::default()) };
    let (first, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let mut query = PageQuery::new("events", EVENT_COLUMNS, "ts, emitter, seq");
    query.look_where(
        "trace_id = ? AND ts >= ? AND ts <= ?",
        &[(&id, Type::BYTEA), (&first, Type::INT8), (&last, Type::INT8)],
    );
    if let Some((timestamp, emitter, seq)) = &after {
        query.look_where("ts >= ?", &[(timestamp, Type::INT8)]);
        let place = [(timestamp as _, Type::INT8), (emitter as _, Type::INT8), (seq as _, Type::INT8)];
        query.look_where("(ts, emitter, seq) > (?, ?, ?)", &place);
    }
    Ok(page(query.ask(client, page_size(limit), event).await?))
}

/// Events of all traces that fit, in order.
pub(super) async fn scan(
    client: &Client,
    filter: &ScanFilter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<Event>, StoreError> {
    let after = cursor.map(EventPlace::from_cursor).transpose()?;
    let after = after.map(|at| (at.timestamp, number(at.emitter), number(at.seq), at.trace_id.to_bytes()));
    let after = after.as_ref().map(|(timestamp, emitter, seq, id)| (timestamp, emitter, seq, &id[..]));
    if filter.route.iter().chain(&filter.event_type).any(|text| text.contains('\0')) {
        return Ok(Page::default());
    }
    // In the order of bytes, `saga;` is the first text after all that begin with `saga:`.
    let area = filter.event_type.as_ref().and_then(|kind| kind.strip_suffix(':'));
    let area = area.map(|area| (format!("{area}:"), format!("{area};")));

    let mut query = PageQuery::new("events", EVENT_COLUMNS, "ts, emitter, seq, trace_id");
    if let Some((timestamp, emitter, seq, id)) = &after {
        // The first condition says less than the second, but it is the one that leaves out whole days.
        query.look_where("ts >= ?", &[(*timestamp, Type::INT8)]);
        query.look_where(
            "(ts, emitter, seq, trace_id) > (?, ?, ?, ?)",
            &[(*timestamp, Type::INT8), (*emitter, Type::INT8), (*seq, Type::INT8), (id, Type::BYTEA)],
        );
    }
    if let Some(since) = &filter.since {
        query.look_where("ts >= ?", &[(since, Type::INT8)]);
    }
    if let Some(until) = &filter.until {
        query.look_where("ts < ?", &[(until, Type::INT8)]);
    }
    match filter.status {
        // A number in the text, no value: only so is it seen that the index of failures holds all of them.
        Some(EventStatus::Failed) => query.look_where("status = 1", &[]),
        Some(status) => query.want(&format!("status = {}", status_number(status)), &[]),
        None => {}
    }
    if let Some(kind) = &filter.event_type {
        let (condition, values) = match &area {
            Some((from, to)) => {
                ("event_type >= ? AND event_type < ?", vec![(from as _, Type::TEXT), (to as _, Type::TEXT)])
            }
            None => ("event_type = ?", vec![(kind as _, Type::TEXT)]),
        };
        if kind.starts_with(STAGE) {
            query.want(condition, &values);
        } else {
            query.look_where(condition, &values);
            query.look_where(NO_STAGE, &[]);
        }
    }
    if let Some(route) = &filter.route {
        query.want("route = ?", &[(route, Type::TEXT)]);
    }
    Ok(page(query.ask(client, page_size(limit), event).await?))
}

fn page(found: Found<Event>) -> Page<Event> {
    let next = found.more_after.map(|last| EventPlace::of(&last).to_cursor());
    Page { items: found.items, next, truncated: false }
}
