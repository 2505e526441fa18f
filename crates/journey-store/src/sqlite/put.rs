//! How batches become rows: one transaction for each day.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{
    catalogue::DayFile,
    error::{Failure, is_of_one_row},
    filter::TraceFilter,
    rows::{
        ACCOUNT_COLUMNS, INSERT_EVENT, INSERT_PART, UPDATE_KEYS, UPDATE_PART, find_part, insert_event, insert_part,
        json, read_account, update_keys, update_part,
    },
    writer::Writer,
};
use crate::{
    admit::{check_batch, refusal},
    day::Day,
    event::{Event, TraceId},
    merge::{SummaryPart, newer_account},
    store::{Batch, DailyStatistic, EmitterAccount, Put, RejectReason, StoreError},
};

/// An event of a group of batches that may be stored, and whose answer it gets.
struct Item<'a> {
    day: Day,
    event: &'a Event,
    /// Of which batch, and its place there.
    of: (usize, usize),
    put: Put,
}

/// What one transaction stores.
struct DayGroup<'a, 'items> {
    file: Arc<DayFile>,
    /// Sorted by trace.
    items: &'items mut [Item<'a>],
    accounts: Vec<EmitterAccount>,
}

/// Stores a group of batches, and answers each as if it had come alone.
pub(super) fn put(writer: &mut Writer, batches: &[Arc<Batch>]) -> Vec<Result<Vec<Put>, StoreError>> {
    let mut answers: Vec<Result<Vec<Put>, StoreError>> = Vec::with_capacity(batches.len());
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut accounts: BTreeMap<Day, Vec<(usize, EmitterAccount)>> = BTreeMap::new();
    for (number, batch) in batches.iter().enumerate() {
        if let Err(error) = check_batch(batch) {
            answers.push(Err(error));
            continue;
        }
        let (mut puts, before) = (Vec::with_capacity(batch.events.len()), items.len());
        for (place, event) in batch.events.iter().enumerate() {
            match refusal(event, batch.now, writer.retention) {
                Some(reason) => puts.push(Put::Rejected(reason)),
                None => {
                    puts.push(Put::Duplicate);
                    let (day, of) = (Day::of(event.timestamp), (number, place));
                    items.push(Item { day, event, of, put: Put::Duplicate });
                }
            }
        }
        answers.push(Ok(puts));
        if let Some(account) = &batch.account {
            let last = items[before..].iter().map(|item| item.day).max();
            accounts
                .entry(last.unwrap_or_else(|| day_for_account(writer, batch.now)))
                .or_default()
                .push((number, EmitterAccount { stored: 0, ..account.clone() }));
        }
    }
    // Rows of one trace go to one place in the file. Batch and place keep the first of two equal ones first.
    items.sort_unstable_by_key(|item| (item.day, item.event.trace_id, item.of));
    let mut rest = items.as_mut_slice();
    while let Some(day) = rest.first().map(|item| item.day).into_iter().chain(accounts.keys().next().copied()).min() {
        let count = rest.iter().take_while(|item| item.day == day).count();
        let (of_day, after) = rest.split_at_mut(count);
        rest = after;
        let said = accounts.remove(&day).unwrap_or_default();
        let concerned: Vec<usize> =
            of_day.iter().map(|item| item.of.0).chain(said.iter().map(|(number, _)| *number)).collect();
        let said = said.into_iter().map(|(_, account)| account).collect();
        match write_day(writer, day, of_day, said) {
            Ok(()) => {
                for item in of_day {
                    if let Ok(puts) = &mut answers[item.of.0] {
                        puts[item.of.1] = item.put.clone();
                    }
                }
            }
            // Other days of the batch may be stored: who puts it again gets duplicates for those.
            Err(error) => concerned.into_iter().for_each(|number| answers[number] = Err(error.clone())),
        }
    }
    answers
}

/// Where an account goes that comes without events: to the newest day, so that a wrong clock makes no day of its own.
fn day_for_account(writer: &Writer, now: i64) -> Day {
    writer.catalogue.days().last().map_or(Day::of(now), |file| file.day)
}

/// Stores one day's part; where its file turns out to be damaged, that is set aside and the day goes on in a new one.
fn write_day(
    writer: &mut Writer,
    day: Day,
    items: &mut [Item<'_>],
    accounts: Vec<EmitterAccount>,
) -> Result<(), StoreError> {
    let mut group = DayGroup { file: writer.catalogue.get_or_add(day), items, accounts };
    match write_file(writer, &mut group) {
        ControlFlow::Break(answer) => answer,
        ControlFlow::Continue(()) => {
            group.file = writer.catalogue.get_or_add(day);
            match write_file(writer, &mut group) {
                ControlFlow::Break(answer) => answer,
                ControlFlow::Continue(()) => {
                    let message = format!("`{}` is damaged as soon as it is made", group.file.path.display());
                    Err(StoreError::new(crate::store::StoreErrorKind::Unusable, message))
                }
            }
        }
    }
}

/// `Continue`: the file was damaged and is set aside.
fn write_file(writer: &mut Writer, group: &mut DayGroup<'_, '_>) -> ControlFlow<Result<(), StoreError>> {
    let file = group.file.clone();
    let written = writer.take(&file).and_then(|mut connection| {
        write(writer, &mut connection, group)?;
        // Only now: after a failure the connection is closed, so that nothing of it goes on.
        writer.give_back(&file, connection);
        Ok(())
    });
    match written {
        Ok(()) => ControlFlow::Break(Ok(())),
        Err(failure) if failure.is_damage() => match writer.catalogue.set_aside(&file) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Err(error)),
        },
        Err(failure) => {
            writer.forget_if_absent(&file);
            ControlFlow::Break(Err(failure.explain(&file.path)))
        }
    }
}

