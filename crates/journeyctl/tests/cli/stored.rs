//! Stored events, asked of a real store and of a real endpoint.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use journey_core::{Limits, Live, Routes, Source, TraceIdKey};
use journey_http::{Health, HttpConfig, HttpServer, StoredEvents};
use journey_store::{Batch, Emitter, Event, EventStore, SqliteConfig, SqliteStore, fixture::Saga, wait};
use serde_json::Value;

use crate::support::{Ended, Server, ended, journey, run};

const HOUR: i64 = 3_600_000_000_000;
/// Where nobody answers.
const NOWHERE: &str = "http://127.0.0.1:9";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A folder of events that a store writes.
struct Stored {
    folder: tempfile::TempDir,
    store: Arc<dyn EventStore>,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

impl Stored {
    /// An order that failed two hours ago and one that went well an hour ago.
    fn orders() -> Self {
        let stored = Self::empty();
        stored.put(&Saga { fails_at: Some(9), begin: now() - 2 * HOUR, ..Saga::default() });
        stored.put(&Saga { trace: 2, order: 1043, emitter: 8, begin: now() - HOUR, ..Saga::default() });
        wait(stored.store.recompute()).unwrap();
        stored
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
        Self { folder, store: Arc::new(store) }
    }

    fn put(&self, saga: &Saga) {
        let batch = Batch { events: saga.events(), account: None, now: now() };
        wait(self.store.put(Arc::new(batch))).unwrap();
    }

    fn place(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn endpoint(&self) -> (HttpServer, String) {
        endpoint(Some(StoredEvents::new(Arc::clone(&self.store))))
    }
}

/// A real endpoint of a process whose memory knows no journey.
fn endpoint(store: Option<StoredEvents>) -> (HttpServer, String) {
    let routes = Arc::new(Routes::default());
    let live = Live::new(routes, Source::default(), Limits::default(), TraceIdKey::default(), Arc::new(now));
    let config = HttpConfig { addr: "127.0.0.1:0".parse().unwrap(), store, ..HttpConfig::default() };
    let server = HttpServer::start(live, Arc::new(Health::new()), config).unwrap();
    let url = format!("http://{}", server.local_addr());
    (server, url)
}

fn run_with(url: &str, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    ended(journey(url, args).envs(variables.iter().copied()).spawn().unwrap())
}

/// The next lines of a command that goes on.
struct Lines(BufReader<std::process::ChildStdout>);

impl Lines {
    fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stdout.take().unwrap()))
    }

    fn next(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it ended after {lines:?}");
            lines.push(line.trim_end().to_owned());
        }
        lines
    }
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_same_question_gets_the_same_json_from_a_service_and_from_its_store() {
    let stored = Stored::orders();
    let (_server, url) = stored.endpoint();
    for args in [
        &["trace", "order-1042"][..],
        &["trace", TRACE],
        &["trace", "order-1043"],
        &["why", "order-1042"],
        &["show", "order-1042"],
        &["events"],
        &["events", "--failed", "--since", "24h", "--tag", "tenant=acme"],
        &["events", "--type", "saga:", "--route", "order", "--limit", "3"],
        &["events", "--tag", "tenant=other"],
        &["events", "--traces", "--min-ms", "100"],
        &["events", "--traces", "--failed"],
        &["stats", "--days", "7"],
        &["stats", "--route", "order", "--leg", "book_carrier"],
    ] {
        for json in [&["--json"][..], &[]] {
            let of_service = run(&url, &[args, json].concat());
            let of_store = run(NOWHERE, &[args, json, &["--store", stored.place()]].concat());
            assert_eq!((of_service.code, of_store.code), (Some(0), Some(0)), "{args:?} {of_service:?} {of_store:?}");
            assert_eq!(of_service.stdout, of_store.stdout, "{args:?}");
            let is_document = serde_json::from_str::<Value>(&of_store.stdout).is_ok_and(|value| value.is_object());
            assert_eq!(is_document, !json.is_empty(), "{args:?} {}", of_store.stdout);
        }
    }
}

