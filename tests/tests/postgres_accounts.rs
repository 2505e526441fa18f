//! An emitter over a real PostgreSQL when things go wrong: from the store alone, what was emitted is what is stored and what
//! was dropped, by reason.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use journey_store::{
    Batch, Emitter, EmitterAccount, Event, EventDraft, EventStore, LossReason, MAX_PAGE, PostgresConfig, PostgresStore,
    Put, ScanFilter, WriterStats, wait,
};
use journey_tests::{
    PATIENCE,
    events::{DAY, NOW},
    postgres::{Postgres, Session, Stop, shared},
    suite, wait_for,
};
use serde_json::Value;

/// An emitter whose clock a test sets; it goes on by a microsecond at every reading.
struct Emitting {
    url: String,
    store: Arc<PostgresStore>,
    emitter: Emitter,
    clock: Arc<AtomicI64>,
}

impl Emitting {
    fn into(url: String) -> Self {
        let store = Arc::new(PostgresStore::open(&PostgresConfig::new(&url)).unwrap());
        let clock = Arc::new(AtomicI64::new(NOW));
        let time = Arc::clone(&clock);
        let builder = Emitter::builder(Arc::clone(&store) as _).batch(1_000, Duration::from_millis(20));
        let builder = builder.clock(Arc::new(move || time.fetch_add(1_000, SeqCst)));
        let emitter = builder.retry(Duration::from_millis(5), Duration::from_millis(50)).start().unwrap();
        Self { url, store, emitter, clock }
    }

