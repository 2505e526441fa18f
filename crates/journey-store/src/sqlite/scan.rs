//! Events of all traces: which fit, and how long things took on one day.

use std::sync::Arc;

use rusqlite::{params, params_from_iter, types::Value};

use super::{
    catalogue::DayFile,
    reader::Reader,
    rows::{EVENT_COLUMNS, read_event, status_number},
    writer::Command,
};
use crate::{
    cursor::{EventPlace, page_size},
    daily::DayTimings,
    event::Event,
    store::{Page, ScanFilter, StoreError, StoreErrorKind},
};

/// Rows that statistics read at once, so that no read keeps the log of the writer from being cut for long.
const ROWS_AT_ONCE: usize = 10_000;

impl Reader {
    pub(super) fn scan(
        &mut self,
        filter: &ScanFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<Event>, StoreError> {
        let after = cursor.map(EventPlace::from_cursor).transpose()?;
        let size = page_size(limit);
        let from = after.map(|it| it.timestamp).max(filter.since).unwrap_or(i64::MIN);
        let (sql, mut values) = select(filter, after);
        let mut items: Vec<Event> = Vec::new();
        for file in self.days()? {
            let is_after = filter.until.is_some_and(|until| file.day.start() >= until);
            if items.len() > size || file.day.end() <= from || is_after {
                continue;
            }
            values[0] = Value::from((size + 1 - items.len()) as i64);
            let found = self.ask(&file, |connection| {
                let mut events = connection.prepare_cached(&sql)?;
                events.query_map(params_from_iter(&values), read_event)?.collect::<Result<Vec<_>, _>>()
            })?;
            items.extend(found.unwrap_or_default());
        }
        Ok(self.page(items, size, |event| EventPlace::of(event).to_cursor()))
    }

    /// Reads the events of every day that is due, and has the writer replace its statistics.
    pub(super) fn recompute(&mut self) -> Result<Vec<String>, StoreError> {
        let Some(writer) = self.writer.clone() else {
            return Err(StoreError::new(StoreErrorKind::Unusable, "the store was opened for reading only"));
        };
        let mut recomputed = Vec::new();
        for file in self.days()? {
            let Some(changes) = self.changes_since(&file)? else { continue };
            // What is stored from now on may be counted already; then the day is due again and counted anew.
            let Some(mut timings) = self.timings(&file)? else { continue };
            let statistics = timings.finish(&file.day.to_string());
            let (reply, answer) = futures_channel::oneshot::channel();
            let command = Command::Replace { file: file.clone(), changes, statistics, reply };
            let closed = |()| StoreError::new(StoreErrorKind::Unavailable, "the store is closed");
            writer.send(command).map_err(|_| closed(()))?;
            crate::wait(Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed(()))) }))?;
            recomputed.push(file.day.to_string());
        }
        Ok(recomputed)
    }

    /// Those of the days that got events since their statistics were computed.
    pub(super) fn due(&mut self, first: &str, last: &str) -> Result<Vec<String>, StoreError> {
        let mut due = Vec::new();
        for file in self.days_between(first, last)? {
            if self.changes_since(&file)?.is_some() {
                due.push(file.day.to_string());
            }
        }
        Ok(due)
    }

    /// How often a day got events, where it got some since its statistics were computed; `None` also where it cannot be read.
    fn changes_since(&mut self, file: &Arc<DayFile>) -> Result<Option<i64>, StoreError> {
        let state = self.ask(file, |connection| {
            let mut state = connection.prepare_cached("SELECT changes, computed FROM state")?;
            state.query_row((), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        })?;
        Ok(state.and_then(|(changes, computed)| (changes != computed).then_some(changes)))
    }

    /// The durations of a day; `None` where it cannot be read.
    fn timings(&mut self, file: &Arc<DayFile>) -> Result<Option<DayTimings>, StoreError> {
        let mut timings = DayTimings::default();
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE (trace_id, timestamp, emitter, seq) > (?1, ?2, ?3, ?4) \
            AND (duration IS NOT NULL OR event_type IN ('workflow:completed', 'workflow:failed')) \
            ORDER BY trace_id, timestamp, emitter, seq LIMIT ?5"
        );
        let mut after: (Vec<u8>, i64, i64, i64) = (Vec::new(), i64::MIN, -1, -1);
        loop {
            self.go_on()?;
            let events = self.ask(file, |connection| {
                let mut events = connection.prepare_cached(&sql)?;
                let place = params![after.0, after.1, after.2, after.3, ROWS_AT_ONCE as i64];
                events.query_map(place, read_event)?.collect::<Result<Vec<_>, _>>()
            })?;
            let Some(events) = events else { return Ok(None) };
            for event in &events {
                timings.add(event);
            }
            match events.last() {
                Some(last) if events.len() == ROWS_AT_ONCE => {
                    let id = last.trace_id.to_bytes().to_vec();
                    after = (id, last.timestamp, last.emitter as i64, last.seq as i64);
                }
                _ => return Ok(Some(timings)),
            }
        }
    }
}

/// The statement, and its values; the first is how many rows are wanted.
fn select(filter: &ScanFilter, after: Option<EventPlace>) -> (String, Vec<Value>) {
    let (mut conditions, mut values) = (vec!["1 = 1".to_owned()], vec![Value::from(0_i64)]);
    let mut must = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(since) = filter.since {
        must("timestamp >= ?", since.into());
    }
    if let Some(until) = filter.until {
        must("timestamp < ?", until.into());
    }
    if let Some(status) = filter.status {
        must("status = ?", status_number(status).into());
    }
    if let Some(route) = &filter.route {
        must("route = ?", route.clone().into());
    }
    match filter.event_type.as_deref() {
        // All that begins so: what follows the colon in the order of bytes is the semicolon.
        Some(kind) if kind.ends_with(':') => {
            must("event_type >= ?", kind.to_owned().into());
            must("event_type < ?", format!("{};", &kind[..kind.len() - 1]).into());
        }
        Some(kind) => must("event_type = ?", kind.to_owned().into()),
        None => {}
    }
    if let Some(after) = after {
        let place = [after.timestamp.into(), (after.emitter as i64).into(), (after.seq as i64).into()];
        let first = values.len() + 1;
        values.extend::<[Value; 3]>(place);
        values.push(after.trace_id.to_bytes().to_vec().into());
        conditions.push(format!(
            "(timestamp, emitter, seq, trace_id) > (?{first}, ?{}, ?{}, ?{})",
            first + 1,
            first + 2,
            first + 3
        ));
    }
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events INDEXED BY events_by_time WHERE {} \
        ORDER BY timestamp, emitter, seq, trace_id LIMIT ?1",
        conditions.join(" AND ")
    );
    (sql, values)
}
