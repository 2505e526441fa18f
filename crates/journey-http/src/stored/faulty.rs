//! A store that can be made to hang, to block its caller, or to fail: the real one in memory behind a door.

use std::{future::pending, sync::Arc};

use journey_store::{
    Answer, Batch, DailyStatistic, EmitterAccount, Event, EventFilter, EventStore, Expired, MemoryStore, Page, Put,
    ScanFilter, StoreError, StoreErrorKind, StoreInfo, TraceId, TraceSummary,
};
use parking_lot::{Condvar, Mutex};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Door {
    #[default]
    Open,
    /// Questions are taken and never answered.
    Hangs,
    /// Whoever asks is blocked until the door is another one.
    Blocks,
    Fails(StoreErrorKind),
    Panics,
}

#[derive(Debug, Default)]
pub(super) struct Faulty {
    inner: MemoryStore,
    door: Mutex<Door>,
    moved: Condvar,
}

impl Faulty {
    pub(super) fn set(&self, door: Door) {
        *self.door.lock() = door;
        self.moved.notify_all();
    }

    fn through<T: Send + 'static>(&self, ask: impl FnOnce(&MemoryStore) -> Answer<T>) -> Answer<T> {
        let mut door = self.door.lock();
        while *door == Door::Blocks {
            self.moved.wait(&mut door);
        }
        let door = door.clone();
        match door {
            Door::Open | Door::Blocks => ask(&self.inner),
            Door::Hangs => Box::pin(pending()),
            Door::Fails(kind) => Box::pin(async move { Err(StoreError::new(kind, "the disk is full")) }),
            Door::Panics => panic!("a store that panics (expected in this test)"),
        }
    }
}

impl EventStore for Faulty {
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>> {
        self.through(|store| store.put(batch))
    }

    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.through(|store| store.trace(id, cursor, limit))
    }

    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        self.through(|store| store.summary(id))
    }

    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        self.through(|store| store.correlated(correlation_id))
    }

    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        self.through(|store| store.recent(filter, cursor, limit))
    }

    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        self.through(|store| store.children(id))
    }

    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.through(|store| store.scan(filter, cursor, limit))
    }

    fn recompute(&self) -> Answer<Vec<String>> {
        self.through(EventStore::recompute)
    }

    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        self.through(|store| store.daily(first, last))
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        self.through(|store| store.due(first, last))
    }

    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.through(EventStore::accounts)
    }

    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        self.through(|store| store.expire(now, keep))
    }

    fn info(&self) -> Answer<StoreInfo> {
        self.through(EventStore::info)
    }
}
