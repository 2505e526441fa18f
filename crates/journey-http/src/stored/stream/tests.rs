use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use journey_core::Live;
use journey_store::{Emitter, Event, EventStore, MAX_TRACE_EVENTS, MemoryStore, StoreErrorKind, TraceId};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    Health, HttpConfig, StoredEvents,
    router::{App, routed},
    stored::{
        faulty::{Door, Faulty},
        tests::{event, put, saga},
    },
    testing::{Endpoint, MILLI, Reader, START, SentEvent, live, run},
};

const POLL: Duration = Duration::from_millis(20);

/// An endpoint over a store, with an emitter of this process whose clock goes on by a millisecond at every look.
struct Process {
    store: Arc<Faulty>,
    emitter: Emitter,
    endpoint: Endpoint,
    live: Arc<Live>,
    close: watch::Sender<bool>,
}

impl Process {
    fn new() -> Self {
        Self::with(HttpConfig::default(), Duration::from_secs(5))
    }

    fn with(config: HttpConfig, timeout: Duration) -> Self {
        let store = Arc::new(Faulty::default());
        let now = AtomicI64::new(START);
        let clock = Arc::new(move || now.fetch_add(MILLI, Ordering::Relaxed));
        let builder = Emitter::builder(Arc::clone(&store) as _).clock(clock).put_timeout(Duration::from_millis(100));
        let emitter = builder.start().unwrap();
        let stored = StoredEvents::new(Arc::clone(&store) as _).with_emitter(emitter.clone());
        let stored = stored.with_poll(POLL).with_timeouts(timeout, timeout);
        let (close, closing) = watch::channel(false);
        let live = live();
        let config = HttpConfig { store: Some(stored), ..config };
        let app = App::new(Arc::clone(&live), Arc::new(Health::new()), &config, closing);
        let endpoint = Endpoint::of(routed(Arc::new(app)));
        Self { store, emitter, endpoint, live, close }
    }

    /// Emits events of one trace, numbered in their types.
    fn emit(&self, trace: u128, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let draft = Event::draft(format!("stage:{number}")).trace_id(TraceId::new(trace).unwrap());
            self.emitter.record(draft.tag("parity", if number % 2 == 0 { "even" } else { "odd" }));
        }
    }

    fn flush(&self) {
        assert!(self.emitter.flush(Duration::from_secs(20)).wait());
    }

    async fn open(&self, trace: u128, last_event_id: Option<&str>) -> Reader {
        let mut reader = Reader::open_path(&self.endpoint, &path(trace), last_event_id).await;
        assert_eq!(reader.block().await.unwrap(), "retry: 3000");
        reader
    }
}

fn path(trace: u128) -> String {
    format!("/api/v2/traces/{trace:032x}/stream")
}

fn data(event: &SentEvent) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

fn kind(event: &SentEvent) -> String {
    assert_eq!(event.kind, "event", "{event:?}");
    data(event)["eventType"].as_str().unwrap().to_owned()
}

async fn types(reader: &mut Reader, count: usize) -> Vec<String> {
    let mut types = Vec::new();
    for _ in 0..count {
        types.push(kind(&reader.next().await));
    }
    types
}

fn numbered(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("stage:{number}")).collect()
}

#[test]
fn what_was_stored_comes_first_then_what_happens_and_a_client_that_comes_back_gets_the_rest() {
    let process = Process::new();
    process.emit(1, 0..3);
    process.emit(2, 100..101);
    process.flush();
    run(async {
        let mut reader = process.open(1, None).await;
        assert_eq!(types(&mut reader, 3).await, numbered(0..3));
        process.emit(2, 101..102);
        process.emit(1, 3..5);
        let fourth = reader.next().await;
        assert_eq!((kind(&fourth), data(&fourth)["durationMs"].is_null()), ("stage:3".to_owned(), true));
        assert_eq!(types(&mut reader, 1).await, ["stage:4"]);
        drop(reader);
        process.emit(1, 5..7);
        process.flush();
        let mut again = process.open(1, fourth.id.as_deref()).await;
        assert_eq!(types(&mut again, 3).await, numbered(4..7));
        process.emit(1, 7..8);
        assert_eq!(types(&mut again, 1).await, ["stage:7"]);
    });
}

#[test]
fn live_events_wait_until_the_store_was_read() {
    let process = Process::new();
    process.emit(1, 0..2);
    process.flush();
    run(async {
        let mut reader = process.open(1, None).await;
        process.store.set(Door::Blocks);
        process.emit(1, 2..4);
        let early = tokio::time::timeout(Duration::from_millis(100), reader.next()).await;
        assert!(early.is_err(), "{early:?} came before what was stored");
        process.store.set(Door::Open);
        assert_eq!(types(&mut reader, 4).await, numbered(0..4));
    });
}

