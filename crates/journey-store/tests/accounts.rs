//! Whatever went wrong: from the store alone, what was emitted is what is stored and what was dropped, by reason.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use journey_store::{
    Batch, Emitter, EmitterAccount, EmitterBuilder, Event, EventDraft, EventStore, LossReason, Put, SqliteConfig,
    SqliteStore, WriterStats, wait,
};
use serde_json::{Value, json};
use support::{DAY, NOW, scan_all};

const LONG: Duration = Duration::from_secs(30);
/// The file of [`NOW`].
const TODAY: &str = "events-20261120.db";

/// A clock that a test sets, and that goes on by a microsecond at every reading.
#[derive(Clone)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn at(now: i64) -> Self {
        Self(Arc::new(AtomicI64::new(now)))
    }

    fn set(&self, now: i64) {
        self.0.store(now, SeqCst);
    }

    fn given_to(&self, builder: EmitterBuilder) -> EmitterBuilder {
        let time = Arc::clone(&self.0);
        builder.clock(Arc::new(move || time.fetch_add(1_000, SeqCst)))
    }
}

fn open(folder: &Path) -> Arc<SqliteStore> {
    let busy_timeout = Duration::from_millis(50);
    Arc::new(SqliteStore::open(SqliteConfig { busy_timeout, ..SqliteConfig::new(folder) }).unwrap())
}

fn emitter(store: &Arc<SqliteStore>, clock: &Clock) -> Emitter {
    let builder = Emitter::builder(Arc::clone(store) as _).service("shop");
    let builder = builder.batch(1_000, Duration::from_millis(20));
    clock.given_to(builder).retry(Duration::from_millis(2), Duration::from_millis(10)).start().unwrap()
}

fn event() -> EventDraft {
    Event::completed("stage:test").route("order")
}

/// The account of the only emitter, as somebody finds it who has nothing but the folder.
#[track_caller]
fn proven(folder: &Path, stats: &WriterStats) -> EmitterAccount {
    let store = SqliteStore::open_read_only(folder).unwrap();
    let events = scan_all(&store);
    for account in wait(store.accounts()).unwrap() {
        let rows = events.iter().filter(|event| event.emitter == account.emitter);
        let numbers: BTreeSet<u64> = rows.clone().map(|event| event.seq).collect();
        assert_eq!(numbers.len(), rows.count(), "a number is there twice: {account:?}");
        assert_eq!(numbers.len() as u64, account.stored, "{account:?}");
        assert!(numbers.last().is_none_or(|last| *last <= account.emitted), "{account:?}");
        let dropped: u64 = account.dropped.values().sum();
        assert_eq!(account.emitted, account.stored + dropped, "{account:?}");
    }
    let account = wait(store.accounts()).unwrap().into_iter().find(|it| it.emitter == stats.emitter).unwrap();
    assert_eq!((account.emitted, account.stored, &account.dropped), (stats.emitted, stats.stored, &stats.dropped));
    account
}

fn lost(account: &EmitterAccount, reason: LossReason) -> u64 {
    account.dropped.get(reason.as_str()).copied().unwrap_or(0)
}

/// Waits for something that another thread does; not for ever.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "it did not become so");
        std::thread::yield_now();
    }
}

#[test]
fn a_database_that_is_locked_costs_nothing_but_what_nobody_could_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let emitter = emitter(&store, &Clock::at(NOW));
    emitter.emit(event()).wait().unwrap();
    let other = rusqlite::Connection::open(folder.path().join(TODAY)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Far longer than the store itself waits for the lock.
    let impatient = emitter.emit(event()).wait().unwrap_err();
    assert_eq!(impatient.loss(), Some(LossReason::RetryExhausted));
    assert!(impatient.to_string().contains("is locked by another program"), "{impatient}");
    (0..2_000).for_each(|_| emitter.record(event()));
    until(|| emitter.stats().error.is_some_and(|error| error.contains("is locked by another program")));
    assert_eq!(emitter.stats().queued, 2_000);
    other.execute_batch("ROLLBACK").unwrap();
    assert!(emitter.flush(LONG).wait());
    let stats = emitter.shutdown(LONG);
    drop((emitter, store));
    let account = proven(folder.path(), &stats);
    assert_eq!((account.stored, lost(&account, LossReason::RetryExhausted)), (2_001, 1), "{account:?}");
}

#[test]
fn of_a_thousand_events_the_one_that_the_database_refuses_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let emitter = emitter(&store, &Clock::at(NOW));
    emitter.emit(event()).wait().unwrap();
    // Every way known to us to make the database refuse a row is closed before it: this stands for those that are not.
    let other = rusqlite::Connection::open(folder.path().join(TODAY)).unwrap();
    let poison = "CREATE TRIGGER no_poison BEFORE INSERT ON events WHEN NEW.route = 'poison' \
                  BEGIN SELECT RAISE(ABORT, 'poison'); END";
    other.execute_batch(poison).unwrap();
    drop(other);
    for number in 0..1_000 {
        emitter.record(if number == 612 { event().route("poison") } else { event() });
    }
    let stats = emitter.shutdown(LONG);
    drop((emitter, store));
    let account = proven(folder.path(), &stats);
    assert_eq!((account.emitted, account.stored, account.dropped.len()), (1_001, 1_000, 1), "{account:?}");
}

