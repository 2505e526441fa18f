//! The PostgreSQL store when things go wrong, on a real server.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use journey_store::{
    EventStore, PostgresConfig, PostgresDurability, PostgresHealth, PostgresStore, Put, RejectReason, ScanFilter,
    StoreErrorKind, wait,
};
use journey_tests::{
    PATIENCE,
    events::{DAY, NOW, batch, numbered},
    postgres::{PASSWORD, Postgres, Session, Stop, shared},
    suite, wait_for,
};

#[test]
fn what_was_acknowledged_before_an_orderly_stop_of_the_server_is_there() {
    server_goes_away(Stop::Orderly, PostgresDurability::Normal);
}

#[test]
fn what_was_acknowledged_before_a_crash_of_the_server_is_there() {
    server_goes_away(Stop::Crash, PostgresDurability::PowerLoss);
}

/// Batch after batch is put, each until it is acknowledged, while the server goes away and comes back three times.
fn server_goes_away(how: Stop, durability: PostgresDurability) {
    const BATCHES: u64 = 300;
    const ROWS: u64 = 100;
    let Some(program) = suite::POSTGRES.program() else { return };
    let mut server = Postgres::start(&program, &[]);
    let url = server.database();
    let mut config = PostgresConfig::new(&url);
    config.durability = durability;
    let store = PostgresStore::open(&config).unwrap();
    let acknowledged = Mutex::new(0);
    let (mut unavailable, mut duplicates) = (0, 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..BATCHES {
                let events = batch(numbered(1, number * ROWS + 1..(number + 1) * ROWS + 1));
                let deadline = Instant::now() + PATIENCE;
                loop {
                    match wait(store.put(Arc::clone(&events))) {
                        Ok(answers) => {
                            assert_eq!(answers.len() as u64, ROWS);
                            assert!(answers.iter().all(|put| matches!(put, Put::New | Put::Duplicate)), "{answers:?}");
                            duplicates += answers.iter().filter(|put| **put == Put::Duplicate).count();
                            break;
                        }
                        Err(error) => {
                            assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
                            assert!(!error.message.contains(PASSWORD), "{error}");
                            unavailable += 1;
                        }
                    }
                    assert!(Instant::now() < deadline, "batch {number} is not acknowledged");
                    // Whoever tries again makes a pause; the one of a real writer grows.
                    std::thread::sleep(Duration::from_millis(5));
                }
                *acknowledged.lock().unwrap() = number + 1;
            }
        });
        for round in 1..=3 {
            wait_for("some batches are acknowledged", || (*acknowledged.lock().unwrap() >= round * 60).then_some(()));
            server.stop(how);
            let before = *acknowledged.lock().unwrap();
            server.start_again();
            let rows: u64 = Session::open(&url).value("SELECT count(*) FROM journey.events").parse().unwrap();
            assert!(rows >= before * ROWS, "{before} batches of {ROWS} were acknowledged, and {rows} rows are there");
        }
        writer.join().unwrap();
    });
    let rows = Session::open(&url).value("SELECT count(DISTINCT seq) || '/' || count(*) FROM journey.events");
    assert_eq!(rows, format!("{0}/{0}", BATCHES * ROWS));
    assert!(unavailable > 0, "the server went away three times, and nobody noticed");
    println!("{how:?}: {} rows, {unavailable} times unavailable, {duplicates} rows put twice", BATCHES * ROWS);
}

