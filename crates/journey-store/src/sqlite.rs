//! Events in a folder of SQLite files: one file for each UTC day, one writer, nothing to install.
//!
//! | module | question it answers |
//! |---|---|
//! | `catalogue` | which day files are there, and who may write them? |
//! | `schema` | what does a day file look like, of which version is it? |
//! | `rows` | how is an event a row? |
//! | `writer` | what does the one thread that writes do? |
//! | `log` | how does the log get into the file? |
//! | `put` | how do batches become rows? |
//! | `expire` | how are days dropped? |
//! | `reader` | what do the threads that read have open? |
//! | `traces` | which traces fit? |
//! | `scan` | which events fit? |
//! | `filter` | which traces does a day certainly not have? |
//! | `open_days` | which files are open? |
//! | `error` | what does an error of SQLite mean? |

mod catalogue;
mod error;
mod expire;
mod filter;
mod log;
mod open_days;
mod put;
mod reader;
mod rows;
mod scan;
mod schema;
mod traces;
mod writer;

use std::{
    fs::{self, File},
    future, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_channel::oneshot;
use parking_lot::Mutex;

use self::{
    catalogue::Catalogue,
    error::explain_io,
    log::{Copier, LogLimits},
    reader::{Job, Reader},
    schema::Writing,
    traces::Related,
    writer::{Command, PutCommand, Writer},
};
use crate::{
    admit::DEFAULT_RETENTION,
    event::{Event, TraceId},
    store::{
        Answer, Batch, DailyStatistic, EmitterAccount, EventFilter, EventStore, Expired, Page, Put, ScanFilter,
        StoreError, StoreErrorKind, StoreInfo, TraceSummary,
    },
};

/// Questions that may wait for a reader.
const WAITING_QUESTIONS: usize = 1_024;

/// How a store on disk is kept.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// Where the files are; made where it is missing.
    pub folder: PathBuf,
    /// Events that are older than this are refused, and an emitter drops days that are. Defaults to 90 days.
    pub retention: Duration,
    /// What an answer of `put` promises. Defaults to [`Durability::Normal`].
    pub durability: Durability,
    /// How long to wait for whoever locked a file, before a request is answered with `Unavailable`. Defaults to 5 s.
    pub busy_timeout: Duration,
    /// Batches that may wait for the writer; one more is answered with `Unavailable` at once. Defaults to 64.
    pub waiting_batches: usize,
    /// Threads that answer questions, at least one. Defaults to 2.
    pub readers: usize,
    /// Day files that the writer and each reader keep open: two or three descriptors each. Defaults to 32.
    pub open_files: usize,
    /// The most bytes of one day's file, without its log: more are answered with `Unavailable`. Defaults to no limit.
    pub max_day_bytes: Option<u64>,
}

/// What an answer of `put` promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What was answered survives a crash of the process. A crash of the machine may take back the last seconds, but
    /// damages nothing.
    #[default]
    Normal,
    /// What was answered survives a crash of the machine too. Every commit waits for the disk.
    PowerLoss,
}

/// Events in a folder of SQLite files.
///
/// Dropping it stores what was put, closes all files and then returns.
#[derive(Debug)]
pub struct SqliteStore {
    /// `None` where it was opened for reading only.
    writer: Option<SyncSender<Command>>,
    /// Taken when it is dropped, so that the threads end.
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// It is being dropped: what takes long is given up.
    closing: Arc<AtomicBool>,
    /// Held for as long as the writer lives.
    lock: Option<File>,
    /// Nanoseconds.
    retention: i64,
}

impl SqliteConfig {
    /// A store in this folder, with everything else as it is by default.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            retention: Duration::from_nanos(DEFAULT_RETENTION.unsigned_abs()),
            durability: Durability::Normal,
            busy_timeout: Duration::from_secs(5),
            waiting_batches: 64,
            readers: 2,
            open_files: 32,
            max_day_bytes: None,
        }
    }

    fn retention_nanos(&self) -> i64 {
        i64::try_from(self.retention.as_nanos()).unwrap_or(i64::MAX)
    }
}

impl SqliteStore {
    /// Opens a store for writing and reading. Only one process at a time can; files of an older version are brought to
    /// this one, and a damaged file is set aside when something is to be written to it.
    ///
    /// # Errors
    ///
    /// `Unusable`: somebody else writes there, or a file is of a newer version. `Unavailable`: the folder or a file
    /// cannot be opened now.
    pub fn open(config: SqliteConfig) -> Result<Self, StoreError> {
        let folder = &config.folder;
        fs::create_dir_all(folder).map_err(|error| explain_io(folder, "could not be made", &error))?;
        let lock = catalogue::lock(folder)?;
        let catalogue = Arc::new(Catalogue::read(folder)?);
        let how = Writing {
            busy_timeout: config.busy_timeout,
            survives_power_loss: config.durability == Durability::PowerLoss,
            // The default size of a page; a file has at least one.
            most_pages: config.max_day_bytes.map(|bytes| i64::try_from(bytes / 4_096).unwrap_or(i64::MAX).max(1)),
        };
        for file in catalogue.days() {
            match schema::open_to_write(&file.path, how) {
                // Closed again: that it is of this version is all that had to be known.
                Ok(_) => {}
                Err(failure) if failure.is_damage() => file.note_damage(&failure.explain(&file.path)),
                Err(failure) => return Err(failure.explain(&file.path)),
            }
        }
        let (commands, received) = mpsc::sync_channel(config.waiting_batches.max(1));
        let copier = Copier::start(catalogue.clone(), LogLimits::DEFAULT)?;
        let writer = Writer::new(catalogue.clone(), copier, config.retention_nanos(), how, config.open_files);
        let writing = spawn("journey-store-write", move || writer.run(&received))?;
        let mut store = Self::read(catalogue, &config, Some(commands))?;
        // Readers end first, then nothing keeps the writer from closing its files as the last one.
        store.threads.push(writing);
        store.lock = Some(lock);
        Ok(store)
    }

