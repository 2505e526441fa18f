//! Which table holds a day, and what becomes of rows whose day has none?

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use deadpool_postgres::Transaction;
use parking_lot::Mutex;
use tokio_postgres::Client;

use super::database::{Lease, limit_statements};
use crate::{
    day::{DAY_NANOS, Day},
    store::StoreError,
};

/// Days made ahead of the clock, beside today.
const DAYS_AHEAD: i64 = 3;

/// How long the default partition takes the rows after a partition could not be made.
const PAUSE: Duration = Duration::from_secs(60);

/// How long making a partition waits for readers; meanwhile writers wait too.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a statement of such a change may take while a batch waits for it.
pub(super) const CHANGE_LIMIT: Duration = Duration::from_secs(10);

/// Days that have a partition, as far as this process knows.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    days: BTreeSet<Day>,
    /// None is made until then: it just failed.
    paused_until: Option<Instant>,
}

impl Partitions {
    /// Makes the partitions of `days`, and of some days from `now` on.
    ///
    /// Where that fails, it is tried again later, and the default partition takes the rows until then: they are stored,
    /// found and moved into their day afterwards.
    pub(super) async fn ensure(&self, lease: &mut Lease, days: &BTreeSet<Day>, now: i64) {
        let ahead = (0..=DAYS_AHEAD).map(|day| Day::of(now.saturating_add(day * DAY_NANOS)));
        let missing: Vec<Day> = {
            let known = self.known.lock();
            if known.paused_until.is_some_and(|until| Instant::now() < until) {
                return;
            }
            let wanted = days.iter().copied().chain(ahead);
            wanted.filter(|day| !known.days.contains(day)).collect::<BTreeSet<_>>().into_iter().collect()
        };
        if !missing.is_empty() {
            let made = make(lease, &missing).await;
            self.note(lease, made.map(|()| missing));
        }
    }

    /// Moves what is in the default partition into partitions; meanwhile, readers of other days wait too.
    pub(super) async fn empty_default(&self, lease: &mut Lease, limit: Duration) {
        let is_paused = self.known.lock().paused_until.is_some_and(|until| Instant::now() < until);
        if !is_paused {
            let emptied = empty_default(lease, limit).await;
            self.note(lease, emptied);
        }
    }

    pub(super) fn forget(&self, day: Day) {
        self.known.lock().days.remove(&day);
    }

    fn note(&self, lease: &Lease, made: Result<Vec<Day>, StoreError>) {
        let mut known = self.known.lock();
        match made {
            Ok(days) => {
                known.days.extend(days);
                known.paused_until = None;
            }
            // A connection that was lost says nothing about the next one.
            Err(_) if lease.is_closed() => {}
            Err(_) => known.paused_until = Some(Instant::now() + PAUSE),
        }
    }
}

/// The name of the table of a day.
pub(super) fn table_name(day: Day) -> String {
    format!("events_{}", day.to_string().replace('-', ""))
}

/// Days that have a partition now, oldest first.
pub(super) async fn days(client: &Client) -> Result<Vec<Day>, StoreError> {
    let sql = "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
               WHERE inhparent = 'events'::regclass ORDER BY relname";
    let rows = client.query(sql, &[]).await?;
    let names = rows.iter().map(|row| row.try_get::<_, &str>(0)).collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().filter_map(day_of_table).collect())
}

fn day_of_table(name: &str) -> Option<Day> {
    let digits = name.strip_prefix("events_")?;
    let is_date = digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_date {
        return None;
    }
    format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]).parse().ok()
}

/// Begins a change of partitions; of all processes, one at a time.
pub(super) async fn begin_change<'a>(lease: &'a mut Lease, limit: Duration) -> Result<Transaction<'a>, StoreError> {
    let transaction = lease.transaction().await?;
    limit_statements(transaction.client(), limit).await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('journey partitions of ' || current_schema(), 0))";
    transaction.execute(lock, &[]).await?;
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = {}", PATIENCE.as_millis())).await?;
    Ok(transaction)
}

async fn make(lease: &mut Lease, wanted: &[Day]) -> Result<(), StoreError> {
    let transaction = begin_change(lease, CHANGE_LIMIT).await?;
    let there: BTreeSet<Day> = days(transaction.client()).await?.into_iter().collect();
    for day in wanted.iter().filter(|day| !there.contains(day)) {
        attach(&transaction, *day).await?;
    }
    Ok(transaction.commit().await?)
}

async fn empty_default(lease: &mut Lease, limit: Duration) -> Result<Vec<Day>, StoreError> {
    let transaction = begin_change(lease, limit).await?;
    let mut made = Vec::new();
    // Ends: every turn takes at least the oldest row out, and no writer can add one while this holds the lock.
    loop {
        let row = transaction.query_one("SELECT min(ts) FROM events_default", &[]).await?;
        let Some(oldest) = row.try_get::<_, Option<i64>>(0)? else { break };
        attach(&transaction, Day::of(oldest)).await?;
        made.push(Day::of(oldest));
    }
    transaction.commit().await?;
    Ok(made)
}

/// A table is made beside the others and then attached: that waits for no writer of another day.
async fn attach(transaction: &Transaction<'_>, day: Day) -> Result<(), StoreError> {
    let (table, from, to) = (table_name(day), day.start(), day.end());
    // No row may reach the default partition between being moved and the attaching.
    let sql = format!(
        "LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE;
         CREATE TABLE {table} (LIKE events INCLUDING ALL);
         WITH moved AS (DELETE FROM events_default WHERE ts >= {from} AND ts < {to} RETURNING *)
         INSERT INTO {table} SELECT * FROM moved;
         ALTER TABLE events ATTACH PARTITION {table} FOR VALUES FROM ({from}) TO ({to})"
    );
    Ok(transaction.batch_execute(&sql).await?)
}