#[test]
fn a_row_that_the_database_refuses_is_kept_aside_and_all_others_are_stored() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    wait(store.prepare()).unwrap();
    let session = Session::open(&url);
    // Every way known to us to make the database refuse a row is closed before it: this one stands for those that are not.
    session.run("ALTER TABLE journey.events ADD CONSTRAINT no_poison CHECK (route <> 'poison')");
    let mut events = numbered(1, 1..1_001);
    for poison in [0, 500, 501, 999] {
        events[poison].route = Some("poison".to_owned());
    }
    for (round, expected) in [(1, Put::New), (2, Put::Duplicate)] {
        let answers = wait(store.put(batch(events.clone()))).unwrap();
        for (place, answer) in answers.iter().enumerate() {
            match answer {
                Put::Rejected(RejectReason::Invalid(why)) => {
                    assert!([0, 500, 501, 999].contains(&place), "round {round}, {place}: {why}");
                    assert!(why.contains("no_poison") && why.contains("23514"), "{why}");
                }
                answer => assert_eq!((place, answer), (place, &expected), "round {round}"),
            }
        }
        let refused = answers.iter().filter(|answer| matches!(answer, Put::Rejected(_))).count();
        assert_eq!(refused, 4, "round {round}");
    }
    assert_eq!(session.value("SELECT count(*) FROM journey.events"), "996");
    let letters = session.run("SELECT seq, event::json->>'route', reason FROM journey.dead_letters ORDER BY seq");
    assert_eq!(letters.iter().map(|letter| letter[0].as_str()).collect::<Vec<_>>(), ["1", "501", "502", "1000"]);
    assert!(letters.iter().all(|letter| letter[1] == "poison" && letter[2].contains("no_poison")), "{letters:?}");
    assert_eq!(wait(store.health()), Ok(PostgresHealth { unpartitioned: 0, dead_letters: 4 }));
    // What is said of the traces is what is stored of them.
    let last = wait(store.summary(events[999].trace_id)).unwrap().unwrap();
    assert_eq!((last.first, last.last), (events[996].timestamp, events[998].timestamp));
    // They go with their day.
    wait(store.put(batch(vec![{
        let mut event = numbered(2, 1..2).remove(0);
        event.timestamp = NOW + DAY - 1;
        event
    }])))
    .unwrap();
    assert_eq!(wait(store.expire(NOW + DAY, 0)).unwrap().days, ["2026-11-20"]);
    assert_eq!(wait(store.health()), Ok(PostgresHealth::default()));
}

#[test]
fn processes_that_begin_together_make_the_tables_once() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let mut children: Vec<_> = (0..6)
        .map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_journey-test-postgres"));
            command.arg(&url).arg("together").stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\n");
    }
    let session = Session::open(&url);
    assert_eq!(session.value("SELECT string_agg(version::text, ',') FROM together.schema_version"), "1");
}

#[test]
fn tables_of_a_newer_version_are_left_alone() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    wait(store.prepare()).unwrap();
    drop(store);
    Session::open(&url).run("INSERT INTO journey.schema_version VALUES (7)");
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    let error = wait(store.put(batch(numbered(1, 1..2)))).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unusable);
    let expected = "the store is of version 7, and this program knows versions up to 1 (use a newer program)";
    assert_eq!(error.message, expected);
    assert_eq!(Session::open(&url).value("SELECT count(*) FROM journey.events"), "0");
}

#[test]
fn a_statement_that_takes_too_long_is_ended_and_the_next_one_works() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let mut config = PostgresConfig::new(&url);
    config.statement_timeout = Duration::from_secs(1);
    let store = PostgresStore::open(&config).unwrap();
    wait(store.put(batch(numbered(1, 1..11)))).unwrap();
    let other = Session::open(&url);
    other.run("BEGIN; LOCK TABLE journey.events IN ACCESS EXCLUSIVE MODE");
    let begin = Instant::now();
    let put = wait(store.put(batch(numbered(1, 11..21)))).unwrap_err();
    let read = wait(store.scan(ScanFilter::default(), None, 10)).unwrap_err();
    assert_eq!((put.kind, read.kind), (StoreErrorKind::Unavailable, StoreErrorKind::Unavailable), "{put}, {read}");
    assert!(put.message.contains("timeout"), "{put}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    other.run("COMMIT");
    assert_eq!(wait(store.put(batch(numbered(1, 11..21)))).unwrap(), vec![Put::New; 10]);
}

