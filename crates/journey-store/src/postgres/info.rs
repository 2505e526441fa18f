//! How large is the store, and should somebody look at it?

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::{
    database::Database,
    partition::{days, table_name},
    rows::count,
};
use crate::{
    day::Day,
    store::{StoreError, StoreInfo},
};

/// What somebody should look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresHealth {
    /// Events in the default partition: not 0 where partitions cannot be made, whose reason the server's log holds. They
    /// are stored and found, and move into their day as soon as it can be made.
    pub unpartitioned: u64,
    /// Rows that the database refused, kept with their reason in `dead_letters` as long as other events of their day.
    pub dead_letters: u64,
}

pub(super) async fn health(client: &Client) -> Result<PostgresHealth, StoreError> {
    let sql = "SELECT (SELECT count(*) FROM events_default), (SELECT count(*) FROM dead_letters)";
    let row = client.query_one(sql, &[]).await?;
    Ok(PostgresHealth { unpartitioned: count(row.try_get(0)?), dead_letters: count(row.try_get(1)?) })
}

pub(super) async fn info(database: &Database) -> Result<StoreInfo, StoreError> {
    let mut lease = database.lease().await?;
    let transaction = lease.transaction().await?;
    // No partition goes away between being found and being asked.
    transaction.batch_execute("LOCK TABLE events IN ACCESS SHARE MODE").await?;
    let mut held = BTreeSet::new();
    let made = days(transaction.client()).await?;
    if !made.is_empty() {
        // Partitions are made ahead: most of those hold nothing.
        let is_held = |day: &Day| format!("EXISTS (SELECT FROM {})", table_name(*day));
        let sql = format!("SELECT ARRAY[{}]", made.iter().map(is_held).collect::<Vec<_>>().join(", "));
        let is_held: Vec<bool> = transaction.query_one(&sql, &[]).await?.try_get(0)?;
        held.extend(made.into_iter().zip(is_held).filter_map(|(day, is_held)| is_held.then_some(day)));
    }
    let mut from = i64::MIN;
    while let Some(ts) = next_unpartitioned(transaction.client(), from).await? {
        held.insert(Day::of(ts));
        from = Day::of(ts).end();
    }
    let sql = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class \
               WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'";
    let bytes: Option<i64> = transaction.query_one(sql, &[]).await?.try_get(0)?;
    transaction.commit().await?;
    lease.give_back();
    Ok(StoreInfo {
        kind: "postgres".to_owned(),
        place: database.place.clone(),
        days: held.iter().map(Day::to_string).collect(),
        bytes: bytes.map(count),
        damaged: Vec::new(),
    })
}

async fn next_unpartitioned(client: &Client, from: i64) -> Result<Option<i64>, StoreError> {
    Ok(client.query_one("SELECT min(ts) FROM events_default WHERE ts >= $1", &[&from]).await?.try_get(0)?)
}