    /// Ends it; its account, as somebody finds it who has nothing but the database.
    #[track_caller]
    fn proven(self) -> (WriterStats, EmitterAccount) {
        let stats = self.emitter.shutdown(PATIENCE);
        drop((self.emitter, self.store));
        let store = PostgresStore::open(&PostgresConfig::new(&self.url)).unwrap();
        let (mut numbers, mut rows, mut cursor) = (BTreeSet::new(), 0, None);
        loop {
            let page = wait(store.scan(ScanFilter::default(), cursor, MAX_PAGE)).unwrap();
            rows += page.items.len();
            numbers.extend(page.items.iter().map(|event| event.seq));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let account = wait(store.accounts()).unwrap().into_iter().find(|it| it.emitter == stats.emitter).unwrap();
        assert_eq!((numbers.len(), rows as u64), (rows, account.stored), "{account:?}");
        let dropped: u64 = account.dropped.values().sum();
        assert_eq!(account.emitted, account.stored + dropped, "{account:?}");
        assert_eq!((account.emitted, account.stored, &account.dropped), (stats.emitted, stats.stored, &stats.dropped));
        (stats, account)
    }
}

fn event() -> EventDraft {
    Event::completed("stage:test").route("order")
}

fn lost(account: &EmitterAccount, reason: LossReason) -> u64 {
    account.dropped.get(reason.as_str()).copied().unwrap_or(0)
}

#[test]
fn a_server_that_stops_and_crashes_while_it_writes_costs_no_event() {
    let Some(program) = suite::POSTGRES.program() else { return };
    let mut server = Postgres::start(&program, &[]);
    let emitting = Emitting::into(server.database());
    let emitter = &emitting.emitter;
    for how in [Stop::Orderly, Stop::Crash] {
        let before = emitter.stats().stored;
        let record = || (0..200).for_each(|_| emitter.record(event()));
        wait_for("it writes", || {
            record();
            (emitter.stats().stored > before + 1_000).then_some(())
        });
        server.stop(how);
        record();
        wait_for("the writer notices", || emitter.stats().error.map(drop));
        server.start_again();
        record();
        assert!(emitter.flush(PATIENCE).wait());
    }
    let (stats, account) = emitting.proven();
    assert_eq!((account.stored, account.dropped.len()), (stats.emitted, 0), "{account:?}");
}

#[test]
fn of_a_thousand_events_the_one_that_the_database_refuses_is_counted() {
    let Some(server) = shared() else { return };
    let emitting = Emitting::into(server.database());
    emitting.emitter.emit(event()).wait().unwrap();
    let session = Session::open(&emitting.url);
    session.run("ALTER TABLE journey.events ADD CONSTRAINT no_poison CHECK (route <> 'poison')");
    for number in 0..1_000 {
        emitting.emitter.record(if number == 612 { event().route("poison") } else { event() });
    }
    let (_, account) = emitting.proven();
    assert_eq!((account.emitted, account.stored, lost(&account, LossReason::Invalid)), (1_001, 1_000, 1));
    assert_eq!(session.value("SELECT count(*) FROM journey.dead_letters WHERE seq = 614"), "1");
}

#[test]
fn a_clock_that_is_set_back_drops_only_what_is_then_of_the_future_and_says_so() {
    let Some(server) = shared() else { return };
    let emitting = Emitting::into(server.database());
    let emitter = &emitting.emitter;
    for now in [NOW, NOW - 13 * DAY / 24, NOW - 3 * DAY] {
        emitting.clock.store(now, SeqCst);
        (0..10).for_each(|_| emitter.record(event()));
        assert!(emitter.flush(PATIENCE).wait());
    }
    (0..5).for_each(|_| emitter.record(event().at(NOW)));
    let (_, account) = emitting.proven();
    assert_eq!((account.stored, lost(&account, LossReason::TooFarAhead)), (30, 5), "{account:?}");
}

#[test]
fn a_batch_that_is_put_again_changes_no_account() {
    let Some(server) = shared() else { return };
    let emitting = Emitting::into(server.database());
    (0..500).for_each(|_| emitting.emitter.record(event()));
    assert!(emitting.emitter.flush(PATIENCE).wait());
    let events = wait(emitting.store.scan(ScanFilter::default(), None, MAX_PAGE)).unwrap().items;
    let account = wait(emitting.store.accounts()).unwrap().remove(0);
    for _ in 0..3 {
        let again = Batch { events: events.clone(), account: Some(account.clone()), now: NOW };
        assert_eq!(wait(emitting.store.put(Arc::new(again))).unwrap(), vec![Put::Duplicate; 500]);
    }
    assert_eq!(emitting.proven().1.stored, 500);
}

#[test]
fn hostile_data_is_stored_or_counted() {
    let Some(server) = shared() else { return };
    let emitting = Emitting::into(server.database());
    let emitter = &emitting.emitter;
    let mut deep = Value::Null;
    for _ in 0..10_000 {
        deep = Value::Array(vec![deep]);
    }
    let invalid = String::from_utf8_lossy(b"caf\xe9 \xff\xfe").into_owned();
    let long = "x".repeat(1 << 20);
    emitter.emit(event().data("deep", deep)).wait().unwrap();
    emitter.emit(event().data("number", f64::NAN).data("infinite", f64::INFINITY)).wait().unwrap();
    emitter.emit(event().data("text", invalid.clone()).data(invalid.clone(), 1).tag("bytes", invalid)).wait().unwrap();
    emitter.emit(event().data("long", long.clone()).data(long.clone(), 1)).wait().unwrap();
    emitter.emit(event().data("nul", "a\0b\u{202e}c")).wait().unwrap();
    for draft in [Event::draft(long.clone()), event().route(long.clone()), event().correlation_id(long)] {
        assert_eq!(emitter.emit(draft).wait().unwrap_err().loss(), Some(LossReason::Invalid));
    }
    let (_, account) = emitting.proven();
    assert_eq!((account.emitted, account.stored, lost(&account, LossReason::Invalid)), (8, 5, 3), "{account:?}");
}

#[test]
fn statistics_and_retention_are_kept_up_although_nobody_else_looks_after_them() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let mut config = PostgresConfig::new(&url);
    config.retention = Duration::from_secs(2 * 86_400);
    let store = Arc::new(PostgresStore::open(&config).unwrap());
    let clock = Arc::new(AtomicI64::new(NOW));
    let time = Arc::clone(&clock);
    let builder = Emitter::builder(Arc::clone(&store) as _).clock(Arc::new(move || time.load(SeqCst)));
    let minute = Duration::from_secs(60);
    let emitter = builder.upkeep(minute, minute).start().unwrap();
    let emit = || emitter.emit(event().duration(Duration::from_millis(1))).wait().unwrap();
    for _ in 1..=5 {
        emit();
        clock.fetch_add(DAY, SeqCst);
    }
    wait_for("old days are gone", || {
        clock.fetch_add(5_000_000_000, SeqCst);
        emit();
        (emitter.stats().expired_days == 3).then_some(())
    });
    assert_eq!(wait(store.info()).unwrap().days, ["2026-11-23", "2026-11-24", "2026-11-25"]);
    wait_for("statistics are fresh", || {
        clock.fetch_add(5_000_000_000, SeqCst);
        emit();
        let days = wait(store.daily("2026-11-25".to_owned(), "2026-11-25".to_owned())).unwrap();
        days.iter().any(|leg| leg.count > 1).then_some(())
    });
    emitter.shutdown(PATIENCE);
}
