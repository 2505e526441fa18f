//! How do days that are over go away?

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    database::{Database, Lease, limit_statements},
    partition::{begin_change, days, table_name},
    rows::{EVENT_COLUMNS, day_number, event},
    traces,
};
use crate::{
    admit::MAX_EXPIRED_DAYS,
    day::Day,
    merge::SummaryPart,
    store::{Expired, StoreError},
};

/// Traces that one transaction deletes.
const TRACES_AT_ONCE: i64 = 10_000;

/// Traces that one transaction computes anew.
const TRACES_ANEW_AT_ONCE: i64 = 100;

/// Drops days that ended before `now - keep`, oldest first.
pub(super) async fn expire(database: &Database, now: i64, keep: i64) -> Result<Expired, StoreError> {
    let mut lease = database.lease().await?;
    // Rows that have no partition yet get one, so that it can be dropped.
    database.partitions.empty_default(&mut lease, database.maintenance_timeout).await;
    let row = lease.query_one("SELECT max(ts) FROM events", &[]).await?;
    let mut expired = Expired::default();
    let Some(newest) = row.try_get::<_, Option<i64>>(0)? else {
        lease.give_back();
        return Ok(expired);
    };
    // A clock that jumps forward may not take away what is recent among what is stored.
    let end = now.min(Day::of(newest).start()).saturating_sub(keep.max(0));
    let mut due = days(&lease).await?.into_iter().filter(|day| day.end() <= end).peekable();
    let mut gone_until = end;
    while let Some(day) = due.next() {
        if drop_day(&mut lease, day, database.maintenance_timeout).await? {
            expired.days.push(day.to_string());
        }
        database.partitions.forget(day);
        if expired.days.len() == MAX_EXPIRED_DAYS && due.peek().is_some() {
            expired.more = true;
            gone_until = day.end();
            break;
        }
    }
    forget_until(&mut lease, Day::of(gone_until).start(), database.maintenance_timeout).await?;
    lease.give_back();
    Ok(expired)
}

/// Whether the day held anything: partitions are made ahead, and some stay empty.
async fn drop_day(lease: &mut Lease, day: Day, limit: Duration) -> Result<bool, StoreError> {
    let table = table_name(day);
    let transaction = begin_change(lease, limit).await?;
    // Counted before the partition is detached, which stops everybody: meanwhile only writers of this day wait.
    let count = format!(
        "LOCK TABLE {table} IN SHARE MODE;
         INSERT INTO expired AS x (emitter, events) SELECT emitter, count(*) FROM {table} GROUP BY emitter
         ON CONFLICT (emitter) DO UPDATE SET events = x.events + EXCLUDED.events"
    );
    let held = transaction.query_one(&format!("SELECT EXISTS (SELECT FROM {table})"), &[]).await?.try_get(0)?;
    transaction.batch_execute(&count).await?;
    for gone in ["daily", "dirty_days"] {
        let sql = format!("DELETE FROM {gone} WHERE day = date '1970-01-01' + $1::integer");
        transaction.execute(&sql, &[&day_number(day)]).await?;
    }
    transaction.batch_execute(&format!("ALTER TABLE events DETACH PARTITION {table}; DROP TABLE {table}")).await?;
    transaction.commit().await?;
    Ok(held)
}

/// Brings traces and dead letters in line with days that are gone, however far an expiry came that was cut short.
async fn forget_until(lease: &mut Lease, until: i64, limit: Duration) -> Result<(), StoreError> {
    // Said twice: of a trace that gets an event meanwhile, only the condition outside is looked at again.
    let ended = "DELETE FROM traces WHERE last_ts < $1 \
                 AND trace_id IN (SELECT trace_id FROM traces WHERE last_ts < $1 LIMIT $2)";
    while lease.execute(ended, &[&until, &TRACES_AT_ONCE]).await? == TRACES_AT_ONCE as u64 {}
    lease.execute("DELETE FROM dead_letters WHERE ts < $1", &[&until]).await?;
    // A trace that goes on after that day is what its events of later days say.
    while trim_traces(lease, until, limit).await? {}
    Ok(())
}

/// Computes some traces anew that began before `until`; whether there may be more.
async fn trim_traces(lease: &mut Lease, until: i64, limit: Duration) -> Result<bool, StoreError> {
    let transaction = lease.transaction().await?;
    limit_statements(transaction.client(), limit).await?;
    // Locked in one order, and before their events are read: a batch that comes meanwhile waits, and merges afterwards.
    let sql = "SELECT trace_id FROM traces WHERE trace_id IN (SELECT trace_id FROM traces WHERE first_ts < $1 LIMIT $2) \
               ORDER BY trace_id FOR UPDATE";
    let ids = transaction.query(sql, &[&until, &TRACES_ANEW_AT_ONCE]).await?;
    let ids = ids.iter().map(|row| row.try_get(0)).collect::<Result<Vec<&[u8]>, _>>()?;
    let parts = parts_from(transaction.client(), &ids, until).await?;
    transaction.execute("DELETE FROM traces WHERE trace_id = ANY($1)", &[&ids]).await?;
    traces::merge(&transaction, &parts).await?;
    transaction.commit().await?;
    Ok(ids.len() == TRACES_ANEW_AT_ONCE as usize)
}

/// What the events from `from` on say of these traces, sorted by trace.
async fn parts_from(client: &Client, ids: &[&[u8]], from: i64) -> Result<Vec<SummaryPart>, StoreError> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE trace_id = ANY($1) AND ts >= {from} ORDER BY trace_id, ts, emitter, seq"
    );
    let mut parts: Vec<SummaryPart> = Vec::new();
    for row in &client.query(&sql, &[&ids]).await? {
        let event = event(row)?;
        match parts.last_mut().filter(|part| part.summary.trace_id == event.trace_id) {
            Some(part) => part.add(&event),
            None => parts.push(SummaryPart::of(&event)),
        }
    }
    Ok(parts)
}