#[test]
fn a_server_that_says_nothing_any_more_is_given_up() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let mut config = PostgresConfig::new(&url);
    config.statement_timeout = Duration::from_millis(500);
    config.connect_timeout = Duration::from_secs(1);
    let store = PostgresStore::open(&config).unwrap();
    wait(store.prepare()).unwrap();
    wait(store.put(batch(numbered(1, 1..11)))).unwrap();
    let session = Session::open(&url);
    let others = "FROM pg_stat_activity WHERE application_name = 'journey' AND datname = current_database()";
    let processes = session.run(&format!("SELECT pid {others}"));
    let signal = |name: &str| {
        for process in &processes {
            Command::new("sh").args(["-c", &format!("kill -s {name} {}", process[0])]).status().unwrap();
        }
    };
    signal("STOP");
    let begin = Instant::now();
    let error = wait(store.put(batch(numbered(1, 11..21)))).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(error.message.contains("no answer within 3s"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    // The connection that hangs is no longer used.
    assert_eq!(wait(store.put(batch(numbered(1, 11..21)))).unwrap(), vec![Put::New; 10]);
    signal("CONT");
    wait_for("the stopped process has ended", || {
        let left = session.run(&format!("SELECT pid {others}"));
        processes.iter().all(|process| !left.contains(process)).then_some(())
    });
}

#[test]
fn rows_whose_day_has_no_partition_are_stored_and_moved_later() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    assert_eq!(wait(store.put(batch(numbered(1, 1..11)))).unwrap(), vec![Put::New; 10]);
    let session = Session::open(&url);
    let partitions = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
                      WHERE relispartition AND relkind = 'r' AND relnamespace = 'journey'::regnamespace";
    assert_eq!(
        session.value(partitions),
        "events_20261120 events_20261121 events_20261122 events_20261123 events_default"
    );
    // Somebody drops the partition, and something stands where it would be made again.
    session.run("DROP TABLE journey.events_20261120; CREATE TABLE journey.events_20261120 (in_the_way text)");
    assert_eq!(wait(store.put(batch(numbered(1, 1..21)))).unwrap(), vec![Put::New; 20]);
    assert_eq!(wait(store.put(batch(numbered(1, 1..21)))).unwrap(), vec![Put::Duplicate; 20]);
    assert_eq!(wait(store.health()).unwrap().unpartitioned, 20);
    assert_eq!(wait(store.info()).unwrap().days, ["2026-11-20"]);
    let first = numbered(1, 1..13);
    assert_eq!(wait(store.trace(first[0].trace_id, None, 100)).unwrap().items, first);
    // As soon as it can be made, they move: a store that has not just failed to make it tries at once.
    session.run("DROP TABLE journey.events_20261120");
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    assert_eq!(wait(store.put(batch(numbered(1, 20..31)))).unwrap()[0], Put::Duplicate);
    assert_eq!(wait(store.health()).unwrap().unpartitioned, 0);
    assert_eq!(session.value("SELECT count(*) FROM journey.events_20261120"), "30");
    assert_eq!(wait(store.trace(first[0].trace_id, None, 100)).unwrap().items, first);
    // A partition that somebody drops while the store believes it there is made again.
    session.run("DROP TABLE journey.events_20261120");
    assert_eq!(wait(store.put(batch(numbered(1, 1..31)))).unwrap(), vec![Put::New; 30]);
    assert_eq!(wait(store.health()).unwrap().unpartitioned, 0);
    assert_eq!(session.value("SELECT count(*) FROM journey.events_20261120"), "30");
}

#[test]
fn a_clock_that_is_set_back_changes_no_day_and_repeats_nothing() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    let at = |now: i64, events: &[journey_store::Event]| {
        let batch = journey_store::Batch { events: events.to_vec(), account: None, now };
        wait(store.put(Arc::new(batch))).unwrap()
    };
    let events = numbered(1, 1..11);
    assert_eq!(at(NOW, &events), vec![Put::New; 10]);
    // An hour back, across midnight, and forward again: the same rows in the same place.
    for now in [NOW - 3_600_000_000_000, NOW - DAY / 2 - 1, NOW + 80 * DAY, NOW] {
        assert_eq!(at(now, &events), vec![Put::Duplicate; 10], "now {now}");
    }
    // Further back than a day, they are from the future: refused and said so.
    assert_eq!(at(NOW - 2 * DAY, &events), vec![Put::Rejected(RejectReason::TooFarAhead); 10]);
    // What the clock says now has its own day.
    let mut earlier = numbered(2, 1..11);
    earlier.iter_mut().for_each(|event| event.timestamp -= 2 * DAY);
    assert_eq!(at(NOW - 2 * DAY, &earlier), vec![Put::New; 10]);
    assert_eq!(wait(store.info()).unwrap().days, ["2026-11-18", "2026-11-20"]);
    assert_eq!(wait(store.health()).unwrap().unpartitioned, 0);
}

