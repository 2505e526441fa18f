//! A store that fails where a test says so, around the memory store; and small helpers.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "shared by several tests, none of which uses all of it"
)]

use std::{
    fmt,
    future::{self, Future},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use journey_store::{
    Answer, Batch, DailyStatistic, EmitterAccount, EmitterBuilder, Event, EventFilter, EventStore, Expired, LossReason,
    MAX_PAGE, MemoryStore, Page, Put, ScanFilter, StoreError, StoreErrorKind, StoreInfo, TraceId, TraceSummary,
    WriterStats, wait,
};

/// Now, in the tests that need no other time.
pub const NOW: i64 = 1_795_132_800_000_000_000;

/// What one put does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It works.
    None,
    /// Nothing is stored: away.
    Away,
    /// It is stored, but the answer says that the store is away.
    StoredButAway,
    /// Nothing is stored, for good: the batch as a whole is refused.
    Refused,
    /// Nothing is stored and there is never an answer.
    Hangs,
    /// It is stored, but there is never an answer.
    StoredButHangs,
    /// The call panics.
    Panics,
    /// It is stored, but the answer is shorter than the batch.
    StoredButShort,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Away,
        Self::StoredButAway,
        Self::Refused,
        Self::Hangs,
        Self::StoredButHangs,
        Self::Panics,
        Self::StoredButShort,
    ];
}

/// Which fault the put of this number (from 0) and batch has.
type Plan = Box<dyn Fn(usize, &Batch) -> Fault + Send + Sync>;

/// The memory store with faults.
pub struct FaultyStore {
    pub kept: MemoryStore,
    plan: Plan,
    puts: AtomicUsize,
}

impl FaultyStore {
    pub fn new(plan: impl Fn(usize, &Batch) -> Fault + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { kept: MemoryStore::new(), plan: Box::new(plan), puts: AtomicUsize::new(0) })
    }

    pub fn puts(&self) -> usize {
        self.puts.load(SeqCst)
    }

    /// Numbers of the stored events of an emitter, in order.
    pub fn seqs(&self, emitter: u64) -> Vec<u64> {
        let mut seqs: Vec<u64> =
            self.events().iter().filter(|event| event.emitter == emitter).map(|event| event.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    pub fn events(&self) -> Vec<Event> {
        let (mut events, mut cursor) = (Vec::new(), None);
        loop {
            let page = wait(self.kept.scan(ScanFilter::default(), cursor, MAX_PAGE)).unwrap();
            events.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return events;
            }
        }
    }

    /// What the store knows of an emitter, with its own count of rows.
    pub fn account(&self, emitter: u64) -> EmitterAccount {
        let accounts = wait(self.kept.accounts()).unwrap();
        accounts.into_iter().find(|account| account.emitter == emitter).unwrap_or_default()
    }
}

impl EventStore for FaultyStore {
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>> {
        let fault = (self.plan)(self.puts.fetch_add(1, SeqCst), &batch);
        let error =
            |kind, text: &str| -> Answer<Vec<Put>> { Box::pin(future::ready(Err(StoreError::new(kind, text)))) };
        match fault {
            Fault::None => self.kept.put(batch),
            Fault::Away => error(StoreErrorKind::Unavailable, "away"),
            Fault::StoredButAway => {
                wait(self.kept.put(batch)).unwrap();
                error(StoreErrorKind::Unavailable, "away")
            }
            Fault::Refused => error(StoreErrorKind::BadRequest, "no such thing"),
            Fault::Hangs => Box::pin(future::pending()),
            Fault::StoredButHangs => {
                wait(self.kept.put(batch)).unwrap();
                Box::pin(future::pending())
            }
            Fault::Panics => std::panic::resume_unwind(Box::new("a store that panics")),
            Fault::StoredButShort => {
                let mut puts = wait(self.kept.put(batch)).unwrap();
                puts.pop();
                Box::pin(future::ready(Ok(puts)))
            }
        }
    }

    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.kept.trace(id, cursor, limit)
    }

    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        self.kept.summary(id)
    }

    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        self.kept.correlated(correlation_id)
    }

    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        self.kept.recent(filter, cursor, limit)
    }

    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        self.kept.children(id)
    }

    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.kept.scan(filter, cursor, limit)
    }

    fn recompute(&self) -> Answer<Vec<String>> {
        self.kept.recompute()
    }

    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        self.kept.daily(first, last)
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        self.kept.due(first, last)
    }

    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.kept.accounts()
    }

    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        self.kept.expire(now, keep)
    }

    fn retention(&self) -> i64 {
        self.kept.retention()
    }

    fn info(&self) -> Answer<StoreInfo> {
        self.kept.info()
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

/// A clock that goes on by a microsecond at every reading, and random numbers that are the same for a seed.
pub fn fixed(builder: EmitterBuilder, seed: u64) -> EmitterBuilder {
    let time = AtomicI64::new(NOW);
    // SplitMix64 (Steele, Lea, Flood 2014).
    let state = AtomicU64::new(seed);
    let random = move || {
        let mut mixed = state.fetch_add(0x9E37_79B9_7F4A_7C15, SeqCst).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    builder.clock(Arc::new(move || time.fetch_add(1_000, SeqCst))).random(Arc::new(random))
}

/// As [`fixed`], with delays so short that a test with many faults ends soon.
pub fn quick(builder: EmitterBuilder, seed: u64) -> EmitterBuilder {
    let builder = fixed(builder, seed).batch(7, Duration::from_millis(1)).put_timeout(Duration::from_millis(10));
    builder.retry(Duration::from_millis(1), Duration::from_millis(4))
}

pub fn dropped(stats: &WriterStats, reason: LossReason) -> u64 {
    stats.dropped.get(reason.as_str()).copied().unwrap_or(0)
}

/// The identity that holds at every moment.
#[track_caller]
pub fn assert_adds_up(stats: &WriterStats) {
    let accounted = stats.stored + stats.dropped.values().sum::<u64>() + stats.queued + stats.spilled;
    assert_eq!(stats.emitted, accounted, "{stats:?}");
    assert!(stats.duplicate <= stats.stored, "{stats:?}");
}

/// Runs a future on this thread, without any runtime.
pub fn run<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