fn write(writer: &mut Writer, connection: &mut Connection, group: &mut DayGroup<'_, '_>) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut stored: BTreeMap<u64, i64> = BTreeMap::new();
    let mut new_traces = Vec::new();
    {
        let mut insert = transaction.prepare_cached(INSERT_EVENT)?;
        for of_trace in group.items.chunk_by_mut(|one, next| one.event.trace_id == next.event.trace_id) {
            let mut part: Option<SummaryPart> = None;
            for item in of_trace {
                item.put = match insert_event(&mut insert, item.event) {
                    Ok(true) => Put::New,
                    Ok(false) => Put::Duplicate,
                    Err(error) if is_of_one_row(&error) => {
                        Put::Rejected(RejectReason::Invalid(format!("the database refused it: {error}")))
                    }
                    Err(error) => return Err(error.into()),
                };
                if item.put == Put::New {
                    *stored.entry(item.event.emitter).or_default() += 1;
                    match &mut part {
                        Some(part) => part.add(item.event),
                        None => part = Some(SummaryPart::of(item.event)),
                    }
                }
            }
            let Some(part) = part else { continue };
            if let Some(part) = merge_part(&transaction, part)? {
                let id = part.summary.trace_id;
                let other_days = writer.is_in_other_days(id, group.file.day).map_err(Failure::Said)?;
                insert_part(&mut transaction.prepare_cached(INSERT_PART)?, &part, other_days)?;
                new_traces.push(id);
            }
        }
    }
    for account in &group.accounts {
        write_account(&transaction, account)?;
    }
    let mut count = transaction.prepare_cached(
        "INSERT INTO emitters VALUES (?1, ?2) ON CONFLICT (emitter) DO UPDATE SET stored = stored + excluded.stored",
    )?;
    for (emitter, events) in &stored {
        count.execute(params![*emitter as i64, events])?;
    }
    drop(count);
    if !stored.is_empty() {
        transaction.execute("UPDATE state SET changes = changes + 1", ())?;
    }
    // Before the commit: a reader that finds the rows must not be told that they are not there.
    if let Some(filter) = group.file.filter.write().as_mut() {
        new_traces.into_iter().for_each(|id| filter.insert(id));
    }
    transaction.commit()?;
    Ok(())
}

/// Merges a part into what is known of its trace; gives it back where nothing is.
fn merge_part(transaction: &Transaction<'_>, part: SummaryPart) -> Result<Option<SummaryPart>, rusqlite::Error> {
    let Some((known, row)) = find_part(transaction, part.summary.trace_id)? else { return Ok(Some(part)) };
    let keys = |part: &SummaryPart| {
        let summary = &part.summary;
        (summary.correlation_id.clone(), summary.route.clone(), summary.parent_trace_id)
    };
    let known_keys = keys(&known);
    let mut merged = known;
    merged.merge(part);
    update_part(&mut transaction.prepare_cached(UPDATE_PART)?, row, &merged)?;
    if keys(&merged) != known_keys {
        update_keys(&mut transaction.prepare_cached(UPDATE_KEYS)?, row, &merged)?;
    }
    Ok(None)
}

/// Writes an account where it is newer than the one that is there.
pub(super) fn write_account(connection: &Connection, account: &EmitterAccount) -> Result<(), rusqlite::Error> {
    let sql = format!("SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE emitter = ?1");
    let known = connection.prepare_cached(&sql)?.query_row([account.emitter as i64], read_account).optional()?;
    let newest = match known {
        Some(known) => newer_account(known, account.clone()),
        None => account.clone(),
    };
    connection.prepare_cached("INSERT OR REPLACE INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        newest.emitter as i64,
        newest.service,
        newest.started_at,
        newest.said_at,
        newest.emitted as i64,
        json(&newest.dropped),
    ])?;
    Ok(())
}

/// Whether a day has something of a trace; then that day knows from now on that there may be more of it elsewhere.
pub(super) fn mark_other_days(connection: &Connection, id: TraceId) -> Result<bool, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT other_days FROM traces WHERE trace_id = ?1")?;
    let known: Option<bool> = find.query_row([id.to_bytes()], |row| row.get(0)).optional()?;
    if known == Some(false) {
        let mut mark = connection.prepare_cached("UPDATE traces SET other_days = 1 WHERE trace_id = ?1")?;
        mark.execute([id.to_bytes()])?;
    }
    Ok(known.is_some())
}

pub(super) fn replace_statistics(
    connection: &mut Connection,
    changes: i64,
    statistics: &[DailyStatistic],
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM statistics", ())?;
    let mut insert = transaction.prepare("INSERT INTO statistics VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for row in statistics {
        insert.execute(params![
            row.route,
            row.leg,
            row.count as i64,
            row.mean_ms,
            row.min_ms,
            row.max_ms,
            row.p50_ms,
            row.p95_ms,
            row.p99_ms,
            row.sketch,
        ])?;
    }
    drop(insert);
    transaction.execute("UPDATE state SET computed = ?1", [changes])?;
    transaction.commit()
}

pub(super) fn read_filter(connection: &Connection) -> Result<TraceFilter, rusqlite::Error> {
    let mut filter = TraceFilter::default();
    let mut traces = connection.prepare("SELECT trace_id FROM traces INDEXED BY traces_by_last")?;
    let mut rows = traces.query(())?;
    while let Some(row) = rows.next()? {
        if let Some(id) = row.get_ref(0)?.as_blob().ok().and_then(TraceId::from_bytes) {
            filter.insert(id);
        }
    }
    Ok(filter)
}
