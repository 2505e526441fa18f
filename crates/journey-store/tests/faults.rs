//! What may go wrong around a store on disk, and what must hold after it.
#![cfg(all(feature = "sqlite", unix))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use journey_store::{
    Batch, Emitter, Event, EventFilter, EventStore, MAX_BATCH, Put, RejectReason, SqliteConfig, SqliteStore,
    StoreErrorKind, wait,
};
use support::{DAY, Dice, NOW, batch, event, quick_check, scan_all, trace_id, with_account};

/// Where a child finds its orders: what to do, the folder, the emitter.
const ORDERS: &str = "JOURNEY_STORE_TEST_CHILD";

/// The most events of one batch of a child.
const CHILD_BATCH: u64 = 200;

/// Not a test: what the tests below start as processes of their own, and kill.
#[test]
#[ignore = "a part of other tests, which start it with orders"]
fn child() {
    let Ok(orders) = env::var(ORDERS) else { return };
    let mut orders = orders.splitn(3, ' ');
    let (what, emitter) = (orders.next().unwrap(), orders.next().unwrap().parse().unwrap());
    let store = SqliteStore::open(SqliteConfig::new(orders.next().unwrap())).unwrap();
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    say("\nopen\n".to_owned());
    let (mut dice, mut seq) = (Dice(emitter), 0);
    loop {
        let first = seq + 1;
        // Several days in one batch are several transactions: only some children do that.
        let days = if what == "days" { 3 } else { 1 };
        let mut events = Vec::new();
        for _ in 0..=dice.below(CHILD_BATCH) {
            seq += 1;
            let mut event = event(dice.below(300) + 1, seq, NOW - (seq % days) as i64 * DAY + seq as i64);
            event.emitter = emitter;
            events.push(event);
        }
        let batch = with_account(&events, emitter, seq);
        match wait(store.put(batch.clone())) {
            Ok(answers) => {
                assert!(answers.iter().all(|answer| *answer == Put::New), "{answers:?}");
                say(format!("stored {first} {seq}\n"));
            }
            Err(error) => {
                say(format!("{:?} {error}\n", error.kind));
                // Again, as whoever emits would, until it is stored.
                while let Err(error) = wait(store.put(batch.clone())) {
                    assert!(error.is_transient(), "{error}");
                    thread::sleep(Duration::from_millis(5));
                }
                say(format!("stored {first} {seq}\n"));
            }
        }
        if dice.below(40) == 0 {
            wait(store.recompute()).unwrap();
        }
    }
}

fn start_child(what: &str, emitter: u64, folder: &Path, around: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let own = env::current_exe().unwrap();
    let arguments = ["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = match around {
        [] => Command::new(&own),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(&own);
            command
        }
    };
    let orders = format!("{what} {emitter} {}", folder.display());
    let mut child = command.args(arguments).env(ORDERS, orders).stdout(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// The last number that a line of a child says is stored.
fn stored_up_to(line: &str) -> Option<u64> {
    line.strip_prefix("stored ")?.trim().split_once(' ')?.1.parse().ok()
}

fn day_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "db"));
    files.sort_unstable();
    files
}

fn seqs_of(folder: &Path, emitter: u64) -> BTreeSet<u64> {
    let mut seqs = BTreeSet::new();
    for path in day_files(folder) {
        let file = rusqlite::Connection::open(path).unwrap();
        let mut rows = file.prepare("SELECT seq FROM events WHERE emitter = ?1").unwrap();
        let found = rows.query_map([emitter as i64], |row| row.get::<_, i64>(0)).unwrap();
        for seq in found {
            assert!(seqs.insert(seq.unwrap() as u64), "an event is stored twice");
        }
    }
    seqs
}

