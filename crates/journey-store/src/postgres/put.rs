//! How is a batch kept, whole, and around a row that the database refuses?

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Range,
};

use deadpool_postgres::Transaction;

use super::{
    database::{Database, Lease},
    error::Failure,
    partition::CHANGE_LIMIT,
    rows::{EncodedEvent, Key, day_number, json, number, shown_text, status_number},
    traces,
};
use crate::{
    admit::{check_batch, refusal},
    day::Day,
    merge::SummaryPart,
    store::{Batch, EmitterAccount, Put, RejectReason, StoreError},
};

/// The most that one statement carries, in bytes: a message of the protocol ends at 1 GiB.
const STATEMENT_BYTES: usize = 16 << 20;

const INSERT_EVENTS: &str = "\
    INSERT INTO events (ts, emitter, seq, duration, status, trace_id, span_id, parent_span_id, parent_trace_id, \
        event_type, correlation_id, route, data, tags) \
    SELECT ts, emitter, seq, duration, status, trace_id, span_id, parent_span_id, parent_trace_id, \
        event_type, correlation_id, route, data::json, tags::json \
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bytea[], $7::bytea[], \
        $8::bytea[], $9::bytea[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[]) \
        AS r(ts, emitter, seq, duration, status, trace_id, span_id, parent_span_id, parent_trace_id, \
        event_type, correlation_id, route, data, tags) \
    ON CONFLICT DO NOTHING RETURNING trace_id, ts, emitter, seq";

const MARK_DAYS: &str = "\
    INSERT INTO dirty_days AS d (day, session, marks) \
    SELECT date '1970-01-01' + day, pg_backend_pid(), 1 FROM unnest($1::integer[]) AS r(day) \
    ON CONFLICT (day, session) DO UPDATE SET marks = d.marks + 1";

/// Of two accounts, the one with more emitted is the newer; of two that emitted the same, the one said later; and else
/// one that does not depend on which came first.
const KEEP_ACCOUNT: &str = "\
    INSERT INTO accounts AS a (emitter, started_at, said_at, emitted, service, dropped) \
    VALUES ($1, $2, $3, $4, $5, $6::text::json) \
    ON CONFLICT (emitter) DO UPDATE SET started_at = EXCLUDED.started_at, said_at = EXCLUDED.said_at, \
        emitted = EXCLUDED.emitted, service = EXCLUDED.service, dropped = EXCLUDED.dropped \
    WHERE (EXCLUDED.emitted, EXCLUDED.said_at, EXCLUDED.dropped::text COLLATE \"C\") > (a.emitted, a.said_at, a.dropped::text)";

const KEEP_DEAD_LETTER: &str = "\
    INSERT INTO dead_letters (trace_id, ts, emitter, seq, reason, event) VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT DO NOTHING";

const DEFAULT_IS_USED: &str = "SELECT EXISTS (SELECT FROM events_default)";

/// How rows are inserted.
#[derive(Clone, Copy, Debug)]
enum Care {
    /// In as few statements as possible; fails where the database refuses a row.
    AllAtOnce,
    /// So that a row that the database refuses harms no other.
    AroundRefused,
}

/// What a transaction did.
#[derive(Debug, Default)]
struct Stored {
    /// Rows that were not there before.
    new: HashSet<Key>,
    /// Rows that the database refuses, by their place among the rows, and why.
    refused: BTreeMap<usize, String>,
    /// Some row has no partition.
    default_is_used: bool,
}