#[test]
fn monday_asks_about_saturday_without_any_service() {
    let stored = Stored::orders();
    let folder = stored.folder.path().to_owned();
    let ask = |args: &[&str]| run(NOWHERE, &[args, &["--store", folder.to_str().unwrap()]].concat());
    // While it is written, and after the writer is gone.
    let beside = ask(&["why", "order-1042"]);
    let Stored { folder: _kept, store } = stored;
    drop(store);
    let after = ask(&["why", "order-1042"]);
    assert_eq!((beside.code, &beside.stdout), (after.code, &after.stdout));
    assert!(
        after.stdout.starts_with("Workflow `order` failed at `capture_payment` with PaymentTimeout: \"no answer"),
        "{}",
        after.stdout
    );
    assert!(after.stdout.contains("`reserve_stock` is still in effect"), "{}", after.stdout);
    assert_eq!(after.stdout.lines().count(), 1, "one paragraph is one line in a pipe");

    let tree = ask(&["trace", TRACE]).stdout;
    for line in ["├─ ✗ capture_payment", "STILL IN EFFECT: release_stock failed", "◆ shipping_route → air"] {
        assert!(tree.contains(line), "{line}: {tree}");
    }
    let failed = ask(&["events", "--failed"]);
    assert_eq!(failed.stdout.lines().count(), 4, "{}", failed.stdout);
    let stats = ask(&["stats"]);
    assert!(stats.stdout.contains("  capture_payment"), "{}", stats.stdout);
}

#[test]
fn what_is_asked_first_is_the_option_then_the_environment() {
    let stored = Stored::orders();
    let empty = Stored::empty();
    let (_server, url) = stored.endpoint();
    let why = ["why", "order-1042"];
    let code = |args: &[&str], variables: &[(&str, &str)]| run_with(NOWHERE, &[&why, args].concat(), variables).code;
    assert_eq!(code(&[], &[("JOURNEY_STORE", stored.place())]), Some(0));
    // Both given: the store. An option: before any variable.
    assert_eq!(code(&["--url", NOWHERE, "--store", stored.place()], &[]), Some(0));
    assert_eq!(code(&["--url", &url], &[("JOURNEY_STORE", empty.place())]), Some(0));
    assert_eq!(code(&["--store", stored.place()], &[("JOURNEY_STORE", empty.place())]), Some(0));
    assert_eq!(code(&["--store", empty.place()], &[("JOURNEY_STORE", stored.place())]), Some(1));
    // An empty variable counts as unset.
    assert_eq!(run_with(&url, &why, &[("JOURNEY_STORE", "")]).code, Some(0));
    assert_eq!(code(&[], &[]), Some(3));
}

#[test]
fn a_cut_list_says_how_it_goes_on_and_does() {
    let stored = Stored::orders();
    let from = ["--store", stored.place()];
    let first = run(NOWHERE, &[&["events", "--limit", "20"][..], &from].concat());
    assert_eq!(first.stdout.lines().count(), 21);
    let cursor = first.stderr.trim().strip_prefix("there are more: --cursor ").unwrap().to_owned();
    let second = run(NOWHERE, &[&["events", "--cursor", &cursor][..], &from].concat());
    assert_eq!((second.stdout.lines().count(), second.stderr.as_str()), (1 + 30 + 28 - 20, ""), "{}", second.stdout);
    let wrong = run(NOWHERE, &[&["events", "--cursor", "page-2"][..], &from].concat());
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("`page-2` is not a cursor") && wrong.stderr.contains("hint: --cursor takes"),
        "{wrong:?}"
    );
}

