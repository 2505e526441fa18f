//! How large is an event on disk?
//!
//! `cargo run --release -p journey-store --example bytes_per_event -- --traces 20000`
//!
//! Fills a folder of SQLite files with the order of twelve steps (failing at the ninth), and another with journeys of the
//! `message` route as the Layer tells them, and weighs both: rows, indexes, summaries, accounts and statistics.
#![allow(clippy::print_stdout, reason = "a measurement talks to whoever started it")]

use std::{error::Error, fs, path::Path, sync::Arc};

use journey_core::Route;
use journey_store::{
    Batch, EmitterAccount, Event, EventStatus, EventStore, SpanId, SqliteConfig, SqliteStore, TraceId, fixture::Saga,
    wait,
};
use serde_json::{Map, Value, json};

/// 2026-11-20T00:00:00Z, unix nanoseconds.
const DAY: i64 = 1_795_132_800_000_000_000;
const MILLI: i64 = 1_000_000;
/// As the writer puts them by default.
const BATCH: usize = 1_000;
/// Traces that are under way at the same time.
const AT_ONCE: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut traces = 20_000_u64;
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next().and_then(|value| value.parse().ok())) {
            ("--traces", Some(number)) => traces = number,
            ("--traces", None) => return Err("`--traces` needs a number (try `--traces 20000`)".into()),
            (other, _) => return Err(format!("`{other}` is not known (try `--traces 20000`)").into()),
        }
    }
    let folder = std::env::temp_dir().join(format!("bytes_per_event-{}", std::process::id()));
    println!("{:<34} {:>9} {:>13} {:>13} {:>16}", "", "events", "bytes/event", "bytes/trace", "1 million traces");
    weigh("order of twelve steps, failed", &folder.join("orders"), traces, order)?;
    let stages: Vec<(String, String)> =
        Route::message().stages().iter().map(|stage| (stage.id.clone(), stage.name.clone())).collect();
    weigh("journey of the message route", &folder.join("messages"), traces, |number| message(&stages, number))?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn weigh(what: &str, folder: &Path, traces: u64, told: impl Fn(u64) -> Vec<Event>) -> Result<(), Box<dyn Error>> {
    let store = SqliteStore::open(SqliteConfig::new(folder))?;
    let mut events = 0_u64;
    for first in (0..traces).step_by(AT_ONCE as usize) {
        let mut block: Vec<Event> = (first..traces.min(first + AT_ONCE)).flat_map(&told).collect();
        block.sort_by_key(|event| event.timestamp);
        for part in block.chunks_mut(BATCH) {
            for event in part.iter_mut() {
                events += 1;
                (event.emitter, event.seq) = (mixed(7) >> 1, events);
            }
            let said = EmitterAccount {
                emitter: mixed(7) >> 1,
                service: "gateway".into(),
                emitted: events,
                ..Default::default()
            };
            let batch = Batch { events: part.to_vec(), account: Some(said), now: DAY };
            wait(store.put(Arc::new(batch)))?;
        }
    }
    wait(store.recompute())?;
    drop(store);
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    let (per_event, per_trace) = (bytes as f64 / events as f64, bytes as f64 / traces as f64);
    println!("{what:<34} {events:>9} {per_event:>13.0} {per_trace:>13.0} {:>13.2} GB", per_trace / 1e3);
    Ok(())
}

/// When a trace begins, so that all of them fill most of a day.
fn begin(number: u64) -> i64 {
    DAY + (number / AT_ONCE * 800 + number % AT_ONCE * 4) as i64 % 86_000_000 * MILLI
}

fn id(number: u64) -> u128 {
    u128::from(mixed(number)) << 64 | u128::from(mixed(!number))
}

fn order(number: u64) -> Vec<Event> {
    let saga =
        Saga { fails_at: Some(9), trace: id(number), begin: begin(number), order: number as u32, ..Saga::default() };
    let mut events = saga.events();
    for event in &mut events {
        // The fixture counts its spans; real ones are random.
        let random = |span: SpanId| SpanId::new(mixed(span.get() ^ mixed(number)) | 1);
        event.span_id = random(event.span_id).unwrap_or(event.span_id);
        event.parent_span_id = event.parent_span_id.and_then(random);
    }
    events
}

/// As the Layer tells it: one event per stage, and the start and the end of the whole.
fn message(stages: &[(String, String)], number: u64) -> Vec<Event> {
    let (Some(trace), Some(root)) = (TraceId::new(id(number)), SpanId::new(mixed(number ^ 99) | 1)) else {
        return Vec::new();
    };
    let said = |span: SpanId, event_type: &str, at: i64, status, data: Value| {
        let mut event = Event::new(trace, span, event_type, at);
        event.correlation_id = Some(format!("msg_{:016x}", mixed(number)));
        event.route = Some("message".to_owned());
        event.status = status;
        event.data = data.as_object().cloned().unwrap_or_default();
        event
    };
    let mut at = begin(number);
    let mut events = vec![said(root, "workflow:started", at, EventStatus::Pending, json!({}))];
    let mut legs = Map::new();
    for (place, (stage, name)) in (0_u64..).zip(stages) {
        let took = (mixed(number ^ place << 40) % (80 * MILLI as u64)) as i64;
        at += took;
        let data = json!({"stage": stage, "name": name, "service": "gateway", "compensable": false, "busyMs": took as f64 / 2e6});
        let span = SpanId::new(mixed(number ^ place << 50) | 1).unwrap_or(root);
        let mut event = said(span, "stage:completed", at, EventStatus::Success, data);
        (event.parent_span_id, event.duration) = (Some(root), Some(took / 2));
        events.push(event);
        if place > 0 {
            legs.insert(format!("{name}_leg"), took.into());
        }
    }
    let whole = at - begin(number);
    let segments = json!({"inbound": whole / 2, "agent": whole / 4, "outbound": whole / 4, "round_trip": whole});
    let data = json!({"legs": legs, "segments": segments, "service": "gateway"});
    let mut end = said(root, "workflow:completed", at, EventStatus::Success, data);
    end.duration = Some(whole);
    events.push(end);
    events
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