pub(super) async fn put(database: &Database, batch: &Batch) -> Result<Vec<Put>, StoreError> {
    check_batch(batch)?;
    let mut answers = vec![Put::Duplicate; batch.events.len()];
    let mut rows = Vec::with_capacity(batch.events.len());
    for (index, event) in batch.events.iter().enumerate() {
        match refusal(event, batch.now, database.retention) {
            Some(reason) => answers[index] = Put::Rejected(reason),
            None => rows.push(EncodedEvent::of(index, event)),
        }
    }
    if rows.is_empty() && batch.account.is_none() {
        return Ok(answers);
    }
    // In one order everywhere, so that two batches with the same rows wait for each other instead of deadlocking.
    rows.sort_by_key(|row| row.key);

    let mut lease = database.lease().await?;
    let days: BTreeSet<Day> = rows.iter().map(|row| Day::of(row.event.timestamp)).collect();
    database.partitions.ensure(&mut lease, &days, batch.now).await;
    let account = batch.account.as_ref();
    let mut stored = match store(&mut lease, &rows, account, Care::AllAtOnce).await {
        // Once more from the start: the database ends a transaction at the first row it refuses.
        Err(Failure::Row(_)) => store(&mut lease, &rows, account, Care::AroundRefused).await?,
        stored => stored?,
    };
    if stored.default_is_used {
        for day in &days {
            database.partitions.forget(*day);
        }
        database.partitions.empty_default(&mut lease, CHANGE_LIMIT).await;
    }
    lease.give_back();

    for (place, row) in rows.iter().enumerate() {
        if let Some(reason) = stored.refused.remove(&place) {
            answers[row.index] = Put::Rejected(RejectReason::Invalid(reason));
        } else if stored.new.remove(&row.key) {
            // The first of equal rows, since sorting kept their order.
            answers[row.index] = Put::New;
        }
    }
    Ok(answers)
}