#[test]
fn show_goes_on_in_the_store_where_memory_has_forgotten() {
    let stored = Stored::orders();
    let (_server, url) = stored.endpoint();
    let shown = run(&url, &["show", "order-1042"]);
    assert_eq!((shown.code, &shown.stdout), (Some(0), &run(&url, &["trace", "order-1042"]).stdout));
    assert_eq!(shown.stderr, format!("no longer in memory: this comes from the store ({url})\n"));
    // An endpoint without a store, and a store of the environment; or nobody answers, and there is a store.
    let (_server, bare) = endpoint(None);
    for (address, why) in [(bare.as_str(), "no longer in memory"), (NOWHERE, "no endpoint answers")] {
        let shown = run_with(address, &["show", "order-1042"], &[("JOURNEY_STORE", stored.place())]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert_eq!(shown.stderr, format!("{why}: this comes from the store ({})\n", stored.place()));
    }
    // Neither has it: the answer of the memory, and what the store said.
    let unknown = run(&url, &["show", "order-7"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.starts_with("error: no journey with the id `order-7` is known"), "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("hint: the store has no trace of the correlation id `order-7`"),
        "{}",
        unknown.stderr
    );
    let unknown = run(&bare, &["show", "order-7"]);
    assert_eq!((unknown.code, unknown.stderr.lines().count()), (Some(1), 1), "{}", unknown.stderr);
    // A generation is a thing of the memory.
    assert_eq!(run(&url, &["show", "order-1042", "--generation", "1"]).code, Some(1));
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let stored = Stored::orders();
    let (_server, url) = stored.endpoint();
    for command in ["trace", "why", "watch"] {
        let of_service = run(&url, &[command, "order-7"]);
        let of_store = run(NOWHERE, &[command, "order-7", "--store", stored.place()]);
        assert_eq!((of_service.code, of_store.code), (Some(1), Some(1)), "{of_service:?} {of_store:?}");
        assert_eq!(of_service.stderr, of_store.stderr);
        assert!(of_store.stderr.contains("`order-7`; it has events of 20"), "{}", of_store.stderr);
    }
    let (_server, bare) = endpoint(None);
    let older = Server::always(
        "404 Not Found",
        "application/problem+json",
        r#"{"detail":"there is nothing at `/api/v2/traces/x` (`GET /` lists what there is)"}"#,
    );
    for address in [bare, older.url()] {
        for args in [&["trace", "x"][..], &["why", "x"], &["events"], &["watch"], &["watch", "x"]] {
            let failed = run(&address, args);
            assert_eq!((failed.code, failed.stdout.as_str()), (Some(4), ""), "{args:?} {failed:?}");
            assert!(failed.stderr.contains("hint: give the service a store of events"), "{}", failed.stderr);
        }
    }
    let folder = Path::new(stored.place()).join("nothing");
    for args in [&["trace", "x"][..], &["events"], &["watch"], &["stats"]] {
        let failed = run(NOWHERE, &[args, &["--store", folder.to_str().unwrap()]].concat());
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(3), ""), "{failed:?}");
        assert!(failed.stderr.contains("is not a folder with events\nhint: a right place for --store"), "{failed:?}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for place in [
        format!("postgresql://me:hunter2@{closed}/db?password=hunter2"),
        "mysql://me:hunter2@host/db".to_owned(),
        "postgresql://me:hunter2@host:port/db".to_owned(),
    ] {
        for args in [&["trace", "x", "--store", &place][..], &["events", "--store", &place, "--json"]] {
            let failed = run(NOWHERE, args);
            assert!(failed.code.is_some_and(|code| (2..=4).contains(&code)), "{failed:?}");
            assert!(failed.stderr.contains("error") && !format!("{failed:?}").contains("hunter2"), "{failed:?}");
        }
        let help = run_with(NOWHERE, &["trace", "--help"], &[("JOURNEY_STORE", &place), ("JOURNEY_LIVE", &place)]);
        assert!(help.code == Some(0) && !help.stdout.contains("hunter2"));
    }
    let failed = run(NOWHERE, &["watch", "--live", "http://me:hunter2@host"]);
    assert_eq!(failed.code, Some(2));
    assert!(failed.stderr.contains("nats://localhost:4222") && !failed.stderr.contains("hunter2"), "{failed:?}");
}

#[test]
fn one_trace_is_watched_from_its_beginning_on() {
    let stored = Stored::orders();
    let (_server, url) = stored.endpoint();
    for (stored_before, emitter, from) in [(30, 70, ["--url", &url]), (58, 71, ["--store", stored.place()])] {
        let mut child = journey(NOWHERE, &[&["watch", "order-1042"][..], &from].concat()).spawn().unwrap();
        let mut lines = Lines::of(&mut child);
        let before = lines.next(stored_before);
        assert!(before[0].ends_with("… order-1042 workflow:started order"), "{before:?}");
        assert!(before[29].contains("✗ order-1042 workflow:failed order 2119 ms PaymentTimeout"), "{before:?}");
        // What comes later comes too: the same order, tried again.
        stored.put(&Saga { emitter, begin: now() - 10_000_000_000, ..Saga::default() });
        let after = lines.next(28);
        assert!(after[0].ends_with("… order-1042 workflow:started order"), "{after:?}");
        assert!(after[27].ends_with("✓ order-1042 workflow:completed order 1938 ms"), "{after:?}");
        interrupt(&child);
        let end = ended(child);
        assert_eq!((end.code, end.stderr.lines().count()), (Some(130), 1), "{}", end.stderr);
    }
}

#[test]
fn all_traces_are_watched_with_what_was_before_each_event_once() {
    let stored = Stored::orders();
    let (_server, url) = stored.endpoint();
    // An endpoint without an emitter sends nothing by itself: it is asked again and again, as a store is.
    for (number, from) in [(80, ["--url", &url]), (81, ["--store", stored.place()])] {
        let args = ["watch", "--since", "3h", "--failed", "--type", "stage:failed", "--json"];
        let mut child = journey(NOWHERE, &[&args[..], &from].concat()).spawn().unwrap();
        let mut lines = Lines::of(&mut child);
        let read = |line: &str| -> (Value, Value) {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["event"].clone(), line["data"]["emitter"].clone())
        };
        let first = 1 + (number - 80) as usize;
        let before = lines.next(first);
        assert_eq!(read(&before[0]), ("event".into(), 7.into()));
        stored.put(&Saga {
            fails_at: Some(2),
            trace: number as u128,
            emitter: number,
            begin: now() - 1_000_000_000,
            ..Saga::default()
        });
        assert_eq!(read(&lines.next(1)[0]), ("event".into(), number.into()));
        interrupt(&child);
        assert_eq!(ended(child).code, Some(130));
    }
}

