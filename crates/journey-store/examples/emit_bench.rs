//! cargo run --release -p journey-store --example emit_bench
//!
//! What emitting costs: `record` on the caller's thread, `emit(..)` until the SQLite store has the event (alone, under a load of
//! background events, from several threads), and the memory of a writer whose store hangs. It says what it measured and ends
//! with an error where `emit` takes 15 ms or longer at p99, or the memory is not bounded.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::{
    error::Error,
    future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use journey_store::{
    Answer, Batch, DailyStatistic, Emitter, EmitterAccount, Event, EventDraft, EventFilter, EventStore, Expired,
    MemoryStore, Page, Put, ScanFilter, SqliteConfig, SqliteStore, StoreInfo, TraceId, TraceSummary,
};

/// What spec/events.md allows at p99.
const MOST: Duration = Duration::from_millis(15);

/// How long the load lasts: long enough that the log of the store is copied many times.
const LOADED: Duration = Duration::from_secs(5);

/// What 32 MiB of waiting events may cost in resident memory, with what the allocator keeps.
const MOST_MEMORY: u64 = 96 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    hanging_store()?;
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(SqliteConfig::new(folder.path()))?);
    let emitter = Emitter::builder(store).service("bench").queue(200_000, 256 << 20).start()?;

    let record = measure(100_000, || emitter.record(event()));
    print("record, on the caller's thread", &record);
    emitter.flush(Duration::from_secs(60)).wait();

    let alone = measure(5_000, || emitter.emit(event()).wait().is_ok());
    print("emit until stored, alone", &alone);

    let before = emitter.stats().emitted;
    let loaded = under_load(&emitter, 20_000, || {
        measure_for(LOADED, Duration::from_millis(1), || emitter.emit(event()).wait().is_ok())
    });
    print("emit until stored, beside 20 000 events/s", &loaded);
    let beside = emitter.stats().emitted - before - loaded.len() as u64;
    println!("    {} events/s came beside them", beside / LOADED.as_secs());

    let mut several: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| measure(2_000, || emitter.emit(event()).wait().is_ok()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    several.sort_unstable();
    print("emit until stored, from 4 threads", &several);

    let stats = emitter.shutdown(Duration::from_secs(60));
    println!("{} emitted, {} stored, dropped {:?}", stats.emitted, stats.stored, stats.dropped);
    let slow = [&alone, &loaded, &several].into_iter().any(|times| quantile(times, 0.99) >= MOST);
    if slow || stats.emitted != stats.stored {
        return Err("emit takes too long, or events are missing".into());
    }
    Ok(())
}

/// A store that takes everything and never answers.
fn hanging_store() -> Result<(), Box<dyn Error>> {
    let emitter = Emitter::builder(Arc::new(Hangs(MemoryStore::new()))).start()?;
    let before = resident_bytes()?;
    for _ in 0..1_000_000 {
        emitter.record(event().data("text", "x".repeat(1_000)));
    }
    let grown = resident_bytes()?.saturating_sub(before);
    let began = Instant::now();
    let stats = emitter.shutdown(Duration::from_millis(500));
    println!(
        "a store that hangs, 1 000 000 events of 1 kB: {} MiB more resident memory, {} lost as queue_full, shutdown of 500 ms took {:?}",
        grown >> 20,
        stats.dropped.get("queue_full").copied().unwrap_or(0),
        began.elapsed(),
    );
    if grown > MOST_MEMORY || began.elapsed() > Duration::from_secs(1) {
        return Err("the writer is not bounded".into());
    }
    Ok(())
}

fn event() -> EventDraft {
    let event = Event::completed("stage:db_stored").correlation_id("msg_1573518827562467424").route("message");
    event.data("stage", "T4").duration(Duration::from_micros(812)).tag("tenant", "a")
}

fn measure<T>(times: usize, mut call: impl FnMut() -> T) -> Vec<Duration> {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(call());
            began.elapsed()
        })
        .collect();
    taken.sort_unstable();
    taken
}

/// As [`measure`], for a time and with a pause after each call.
fn measure_for<T>(time: Duration, pause: Duration, mut call: impl FnMut() -> T) -> Vec<Duration> {
    let (began, mut taken) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        taken.extend(measure(1, &mut call));
        std::thread::sleep(pause);
    }
    taken.sort_unstable();
    taken
}

/// Runs something while events come at a rate, in small steps as an application would.
fn under_load<T>(emitter: &Emitter, per_second: u32, run: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // By the clock: a pause that took longer than it should is made up for.
            let (began, mut sent) = (Instant::now(), 0);
            while !stop.load(Relaxed) {
                let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
                (sent..due).for_each(|_| emitter.record(event()));
                sent = due;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = run();
        stop.store(true, Relaxed);
        result
    })
}

fn quantile(sorted: &[Duration], at: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * at) as usize]
}

fn print(what: &str, sorted: &[Duration]) {
    let at = |quantile_at| quantile(sorted, quantile_at);
    println!(
        "{what:44} p50 {:>10.1?}  p99 {:>10.1?}  p99.9 {:>10.1?}  max {:>10.1?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Resident memory of this process, as Linux counts it.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? << 10)
}

#[derive(Debug)]
struct Hangs(MemoryStore);

impl EventStore for Hangs {
    fn put(&self, _: Arc<Batch>) -> Answer<Vec<Put>> {
        Box::pin(future::pending())
    }

    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.0.trace(id, cursor, limit)
    }

    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        self.0.summary(id)
    }

    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        self.0.correlated(correlation_id)
    }

    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        self.0.recent(filter, cursor, limit)
    }

    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        self.0.children(id)
    }

    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.0.scan(filter, cursor, limit)
    }

    fn recompute(&self) -> Answer<Vec<String>> {
        self.0.recompute()
    }

    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        self.0.daily(first, last)
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        self.0.due(first, last)
    }

    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.0.accounts()
    }

    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        self.0.expire(now, keep)
    }

    fn retention(&self) -> i64 {
        self.0.retention()
    }

    fn info(&self) -> Answer<StoreInfo> {
        self.0.info()
    }
}
