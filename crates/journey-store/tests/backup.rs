//! The backup that docs/events.md describes: a day file copied beside a running writer is a store by itself.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use journey_store::{EventStore, Put, SqliteConfig, SqliteStore, wait};
use rusqlite::Connection;
use support::{NOW, batch, event, scan_all};

const DAY_FILE: &str = "events-20261120.db";
const BATCH: u64 = 50;

fn copy(from: &Path, to: &Path) {
    let connection = Connection::open(from.join(DAY_FILE)).unwrap();
    connection.execute("VACUUM INTO ?1", [to.join(DAY_FILE).to_str().unwrap()]).unwrap();
}

fn numbers(store: &SqliteStore) -> BTreeSet<u64> {
    scan_all(store).into_iter().map(|event| event.seq).collect()
}

#[test]
fn a_copy_made_beside_a_running_writer_has_all_that_was_acknowledged_and_can_be_written_on() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let (acknowledged, copied) = (AtomicU64::new(0), AtomicBool::new(false));
    let before_copy = thread::scope(|scope| {
        scope.spawn(|| {
            // On and on, until some batches after the copy.
            let mut after = 0;
            for first in (0..).map(|number| number * BATCH + 1) {
                let events: Vec<_> = (first..first + BATCH).map(|seq| event(seq % 9 + 1, seq, NOW)).collect();
                let answers = wait(store.put(batch(&events))).unwrap();
                assert!(answers.iter().all(|answer| *answer == Put::New));
                acknowledged.store(first + BATCH - 1, Ordering::SeqCst);
                after += u64::from(copied.load(Ordering::SeqCst));
                if after == 5 {
                    return;
                }
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 20 * BATCH {
            thread::yield_now();
        }
        let before = acknowledged.load(Ordering::SeqCst);
        copy(folder.path(), backup.path());
        copied.store(true, Ordering::SeqCst);
        before
    });
    let all = acknowledged.load(Ordering::SeqCst);
    assert!(all > before_copy);
    drop(store);

    // Read where it lies, then as a store that is written to.
    let found = numbers(&SqliteStore::open_read_only(backup.path()).unwrap());
    assert!((1..=before_copy).all(|seq| found.contains(&seq)), "{before_copy} were acknowledged");
    assert_eq!(found.len() as u64 % BATCH, 0, "a batch is there whole or not at all");
    let restored = SqliteStore::open(SqliteConfig::new(backup.path())).unwrap();
    let rest: Vec<_> = (1..=all).map(|seq| event(seq % 9 + 1, seq, NOW)).collect();
    let new = rest.chunks(1_000).flat_map(|part| wait(restored.put(batch(part))).unwrap());
    assert_eq!(new.filter(|put| *put == Put::New).count() as u64, all - found.len() as u64);
    assert_eq!(numbers(&restored), (1..=all).collect());
}

#[test]
fn a_day_that_is_put_back_replaces_what_was_left_of_it() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let events: Vec<_> = (1..=200).map(|seq| event(seq % 9 + 1, seq, NOW)).collect();
    {
        let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
        wait(store.put(batch(&events))).unwrap();
        copy(folder.path(), backup.path());
    }
    // As after a crash: a file without its end, and the log of another.
    fs::write(folder.path().join(DAY_FILE), b"SQLite format 3").unwrap();
    fs::write(folder.path().join(format!("{DAY_FILE}-wal")), b"left over").unwrap();

    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join(format!("{DAY_FILE}{suffix}")));
    }
    fs::copy(backup.path().join(DAY_FILE), folder.path().join(DAY_FILE)).unwrap();
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    assert_eq!(numbers(&store), (1..=200).collect());
    assert!(wait(store.info()).unwrap().damaged.is_empty());
}