#[test]
fn writers_with_the_same_rows_in_another_order_store_each_once_without_deadlock() {
    let Some(server) = shared() else { return };
    let url = server.database();
    let stores: Vec<_> = (0..4).map(|_| PostgresStore::open(&PostgresConfig::new(&url)).unwrap()).collect();
    let new = Mutex::new(0);
    std::thread::scope(|scope| {
        for (writer, store) in stores.iter().enumerate() {
            let new = &new;
            scope.spawn(move || {
                for turn in 0..20 {
                    let first = turn * 200 + 1;
                    let mut events = numbered(1, first..first + 400);
                    if writer % 2 == 0 {
                        events.reverse();
                    } else {
                        events.rotate_left(writer * 37);
                    }
                    let answers = wait(store.put(batch(events))).unwrap();
                    *new.lock().unwrap() += answers.iter().filter(|put| **put == Put::New).count();
                }
            });
        }
    });
    assert_eq!(new.into_inner().unwrap(), 4_200);
    let session = Session::open(&url);
    assert_eq!(session.value("SELECT count(*) FROM journey.events"), "4200");
    assert_eq!(session.value("SELECT count(*) FROM journey.traces"), "350");
    // Whoever computes the statistics, together or not: every day once, and nothing twice.
    let days: Vec<String> = std::thread::scope(|scope| {
        let computing: Vec<_> = stores.iter().map(|store| scope.spawn(|| wait(store.recompute()).unwrap())).collect();
        computing.into_iter().flat_map(|computing| computing.join().unwrap()).collect()
    });
    assert_eq!(days, ["2026-11-20"]);
    let counted = session.value("SELECT sum(count) FROM journey.daily");
    let timed = numbered(1, 1..4_201).iter().filter(|event| event.event_type != "workflow:completed").count();
    assert_eq!(counted, timed.to_string());
}

#[test]
fn a_database_that_is_away_at_the_start_is_used_when_it_comes() {
    let Some(program) = suite::POSTGRES.program() else { return };
    let mut server = Postgres::start(&program, &[]);
    let url = server.database();
    server.stop(Stop::Orderly);
    let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    let error = wait(store.put(batch(numbered(1, 1..11)))).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    server.start_again();
    assert_eq!(wait(store.put(batch(numbered(1, 1..11)))).unwrap(), vec![Put::New; 10]);
}

#[test]
fn a_wrong_password_or_database_is_said_without_the_password() {
    let Some(server) = shared() else { return };
    for url in [server.url_with("postgres", "wr0ng"), server.url("nowhere")] {
        let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
        let error = wait(store.prepare()).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unusable, "{error}");
        let said = format!("{error} {error:?} {store:?}");
        assert!(!said.contains("wr0ng") && !said.contains("s3cret"), "{said}");
        assert!(said.contains("(28P01)") || said.contains("(3D000)"), "{said}");
    }
}

#[test]
fn answers_come_with_any_runtime_without_one_and_after_one_has_ended() {
    let Some(server) = shared() else { return };
    let url = server.socket_url(server.database().rsplit('/').next().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = runtime.block_on(async {
        let store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
        assert_eq!(store.put(batch(numbered(1, 1..11))).await.unwrap(), vec![Put::New; 10]);
        store
    });
    let inside = runtime.enter();
    let started_inside = store.put(batch(numbered(1, 11..21)));
    drop(inside);
    drop(runtime);
    assert_eq!(wait(started_inside).unwrap(), vec![Put::New; 10]);
    // What is under way when the store goes is still done, and answered.
    let under_way = store.put(batch(numbered(1, 21..31)));
    drop(store);
    assert_eq!(wait(under_way).unwrap(), vec![Put::New; 10]);
}
