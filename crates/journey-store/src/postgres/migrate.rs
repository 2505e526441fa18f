//! Is the schema of our version, and how does it become so?

use std::time::Duration;

use tokio_postgres::Client;

use super::{
    database::{Lease, limit_statements},
    error::unusable,
};
use crate::store::StoreError;

/// What each version adds, oldest first: version 1 is the first entry. An entry never changes once it was released.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_events.sql")];

/// Older servers lack something that is used: 13 is the oldest that is tested against.
const OLDEST_SERVER: i32 = 130_000;

/// Makes the schema what this version of the program needs. Any number of processes may do so at once.
pub(super) async fn run(lease: &mut Lease, schema: &str, limit: Duration) -> Result<(), StoreError> {
    check_server(lease).await?;
    // Without the lock first: a role that may only read and write rows is enough once the schema is there.
    if version(lease, schema).await? == Some(MIGRATIONS.len()) {
        return Ok(());
    }
    let transaction = lease.transaction().await?;
    limit_statements(transaction.client(), limit).await?;
    let lock = format!("journey migrations of {schema}");
    transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock]).await?;
    // Another process may have done it all while this one waited.
    let version = match version(transaction.client(), schema).await? {
        Some(version) => version,
        None => {
            let exists = "SELECT FROM pg_namespace WHERE nspname = $1";
            if transaction.query_opt(exists, &[&schema]).await?.is_none() {
                transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
            }
            let versions = "CREATE TABLE schema_version (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())";
            transaction.batch_execute(versions).await?;
            0
        }
    };
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        transaction.batch_execute(migration).await?;
        let applied = index as i32 + 1;
        transaction.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&applied]).await?;
    }
    Ok(transaction.commit().await?)
}

/// Whether the schema is what this version of the program needs, for one who only reads.
pub(super) async fn check(client: &Client, schema: &str) -> Result<(), StoreError> {
    check_server(client).await?;
    match version(client, schema).await? {
        Some(version) if version == MIGRATIONS.len() => Ok(()),
        Some(version) => Err(unusable(format!(
            "the store is of version {version}, and this program reads version {} (start a service of this version \
             once, or use an older program)",
            MIGRATIONS.len()
        ))),
        None => Err(unusable(format!(
            "there are no stored events in the schema `{schema}` (a service that stores events there makes it)"
        ))),
    }
}

/// The version of the schema; `None` where there is none.
async fn version(client: &Client, schema: &str) -> Result<Option<usize>, StoreError> {
    // From the catalogue: the name alone would be looked up as things were before this waited for another process.
    let table = "SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'schema_version'";
    if client.query_opt(table, &[&schema]).await?.is_none() {
        return Ok(None);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?;
    let version = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0);
    let known = MIGRATIONS.len();
    if version > known {
        let message = format!(
            "the store is of version {version}, and this program knows versions up to {known} (use a newer program)"
        );
        return Err(unusable(message));
    }
    Ok(Some(version))
}

async fn check_server(client: &Client) -> Result<(), StoreError> {
    let row = client
        .query_one("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')", &[])
        .await?;
    let (number, encoding): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    if number < OLDEST_SERVER {
        return Err(unusable(format!("PostgreSQL {} is too old (13 or newer is needed)", number / 10_000)));
    }
    if encoding != "UTF8" {
        let message =
            format!("the database has the encoding {encoding} (make one with `CREATE DATABASE ... ENCODING 'UTF8'`)");
        return Err(unusable(message));
    }
    Ok(())
}