/// Keeps rows and all that follows from them, or nothing.
async fn store(
    lease: &mut Lease,
    rows: &[EncodedEvent<'_>],
    account: Option<&EmitterAccount>,
    care: Care,
) -> Result<Stored, Failure> {
    let mut transaction = lease.transaction().await?;
    let mut stored = match care {
        Care::AllAtOnce => insert_all(&transaction, rows).await?,
        Care::AroundRefused => insert_around_refused(&mut transaction, rows).await?,
    };
    let (parts, days) = new_in(rows, &stored.new);
    // Sent together: whoever is far from the database waits once.
    (.., stored.default_is_used) = tokio::try_join!(
        traces::merge(&transaction, &parts),
        mark_days(&transaction, &days),
        keep_account(&transaction, account),
        default_is_used(&transaction),
    )?;
    transaction.commit().await?;
    Ok(stored)
}

/// What new rows say of their traces, by trace, and the days they are of.
fn new_in(rows: &[EncodedEvent<'_>], new: &HashSet<Key>) -> (Vec<SummaryPart>, BTreeSet<Day>) {
    let (mut parts, mut days) = (Vec::<SummaryPart>::new(), BTreeSet::new());
    let mut previous = None;
    for row in rows.iter().filter(|row| new.contains(&row.key)) {
        // Of equal rows, only the first is stored.
        if previous.replace(row.key) == Some(row.key) {
            continue;
        }
        days.insert(Day::of(row.event.timestamp));
        // Rows are sorted by trace.
        match parts.last_mut().filter(|part| part.summary.trace_id == row.event.trace_id) {
            Some(part) => part.add(row.event),
            None => parts.push(SummaryPart::of(row.event)),
        }
    }
    (parts, days)
}

async fn insert_all(transaction: &Transaction<'_>, rows: &[EncodedEvent<'_>]) -> Result<Stored, Failure> {
    let mut stored = Stored::default();
    let mut rest = 0..rows.len();
    while !rest.is_empty() {
        let part = next_part(rows, rest.clone());
        rest.start = part.end;
        stored.new.extend(insert(transaction, &rows[part]).await?);
    }
    Ok(stored)
}

/// Halves what is refused until single rows are left; those go to the dead letters.
async fn insert_around_refused(
    transaction: &mut Transaction<'_>,
    rows: &[EncodedEvent<'_>],
) -> Result<Stored, Failure> {
    let mut stored = Stored::default();
    let mut todo = Vec::from_iter((!rows.is_empty()).then_some(0..rows.len()));
    while let Some(range) = todo.pop() {
        let part = next_part(rows, range.clone());
        if part.end < range.end {
            todo.push(part.end..range.end);
        }
        let point = transaction.savepoint("part").await?;
        match insert(&point, &rows[part.clone()]).await {
            Ok(new) => {
                point.commit().await?;
                stored.new.extend(new);
            }
            Err(Failure::Row(reason)) => {
                point.rollback().await?;
                if part.len() == 1 {
                    keep_dead_letter(transaction, &rows[part.start], &reason).await?;
                    stored.refused.insert(part.start, reason);
                } else {
                    let middle = part.start + part.len() / 2;
                    todo.push(middle..part.end);
                    todo.push(part.start..middle);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(stored)
}

/// As many of the rows as one statement may carry, at least one.
fn next_part(rows: &[EncodedEvent<'_>], range: Range<usize>) -> Range<usize> {
    let mut bytes = 0;
    let fits = |row: &&EncodedEvent<'_>| {
        bytes += row.size();
        bytes <= STATEMENT_BYTES
    };
    let count = rows[range.clone()].iter().take_while(fits).count().max(1);
    range.start..range.start + count
}

async fn insert(transaction: &Transaction<'_>, rows: &[EncodedEvent<'_>]) -> Result<Vec<Key>, Failure> {
    let statement = transaction.prepare_cached(INSERT_EVENTS).await?;
    let events = || rows.iter().map(|row| row.event);
    let stored = transaction
        .query(
            &statement,
            &[
                &Vec::from_iter(rows.iter().map(|row| row.key.1)),
                &Vec::from_iter(rows.iter().map(|row| row.key.2)),
                &Vec::from_iter(rows.iter().map(|row| row.key.3)),
                &Vec::from_iter(events().map(|event| event.duration)),
                &Vec::from_iter(events().map(|event| status_number(event.status))),
                &Vec::from_iter(rows.iter().map(|row| &row.key.0[..])),
                &Vec::from_iter(rows.iter().map(|row| &row.span_id[..])),
                &Vec::from_iter(rows.iter().map(|row| row.parent_span_id.as_ref().map(|id| &id[..]))),
                &Vec::from_iter(rows.iter().map(|row| row.parent_trace_id.as_ref().map(|id| &id[..]))),
                &Vec::from_iter(events().map(|event| event.event_type.as_str())),
                &Vec::from_iter(events().map(|event| event.correlation_id.as_deref())),
                &Vec::from_iter(events().map(|event| event.route.as_deref())),
                &Vec::from_iter(rows.iter().map(|row| row.data.as_deref())),
                &Vec::from_iter(rows.iter().map(|row| row.tags.as_deref())),
            ],
        )
        .await?;
    let key = |row: &tokio_postgres::Row| {
        let trace_id = row.try_get::<_, &[u8]>(0)?.try_into().unwrap_or_default();
        Ok((trace_id, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    };
    stored.iter().map(key).collect()
}

async fn mark_days(transaction: &Transaction<'_>, days: &BTreeSet<Day>) -> Result<(), Failure> {
    if !days.is_empty() {
        let statement = transaction.prepare_cached(MARK_DAYS).await?;
        transaction.execute(&statement, &[&Vec::from_iter(days.iter().map(|day| day_number(*day)))]).await?;
    }
    Ok(())
}

async fn keep_account(transaction: &Transaction<'_>, account: Option<&EmitterAccount>) -> Result<(), Failure> {
    let Some(account) = account else { return Ok(()) };
    let statement = transaction.prepare_cached(KEEP_ACCOUNT).await?;
    let (emitter, emitted) = (number(account.emitter), number(account.emitted));
    let (service, dropped) = (shown_text(&account.service), json(&account.dropped));
    transaction
        .execute(&statement, &[&emitter, &account.started_at, &account.said_at, &emitted, &service, &dropped])
        .await?;
    Ok(())
}

async fn keep_dead_letter(transaction: &Transaction<'_>, row: &EncodedEvent<'_>, reason: &str) -> Result<(), Failure> {
    let statement = transaction.prepare_cached(KEEP_DEAD_LETTER).await?;
    let (trace_id, timestamp, emitter, seq) = row.key;
    let event = json(row.event);
    transaction.execute(&statement, &[&&trace_id[..], &timestamp, &emitter, &seq, &shown_text(reason), &event]).await?;
    Ok(())
}

async fn default_is_used(transaction: &Transaction<'_>) -> Result<bool, Failure> {
    let statement = transaction.prepare_cached(DEFAULT_IS_USED).await?;
    Ok(transaction.query_one(&statement, &[]).await?.try_get(0)?)
}