#[test]
fn a_trace_that_is_not_known_yet_can_be_waited_for_by_its_id() {
    let process = Process::new();
    run(async {
        let mut reader = process.open(7, None).await;
        process.emit(7, 0..1);
        assert_eq!(types(&mut reader, 1).await, ["stage:0"]);
    });
}

#[test]
fn a_correlation_id_means_its_newest_trace_here_too() {
    let process = Process::new();
    put(&*process.store, saga().events());
    run(async {
        let mut reader = Reader::open_path(&process.endpoint, "/api/v2/traces/order-1042/stream", None).await;
        assert_eq!(kind(&reader.next().await), "workflow:started");
    });
}

#[test]
fn events_of_other_processes_come_from_the_store() {
    let process = Process::new();
    process.emit(1, 0..1);
    run(async {
        let mut reader = process.open(1, None).await;
        assert_eq!(types(&mut reader, 1).await, ["stage:0"]);
        // Earlier than what was sent, and later.
        put(&*process.store, vec![Event { timestamp: START - MILLI, ..event(1, 1, "other:early") }]);
        assert_eq!(types(&mut reader, 1).await, ["other:early"]);
        put(&*process.store, vec![event(1, 2, "other:late"), event(2, 3, "other:trace")]);
        assert_eq!(types(&mut reader, 1).await, ["other:late"]);
        process.emit(1, 1..2);
        assert_eq!(types(&mut reader, 1).await, ["stage:1"]);
    });
}

#[test]
fn a_client_that_cannot_go_on_where_it_was_is_told_and_gets_everything() {
    let process = Process::new();
    process.emit(1, 0..2);
    process.flush();
    run(async {
        let mut reader = process.open(1, None).await;
        types(&mut reader, 1).await;
        let last = reader.next().await.id.unwrap();
        drop(reader);
        // Meanwhile another process stored an event that lies before.
        put(&*process.store, vec![Event { timestamp: START - MILLI, ..event(1, 1, "other:early") }]);
        let foreign = ["", "x", "4f1c9e02-1", "1.2.3.4.5", "99999999999.1.1.1", "\u{ff}"];
        for last in [last.as_str()].into_iter().chain(foreign) {
            let mut reader = Reader::open_path(&process.endpoint, &path(1), Some(last)).await;
            let reset = reader.next().await;
            assert_eq!(reset.kind, "reset", "{last}");
            assert!(reset.data.contains("all events follow"), "{}", reset.data);
            assert_eq!(types(&mut reader, 3).await, ["other:early", "stage:0", "stage:1"], "{last}");
        }
        // Nothing of an id is taken at its word.
        for last in ["0.0.0.0", "100000.9223372036854775807.1.1", "3.-9223372036854775808.0.0"] {
            let mut reader = process.open(1, Some(last)).await;
            let first = reader.next().await;
            let first = if first.kind == "reset" { reader.next().await } else { first };
            assert_eq!(kind(&first), "other:early", "{last}");
        }
    });
}

#[test]
fn a_client_that_does_not_read_loses_nothing_and_holds_up_nobody() {
    const EVENTS: u64 = 4_000;
    let process = Process::new();
    process.emit(1, 0..1);
    process.flush();
    run(async {
        let mut reader = process.open(1, None).await;
        types(&mut reader, 1).await;
        process.emit(1, 1..EVENTS);
        process.flush();
        let (mut seen, mut lagged) = (HashSet::from(["stage:0".to_owned()]), 0);
        // The store may be faster than the live ones that waited.
        while seen.len() < EVENTS as usize || lagged == 0 {
            let next = reader.next().await;
            match next.kind.as_str() {
                "lagged" => lagged += data(&next)["count"].as_u64().unwrap(),
                _ => assert!(seen.insert(kind(&next)), "{next:?} came twice"),
            }
        }
        assert_eq!(process.live.self_view().parts["http"]["eventsLagged"], lagged);
    });
}

#[test]
fn a_store_that_is_away_is_said_once_and_costs_no_live_event() {
    for door in [Door::Hangs, Door::Fails(StoreErrorKind::Unavailable)] {
        let process = Process::with(HttpConfig::default(), Duration::from_millis(200));
        run(async {
            let mut reader = process.open(1, None).await;
            process.store.set(door.clone());
            process.emit(1, 0..1);
            let mut kinds = vec![reader.next().await, reader.next().await];
            kinds.sort_by_key(|event| event.kind.clone());
            assert_eq!((kind(&kinds[0]), kinds[1].kind.as_str()), ("stage:0".to_owned(), "incomplete"), "{kinds:?}");
            process.emit(1, 1..2);
            assert_eq!(types(&mut reader, 1).await, ["stage:1"]);
            process.store.set(Door::Open);
            put(&*process.store, vec![event(1, 9, "other:stored")]);
            // Of what was sent live, nothing comes again from the store.
            assert_eq!(types(&mut reader, 1).await, ["other:stored"]);
        });
    }
}