    /// Opens a store for reading only, whether somebody writes there or not.
    ///
    /// # Errors
    ///
    /// `Unusable`: there is no such folder. Files of another version are said when they are read.
    pub fn open_read_only(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let config = SqliteConfig { readers: 1, ..SqliteConfig::new(folder) };
        if !config.folder.is_dir() {
            let message = format!("`{}` is not a folder with events", config.folder.display());
            return Err(StoreError::new(StoreErrorKind::Unusable, message));
        }
        Self::read(Arc::new(Catalogue::read(&config.folder)?), &config, None)
    }

    fn read(
        catalogue: Arc<Catalogue>,
        config: &SqliteConfig,
        writer: Option<SyncSender<Command>>,
    ) -> Result<Self, StoreError> {
        let (jobs, received) = mpsc::sync_channel(WAITING_QUESTIONS);
        let received = Arc::new(Mutex::new(received));
        let (threads, retention, closing) = (Vec::new(), config.retention_nanos(), Arc::default());
        let mut store = Self { writer: writer.clone(), jobs: Some(jobs), threads, closing, lock: None, retention };
        for _ in 0..config.readers.max(1) {
            let closing = store.closing.clone();
            let reader =
                Reader::new(catalogue.clone(), config.open_files, config.busy_timeout, writer.clone(), closing);
            let received = received.clone();
            store.threads.push(spawn("journey-store-read", move || reader.run(&received))?);
        }
        Ok(store)
    }

    /// Hands a question to a reader.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            // Who asked may have gone away meanwhile.
            if !reply.is_canceled() {
                _ = reply.send(question(reader));
            }
        });
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Box::pin(async { answer.await.unwrap_or_else(|_| Err(closed())) }),
            Some(Err(TrySendError::Full(_))) => refused("too many questions wait for an answer (ask again later)"),
            Some(Err(TrySendError::Disconnected(_))) | None => Box::pin(future::ready(Err(closed()))),
        }
    }

    /// Hands a command to the writer.
    fn tell<T: Send + 'static>(&self, command: impl FnOnce(writer::Reply<T>) -> Command) -> Answer<T> {
        let Some(writer) = &self.writer else {
            let error = StoreError::new(StoreErrorKind::Unusable, "the store was opened for reading only");
            return Box::pin(future::ready(Err(error)));
        };
        let (reply, answer) = oneshot::channel();
        match writer.try_send(command(reply)) {
            Ok(()) => Box::pin(async { answer.await.unwrap_or_else(|_| Err(closed())) }),
            Err(TrySendError::Full(_)) => refused("too many batches wait to be written (put again later)"),
            Err(TrySendError::Disconnected(_)) => Box::pin(future::ready(Err(closed()))),
        }
    }
}

impl EventStore for SqliteStore {
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>> {
        self.tell(|reply| Command::Put(PutCommand { batch, reply }))
    }

    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.ask(move |reader| reader.trace(id, cursor.as_deref(), limit))
    }

    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        self.ask(move |reader| reader.summary(id))
    }

    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        let value = correlation_id.clone().into();
        let related = Related { column: "correlation_id", value, newest_first: true };
        self.ask(move |reader| reader.related(&related, |trace| trace.correlation_id.as_ref() == Some(&correlation_id)))
    }

    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        self.ask(move |reader| reader.recent(&filter, cursor.as_deref(), limit))
    }

    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        let value = id.to_bytes().to_vec().into();
        let related = Related { column: "parent_trace_id", value, newest_first: false };
        self.ask(move |reader| reader.related(&related, |trace| trace.parent_trace_id == Some(id)))
    }

    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.ask(move |reader| reader.scan(&filter, cursor.as_deref(), limit))
    }

    fn recompute(&self) -> Answer<Vec<String>> {
        self.ask(Reader::recompute)
    }

    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        self.ask(move |reader| reader.daily(&first, &last))
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        self.ask(move |reader| reader.due(&first, &last))
    }

    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.ask(Reader::accounts)
    }

    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        self.tell(|reply| Command::Expire { now, keep, reply })
    }

    fn retention(&self) -> i64 {
        self.retention
    }

    fn info(&self) -> Answer<StoreInfo> {
        self.ask(Reader::info)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        self.jobs = None;
        self.writer = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to close.
            _ = thread.join();
        }
        // Only now may somebody else write.
        self.lock = None;
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned: io::Result<_> = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|error| explain_io(Path::new(name), "is a thread that could not be started", &error))
}

fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the store is closed")
}

fn refused<T: Send + 'static>(why: &str) -> Answer<T> {
    Box::pin(future::ready(Err(StoreError::new(StoreErrorKind::Unavailable, why))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use crate::{
        event::{Event, SpanId},
        wait,
    };

    #[test]
    fn a_store_that_is_dropped_gives_up_to_recompute() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
        let now = 1_795_132_800_000_000_000;
        let event = Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "stage:completed", now);
        wait(store.put(Arc::new(Batch { events: vec![event], account: None, now }))).unwrap();
        store.closing.store(true, Ordering::Relaxed);
        assert_eq!(wait(store.recompute()).unwrap_err(), closed());
        store.closing.store(false, Ordering::Relaxed);
        assert_eq!(wait(store.recompute()).unwrap().len(), 1, "the next one does it");
    }
}
