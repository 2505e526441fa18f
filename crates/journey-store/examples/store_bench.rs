//! What the SQLite store costs and how fast it answers.
//!
//! `cargo run --release -p journey-store --example store_bench -- --events 1000000 --days 30`
//!
//! With `--events 0` only the rate of putting is measured. Every figure with a promise is printed with it; the exit code is 1 where one is not kept.
#![allow(clippy::print_stdout, reason = "a benchmark talks to whoever started it")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use journey_store::{
    Batch, Event, EventFilter, EventStatus, EventStore, Put, SpanId, SqliteConfig, SqliteStore, TraceId, TraceStatus,
    wait,
};
use rusqlite::{Connection, params};
use serde_json::json;

type Failed = Box<dyn Error>;

/// 2026-11-20T00:00:00Z, the last day.
const LAST_DAY: i64 = 1_795_132_800_000_000_000;
const DAY: i64 = 86_400_000_000_000;
const EVENTS_PER_TRACE: u64 = 12;
/// Traces that are under way at the same time, so that a batch has parts of many.
const TRACES_AT_ONCE: u64 = 200;
/// One trace in so many fails.
const FAILING: u64 = 100;
const BATCH: usize = 1_000;
/// Rows of the comparison with the bare loop, and how often it is made.
const COMPARED_ROWS: u64 = 200_000;
const ROUNDS: usize = 5;

