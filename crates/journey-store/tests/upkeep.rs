//! A service that has nothing but an emitter: its statistics become fresh, and what is too old goes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod writer_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use journey_store::{
    Answer, Batch, DailyStatistic, Emitter, EmitterAccount, EmitterBuilder, Event, EventFilter, EventStore, Expired,
    MemoryStore, Page, Put, ScanFilter, StoreError, StoreErrorKind, StoreInfo, TraceId, TraceSummary, WriterStats,
    wait,
};

use self::writer_support::{NOW, assert_adds_up};

const LONG: Duration = Duration::from_secs(20);
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// A store that keeps events for a week, whose upkeep fails or hangs where a test says so.
#[derive(Debug)]
struct Kept {
    store: MemoryStore,
    clock: Arc<AtomicI64>,
    fails: AtomicBool,
    hangs: AtomicBool,
}

impl Kept {
    fn new() -> Arc<Self> {
        let clock = Arc::new(AtomicI64::new(NOW));
        let store = MemoryStore::with_retention(7 * DAY);
        Arc::new(Self { store, clock, fails: AtomicBool::new(false), hangs: AtomicBool::new(false) })
    }

    fn builder(self: &Arc<Self>) -> EmitterBuilder {
        let clock = Arc::clone(&self.clock);
        Emitter::builder(Arc::clone(self) as _)
            .batch(100, Duration::from_millis(1))
            .clock(Arc::new(move || clock.load(SeqCst)))
    }

    fn go_on(&self, nanos: i64) {
        self.clock.fetch_add(nanos, SeqCst);
    }

    fn upkeep<T: Send + 'static>(&self, answer: impl FnOnce(&MemoryStore) -> Answer<T>) -> Answer<T> {
        if self.hangs.load(SeqCst) {
            return Box::pin(std::future::pending());
        }
        if self.fails.load(SeqCst) {
            let error = StoreError::new(StoreErrorKind::Unavailable, "the disk is full");
            return Box::pin(std::future::ready(Err(error)));
        }
        answer(&self.store)
    }

    /// Events of the statistics.
    fn counted(&self) -> u64 {
        let days = wait(self.store.daily("2026-01-01".to_owned(), "2026-12-31".to_owned())).unwrap();
        days.iter().map(|leg| leg.count).sum()
    }
}

/// An event that is in the statistics.
fn timed(emitter: &Emitter) {
    emitter.emit(Event::completed("stage:test").duration(Duration::from_millis(1))).wait().unwrap();
}

/// Waits for something that the writer does; not for ever.
#[track_caller]
fn until(emitter: &Emitter, is_so: impl Fn(&WriterStats) -> bool) {
    let began = Instant::now();
    while !is_so(&emitter.stats()) {
        assert!(began.elapsed() < LONG, "it did not become so: {:?}", emitter.stats());
        std::thread::yield_now();
    }
}

#[test]
fn statistics_are_recomputed_after_new_events_at_most_once_a_minute() {
    let store = Kept::new();
    let emitter = store.builder().start().unwrap();
    // Once at the beginning: an earlier process may have left something.
    until(&emitter, |stats| stats.recomputed == 1);
    timed(&emitter);
    store.go_on(59 * SECOND);
    timed(&emitter);
    assert!(emitter.flush(LONG).wait());
    assert_eq!((emitter.stats().recomputed, store.counted()), (1, 0));
    store.go_on(SECOND);
    timed(&emitter);
    until(&emitter, |stats| stats.recomputed == 2);
    assert!(store.counted() >= 2);
    // What was stored while it was recomputed is there a minute later; without new events nothing is done.
    store.go_on(61 * SECOND);
    timed(&emitter);
    until(&emitter, |stats| stats.recomputed == 3);
    assert_eq!(store.counted(), 4);
    store.go_on(10 * 60 * SECOND);
    emitter.record(Event::draft("no event"));
    assert!(emitter.flush(LONG).wait());
    let stats = emitter.shutdown(LONG);
    assert_adds_up(&stats);
    assert_eq!((stats.recomputed, stats.upkeep_failed, stats.upkeep_error), (3, 0, None));
}

#[test]
fn what_came_since_is_recomputed_at_the_end_unless_the_store_hangs() {
    let store = Kept::new();
    let emitter = store.builder().start().unwrap();
    until(&emitter, |stats| stats.recomputed == 1);
    timed(&emitter);
    let stats = emitter.shutdown(LONG);
    assert_eq!((stats.recomputed, store.counted()), (2, 1));
    assert_eq!(wait(store.due("2026-01-01".to_owned(), "2026-12-31".to_owned())).unwrap(), Vec::<String>::new());

    let emitter = store.builder().start().unwrap();
    until(&emitter, |stats| stats.recomputed == 1);
    timed(&emitter);
    store.hangs.store(true, SeqCst);
    let began = Instant::now();
    let stats = emitter.shutdown(LONG);
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!((stats.stored, stats.recomputed, store.counted()), (1, 1, 1));
    let due = wait(store.store.due("2026-01-01".to_owned(), "2026-12-31".to_owned())).unwrap();
    assert_eq!(due.len(), 1, "and it is said");
}