#[test]
fn of_more_events_than_can_be_told_apart_only_live_ones_follow() {
    let process = Process::with(HttpConfig::default(), Duration::from_secs(60));
    put(&*process.store, (1..=MAX_TRACE_EVENTS as u64 + 1).map(|seq| event(1, seq, "stage:x")).collect());
    run(async {
        let mut reader = process.open(1, None).await;
        for seq in 1..=MAX_TRACE_EVENTS as u64 {
            assert_eq!(data(&reader.next().await)["seq"], seq);
        }
        let end = reader.next().await;
        assert!(end.kind == "incomplete" && end.data.contains("more than 100000 events"), "{end:?}");
        process.emit(1, 0..1);
        assert_eq!(types(&mut reader, 1).await, ["stage:0"]);
    });
}

#[test]
fn places_heartbeats_and_the_end_are_those_of_every_stream() {
    let config = HttpConfig { max_streams: 1, heartbeat: Duration::from_millis(30), ..HttpConfig::default() };
    let process = Process::with(config, Duration::from_secs(5));
    run(async {
        for of in [path(1), "/api/v2/events/stream".to_owned()] {
            let mut reader = Reader::open_path(&process.endpoint, &of, None).await;
            let request = http::Request::get(path(1)).header("host", "localhost").body(axum::body::Body::empty());
            let refused = process.endpoint.send(request.unwrap()).await;
            assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
            while reader.block().await.unwrap() != ": heartbeat" {}
            let heartbeat = reader.event().await.unwrap();
            assert_eq!((heartbeat.kind.as_str(), heartbeat.id), ("heartbeat", None));
        }
        let mut reader = Reader::open_path(&process.endpoint, &path(1), None).await;
        process.close.send(true).unwrap();
        while reader.block().await.is_some() {}
        drop(reader);
        assert_eq!(process.live.self_view().parts["http"]["streams"], 0);
    });
}

#[test]
fn all_traces_are_shown_as_they_are_emitted_and_filtered() {
    let process = Process::new();
    process.emit(1, 0..2);
    process.flush();
    run(async {
        let all = "/api/v2/events/stream";
        let mut reader = Reader::open_path(&process.endpoint, all, None).await;
        let mut filtered =
            Reader::open_path(&process.endpoint, &format!("{all}?type=stage:&tag=parity=odd&status=pending"), None)
                .await;
        let mut nothing = Reader::open_path(&process.endpoint, &format!("{all}?route=order"), None).await;
        process.emit(1, 2..4);
        process.emit(2, 4..6);
        assert_eq!(types(&mut reader, 4).await, numbered(2..6));
        assert_eq!(types(&mut filtered, 2).await, ["stage:3", "stage:5"]);
        process.emit(3, 6..7);
        let last = reader.next().await;
        let mut again = Reader::open_path(&process.endpoint, all, last.id.as_deref()).await;
        let reset = again.next().await;
        assert_eq!((reset.kind.as_str(), &data(&reset)["since"].as_str().unwrap()[..13]), ("reset", "2023-11-14T22"));
        process.emit(3, 7..8);
        assert_eq!(types(&mut again, 1).await, ["stage:7"]);
        process.emitter.shutdown(Duration::from_secs(5));
        while again.block().await.is_some() {}
        assert_eq!(nothing.block().await.unwrap(), "retry: 3000");
        assert_eq!(nothing.block().await, None);
    });
}

#[test]
fn without_an_emitter_the_store_alone_is_looked_at() {
    let store = Arc::new(MemoryStore::new());
    put(&*store, vec![event(1, 1, "stage:1")]);
    let stored = StoredEvents::new(Arc::clone(&store) as Arc<dyn EventStore>).with_poll(POLL);
    let endpoint = Endpoint::with(&live(), HttpConfig { store: Some(stored), ..HttpConfig::default() });
    run(async {
        let mut reader = Reader::open_path(&endpoint, &path(1), None).await;
        assert_eq!(types(&mut reader, 1).await, ["stage:1"]);
        put(&*store, vec![event(1, 1, "stage:1"), event(1, 2, "stage:2")]);
        assert_eq!(types(&mut reader, 1).await, ["stage:2"]);
    });
}