fn main() -> Result<ExitCode, Failed> {
    let mut arguments = std::env::args().skip(1);
    let (mut events, mut days, mut folder, mut keep) = (1_000_000_u64, 30_u64, None::<PathBuf>, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--events" => events = value()?.parse()?,
            "--days" => days = value()?.parse()?,
            "--folder" => folder = Some(value()?.into()),
            "--keep" => keep = true,
            other => return Err(format!("`{other}` is not known (try `--events 1000000 --days 30`)").into()),
        }
    }
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("store_bench-{}", std::process::id())));
    if folder.exists() {
        return Err(format!("`{}` is there already (name a folder that is not)", folder.display()).into());
    }
    let mut promises = Promises::default();
    if events > 0 {
        ask_a_large_store(&folder.join("large"), events, days, &mut promises)?;
    }
    compare_with_a_bare_loop(&folder.join("compared"), &mut promises)?;
    if !keep {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(if promises.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Promises {
    broken: u32,
}

impl Promises {
    fn check(&mut self, kept: bool, figure: &str, promise: &str) {
        println!("    {figure}, promised {promise}{}", if kept { "" } else { ": NOT KEPT" });
        self.broken += u32::from(!kept);
    }
}

/// Event `number` of a day: of `TRACES_AT_ONCE` traces in turn, each of which has its events one after the other.
fn event(day: i64, number: u64, events_per_day: u64) -> Option<Event> {
    let block = TRACES_AT_ONCE * EVENTS_PER_TRACE;
    let (step, trace) = (number % block / TRACES_AT_ONCE, number / block * TRACES_AT_ONCE + number % TRACES_AT_ONCE);
    let id = mixed(day as u64 ^ mixed(trace)) as u128 | u128::from(mixed(trace ^ 77)) << 64;
    let at = LAST_DAY - day * DAY + (number as i64) * (DAY / events_per_day.max(1) as i64);
    let fails = trace % FAILING == 7;
    let is_end = step == EVENTS_PER_TRACE - 1;
    let kind = match step {
        0 => "workflow:started",
        _ if is_end && fails => "workflow:failed",
        _ if is_end => "workflow:completed",
        _ if fails && step == EVENTS_PER_TRACE - 2 => "stage:failed",
        _ => "stage:completed",
    };
    let mut event = Event::new(TraceId::new(id)?, SpanId::new(mixed(number) | 1)?, kind, at);
    event.parent_span_id = SpanId::new(mixed(trace) | 1);
    (event.emitter, event.seq) = (mixed(5) >> 1, day as u64 * events_per_day + number + 1);
    event.status = match kind {
        "workflow:started" => EventStatus::Pending,
        "workflow:failed" | "stage:failed" => EventStatus::Failed,
        _ => EventStatus::Success,
    };
    event.duration = (step > 0).then_some((mixed(number) % 50_000_000) as i64);
    event.route = Some("message".to_owned());
    event.correlation_id = Some(format!("msg_{trace:012}"));
    let stage = format!("T{step}");
    event.data = json!({"stage": stage, "name": "db_stored", "attempt": 1, "rows": number % 100}).as_object()?.clone();
    if is_end {
        let legs = json!({"receive": 1_000_000, "db_write": 61_000_000, "fan_out": 9_000_000});
        event.data.insert("legs".to_owned(), legs);
    }
    event.tags.insert("tenant".to_owned(), format!("t{}", trace % 20));
    Some(event)
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The events of a day, in the order in which they happen; made when they are asked for, as they are many.
fn batches(day: i64, count: u64) -> impl Iterator<Item = Arc<Batch>> {
    (0..count).step_by(BATCH).map(move |first| {
        let numbers = first..count.min(first + BATCH as u64);
        let events = numbers.filter_map(|number| event(day, number, count)).collect();
        Arc::new(Batch { events, account: None, now: LAST_DAY + DAY })
    })
}

/// The same rows into the same table with the same index, by a loop that knows nothing of traces, days or other threads,
/// and whose texts are ready. Batches take turns, so that whatever else the machine does meets both.
fn compare_with_a_bare_loop(folder: &Path, promises: &mut Promises) -> Result<(), Failed> {
    let batches: Vec<_> = batches(0, COMPARED_ROWS).collect();
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let folder = folder.join(round.to_string());
        let store = SqliteStore::open(SqliteConfig::new(&folder))?;
        // The file and its schema are there before the time is taken.
        wait(store.put(batches[0].clone()))?;
        let mut bare = Bare::open(&folder)?;
        let (mut of_store, mut of_bare) = (Duration::ZERO, Duration::ZERO);
        for (number, batch) in batches[1..].iter().enumerate() {
            let texts = batch.events.iter().map(|event| Ok((json_text(&event.data)?, json_text(&event.tags)?)));
            let texts: Vec<(String, String)> = texts.collect::<Result<_, serde_json::Error>>()?;
            let mut time_store = || -> Result<(), Failed> {
                let start = Instant::now();
                let answers = wait(store.put(batch.clone()))?;
                of_store += start.elapsed();
                let are_new = answers.iter().all(|answer| *answer == Put::New);
                if are_new { Ok(()) } else { Err("a row was not new".into()) }
            };
            if number % 2 == 0 {
                time_store()?;
            }
            let start = Instant::now();
            bare.insert(&batch.events, &texts)?;
            of_bare += start.elapsed();
            if number % 2 == 1 {
                time_store()?;
            }
        }
        let rate = |time: Duration| (COMPARED_ROWS as usize - BATCH) as f64 / time.as_secs_f64();
        let ratio = of_bare.as_secs_f64() / of_store.as_secs_f64();
        println!("put, batch {BATCH}: {:>7.0}/s, bare loop {:>7.0}/s, ratio {ratio:.2}", rate(of_store), rate(of_bare));
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    promises.check(median >= 0.7, &format!("ratio {median:.2}"), "at least 0.7 of a bare loop");
    Ok(())
}

/// Rows into one table by one statement.
struct Bare {
    file: Connection,
}

impl Bare {
    /// With the table and index of the store in this folder, and opened as its writer does.
    fn open(folder: &Path) -> Result<Self, Failed> {
        let ours = Connection::open(folder.join("events-20261120.db"))?;
        let mut sql = ours.prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND sql IS NOT NULL")?;
        let sql: Vec<String> = sql.query_map((), |row| row.get(0))?.collect::<Result<_, _>>()?;
        let file = Connection::open(folder.join("bare"))?;
        file.pragma_update(None, "journal_mode", "wal")?;
        file.pragma_update(None, "synchronous", "normal")?;
        file.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        file.pragma_update(None, "cache_size", -16_384)?;
        for statement in sql {
            file.execute_batch(&statement)?;
        }
        Ok(Self { file })
    }

    fn insert(&mut self, events: &[Event], texts: &[(String, String)]) -> Result<(), rusqlite::Error> {
        let transaction = self.file.transaction()?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
            ON CONFLICT DO NOTHING",
        )?;
        for (event, (data, tags)) in events.iter().zip(texts) {
            insert.execute(params![
                event.trace_id.to_bytes(),
                event.timestamp,
                event.emitter as i64,
                event.seq as i64,
                event.span_id.get() as i64,
                event.parent_span_id.map(|id| id.get() as i64),
                event.parent_trace_id.map(TraceId::to_bytes),
                event.correlation_id,
                event.event_type,
                0,
                event.duration,
                event.route,
                data,
                tags,
            ])?;
        }
        drop(insert);
        transaction.commit()
    }
}

fn json_text<T: serde::Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}

fn ask_a_large_store(folder: &Path, events: u64, days: u64, promises: &mut Promises) -> Result<(), Failed> {
    let per_day = events / days;
    let start = Instant::now();
    let store = SqliteStore::open(SqliteConfig::new(folder))?;
    let (mut ids, mut stored, mut longest) = (Vec::new(), 0_u64, Duration::ZERO);
    for day in (0..days as i64).rev() {
        for batch in batches(day, per_day) {
            ids.extend(batch.events.iter().step_by(97).map(|event| event.trace_id));
            let start = Instant::now();
            stored += wait(store.put(batch))?.iter().filter(|answer| **answer == Put::New).count() as u64;
            longest = longest.max(start.elapsed());
        }
    }
    let time = start.elapsed();
    println!(
        "{stored} events of {days} days stored in {:.1} s ({:.0}/s with making them), longest batch {:.0} ms",
        time.as_secs_f64(),
        stored as f64 / time.as_secs_f64(),
        longest.as_secs_f64() * 1e3
    );
    drop(store);
    let start = Instant::now();
    let store = SqliteStore::open(SqliteConfig::new(folder))?;
    println!("opened again in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let bytes = wait(store.info())?.bytes.unwrap_or_default();
    println!("{:.0} bytes per event on disk", bytes as f64 / stored as f64);

    let mut times = Vec::new();
    for number in 0..10_000_u64 {
        let id = ids[(mixed(number) % ids.len() as u64) as usize];
        let start = Instant::now();
        let page = wait(store.trace(id, None, 1_000))?;
        times.push(start.elapsed());
        if page.items.is_empty() {
            return Err("a trace that was stored was not found".into());
        }
    }
    let p99 = report("trace by id", &mut times);
    promises.check(p99 < Duration::from_millis(5), &format!("{:.2} ms", millis(p99)), "p99 below 5 ms");
    let mut times = Vec::new();
    for number in 0..2_000_u64 {
        let id = TraceId::new(u128::from(mixed(number)) + 1).ok_or("no id")?;
        let start = Instant::now();
        wait(store.trace(id, None, 1_000))?;
        times.push(start.elapsed());
    }
    report("trace by id that nobody stored", &mut times);

    let failed = EventFilter { status: Some(TraceStatus::Failed), ..EventFilter::default() };
    let mut times = Vec::new();
    for _ in 0..300 {
        let start = Instant::now();
        let page = wait(store.recent(failed.clone(), None, 100))?;
        times.push(start.elapsed());
        if page.items.is_empty() {
            return Err("there are no failures".into());
        }
    }
    let p99 = report("recent failures, first 100", &mut times);
    promises.check(p99 < Duration::from_millis(20), &format!("{:.2} ms", millis(p99)), "p99 below 20 ms");
    let by_tag = EventFilter { tags: vec!["tenant=t7".to_owned()], ..failed };
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        wait(store.recent(by_tag.clone(), None, 100))?;
        times.push(start.elapsed());
    }
    report("recent failures of one tenant, first 100", &mut times);

    let mut times = Vec::new();
    for number in 0..5_000 {
        let mut event = event(0, number, 5_000).ok_or("no event")?;
        event.emitter = 3;
        let batch = Arc::new(Batch { events: vec![event], account: None, now: LAST_DAY + DAY });
        let start = Instant::now();
        wait(store.put(batch))?;
        times.push(start.elapsed());
    }
    let p99 = report("put().await of one event", &mut times);
    promises.check(p99 < Duration::from_millis(15), &format!("{:.2} ms", millis(p99)), "p99 below 15 ms");

    let start = Instant::now();
    let days = wait(store.recompute())?;
    println!("statistics of {} days recomputed in {:.1} s", days.len(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    let accounts = wait(store.accounts())?;
    let stored: u64 = accounts.iter().map(|account| account.stored).sum();
    println!("accounts in {:.0} ms: {stored} rows", start.elapsed().as_secs_f64() * 1e3);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// Prints the usual places, and answers the 99th in a hundred.
fn report(what: &str, times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{what:<42} p50 {:>8.3} ms   p99 {:>8.3} ms   most {:>8.3} ms",
        millis(at(0.5)),
        millis(at(0.99)),
        millis(at(1.0))
    );
    at(0.99)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
