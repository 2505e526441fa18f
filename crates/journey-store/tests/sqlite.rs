//! Events in SQLite files.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    cell::RefCell,
    fs,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use journey_store::{
    Durability, EventFilter, EventStore, Put, SqliteConfig, SqliteStore, StoreErrorKind, TraceStatus, conformance, wait,
};
use support::{DAY, NOW, batch, event, scan_all, trace_id};

#[test]
fn the_sqlite_store_conforms() {
    let folders = RefCell::new(Vec::new());
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
        folders.borrow_mut().push(folder);
        Arc::new(store) as Arc<dyn EventStore>
    };
    let report = conformance::run("sqlite", 20_261_120, &make);
    println!("{report}");
    assert!(report.holds(), "{report}");
}

#[test]
fn what_was_put_is_there_after_the_store_was_closed_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let events: Vec<_> = (1..500).map(|seq| event(seq % 9 + 1, seq, NOW - (seq % 5) as i64 * DAY)).collect();
    for durability in [Durability::Normal, Durability::PowerLoss] {
        let store = SqliteStore::open(SqliteConfig { durability, ..SqliteConfig::new(folder.path()) }).unwrap();
        // Nobody waits for the answers: closing does.
        let answers: Vec<_> = events.chunks(50).map(|part| store.put(batch(part))).collect();
        drop(store);
        drop(answers);
        assert!(!folder.path().join("events-20261120.db-wal").exists(), "the log was not copied into the file");
    }
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    assert_eq!(scan_all(&store).len(), events.len());
}

#[test]
fn an_answer_is_ready_without_any_runtime_even_after_the_store_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let mut put = store.put(batch(&[event(1, 1, NOW)]));
    let found = store.trace(trace_id(1), None, 9);
    drop(store);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(put.as_mut().poll(&mut context), Poll::Ready(Ok(vec![Put::New])));
    wait(found).unwrap();
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let error = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable);
    assert!(error.message.contains(folder.path().to_str().unwrap()), "{error}");
    assert!(error.message.contains("in use by another writer"), "{error}");

    let reader = SqliteStore::open_read_only(folder.path()).unwrap();
    for seq in 1..4 {
        // Each in a day of its own, made while the reader looks on.
        let event = event(1, seq, NOW - seq as i64 * DAY);
        wait(first.put(batch(std::slice::from_ref(&event)))).unwrap();
        assert_eq!(wait(reader.trace(trace_id(1), None, 9)).unwrap().items.len(), seq as usize);
        assert_eq!(wait(reader.recent(EventFilter::default(), None, 9)).unwrap().items.len(), 1);
    }
    wait(first.expire(NOW, 0)).unwrap();
    assert_eq!(wait(reader.trace(trace_id(1), None, 9)).unwrap().items.len(), 1, "the newest day stays");
    for error in [wait(reader.put(batch(&[]))).unwrap_err(), wait(reader.recompute()).unwrap_err()] {
        assert_eq!(
            (error.kind, error.message.as_str()),
            (StoreErrorKind::Unusable, "the store was opened for reading only")
        );
    }
    drop(first);
    SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
}

#[test]
fn a_stopped_store_is_read_even_where_nothing_can_be_written_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    // Characters that mean something in an address.
    let folder = folder.path().join("100% #1?");
    let store = SqliteStore::open(SqliteConfig::new(&folder)).unwrap();
    wait(store.put(batch(&[event(1, 1, NOW)]))).unwrap();
    drop(store);
    // Nobody, not even the superuser, can make the file in which SQLite keeps its locks.
    fs::create_dir(folder.join("events-20261120.db-shm")).unwrap();
    let reader = SqliteStore::open_read_only(&folder).unwrap();
    assert_eq!(wait(reader.trace(trace_id(1), None, 9)).unwrap().items, [event(1, 1, NOW)]);
    let missing = SqliteStore::open_read_only(folder.join("missing")).unwrap_err();
    assert_eq!(missing.kind, StoreErrorKind::Unusable);
    assert!(missing.message.contains("missing` is not a folder with events"), "{missing}");
}

#[test]
fn a_store_of_an_older_version_is_brought_to_this_one_by_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events-20261120.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("fixtures/day-version-1.sql")).unwrap();
    drop(old);

    let reader = SqliteStore::open_read_only(folder.path()).unwrap();
    let error = wait(reader.trace(trace_id(0xAA), None, 9)).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable);
    assert!(error.message.contains("is of version 1, this program reads version 2 (start the program"), "{error}");

    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let trace = wait(store.summary(trace_id(0xAA))).unwrap().unwrap();
    assert_eq!((trace.status, trace.any_failed), (TraceStatus::Failed, true));
    assert_eq!(wait(store.trace(trace_id(0xAA), None, 9)).unwrap().items.len(), 2);
    // What version 1 could not tell: there is more of the trace in another day.
    let mut end = event(0xAA, 3, NOW + DAY / 2);
    end.event_type = "workflow:completed".to_owned();
    assert_eq!(wait(store.put(batch(&[end]))).unwrap(), [Put::New]);
    let all = wait(store.recent(EventFilter::default(), None, 9)).unwrap();
    assert_eq!(all.items.len(), 1, "one trace, listed once: {all:?}");
    assert_eq!(all.items[0].status, TraceStatus::Success);
    let failed = EventFilter { status: Some(TraceStatus::Failed), ..EventFilter::default() };
    assert_eq!(wait(store.recent(failed, None, 9)).unwrap().items, []);
    assert_eq!(wait(store.recompute()).unwrap(), ["2026-11-20", "2026-11-21"]);
    let accounts: Vec<_> =
        wait(store.accounts()).unwrap().into_iter().map(|it| (it.emitter, it.emitted, it.stored)).collect();
    assert_eq!(accounts, [(1, 0, 1), (7, 2, 2)]);
    drop(store);
    // The same file as one that is made today.
    let schema = |path: &std::path::Path| -> Vec<String> {
        let file = rusqlite::Connection::open(path).unwrap();
        let mut columns = file
            .prepare(
                "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk \
                FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' \
                UNION ALL SELECT name || ' ' || iif(name = 'traces_of_note', sql, tbl_name) FROM sqlite_schema \
                WHERE type = 'index' ORDER BY 1",
            )
            .unwrap();
        columns.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(schema(&path), schema(&folder.path().join("events-20261121.db")));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events-20261120.db");
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.execute_batch("CREATE TABLE other (a); PRAGMA user_version = 3").unwrap();
    drop(newer);
    let before = fs::read(&path).unwrap();
    let errors = [
        SqliteStore::open(SqliteConfig::new(folder.path())).unwrap_err(),
        wait(SqliteStore::open_read_only(folder.path()).unwrap().scan(Default::default(), None, 1)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, StoreErrorKind::Unusable);
        let expected =
            format!("`{}` is of version 3, this program reads version 2 (use a newer program)", path.display());
        assert_eq!(error.message, expected);
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn open_files_are_bounded_however_many_days_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig { open_files: 3, readers: 2, ..SqliteConfig::new(folder.path()) };
    let store = SqliteStore::open(config).unwrap();
    let events: Vec<_> = (1..=60).map(|seq| event(seq, seq, NOW - seq as i64 * DAY)).collect();
    wait(store.put(batch(&events))).unwrap();
    assert_eq!(scan_all(&store).len(), 60);
    assert_eq!(wait(store.accounts()).unwrap()[0].stored, 60);
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let of_store = open.filter(|target| target.starts_with(folder.path())).count();
    // The writer and two readers, each with three files of up to three parts, and the lock.
    assert!(of_store <= 3 * 3 * 3 + 1, "{of_store} files are open");
}