#[test]
fn days_beyond_the_retention_of_the_store_go_once_an_hour() {
    let store = Kept::new();
    let emitter = store.builder().start().unwrap();
    until(&emitter, |stats| stats.recomputed == 1);
    timed(&emitter);
    for _ in 0..9 {
        store.go_on(DAY);
        timed(&emitter);
    }
    until(&emitter, |stats| stats.expired_days >= 2);
    let days = wait(store.info()).unwrap().days;
    assert_eq!(days.len(), 8, "the day of the seventh day before has not ended: {days:?}");
    store.go_on(DAY);
    timed(&emitter);
    until(&emitter, |stats| stats.expired_days == 3);
    let stats = emitter.shutdown(LONG);
    let account = wait(store.accounts()).unwrap().remove(0);
    assert_eq!((account.emitted, account.stored, account.dropped.get("expired")), (11, 8, Some(&3)), "{stats:?}");
}

#[test]
fn a_failure_is_counted_and_tried_again_and_holds_up_no_event() {
    let store = Kept::new();
    store.fails.store(true, SeqCst);
    let emitter = store.builder().start().unwrap();
    until(&emitter, |stats| stats.upkeep_failed == 2);
    assert_eq!(emitter.stats().upkeep_error.as_deref(), Some("the disk is full"));
    timed(&emitter);
    assert_eq!((emitter.stats().stored, emitter.stats().error), (1, None));
    store.fails.store(false, SeqCst);
    store.go_on(60 * SECOND);
    timed(&emitter);
    until(&emitter, |stats| stats.recomputed == 1);
    assert_eq!((emitter.stats().upkeep_failed, emitter.stats().upkeep_error), (2, None));
    // One that hangs holds up neither events nor the end.
    store.hangs.store(true, SeqCst);
    store.go_on(3_600 * SECOND);
    timed(&emitter);
    assert!(emitter.flush(LONG).wait());
    let began = Instant::now();
    assert_eq!(emitter.shutdown(LONG).stored, 3);
    assert!(began.elapsed() < LONG);
}

#[test]
fn it_can_be_left_to_others() {
    let store = Kept::new();
    let emitter = store.builder().without_upkeep().start().unwrap();
    timed(&emitter);
    store.go_on(3_600 * SECOND);
    timed(&emitter);
    let stats = emitter.shutdown(LONG);
    assert_eq!((stats.stored, stats.recomputed, stats.upkeep_failed), (2, 0, 0));
    assert_eq!(store.counted(), 0);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_folder_stays_within_its_retention_although_nobody_else_looks_after_it() {
    use journey_store::{SqliteConfig, SqliteStore};

    let folder = tempfile::tempdir().unwrap();
    let retention = Duration::from_secs(2 * 86_400);
    let store = Arc::new(SqliteStore::open(SqliteConfig { retention, ..SqliteConfig::new(folder.path()) }).unwrap());
    let clock = Arc::new(AtomicI64::new(NOW + DAY / 2));
    let time = Arc::clone(&clock);
    let builder = Emitter::builder(Arc::clone(&store) as _).clock(Arc::new(move || time.load(SeqCst)));
    let minute = Duration::from_secs(60);
    let emitter = builder.upkeep(minute, minute).start().unwrap();
    for _ in 1..=5 {
        timed(&emitter);
        clock.fetch_add(DAY, SeqCst);
    }
    // Time goes on, and something happens now and then.
    until(&emitter, |stats| {
        clock.fetch_add(SECOND, SeqCst);
        timed(&emitter);
        stats.expired_days == 3
    });
    assert_eq!(wait(store.info()).unwrap().days, ["2026-11-23", "2026-11-24", "2026-11-25"]);
    let daily = || wait(store.daily("2026-11-25".to_owned(), "2026-11-25".to_owned())).unwrap();
    until(&emitter, |_| {
        clock.fetch_add(SECOND, SeqCst);
        timed(&emitter);
        daily().iter().any(|leg| leg.count > 1)
    });
    emitter.shutdown(LONG);
}

impl EventStore for Kept {
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>> {
        self.store.put(batch)
    }
    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.store.trace(id, cursor, limit)
    }
    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        self.store.summary(id)
    }
    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        self.store.correlated(correlation_id)
    }
    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        self.store.recent(filter, cursor, limit)
    }
    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        self.store.children(id)
    }
    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.store.scan(filter, cursor, limit)
    }
    fn recompute(&self) -> Answer<Vec<String>> {
        self.upkeep(|store| store.recompute())
    }
    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        self.store.daily(first, last)
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        self.store.due(first, last)
    }
    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.store.accounts()
    }
    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        self.upkeep(|store| store.expire(now, keep))
    }
    fn retention(&self) -> i64 {
        self.store.retention()
    }
    fn info(&self) -> Answer<StoreInfo> {
        self.store.info()
    }
}
