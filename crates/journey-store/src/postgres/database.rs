//! How does one piece of work get a connection, and what becomes of the connection afterwards?

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

use super::{
    config::{PostgresConfig, place, wants_tls},
    error::unusable,
    migrate,
    partition::Partitions,
    tls,
};
use crate::store::{StoreError, StoreErrorKind};

/// The database as every piece of work sees it.
#[derive(Debug)]
pub(super) struct Database {
    pool: Pool,
    /// Done once: the schema is of our version.
    prepared: OnceCell<()>,
    /// Days that have a partition, as far as this process knows.
    pub(super) partitions: Partitions,
    /// Nanoseconds.
    pub(super) retention: i64,
    pub(super) maintenance_timeout: Duration,
    /// Where it is, without secrets.
    pub(super) place: String,
    schema: String,
    read_only: bool,
}

/// A connection that is closed when it is dropped, and goes back to the pool only by [`Lease::give_back`]: what was
/// abandoned or failed half-way has a state that nobody knows.
pub(super) struct Lease {
    connection: Option<Object>,
}

/// Only `give_back` and `drop` take the connection, and both end the lease.
const HELD: &str = "a lease holds a connection until it ends";

impl Database {
    /// Connects nowhere yet: an application starts whether or not its database is there.
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, StoreError> {
        let client = config.resolve()?;
        let place = place(&client, &config.schema);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if wants_tls(&client) {
            let tls = tls::connector(config.root_certificates.as_deref())?;
            Manager::from_config(client, tls, recycling)
        } else {
            Manager::from_config(client, NoTls, recycling)
        };
        let limit = Some(config.connect_timeout);
        let pool = Pool::builder(manager)
            .max_size(config.connections)
            // Waiting for one of ours is part of the time that an answer may take.
            .timeouts(Timeouts { wait: None, create: limit, recycle: limit })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| unusable(format!("PostgreSQL: {error}")))?;
        Ok(Self {
            pool,
            prepared: OnceCell::new(),
            partitions: Partitions::default(),
            retention: config.retention_nanos(),
            maintenance_timeout: config.maintenance_timeout,
            place,
            schema: config.schema.clone(),
            read_only: config.read_only,
        })
    }

    /// A connection to a schema of our version.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        let mut lease = Lease { connection: Some(self.pool.get().await?) };
        let prepare = async || match self.read_only {
            true => migrate::check(&lease, &self.schema).await,
            false => migrate::run(&mut lease, &self.schema, self.maintenance_timeout).await,
        };
        self.prepared.get_or_try_init(prepare).await?;
        Ok(lease)
    }
}

impl Lease {
    pub(super) fn give_back(mut self) {
        drop(self.connection.take());
    }

    /// Passes an answer on, and gives the connection back where the database did what it was asked.
    pub(super) fn settle<T>(self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.as_ref().err().is_none_or(|error| error.kind == StoreErrorKind::BadRequest) {
            self.give_back();
        }
        answer
    }
}

impl Deref for Lease {
    type Target = deadpool_postgres::ClientWrapper;

    fn deref(&self) -> &Self::Target {
        self.connection.as_ref().expect(HELD)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.connection.as_mut().expect(HELD)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Taken out of the pool: its task is aborted, so that not even a server that hangs keeps it.
            drop(Object::take(connection));
        }
    }
}

/// Gives the statements of the open transaction another time limit.
pub(super) async fn limit_statements(client: &Client, limit: Duration) -> Result<(), StoreError> {
    let millis = limit.as_millis();
    Ok(client
        .batch_execute(&format!("SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {millis}"))
        .await?)
}