#[test]
fn a_writer_that_is_killed_fifty_times_loses_nothing_that_was_acknowledged() {
    let seed = env::var("JOURNEY_TEST_SEED").map_or(20_261_120, |seed| seed.parse().unwrap());
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut in_flight, mut slowest) = (0, 0, Duration::ZERO);
    for round in 1..=50 {
        let what = if round % 2 == 0 { "days" } else { "one-day" };
        let (mut child, out) = start_child(what, round, folder.path(), &[]);
        // Its lines are read all the time, so that it never waits for us.
        let (lines, received) = mpsc::channel();
        let reading = thread::spawn(move || {
            out.lines().map_while(Result::ok).filter_map(|line| stored_up_to(&line)).for_each(|seq| {
                _ = lines.send(seq);
            });
        });
        let first = received.recv_timeout(Duration::from_secs(60)).expect("the child stored nothing");
        thread::sleep(Duration::from_micros(dice.below(250_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap();
        let acked = received.try_iter().last().unwrap_or(first);

        let start = Instant::now();
        let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
        slowest = slowest.max(start.elapsed());
        let stored = seqs_of(folder.path(), round);
        let missing: Vec<u64> = (1..=acked).filter(|seq| !stored.contains(seq)).collect();
        assert_eq!(missing, Vec::<u64>::new(), "seed {seed}, round {round}: acknowledged and not there");
        let last = stored.last().copied().unwrap();
        // What was under way is one batch; of one day it is there or it is not.
        assert!(last - acked <= CHILD_BATCH, "seed {seed}, round {round}: {acked} acknowledged, {last} is stored");
        if what == "one-day" {
            assert_eq!(stored.len() as u64, last, "seed {seed}, round {round}: what is missing is no suffix");
        }
        // From the store alone: what was said to be emitted is there, or the last batch was cut.
        let account = wait(store.accounts()).unwrap().into_iter().find(|it| it.emitter == round).unwrap();
        assert_eq!(account.stored, stored.len() as u64, "seed {seed}, round {round}");
        assert!(account.emitted >= acked, "seed {seed}, round {round}: {account:?}");
        if what == "one-day" {
            assert_eq!(account.emitted, account.stored, "seed {seed}, round {round}");
        }
        drop(store);
        quick_check(folder.path());
        acknowledged += acked;
        in_flight += stored.len() as u64 - acked;
    }
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let stored: u64 = wait(store.accounts()).unwrap().iter().map(|account| account.stored).sum();
    assert_eq!(stored, acknowledged + in_flight);
    assert_eq!(scan_all(&store).len() as u64, stored);
    println!(
        "50 kills, seed {seed}: {acknowledged} acknowledged, all of them stored; {in_flight} more stored that were \
        under way; {stored} rows in all; quick_check ok 50 times; opened again in at most {:.0} ms",
        slowest.as_secs_f64() * 1e3
    );
}

#[test]
fn a_locked_day_is_said_after_the_timeout_and_goes_on_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let busy_timeout = Duration::from_millis(300);
    let store = SqliteStore::open(SqliteConfig { busy_timeout, ..SqliteConfig::new(folder.path()) }).unwrap();
    wait(store.put(batch(&[event(1, 1, NOW)]))).unwrap();
    let other = rusqlite::Connection::open(folder.path().join("events-20261120.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();

    let start = Instant::now();
    let both_days = with_account(&[event(2, 2, NOW - DAY), event(2, 3, NOW)], 1, 4);
    let error = wait(store.put(both_days.clone())).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(error.message.contains("events-20261120.db` is locked by another program"), "{error}");
    assert!((busy_timeout..busy_timeout * 20).contains(&start.elapsed()), "{:?}", start.elapsed());
    // Meanwhile questions are answered, and other days are written.
    assert_eq!(wait(store.trace(trace_id(1), None, 9)).unwrap().items.len(), 1);
    assert_eq!(wait(store.put(batch(&[event(3, 4, NOW - DAY)]))).unwrap(), [Put::New]);

    other.execute_batch("ROLLBACK").unwrap();
    // The day before was stored then: whoever puts again loses nothing and stores nothing twice.
    assert_eq!(wait(store.put(both_days)).unwrap(), [Put::Duplicate, Put::New]);
    let accounts = wait(store.accounts()).unwrap();
    assert_eq!((accounts[0].emitted, accounts[0].stored), (4, 4));
    assert_eq!(scan_all(&store).len(), 4);
}

/// The lock of 30 s is the fault itself: longer than any wait and all tries of an event that somebody waits for.
#[test]
fn while_a_day_is_locked_for_30_seconds_nothing_is_lost_that_is_not_counted() {
    thread::scope(|scope| {
        for has_spill in [false, true] {
            scope.spawn(move || emit_while_a_day_is_locked(has_spill));
        }
    });
}

fn emit_while_a_day_is_locked(has_spill: bool) {
    const LOCKED: Duration = Duration::from_secs(30);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(SqliteConfig::new(folder.path().join("events"))).unwrap());
    // All on one day, whatever the time is.
    let began = Instant::now();
    let clock = move || NOW + began.elapsed().as_nanos() as i64;
    let builder = Emitter::builder(Arc::clone(&store) as Arc<dyn EventStore>).clock(Arc::new(clock));
    let builder = if has_spill { builder.spill(folder.path().join("events.spill"), 1 << 20) } else { builder };
    let emitter = builder.start().unwrap();
    emitter.emit(Event::completed("stage:before")).wait().unwrap();

    let other = rusqlite::Connection::open(folder.path().join("events/events-20261120.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let locked = Instant::now();
    let waiting = {
        let emitter = emitter.clone();
        thread::spawn(move || emitter.emit(Event::completed("stage:waited_for")).wait())
    };
    let mut recorded = 0;
    while locked.elapsed() < LOCKED {
        emitter.record(Event::completed("stage:beside"));
        recorded += 1;
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(emitter.stats().stored, 1, "the day was not locked: {:?}", emitter.stats());
    other.execute_batch("ROLLBACK").unwrap();

    let told = waiting.join().unwrap();
    assert!(emitter.flush(Duration::from_secs(60)).wait(), "{:?}", emitter.stats());
    let stats = emitter.shutdown(Duration::from_secs(10));
    let lost = u64::from(told.as_ref().is_err_and(|error| error.loss().is_some()));
    // Nobody gives up what nobody waits for; what somebody waits for is tried four times, and then it is in the spill file or
    // said to be lost, to the one who waits and in the account.
    assert!(!has_spill || lost == 0, "{told:?}");
    assert_eq!((stats.emitted, stats.stored + lost), (recorded + 2, recorded + 2), "{stats:?}");
    assert_eq!(stats.dropped.get("retry_exhausted").copied().unwrap_or(0), lost, "{stats:?}");
    // From the store alone.
    drop(emitter);
    drop(store);
    let store = SqliteStore::open(SqliteConfig::new(folder.path().join("events"))).unwrap();
    let account = wait(store.accounts()).unwrap().remove(0);
    assert_eq!(account.emitted, recorded + 2);
    assert_eq!(account.emitted, account.stored + account.dropped.values().sum::<u64>(), "{account:?}");
    assert_eq!(scan_all(&store).len() as u64, account.stored);
    println!("spill file {has_spill}: {recorded} recorded, whoever waited was told {told:?}");
}

#[test]
fn a_waiting_line_that_is_full_is_said_at_once_and_memory_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        SqliteConfig { busy_timeout: Duration::from_secs(60), waiting_batches: 4, ..SqliteConfig::new(folder.path()) };
    let store = SqliteStore::open(config).unwrap();
    wait(store.put(batch(&[event(1, 1, NOW)]))).unwrap();
    let other = rusqlite::Connection::open(folder.path().join("events-20261120.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Two of these are no group, so the writer takes at most the one it puts and the one behind it.
    let half = MAX_BATCH as u64 / 2 + 1;
    let large = |n: u64| batch(&(0..half).map(|seq| event(1, n * half + seq, NOW)).collect::<Vec<_>>());
    let answers: Vec<_> = (1..30).map(|n| store.put(large(n))).collect();
    other.execute_batch("ROLLBACK").unwrap();
    let results: Vec<_> = answers.into_iter().map(wait).collect();
    let refused = results.iter().filter(|result| result.is_err()).count();
    let stored = results.len() - refused;
    // What waits, what the writer has taken meanwhile, and nothing more.
    assert!((4..=6).contains(&stored), "{stored} were stored");
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
        assert_eq!(error.message, "too many batches wait to be written (put again later)");
    }
    assert_eq!(scan_all(&store).len() as u64, stored as u64 * half + 1);
}

#[test]
fn a_full_day_refuses_what_has_no_room_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let limited = SqliteConfig { max_day_bytes: Some(400_000), ..SqliteConfig::new(folder.path()) };
    let store = SqliteStore::open(limited).unwrap();
    let all: Vec<Event> = (1..=4_000).map(|seq| event(seq % 50 + 1, seq, NOW + seq as i64)).collect();
    let mut parts = all.chunks(100);
    let mut stored = 0;
    let (error, rest) = loop {
        let part = parts.next().expect("400 kB had room for everything");
        match wait(store.put(with_account(part, 1, part[99].seq))) {
            Ok(answers) => stored += answers.len(),
            Err(error) => break (error, part),
        }
    };
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(error.message.contains("events-20261120.db` has no room to grow"), "{error}");
    for _ in 0..20 {
        assert!(wait(store.put(batch(rest))).is_err());
    }
    // Questions are answered, another day has room, and nothing is half stored.
    assert_eq!(scan_all(&store), all[..stored]);
    assert_eq!(wait(store.put(batch(&[event(9, 9_999, NOW - DAY)]))).unwrap(), [Put::New]);
    drop(store);
    quick_check(folder.path());
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    for part in std::iter::once(rest).chain(parts) {
        assert!(wait(store.put(with_account(part, 1, part[99].seq))).unwrap().iter().all(|it| *it == Put::New));
    }
    assert_eq!(scan_all(&store)[1..], all);
    let account = &wait(store.accounts()).unwrap()[0];
    assert_eq!((account.emitted, account.stored), (4_000, 4_001));
}

/// The process may write no file beyond a size, as if the disk were full, and then it may again.
#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_and_freed_again_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // With the signal ignored, writing fails as it does on a full disk.
    let shell = ["--fsize=700000:unlimited", "sh", "-c", "trap '' XFSZ; exec \"$@\"", "child"];
    let around: Vec<&str> = std::iter::once("prlimit").chain(shell).collect();
    let (mut child, out) = start_child("one-day", 1, folder.path(), &around);
    let (mut acked, mut refused_at) = (0, None);
    for line in out.lines().map_while(Result::ok) {
        if let Some(seq) = stored_up_to(&line) {
            acked = seq;
        } else if line.starts_with("Unavailable") && refused_at.is_none() {
            refused_at = Some(acked);
            println!("{line}");
            // What was acknowledged can be read while nothing can be written.
            let reader = SqliteStore::open_read_only(folder.path()).unwrap();
            assert!(scan_all(&reader).len() as u64 >= acked);
            let pid = child.id().to_string();
            let freed = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status();
            assert!(freed.unwrap().success());
        }
        if refused_at.is_some_and(|at| acked > at + 5_000) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(refused_at.is_some(), "the disk was never full");
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let stored = seqs_of(folder.path(), 1);
    assert_eq!(stored.len() as u64, *stored.last().unwrap(), "there is a hole");
    assert!(stored.len() as u64 >= acked);
    let account = wait(store.accounts()).unwrap().remove(0);
    assert_eq!((account.emitted, account.stored), (stored.len() as u64, stored.len() as u64), "from the store alone");
    drop(store);
    quick_check(folder.path());
}

#[test]
fn a_clock_that_is_set_back_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let put = |events: &[Event], now| wait(store.put(Arc::new(Batch { events: events.to_vec(), account: None, now })));
    let before = [event(1, 1, NOW), event(1, 2, NOW + 1)];
    put(&before, NOW).unwrap();
    // An hour back, over midnight: the same trace goes on, earlier than it began.
    let back = NOW - 13 * DAY / 24;
    let after = [event(1, 3, back), event(1, 4, back + 1)];
    put(&after, back).unwrap();
    assert_eq!(put(&before, back).unwrap(), [Put::Duplicate, Put::Duplicate]);
    let trace = wait(store.trace(trace_id(1), None, 9)).unwrap().items;
    assert_eq!(trace, [&after[..], &before[..]].concat());
    let summary = wait(store.summary(trace_id(1))).unwrap().unwrap();
    assert_eq!((summary.first, summary.last), (back, NOW + 1));
    assert_eq!(wait(store.recent(EventFilter::default(), None, 9)).unwrap().items, [summary]);
    // Two days back, what is of today is too far ahead, and said to be.
    let answers = put(&[event(1, 1, NOW), event(1, 5, NOW - 2 * DAY)], NOW - 2 * DAY).unwrap();
    assert_eq!(answers, [Put::Rejected(RejectReason::TooFarAhead), Put::New]);
    assert_eq!(wait(store.expire(NOW - 2 * DAY, DAY)).unwrap().days, Vec::<String>::new());
    assert_eq!(scan_all(&store).len(), 5);
}

#[test]
fn of_two_processes_on_one_folder_the_second_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, out) = start_child("one-day", 1, folder.path(), &[]);
    let mut lines = out.lines().map_while(Result::ok);
    assert!(lines.any(|line| stored_up_to(&line).is_some()));
    let error = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable);
    assert!(error.message.contains("is in use by another writer"), "{error}");
    let reader = SqliteStore::open_read_only(folder.path()).unwrap();
    assert!(!wait(reader.recent(EventFilter::default(), None, 9)).unwrap().items.is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    // Killed, not closed: the lock went with the process.
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let account = wait(store.accounts()).unwrap().remove(0);
    assert!(account.stored > 0 && account.emitted == account.stored, "from the store alone: {account:?}");
}

/// A store of three days, closed, and the file of the one in the middle.
fn three_days(folder: &Path) -> PathBuf {
    let store = SqliteStore::open(SqliteConfig::new(folder)).unwrap();
    for day in 0..3_u64 {
        let events: Vec<_> =
            (1..=500).map(|seq| event(day * 500 + seq, day * 500 + seq, NOW - day as i64 * DAY + seq as i64)).collect();
        wait(store.put(batch(&events))).unwrap();
    }
    folder.join("events-20261119.db")
}

#[test]
fn a_damaged_day_is_said_and_the_others_are_read() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("no database at all", |bytes| bytes.fill(b'x')),
        ("cut to half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("its first page gone", |bytes| bytes[..4_096].fill(0)),
        ("every second page gone", |bytes| bytes.chunks_mut(4_096).skip(2).step_by(2).for_each(|page| page.fill(0xA5))),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let path = three_days(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let stores = [
            SqliteStore::open_read_only(folder.path()).unwrap(),
            SqliteStore::open(SqliteConfig::new(folder.path())).unwrap(),
        ];
        for store in &stores {
            for number in [1, 1_001, 1_500] {
                assert_eq!(wait(store.trace(trace_id(number), None, 9)).unwrap().items.len(), 1, "{what}: {number}");
            }
            let recent = wait(store.recent(EventFilter::default(), None, 1_000)).unwrap();
            assert!(recent.truncated, "{what}: a day is missing and it is not said");
            assert!((999..1_500).contains(&recent.items.len()), "{what}: {}", recent.items.len());
            assert!(wait(store.scan(Default::default(), None, 1_000)).unwrap().truncated, "{what}");
            let damaged = wait(store.info()).unwrap().damaged;
            assert_eq!(damaged.len(), 1, "{what}: {damaged:?}");
            assert!(damaged[0].contains("events-20261119.db` is damaged"), "{what}: {damaged:?}");
            wait(store.accounts()).unwrap();
            wait(store.daily("2026-11-01".to_owned(), "2026-11-30".to_owned())).unwrap();
        }
        let [_, store] = stores;
        // New traces of other days, though nobody can tell whether the damaged one has some of them.
        let elsewhere = event(7_777, 1, NOW);
        assert_eq!(wait(store.put(batch(std::slice::from_ref(&elsewhere)))).unwrap(), [Put::New], "{what}");
        assert_eq!(wait(store.recent(EventFilter::default(), None, 1)).unwrap().items.len(), 1, "{what}");
        wait(store.recompute()).unwrap();
        // New events of that day are stored whatever became of it, and what was there is still on disk.
        let again: Vec<_> = (1..=500).map(|seq| event(500 + seq, 500 + seq, NOW - DAY + seq as i64)).collect();
        wait(store.put(batch(&again))).unwrap();
        for event in &again {
            let found = wait(store.trace(event.trace_id, None, 9)).unwrap();
            assert_eq!(found.items, std::slice::from_ref(event), "{what}");
            assert!(!found.truncated, "{what}");
        }
        assert_eq!(scan_all(&store).len(), 1_501, "{what}");
        let damaged = wait(store.info()).unwrap().damaged;
        assert_eq!(damaged.len(), 1, "{what}: {damaged:?}");
        assert!(damaged[0].contains("events-20261119.db.damaged-1` is damaged and was set aside"), "{damaged:?}");
    }
}

#[test]
fn a_row_that_nobody_could_have_written_is_said_and_not_believed() {
    let columns = "trace_id, timestamp, emitter, seq, span_id, event_type, status";
    let at = NOW - DAY + 7;
    let rows = [
        ("text that is no UTF-8", format!("(x'{:032x}', {at}, 1, 9999, 1, CAST(x'61ff' AS TEXT), 0)", 600)),
        ("a trace id of three bytes", format!("(x'000001', {at}, 1, 9999, 1, 'a', 0)")),
        ("a number below zero", format!("(x'{:032x}', {at}, -1, 9999, 1, 'a', 0)", 600)),
        ("a status that is none", format!("(x'{:032x}', {at}, 1, 9999, 1, 'a', 7)", 600)),
        ("a span id of zero", format!("(x'{:032x}', {at}, 1, 9999, 0, 'a', 0)", 600)),
    ];
    for (what, row) in rows {
        let folder = tempfile::tempdir().unwrap();
        let path = three_days(folder.path());
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute(&format!("INSERT INTO events ({columns}) VALUES {row}"), ()).unwrap();
        drop(file);
        let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
        let page = wait(store.scan(Default::default(), None, 1_000)).unwrap();
        assert!(page.truncated, "{what}");
        assert_eq!(page.items.len(), 1_000, "{what}: the other days are there");
        let damaged = wait(store.info()).unwrap().damaged;
        assert!(damaged[0].contains("events-20261119.db` has a damaged row"), "{what}: {damaged:?}");
        wait(store.recompute()).unwrap();
        assert_eq!(wait(store.trace(trace_id(1), None, 9)).unwrap().items.len(), 1, "{what}");
    }
}

#[test]
fn a_log_whose_file_is_gone_is_not_taken_for_that_of_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, out) = start_child("one-day", 1, folder.path(), &[]);
    assert!(out.lines().map_while(Result::ok).any(|line| stored_up_to(&line).is_some()));
    child.kill().unwrap();
    child.wait().unwrap();
    // As after a crash in the middle of dropping a day.
    assert!(folder.path().join("events-20261120.db-wal").exists());
    fs::remove_file(folder.path().join("events-20261120.db")).unwrap();
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    assert_eq!(scan_all(&store), []);
    wait(store.put(batch(&[event(1, 1, NOW)]))).unwrap();
    assert_eq!(scan_all(&store), [event(1, 1, NOW)]);
    drop(store);
    quick_check(folder.path());
}