#[test]
fn a_clock_that_is_set_back_drops_only_what_is_then_of_the_future_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let clock = Clock::at(NOW);
    let emitter = emitter(&store, &clock);
    (0..10).for_each(|_| emitter.record(event()));
    assert!(emitter.flush(LONG).wait());
    // Thirteen hours, over midnight.
    clock.set(NOW - 13 * DAY / 24);
    (0..10).for_each(|_| emitter.record(event()));
    assert!(emitter.flush(LONG).wait());
    clock.set(NOW - 3 * DAY);
    (0..10).for_each(|_| emitter.record(event()));
    (0..5).for_each(|_| emitter.record(event().at(NOW)));
    let stats = emitter.shutdown(LONG);
    drop((emitter, store));
    let account = proven(folder.path(), &stats);
    assert_eq!((account.stored, lost(&account, LossReason::TooFarAhead)), (30, 5), "{account:?}");
}

#[test]
fn a_batch_that_is_put_again_changes_no_account() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let emitter = emitter(&store, &Clock::at(NOW));
    (0..500).for_each(|_| emitter.record(event()));
    emitter.record(Event::draft("not a type"));
    let stats = emitter.shutdown(LONG);
    let (events, account) = (scan_all(&*store), wait(store.accounts()).unwrap().remove(0));
    for _ in 0..3 {
        let again = Batch { events: events.clone(), account: Some(account.clone()), now: NOW };
        assert_eq!(wait(store.put(Arc::new(again))).unwrap(), vec![Put::Duplicate; 500]);
    }
    drop((emitter, store));
    assert_eq!(lost(&proven(folder.path(), &stats), LossReason::Invalid), 1);
}

#[test]
fn hostile_data_is_stored_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let emitter = emitter(&store, &Clock::at(NOW));
    let mut deep = Value::Null;
    for _ in 0..10_000 {
        deep = Value::Array(vec![deep]);
    }
    let invalid = String::from_utf8_lossy(b"caf\xe9 \xff\xfe").into_owned();
    let long = "x".repeat(1 << 20);
    // What is too deep or too long is cut, so these are stored; no store would take them as they are.
    emitter.emit(event().data("deep", deep)).wait().unwrap();
    emitter.emit(event().data("number", f64::NAN).data("infinite", f64::INFINITY)).wait().unwrap();
    emitter.emit(event().data("text", invalid.clone()).data(invalid.clone(), 1).tag("bytes", invalid)).wait().unwrap();
    emitter.emit(event().data("long", long.clone()).data(long.clone(), 1)).wait().unwrap();
    emitter.emit(event().data("nul", "a\0b\u{202e}c")).wait().unwrap();
    // These name no event, and say so.
    let refused = [
        Event::draft(long.clone()),
        event().route(long.clone()),
        event().correlation_id(long),
        event().route("a\0b"),
        event().confidence(f64::NAN),
    ];
    for draft in refused {
        assert_eq!(emitter.emit(draft).wait().unwrap_err().loss(), Some(LossReason::Invalid));
    }
    let stats = emitter.shutdown(LONG);
    drop((emitter, store));
    let account = proven(folder.path(), &stats);
    assert_eq!((account.emitted, account.stored, lost(&account, LossReason::Invalid)), (10, 5, 5), "{account:?}");
    let events = scan_all(&SqliteStore::open_read_only(folder.path()).unwrap());
    assert_eq!(
        (&events[1].data["number"], &events[2].data["text"]),
        (&Value::Null, &json!("caf\u{fffd} \u{fffd}\u{fffd}"))
    );
    assert!(events.iter().all(|event| serde_json::to_vec(event).unwrap().len() < 100_000));
}

#[test]
fn a_store_of_an_older_version_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(folder.path().join(TODAY)).unwrap();
    old.execute_batch(include_str!("fixtures/day-version-1.sql")).unwrap();
    drop(old);
    let store = open(folder.path());
    let emitter = emitter(&store, &Clock::at(NOW));
    (0..100).for_each(|_| emitter.record(event()));
    let stats = emitter.shutdown(LONG);
    drop((emitter, store));
    assert_eq!(proven(folder.path(), &stats).stored, 100);
}

#[test]
fn a_second_process_that_is_refused_changes_no_account() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let emitter = emitter(&store, &Clock::at(NOW));
    (0..100).for_each(|_| emitter.record(event()));
    // The lock is of the folder, whichever process asks; `faults.rs` does the same with two processes.
    assert!(SqliteStore::open(SqliteConfig::new(folder.path())).is_err());
    (0..100).for_each(|_| emitter.record(event()));
    let stats = emitter.shutdown(LONG);
    drop((emitter, store));
    assert_eq!(proven(folder.path(), &stats).stored, 200);
}
