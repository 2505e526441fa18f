//! What is known of a trace in one line, and which traces are wanted?

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use tokio_postgres::{Client, Row, types::Type};

use super::{
    error::{Failure, unusable},
    page_query::PageQuery,
    rows::{json, number, status_number},
};
use crate::{
    cursor::{TracePlace, page_size},
    event::TraceId,
    merge::{MAX_SUMMARY_TAGS, MAX_SUMMARY_TYPES, SummaryPart},
    store::{EventFilter, MAX_PAGE, Page, StoreError, TraceStatus, TraceSummary},
};

/// What [`summary`] reads, in its order.
const COLUMNS: &str =
    "trace_id, first_ts, last_ts, status, any_failed, correlation_id, route, parent_trace_id, types, tags";

/// Adds parts, sorted by trace, to what is known: the same as `SummaryPart::merge`.
pub(super) async fn merge(transaction: &Transaction<'_>, parts: &[SummaryPart]) -> Result<(), Failure> {
    if parts.is_empty() {
        return Ok(());
    }
    let statement = transaction.prepare_cached(&merge_sql()).await?;
    write(transaction, &statement, parts).await
}

fn merge_sql() -> String {
    // The elements of both lists, each once, the least of them.
    let union = |column: &str, most: usize| {
        format!(
            "CASE WHEN EXCLUDED.{column} <@ t.{column} THEN t.{column} ELSE ARRAY(SELECT DISTINCT x COLLATE \"C\" \
             FROM unnest(t.{column} || EXCLUDED.{column}) AS u(x) ORDER BY 1 LIMIT {most}) END"
        )
    };
    format!(
        "INSERT INTO traces AS t (trace_id, first_ts, last_ts, any_failed, correlation_id, route, parent_trace_id, \
             newest_end, types, tags) \
         SELECT trace_id, first_ts, last_ts, any_failed, correlation_id, route, parent_trace_id, \
             CASE WHEN end_ts IS NOT NULL THEN ARRAY[end_ts, end_emitter, end_seq, end_status] END, \
             ARRAY(SELECT json_array_elements_text(types::json)), ARRAY(SELECT json_array_elements_text(tags::json)) \
         FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::boolean[], $5::text[], $6::text[], $7::bytea[], \
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[]) \
             AS r(trace_id, first_ts, last_ts, any_failed, correlation_id, route, parent_trace_id, \
             end_ts, end_emitter, end_seq, end_status, types, tags) \
         ON CONFLICT (trace_id) DO UPDATE SET \
             first_ts = least(t.first_ts, EXCLUDED.first_ts), last_ts = greatest(t.last_ts, EXCLUDED.last_ts), \
             any_failed = t.any_failed OR EXCLUDED.any_failed, \
             correlation_id = least(t.correlation_id, EXCLUDED.correlation_id), \
             route = least(t.route, EXCLUDED.route), \
             parent_trace_id = least(t.parent_trace_id, EXCLUDED.parent_trace_id), \
             newest_end = greatest(t.newest_end, EXCLUDED.newest_end), types = {}, tags = {}",
        union("types", MAX_SUMMARY_TYPES),
        union("tags", MAX_SUMMARY_TAGS)
    )
}

async fn write(
    transaction: &Transaction<'_>,
    statement: &tokio_postgres::Statement,
    parts: &[SummaryPart],
) -> Result<(), Failure> {
    let summaries = || parts.iter().map(|part| &part.summary);
    let ends = || parts.iter().map(|part| part.end);
    let ids: Vec<[u8; 16]> = summaries().map(|summary| summary.trace_id.to_bytes()).collect();
    let parents: Vec<_> = summaries().map(|summary| summary.parent_trace_id.map(TraceId::to_bytes)).collect();
    transaction
        .execute(
            statement,
            &[
                &Vec::from_iter(ids.iter().map(|id| &id[..])),
                &Vec::from_iter(summaries().map(|summary| summary.first)),
                &Vec::from_iter(summaries().map(|summary| summary.last)),
                &Vec::from_iter(summaries().map(|summary| summary.any_failed)),
                &Vec::from_iter(summaries().map(|summary| summary.correlation_id.as_deref())),
                &Vec::from_iter(summaries().map(|summary| summary.route.as_deref())),
                &Vec::from_iter(parents.iter().map(|id| id.as_ref().map(|id| &id[..]))),
                &Vec::from_iter(ends().map(|end| end.map(|end| end.0))),
                &Vec::from_iter(ends().map(|end| end.map(|end| number(end.1)))),
                &Vec::from_iter(ends().map(|end| end.map(|end| number(end.2)))),
                &Vec::from_iter(ends().map(|end| end.map(|end| i64::from(status_number(end.3))))),
                &Vec::from_iter(summaries().map(|summary| json(&summary.types))),
                &Vec::from_iter(summaries().map(|summary| json(&summary.tags))),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn one(client: &Client, id: TraceId) -> Result<Option<TraceSummary>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM traces WHERE trace_id = $1");
    let row = client.query_typed_opt(&sql, &[(&&id.to_bytes()[..], Type::BYTEA)]).await?;
    row.as_ref().map(summary).transpose()
}

pub(super) async fn correlated(client: &Client, correlation_id: &str) -> Result<Page<TraceSummary>, StoreError> {
    if correlation_id.contains('\0') {
        return Ok(Page::default());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM traces WHERE correlation_id = $1 ORDER BY last_ts DESC, trace_id DESC LIMIT {}",
        MAX_PAGE + 1
    );
    all_or_said_so(&client.query_typed(&sql, &[(&correlation_id, Type::TEXT)]).await?)
}

pub(super) async fn children(client: &Client, id: TraceId) -> Result<Page<TraceSummary>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM traces WHERE parent_trace_id = $1 ORDER BY first_ts, trace_id LIMIT {}",
        MAX_PAGE + 1
    );
    all_or_said_so(&client.query_typed(&sql, &[(&&id.to_bytes()[..], Type::BYTEA)]).await?)
}

