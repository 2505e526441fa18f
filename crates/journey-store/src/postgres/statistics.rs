//! How long did things take on each day, and what did each emitter say of itself?

use std::time::Duration;

use tokio_postgres::{Client, Row};

use super::{
    database::{Database, Lease, limit_statements},
    error::unusable,
    rows::{EVENT_COLUMNS, count, day_number, day_of_number, event, shown_text},
};
use crate::{
    daily::DayTimings,
    day::Day,
    merge::EXPIRED,
    store::{DailyStatistic, EmitterAccount, StoreError},
};

/// Events that the computation of a day holds at a time.
const FETCH: usize = 2_000;

pub(super) async fn recompute(database: &Database) -> Result<Vec<String>, StoreError> {
    let mut lease = database.lease().await?;
    let rows = lease.query("SELECT DISTINCT day - date '1970-01-01' FROM dirty_days ORDER BY 1", &[]).await?;
    let days = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i32>, _>>()?;
    let mut computed = Vec::new();
    for day in days.into_iter().map(day_of_number) {
        if recompute_day(&mut lease, day, database.maintenance_timeout).await? {
            computed.push(day.to_string());
        }
    }
    lease.give_back();
    Ok(computed)
}

/// Whether the day was due: another process may have been quicker.
async fn recompute_day(lease: &mut Lease, day: Day, limit: Duration) -> Result<bool, StoreError> {
    let transaction = lease.transaction().await?;
    limit_statements(transaction.client(), limit).await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('journey statistics of ' || current_schema() || $1, 0))";
    transaction.execute(lock, &[&day.to_string()]).await?;

    // Marks first, events afterwards: a batch that commits in between leaves a mark that differs, which then stays, and
    // the day is due again.
    let marks = "SELECT session, marks FROM dirty_days WHERE day = date '1970-01-01' + $1::integer";
    let marks = transaction.query(marks, &[&day_number(day)]).await?;
    if marks.is_empty() {
        return Ok(false);
    }
    let read = format!(
        "DECLARE timed CURSOR FOR SELECT {EVENT_COLUMNS} FROM events WHERE ts >= {} AND ts < {} \
         AND (event_type IN ('workflow:completed', 'workflow:failed') OR (duration IS NOT NULL AND status <> 2))",
        day.start(),
        day.end()
    );
    transaction.batch_execute(&read).await?;
    let mut timings = DayTimings::default();
    let fetch = transaction.prepare(&format!("FETCH {FETCH} FROM timed")).await?;
    loop {
        let rows = transaction.query(&fetch, &[]).await?;
        for row in &rows {
            timings.add(&event(row)?);
        }
        if rows.len() < FETCH {
            break;
        }
    }
    let gone = "DELETE FROM daily WHERE day = date '1970-01-01' + $1::integer";
    transaction.execute(gone, &[&day_number(day)]).await?;
    write(transaction.client(), day, &timings.finish(&day.to_string())).await?;

    let session = |row: &Row| row.try_get::<_, i32>(0);
    let mark = |row: &Row| row.try_get::<_, i64>(1);
    let sessions = marks.iter().map(session).collect::<Result<Vec<_>, _>>()?;
    let marks = marks.iter().map(mark).collect::<Result<Vec<_>, _>>()?;
    let done = "DELETE FROM dirty_days d USING unnest($2::integer[], $3::bigint[]) AS r(session, marks) \
                WHERE d.day = date '1970-01-01' + $1::integer AND d.session = r.session AND d.marks = r.marks";
    transaction.execute(done, &[&day_number(day), &sessions, &marks]).await?;
    transaction.commit().await?;
    Ok(true)
}

