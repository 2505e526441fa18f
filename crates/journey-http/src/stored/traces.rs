//! What do one trace and lists of traces and events look like?

use std::time::Duration;

use axum::response::Response;
use http::{StatusCode, request::Parts};
use journey_core::CorrelationId;
use journey_store::{Event, EventFilter, MAX_PAGE, Page, ScanFilter, StoreError, TraceId, TraceReader};

use super::{
    desk::{Desk, Length, Refusal, days},
    parameters,
    view::{EventsView, StoredTraceView, TracesView},
};
use crate::{
    problem::{Problem, shown},
    query::Params,
    reply::Reply,
};

/// Entries of a page unless asked for another number.
const DEFAULT_LIMIT: usize = 100;

/// Events without `since` are of this time.
pub(super) const DEFAULT_TIME: Duration = Duration::from_secs(24 * 3_600);

/// A duration that no trace reaches (30 years); keeps arithmetic on it finite.
const MAX_MS: f64 = 1e12;

/// `GET /api/v2/traces`.
pub(super) async fn list(desk: &Desk, parts: &Parts, params: &Params, now: i64) -> Result<Response, Problem> {
    let span = parameters::span(params, now, None)?;
    let least = params.number("minMs", 0.0, MAX_MS, "2000")?;
    let filter = EventFilter {
        since: span.since,
        until: span.until,
        status: parameters::trace_status(params)?,
        event_type: parameters::event_type(params)?,
        tags: parameters::tags(params)?,
        route: parameters::route(params)?,
        min_duration: least.map(|ms| (ms * 1e6) as i64),
    };
    let (cursor, limit) = (params.cursor()?, parameters::limit(params, DEFAULT_LIMIT)?);
    let headers = parts.headers.clone();
    let question = move |reader: TraceReader| async move {
        let page = reader.recent(filter, cursor, limit).await?;
        Ok::<_, Refusal>(Reply::json(&TracesView::from(page)).into_response(&headers))
    };
    desk.ask(Length::Quick, question).await
}

/// `GET /api/v2/traces/{id}`.
pub(super) async fn one(
    desk: &Desk,
    parts: &Parts,
    params: &Params,
    id: CorrelationId,
    now: i64,
) -> Result<Response, Problem> {
    let limit = parameters::limit(params, MAX_PAGE)?;
    let headers = parts.headers.clone();
    let question = move |reader: TraceReader| async move {
        let Some(trace_id) = find(&reader, &id).await? else { return Err(unknown(&reader, &id).await.into()) };
        // Its day may have been dropped since.
        let Some(view) = reader.view(trace_id, now).await? else { return Err(unknown(&reader, &id).await.into()) };
        let mut others = match &view.correlation_id {
            Some(correlation_id) => reader.store().correlated(correlation_id.clone()).await?,
            None => Page::default(),
        };
        others.items.retain(|other| other.trace_id != trace_id);
        let children = reader.store().children(trace_id).await?;
        let view = StoredTraceView::new(view, limit, others, children);
        Ok::<_, Refusal>(Reply::json(&view).into_response(&headers))
    };
    desk.ask(Length::Quick, question).await
}

/// `GET /api/v2/traces/{id}/events`.
pub(super) async fn events_of_one(
    desk: &Desk,
    parts: &Parts,
    params: &Params,
    id: CorrelationId,
) -> Result<Response, Problem> {
    let (cursor, limit) = (params.cursor()?, parameters::limit(params, DEFAULT_LIMIT)?);
    let headers = parts.headers.clone();
    let question = move |reader: TraceReader| async move {
        let Some(trace_id) = find(&reader, &id).await? else { return Err(unknown(&reader, &id).await.into()) };
        let page = reader.store().trace(trace_id, cursor, limit).await?;
        Ok::<_, Refusal>(Reply::json(&EventsView::from(page)).into_response(&headers))
    };
    desk.ask(Length::Quick, question).await
}

/// `GET /api/v2/events`.
pub(super) async fn events(desk: &Desk, parts: &Parts, params: &Params, now: i64) -> Result<Response, Problem> {
    let span = parameters::span(params, now, Some(DEFAULT_TIME))?;
    let filter = ScanFilter {
        since: span.since,
        until: span.until,
        status: parameters::event_status(params)?,
        event_type: parameters::event_type_or_beginning(params)?,
        route: parameters::route(params)?,
    };
    let tags = parameters::tags(params)?;
    let (cursor, limit) = (params.cursor()?, parameters::limit(params, DEFAULT_LIMIT)?);
    let headers = parts.headers.clone();
    let question = move |reader: TraceReader| async move {
        let mut page = reader.store().scan(filter, cursor, limit).await?;
        page.items.retain(|event| has_tags(event, &tags));
        Ok::<_, Refusal>(Reply::json(&EventsView::from(page)).into_response(&headers))
    };
    desk.ask(Length::Quick, question).await
}

/// Whether an event has all these tags, each `key=value`.
pub(super) fn has_tags(event: &Event, tags: &[String]) -> bool {
    let has = |tag: &String| {
        tag.split_once('=').is_some_and(|(key, value)| event.tags.get(key).is_some_and(|known| known == value))
    };
    tags.iter().all(has)
}

/// The trace that an id means: of a correlation id, the one with the newest event.
pub(super) async fn find(reader: &TraceReader, id: &CorrelationId) -> Result<Option<TraceId>, StoreError> {
    let found = reader.find(id.as_str()).await?;
    Ok(found.items.first().map(|newest| newest.trace_id))
}

pub(super) async fn unknown(reader: &TraceReader, id: &CorrelationId) -> Problem {
    let (shown, days) = (shown(id.as_str()), days(reader).await);
    let detail = match id.as_str().parse::<TraceId>() {
        Ok(_) => {
            format!("the store has no trace with the id `{shown}`, nor one of a correlation id that reads so{days}")
        }
        Err(_) => format!(
            "the store has no trace of the correlation id `{shown}`{days} (a trace id has 32 hex digits, such as \
             `4bf92f3577b34da6a3ce929d0e0e4736`)"
        ),
    };
    Problem::new(StatusCode::NOT_FOUND, detail).with("id", id.as_str())
}