/// Traces that fit, the one with the newest event first.
pub(super) async fn recent(
    client: &Client,
    filter: &EventFilter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<TraceSummary>, StoreError> {
    let size = page_size(limit);
    let after = cursor.map(TracePlace::from_cursor).transpose()?;
    let has_nul = |text: &String| text.contains('\0');
    if filter.tags.iter().chain(&filter.route).chain(&filter.event_type).any(has_nul) {
        return Ok(Page::default());
    }
    let after = after.map(|place| (place.last, place.trace_id.to_bytes()));
    let after = after.as_ref().map(|(last, id)| (last, &id[..]));
    let types = filter.event_type.as_ref().map(|kind| vec![kind.as_str()]);

    let mut query = PageQuery::new("traces", COLUMNS, "last_ts DESC, trace_id DESC");
    if let Some((last, id)) = &after {
        query.look_where("(last_ts, trace_id) < (?, ?)", &[(*last, Type::INT8), (id, Type::BYTEA)]);
    }
    if let Some(since) = &filter.since {
        query.look_where("last_ts >= ?", &[(since, Type::INT8)]);
    }
    if let Some(until) = &filter.until {
        query.look_where("first_ts < ?", &[(until, Type::INT8)]);
    }
    match filter.status {
        // A number in the text, no value: only so is it seen that the index of failures holds all of them.
        Some(TraceStatus::Failed) => query.look_where("status = 1", &[]),
        Some(TraceStatus::Success) => query.want("status = 2", &[]),
        Some(TraceStatus::Pending) => query.want("status = 0", &[]),
        None => {}
    }
    if let Some(types) = &types {
        query.want("types @> ?", &[(types, Type::TEXT_ARRAY)]);
    }
    if !filter.tags.is_empty() {
        query.want("tags @> ?", &[(&filter.tags, Type::TEXT_ARRAY)]);
    }
    if let Some(route) = &filter.route {
        query.want("route = ?", &[(route, Type::TEXT)]);
    }
    if let Some(least) = &filter.min_duration {
        query.want("last_ts - first_ts >= ?", &[(least, Type::INT8)]);
    }
    let found = query.ask(client, size, summary).await?;
    let next = found.more_after.map(|last| TracePlace::of(&last).to_cursor());
    Ok(Page { items: found.items, next, truncated: false })
}

fn all_or_said_so(rows: &[Row]) -> Result<Page<TraceSummary>, StoreError> {
    let items = rows.iter().take(MAX_PAGE).map(summary).collect::<Result<Vec<_>, _>>()?;
    Ok(Page { items, next: None, truncated: rows.len() > MAX_PAGE })
}

fn summary(row: &Row) -> Result<TraceSummary, StoreError> {
    let trace_id = TraceId::from_bytes(row.try_get(0)?);
    let set = |column| Ok::<_, StoreError>(BTreeSet::from_iter(row.try_get::<_, Vec<String>>(column)?));
    Ok(TraceSummary {
        trace_id: trace_id.ok_or_else(|| unusable("PostgreSQL: a stored trace has no valid id"))?,
        first: row.try_get(1)?,
        last: row.try_get(2)?,
        status: match row.try_get::<_, i16>(3)? {
            2 => TraceStatus::Success,
            1 => TraceStatus::Failed,
            _ => TraceStatus::Pending,
        },
        any_failed: row.try_get(4)?,
        correlation_id: row.try_get(5)?,
        route: row.try_get(6)?,
        parent_trace_id: row.try_get::<_, Option<&[u8]>>(7)?.and_then(TraceId::from_bytes),
        types: set(8)?,
        tags: set(9)?,
    })
}