async fn write(client: &Client, day: Day, statistics: &[DailyStatistic]) -> Result<(), StoreError> {
    let counts = statistics.iter().map(|row| i64::try_from(row.count).unwrap_or(i64::MAX));
    let column = |value: fn(&DailyStatistic) -> f64| Vec::from_iter(statistics.iter().map(value));
    let sql = "INSERT INTO daily (day, route, leg, count, mean_ms, min_ms, max_ms, p50_ms, p95_ms, p99_ms, sketch) \
               SELECT date '1970-01-01' + $1::integer, r.* FROM unnest($2::text[], $3::text[], $4::bigint[], \
                   $5::float8[], $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::float8[], $11::bytea[]) AS r";
    client
        .execute(
            sql,
            &[
                &day_number(day),
                &Vec::from_iter(statistics.iter().map(|row| shown_text(&row.route))),
                &Vec::from_iter(statistics.iter().map(|row| shown_text(&row.leg))),
                &Vec::from_iter(counts),
                &column(|row| row.mean_ms),
                &column(|row| row.min_ms),
                &column(|row| row.max_ms),
                &column(|row| row.p50_ms),
                &column(|row| row.p95_ms),
                &column(|row| row.p99_ms),
                &Vec::from_iter(statistics.iter().map(|row| row.sketch.as_slice())),
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn daily(client: &Client, first: &str, last: &str) -> Result<Vec<DailyStatistic>, StoreError> {
    let (first, last): (Day, Day) = (first.parse()?, last.parse()?);
    let sql = "SELECT day - date '1970-01-01', route, leg, count, mean_ms, min_ms, max_ms, p50_ms, p95_ms, p99_ms, sketch \
               FROM daily WHERE day BETWEEN date '1970-01-01' + $1::integer AND date '1970-01-01' + $2::integer \
               ORDER BY day, route, leg";
    let rows = client.query(sql, &[&day_number(first), &day_number(last)]).await?;
    let statistic = |row: &Row| {
        Ok(DailyStatistic {
            day: day_of_number(row.try_get(0)?).to_string(),
            route: row.try_get(1)?,
            leg: row.try_get(2)?,
            count: count(row.try_get(3)?),
            mean_ms: row.try_get(4)?,
            min_ms: row.try_get(5)?,
            max_ms: row.try_get(6)?,
            p50_ms: row.try_get(7)?,
            p95_ms: row.try_get(8)?,
            p99_ms: row.try_get(9)?,
            sketch: row.try_get(10)?,
        })
    };
    rows.iter().map(statistic).collect()
}

/// Those of the days that got events since their statistics were computed.
pub(super) async fn due(client: &Client, first: &str, last: &str) -> Result<Vec<String>, StoreError> {
    let (first, last): (Day, Day) = (first.parse()?, last.parse()?);
    let sql = "SELECT DISTINCT day - date '1970-01-01' FROM dirty_days \
               WHERE day BETWEEN date '1970-01-01' + $1::integer AND date '1970-01-01' + $2::integer ORDER BY 1";
    let rows = client.query(sql, &[&day_number(first), &day_number(last)]).await?;
    rows.iter().map(|row| Ok(day_of_number(row.try_get(0)?).to_string())).collect()
}

/// What every emitter last said of itself, with rows counted there and then: a count that was kept beside them would
/// prove nothing.
pub(super) async fn accounts(database: &Database) -> Result<Vec<EmitterAccount>, StoreError> {
    let mut lease = database.lease().await?;
    let transaction = lease.transaction().await?;
    limit_statements(transaction.client(), database.maintenance_timeout).await?;
    // An emitter that never said anything has rows all the same.
    let sql = "SELECT emitter, coalesce(a.service, ''), coalesce(a.started_at, 0), coalesce(a.said_at, 0), \
                   coalesce(a.emitted, 0), coalesce(a.dropped::text, '{}'), coalesce(s.events, 0), coalesce(x.events, 0) \
               FROM accounts a \
               FULL JOIN (SELECT emitter, count(*) AS events FROM events GROUP BY emitter) s USING (emitter) \
               LEFT JOIN expired x USING (emitter) ORDER BY emitter";
    let rows = transaction.query(sql, &[]).await?;
    transaction.commit().await?;
    lease.give_back();
    rows.iter().map(account).collect()
}

fn account(row: &Row) -> Result<EmitterAccount, StoreError> {
    let dropped = serde_json::from_str(row.try_get(5)?);
    let mut account = EmitterAccount {
        emitter: count(row.try_get(0)?),
        service: row.try_get(1)?,
        started_at: row.try_get(2)?,
        said_at: row.try_get(3)?,
        emitted: count(row.try_get(4)?),
        dropped: dropped
            .map_err(|_| unusable("PostgreSQL: a stored account has no valid counts of what was dropped"))?,
        stored: count(row.try_get(6)?),
    };
    match count(row.try_get(7)?) {
        0 => {}
        expired => *account.dropped.entry(EXPIRED.to_owned()).or_default() += expired,
    }
    Ok(account)
}