#[test]
fn what_a_process_emits_is_watched_as_it_happens() {
    let stored = Stored::orders();
    let emitter = Emitter::builder(Arc::clone(&stored.store)).start().unwrap();
    let (_server, url) = endpoint(Some(StoredEvents::new(Arc::clone(&stored.store)).with_emitter(emitter.clone())));
    let mut child = journey(&url, &["watch", "--since", "3h", "--failed"]).spawn().unwrap();
    let mut lines = Lines::of(&mut child);
    assert!(lines.next(3)[0].contains("✗ order-1042 stage:failed capture_payment"));
    for number in 0..3 {
        emitter.record(Event::failed("pack", "no box").correlation_id(format!("order-{number}")));
        let line = lines.next(1).remove(0);
        assert!(line.contains(&format!("✗ order-{number} stage:failed pack")) && line.ends_with("no box"), "{line}");
    }
    interrupt(&child);
    assert_eq!(ended(child).code, Some(130));
}

#[test]
fn a_closed_pipe_ends_a_watch_calmly() {
    let stored = Stored::orders();
    let mut child = journey(NOWHERE, &["watch", "order-1042", "--store", stored.place()]).spawn().unwrap();
    drop(child.stdout.take());
    let end = ended(child);
    assert_eq!((end.code, end.stderr.lines().count()), (Some(0), 1), "{}", end.stderr);
    // Also one that is closed in between.
    let mut child = journey(NOWHERE, &["watch", "--since", "3h", "--store", stored.place()]).spawn().unwrap();
    let mut lines = Lines::of(&mut child);
    lines.next(1);
    drop(lines);
    stored.put(&Saga { trace: 9, emitter: 90, begin: now() - 1_000_000_000, fails_at: Some(1), ..Saga::default() });
    assert_eq!(ended(child).code, Some(0));
}

#[test]
fn a_live_server_that_is_away_is_said_and_waited_for() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["redis", "nats"] {
        let address = format!("{scheme}://{closed}");
        let mut child =
            journey(NOWHERE, &["watch"]).env("JOURNEY_LIVE", &address).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("the server is not reached: "), "{line}");
        interrupt(&child);
        assert_eq!(ended(child).code, Some(130));
    }
}
