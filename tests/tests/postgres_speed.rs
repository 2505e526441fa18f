//! How fast is the PostgreSQL store? Run by hand; `SPEED_ROWS` rows (1 000 000) over 30 days:
//!
//! `cargo test --release -p journey-tests --test postgres_speed -- --ignored --nocapture`

#![expect(clippy::print_stdout, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use journey_store::{
    Event, EventFilter, EventStatus, EventStore, PostgresConfig, PostgresDurability, PostgresStore, ScanFilter,
    TraceStatus, wait,
};
use journey_tests::{
    events::{DAY, EVENTS_OF_A_TRACE, batch, numbered},
    postgres::{Session, shared},
};

const BATCH: u64 = 1_000;
const DAYS: u64 = 30;

/// Batches with events of one day each, as they come; one trace in 50 fails.
fn events(first: u64, count: u64, rows: u64) -> Vec<Event> {
    let mut events = numbered(1, first..first + count);
    let age = DAYS - 1 - (first * DAYS / (rows + 1)).min(DAYS - 1);
    for event in &mut events {
        event.timestamp -= age as i64 * DAY + 3_600_000_000_000;
        if (event.seq - 1) / EVENTS_OF_A_TRACE % 50 == 7 && event.event_type == "workflow:completed" {
            (event.event_type, event.status) = ("workflow:failed".to_owned(), EventStatus::Failed);
        }
    }
    events
}

#[test]
#[ignore = "measures"]
fn how_fast() {
    let Some(server) = shared() else { return };
    let rows: u64 = std::env::var("SPEED_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let url = server.database();
    let config = |durability, schema: &str| {
        let mut config = PostgresConfig::new(&url);
        (config.durability, config.schema) = (durability, schema.to_owned());
        config
    };
    for durability in [PostgresDurability::Normal, PostgresDurability::PowerLoss] {
        let store = PostgresStore::open(&config(durability, "small")).unwrap();
        let first = if durability == PostgresDurability::Normal { 1 } else { 200_001 };
        for size in [BATCH, 1] {
            let count = if size == 1 { 2_000 } else { 100_000 };
            let from = first + if size == 1 { 100_000 } else { 0 };
            let batches: Vec<_> =
                (from..from + count).step_by(size as usize).map(|at| batch(numbered(1, at..at + size))).collect();
            let mut times: Vec<Duration> = Vec::new();
            let begin = Instant::now();
            for batch in &batches {
                let begin = Instant::now();
                wait(store.put(batch.clone())).unwrap();
                times.push(begin.elapsed());
            }
            show(&format!("put {durability:?}, batch {size}"), count, begin.elapsed(), &mut times);
            if size == BATCH {
                let begin = Instant::now();
                batches.iter().for_each(|batch| drop(wait(store.put(batch.clone())).unwrap()));
                show(&format!("put again {durability:?}, batch {size}"), count, begin.elapsed(), &mut []);
            }
        }
    }

    let store = PostgresStore::open(&config(PostgresDurability::PowerLoss, "large")).unwrap();
    let begin = Instant::now();
    for first in (1..=rows).step_by(BATCH as usize) {
        wait(store.put(batch(events(first, BATCH, rows)))).unwrap();
    }
    show("put over 30 days", rows, begin.elapsed(), &mut []);
    Session::open(&url).run("ANALYZE");
    let info = wait(store.info()).unwrap();
    println!("{} days, {} bytes a row", info.days.len(), info.bytes.unwrap() / rows);
    if let Ok(sql) = std::env::var("SPEED_SQL") {
        let session = Session::open(&url);
        session.run("SET search_path = large");
        session.run(&sql).iter().for_each(|row| println!("{}", row.join(" | ")));
    }

    let trace = |n: u64| numbered(1, n * 7_919 % (rows - 20) + 1..n * 7_919 % (rows - 20) + 2)[0].trace_id;
    many("trace by id", 1_000, |n| assert!(!wait(store.trace(trace(n), None, 100)).unwrap().items.is_empty()));
    many("summary", 1_000, |n| assert!(wait(store.summary(trace(n))).unwrap().is_some()));
    many("no such trace", 1_000, |n| {
        assert!(wait(store.trace(numbered(9, n + 1..n + 2)[0].trace_id, None, 9)).unwrap().items.is_empty())
    });
    let failed = EventFilter { status: Some(TraceStatus::Failed), ..EventFilter::default() };
    many("recent failures, first page of 50", 200, |_| {
        assert_eq!(wait(store.recent(failed.clone(), None, 50)).unwrap().items.len(), 50)
    });
    many("recent, first page of 50", 200, |_| {
        assert_eq!(wait(store.recent(EventFilter::default(), None, 50)).unwrap().items.len(), 50)
    });
    let slow = EventFilter { tags: vec!["no=such".to_owned()], ..EventFilter::default() };
    many("recent by a tag that nothing has", 5, |_| {
        assert_eq!(wait(store.recent(slow.clone(), None, 50)).unwrap().items.len(), 0)
    });
    many("scan, first page of 1 000", 50, |_| {
        assert_eq!(wait(store.scan(ScanFilter::default(), None, 1_000)).unwrap().items.len(), 1_000)
    });
    let failed = ScanFilter { status: Some(EventStatus::Failed), ..ScanFilter::default() };
    many("scan of failures, first page of 100", 50, |_| {
        assert_eq!(wait(store.scan(failed.clone(), None, 100)).unwrap().items.len(), 100)
    });
    let sagas = ScanFilter { event_type: Some("saga:".to_owned()), ..ScanFilter::default() };
    many("scan for a type that nothing has", 3, |_| {
        assert_eq!(wait(store.scan(sagas.clone(), None, 100)).unwrap().items.len(), 0)
    });
    let mut cursor = None;
    many("scan, following pages of 1 000", 100, |_| {
        let page = wait(store.scan(ScanFilter::default(), cursor.clone(), 1_000)).unwrap();
        cursor = page.next;
    });
    many("accounts", 3, |_| drop(wait(store.accounts()).unwrap()));
    many("info", 20, |_| drop(wait(store.info()).unwrap()));
    many("recompute all days", 1, |_| assert_eq!(wait(store.recompute()).unwrap().len() as u64, DAYS));
    many("expire 10 days", 1, |_| assert_eq!(wait(store.expire(i64::MAX, 15 * DAY)).unwrap().days.len(), 10));
}

fn many(what: &str, count: u64, mut ask: impl FnMut(u64)) {
    let mut times = Vec::new();
    let begin = Instant::now();
    for n in 0..count {
        let begin = Instant::now();
        ask(n);
        times.push(begin.elapsed());
    }
    show(what, count, begin.elapsed(), &mut times);
}

fn show(what: &str, count: u64, took: Duration, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    let rate = count as f64 / took.as_secs_f64();
    println!("{what}: {rate:.0} a second; half {:?}, 99 % {:?}", at(50), at(99));
}
