//! Events in PostgreSQL: for a team that has one, and for several processes that write into one store.
//!
//! | module | question it answers |
//! |---|---|
//! | `config` | which database, and how is it used? |
//! | `worker` | who does the work, wherever the question comes from? |
//! | `database` | how does one piece of work get a connection, and what becomes of the connection? |
//! | `tls` | who is at the other end? |
//! | `migrate` | is the schema of our version, and how does it become so? |
//! | `partition` | which table holds a day, and what becomes of rows whose day has none? |
//! | `rows` | how does an event become columns, and columns an event? |
//! | `put` | how is a batch kept, whole, and around a row that the database refuses? |
//! | `events`, `traces` | which events and traces are wanted? |
//! | `page_query` | how is a page asked for, so that its answer takes bounded time whatever is wanted? |
//! | `statistics` | how long did things take on each day, and what did each emitter say of itself? |
//! | `expire` | how do days that are over go away? |
//! | `info` | how large is the store, and should somebody look at it? |
//! | `error` | what does an error of the database mean for whoever asked? |

mod config;
mod database;
mod error;
mod events;
mod expire;
mod info;
mod migrate;
mod page_query;
mod partition;
mod put;
mod rows;
mod statistics;
mod tls;
mod traces;
mod worker;

use std::{fmt, sync::Arc, time::Duration};

pub use self::{
    config::{MAX_CONNECTIONS, PostgresConfig, PostgresDurability},
    info::PostgresHealth,
};
use self::{database::Database, worker::Worker};
use crate::{
    event::{Event, TraceId},
    store::{
        Answer, Batch, DailyStatistic, EmitterAccount, EventFilter, EventStore, Expired, Page, Put, ScanFilter,
        StoreError, StoreInfo, TraceSummary,
    },
};

/// Events in a PostgreSQL database (13 or newer, encoding UTF8). Any number of processes may use one schema.
///
/// A batch is one transaction. Texts with U+0000, which PostgreSQL cannot keep, are refused in everything that can be
/// asked for; in `data` they are kept, because the column is `json`, which keeps the escaped form.
pub struct PostgresStore {
    worker: Worker,
    database: Arc<Database>,
    /// How long an answer may take, and one that goes through many rows.
    limits: (Duration, Duration),
}

impl PostgresStore {
    /// A store on a database, which need not be there yet: nothing is connected before the first question, and while
    /// the database is away, every answer is `Unavailable`.
    ///
    /// The first question makes the tables, or brings them to this version.
    ///
    /// # Errors
    ///
    /// `Unusable`: something in the configuration is not what it should be, named without the URL.
    pub fn open(config: &PostgresConfig) -> Result<Self, StoreError> {
        let database = Arc::new(Database::new(config)?);
        let connect = config.connect_timeout;
        let limits = (connect + config.statement_timeout * 4, connect + config.maintenance_timeout * 2);
        Ok(Self { worker: Worker::start()?, database, limits })
    }

    /// Connects and makes the tables, for who wants to know now whether that works.
    pub fn prepare(&self) -> Answer<()> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.1, async move {
            database.lease().await?.give_back();
            Ok(())
        })
    }

    /// What somebody should look at.
    pub fn health(&self) -> Answer<PostgresHealth> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let health = info::health(&lease).await;
            lease.settle(health)
        })
    }
}

impl EventStore for PostgresStore {
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move { put::put(&database, &batch).await })
    }

    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let page = events::trace(&lease, id, cursor.as_deref(), limit).await;
            lease.settle(page)
        })
    }

    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let summary = traces::one(&lease, id).await;
            lease.settle(summary)
        })
    }

    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let page = traces::correlated(&lease, &correlation_id).await;
            lease.settle(page)
        })
    }

    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let page = traces::recent(&lease, &filter, cursor.as_deref(), limit).await;
            lease.settle(page)
        })
    }

    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let page = traces::children(&lease, id).await;
            lease.settle(page)
        })
    }

    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let page = events::scan(&lease, &filter, cursor.as_deref(), limit).await;
            lease.settle(page)
        })
    }

    fn recompute(&self) -> Answer<Vec<String>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.1, async move { statistics::recompute(&database).await })
    }

    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let statistics = statistics::daily(&lease, &first, &last).await;
            lease.settle(statistics)
        })
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move {
            let lease = database.lease().await?;
            let due = statistics::due(&lease, &first, &last).await;
            lease.settle(due)
        })
    }

    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.1, async move { statistics::accounts(&database).await })
    }

    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.1, async move { expire::expire(&database, now, keep).await })
    }

    fn retention(&self) -> i64 {
        self.database.retention
    }

    fn info(&self) -> Answer<StoreInfo> {
        let database = Arc::clone(&self.database);
        self.worker.ask(self.limits.0, async move { info::info(&database).await })
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.database.place).finish_non_exhaustive()
    }
}
