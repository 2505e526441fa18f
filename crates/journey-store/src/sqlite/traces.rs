//! Which traces fit: the newest, those of one parent, those of one correlation id.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, params, params_from_iter, types::Value};

use super::{
    catalogue::DayFile,
    reader::Reader,
    rows::{PART_COLUMNS, json, read_part},
};
use crate::{
    cursor::{TracePlace, page_size},
    event::TraceId,
    merge::SummaryPart,
    store::{EventFilter, MAX_PAGE, Page, StoreError, TraceStatus, TraceSummary},
};

/// Rows that are read at once, so that no read keeps the log of the writer from being cut for long.
const ROWS_AT_ONCE: usize = 512;

/// Rows that are read at once at least: some may turn out not to be wanted.
const FEWEST_ROWS: usize = 32;

/// Rows that one page looks at; a page ends there, and the next one goes on.
const MOST_LOOKED_AT: usize = 200_000;

/// How traces are found by something that stands in their summaries.
pub(super) struct Related {
    pub(super) column: &'static str,
    pub(super) value: Value,
    /// By the instant of the last event, newest first; otherwise by that of the first, oldest first.
    pub(super) newest_first: bool,
}

impl Reader {
    /// Each trace is listed under the newest of its days. A row tells whether there may be other days; only then are they
    /// asked. What SQL leaves away is certainly not wanted; about what it leaves, the whole summary decides.
    pub(super) fn recent(
        &mut self,
        filter: &EventFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<TraceSummary>, StoreError> {
        let mut before = cursor.map(TracePlace::from_cursor).transpose()?;
        let size = page_size(limit);
        let days = self.days()?;
        let (mut items, mut looked_at) = (Vec::new(), 0);
        let select = Select::of(filter);
        for file in days.iter().rev() {
            if before.is_some_and(|before| file.day.start() > before.last) {
                continue;
            }
            if filter.since.is_some_and(|since| file.day.end() <= since) {
                break;
            }
            loop {
                let wanted = (size + 1 - items.len()).clamp(FEWEST_ROWS, ROWS_AT_ONCE);
                let rows = self.ask(file, |connection| select.rows(connection, before, wanted))?.unwrap_or_default();
                looked_at += rows.len();
                let is_last = rows.len() < wanted;
                for (part, other_days) in rows {
                    before = Some(TracePlace::of(&part.summary));
                    let summary = if other_days { self.if_newest(&days, file, &part)? } else { Some(part.summary) };
                    items.extend(summary.filter(|summary| filter.fits(summary)));
                }
                if items.len() > size {
                    return Ok(self.page(items, size, |last| TracePlace::of(last).to_cursor()));
                }
                if is_last {
                    break;
                }
                if looked_at >= MOST_LOOKED_AT {
                    let next = before.map(TracePlace::to_cursor);
                    return Ok(Page { items, next, truncated: self.has_skipped });
                }
            }
        }
        Ok(self.page(items, size, |last| TracePlace::of(last).to_cursor()))
    }

    /// The whole trace, where this day is its newest.
    fn if_newest(
        &mut self,
        days: &[Arc<DayFile>],
        file: &Arc<DayFile>,
        part: &SummaryPart,
    ) -> Result<Option<TraceSummary>, StoreError> {
        let id = part.summary.trace_id;
        let place = days.partition_point(|other| other.day < file.day);
        if self.parts(&days[(place + 1).min(days.len())..], id)?.0.is_some() {
            return Ok(None);
        }
        let mut whole = part.clone();
        if let Some(older) = self.parts(&days[..place], id)?.1 {
            whole.merge(older);
        }
        Ok(Some(whole.summary))
    }

    /// At most a page of the traces that have a value in a column.
    pub(super) fn related(
        &mut self,
        related: &Related,
        fits: impl Fn(&TraceSummary) -> bool,
    ) -> Result<Page<TraceSummary>, StoreError> {
        let mut days = self.days()?;
        let (all, (column, order)) = (days.clone(), (related.column, related.newest_first));
        if related.newest_first {
            days.reverse();
        }
        let order = if order { "last DESC, trace_id DESC" } else { "first, trace_id" };
        let of_one_day = format!(
            "SELECT {PART_COLUMNS} FROM traces WHERE {column} = ?1 AND other_days = 0 ORDER BY {order} LIMIT ?2"
        );
        let of_more_days = format!("SELECT trace_id FROM traces WHERE {column} = ?1 AND other_days = 1 LIMIT ?2");
        let (mut found, mut elsewhere): (Vec<TraceSummary>, BTreeSet<TraceId>) = (Vec::new(), BTreeSet::new());
        for file in &days {
            // Days come in the order that is asked for: with more than a page of them, later days add none in front.
            let wanted = (MAX_PAGE + 1).saturating_sub(found.len()) as i64;
            let rows = self.ask(file, |connection| {
                let mut parts = connection.prepare_cached(&of_one_day)?;
                let parts =
                    parts.query_map(params![related.value, wanted], read_part)?.collect::<Result<Vec<_>, _>>()?;
                let mut ids = connection.prepare_cached(&of_more_days)?;
                let ids = ids.query_map(params![related.value, MAX_PAGE as i64 + 1], |row| row.get::<_, Vec<u8>>(0))?;
                Ok((parts, ids.collect::<Result<Vec<_>, _>>()?))
            })?;
            let Some((parts, ids)) = rows else { continue };
            found.extend(parts.into_iter().map(|(part, _)| part.summary));
            elsewhere.extend(ids.iter().filter_map(|id| TraceId::from_bytes(id)));
        }
        for id in elsewhere {
            found.extend(self.parts(&all, id)?.1.map(|part| part.summary));
        }
        found.retain(fits);
        if related.newest_first {
            found.sort_unstable_by_key(|trace| std::cmp::Reverse((trace.last, trace.trace_id)));
        } else {
            found.sort_unstable_by_key(|trace| (trace.first, trace.trace_id));
        }
        let truncated = self.has_skipped || found.len() > MAX_PAGE;
        found.truncate(MAX_PAGE);
        Ok(Page { items: found, next: None, truncated })
    }
}

/// The rows of a day that may be wanted, newest first.
struct Select {
    sql: String,
    values: Vec<Value>,
}

impl Select {
    fn of(filter: &EventFilter) -> Self {
        let (mut index, mut conditions, mut values) = ("traces_by_last", Vec::new(), Vec::new());
        // The place before which rows are wanted, and how many, come first.
        let mut must = |condition: &str, value: Value| {
            values.push(value);
            conditions.push(condition.replace('?', &format!("?{}", values.len() + 3)));
        };
        if let Some(since) = filter.since {
            must("last >= ?", since.into());
        }
        // Of a trace with other days, one day alone decides nothing.
        if let Some(until) = filter.until {
            must("(first < ? OR other_days = 1)", until.into());
        }
        if let Some(route) = &filter.route {
            must("(route = ? OR other_days = 1)", route.clone().into());
        }
        if let Some(least) = filter.min_duration {
            must("(last - first >= ? OR other_days = 1)", least.into());
        }
        // Both lists are kept as JSON, where a text of them stands in quotes as it does here.
        if let Some(kind) = &filter.event_type {
            must("(instr(types, ?) > 0 OR other_days = 1)", json(kind).into());
        }
        for tag in &filter.tags {
            must("(instr(tags, ?) > 0 OR other_days = 1)", json(tag).into());
        }
        match filter.status {
            Some(TraceStatus::Failed) => {
                index = "traces_of_note";
                conditions.push("any_failed + other_days > 0".to_owned());
            }
            Some(TraceStatus::Success) => conditions.push("(end_status = 0 OR other_days = 1)".to_owned()),
            Some(TraceStatus::Pending) => conditions.push("(any_failed = 0 OR other_days = 1)".to_owned()),
            None => {}
        }
        conditions.push("(last, trace_id) < (?1, ?2)".to_owned());
        let sql = format!(
            "SELECT {PART_COLUMNS} FROM traces INDEXED BY {index} WHERE {} ORDER BY last DESC, trace_id DESC LIMIT ?3",
            conditions.join(" AND ")
        );
        Self { sql, values }
    }

    fn rows(
        &self,
        connection: &Connection,
        before: Option<TracePlace>,
        limit: usize,
    ) -> Result<Vec<(SummaryPart, bool)>, rusqlite::Error> {
        // Nothing is before the greatest instant with the greatest id but that itself, which no day has room for.
        let (last, id) =
            before.map_or((i64::MAX, [0xFF; 17].to_vec()), |it| (it.last, it.trace_id.to_bytes().to_vec()));
        let first = [last.into(), id.into(), Value::from(limit as i64)];
        let mut rows = connection.prepare_cached(&self.sql)?;
        rows.query_map(params_from_iter(first.iter().chain(&self.values)), read_part)?.collect()
    }
}
