//! Live events through a real Redis and a real NATS: what is published is what is watched, for late joiners too.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{collections::BTreeSet, time::Duration};

use journey_bus::{LiveConfig, LivePublisher, LiveState, LiveWatcher, Watch, Watched};
use journey_store::{Event, SpanId, TraceId};
use journey_tests::{
    PATIENCE,
    bus::{BusServer, Kind},
    events::{EVENTS_OF_A_TRACE, numbered},
    hostile::CORPUS,
    wait_for,
};

const EVENTS: u64 = 3_000;

/// Every test of the list runs on Redis and on NATS.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod redis { $(#[test] fn $test() { super::$test(super::Kind::Redis); })* }
        mod nats { $(#[test] fn $test() { super::$test(super::Kind::Nats); })* }
    };
}

on_both! {
    what_is_published_is_watched_each_event_once
    a_late_joiner_gets_the_backlog_first
    who_joins_in_the_middle_misses_and_repeats_nothing
    one_event_sent_by_two_publishers_is_given_once
    events_are_trimmed_by_age
    hostile_texts_stay_where_they_belong
    what_somebody_else_wrote_is_said_and_skipped
    a_password_is_needed_and_never_shown
    a_connection_with_tls_checks_who_is_there
    a_watch_that_is_not_read_holds_back_nobody
    it_works_inside_a_runtime_that_ends_first
    what_the_layer_stores_is_published_too
}

fn what_the_layer_stores_is_published_too(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("JOURNEY_STORE", folder.path().to_str().unwrap().to_owned()),
        ("JOURNEY_LIVE", server.address("", "")),
        ("JOURNEY_HTTP_ADDR", "off".to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let mut all = watcher(&server).watch_all().unwrap();
    assert_eq!(next(&mut all), Watched::Live);
    let (_layer, journey) = tracing_journey::builder().environment(settings).build().unwrap();
    journey.checkpoint("T1", "msg_1").record();
    journey.checkpoint("T2", "msg_1").record();
    assert!(journey.flush_events(PATIENCE));
    let published = take(&mut all, 3);
    let kinds: Vec<&str> = published.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(kinds, ["workflow:started", "stage:completed", "stage:completed"]);
    assert!(published.iter().all(|event| event.correlation_id.as_deref() == Some("msg_1") && event.seq > 0));
    let report = journey.shutdown(PATIENCE);
    assert_eq!((report.stored, report.unstored), (3, 0));
}

fn what_is_published_is_watched_each_event_once(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let (publisher, watcher) = (publisher(&server), watcher(&server));
    let events = numbered(7, 1..EVENTS + 1);
    let mut all = watcher.watch_all().unwrap();
    let mut one = watcher.watch(events[0].trace_id).unwrap();
    assert_eq!(next(&mut all), Watched::Live);
    assert_eq!(next(&mut one), Watched::Live);
    events.iter().for_each(|event| publisher.publish(event));
    assert_eq!(take(&mut all, EVENTS as usize), events);
    assert_eq!(take(&mut one, EVENTS_OF_A_TRACE as usize), events[..EVENTS_OF_A_TRACE as usize]);
    assert!(publisher.flush(PATIENCE));
    let account = publisher.account();
    assert_eq!((account.offered, account.published, account.lost()), (EVENTS, EVENTS, 0));
    assert_eq!(publisher.state(), LiveState::Up);
    // Nothing came between: the next thing is what is published next.
    let mut last = events[0].clone();
    last.seq = EVENTS + 1;
    publisher.publish(&last);
    assert_eq!((take(&mut all, 1), take(&mut one, 1)), (vec![last.clone()], vec![last]));
}

fn a_late_joiner_gets_the_backlog_first(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let publisher = publisher(&server);
    let events = numbered(7, 1..EVENTS + 1);
    let (first, second) = events.split_at(2_000);
    first.iter().for_each(|event| publisher.publish(event));
    assert!(publisher.flush(PATIENCE));
    let watcher = watcher(&server);
    let mut all = watcher.watch_all().unwrap();
    assert_eq!(take(&mut all, first.len()), first);
    assert_eq!(next(&mut all), Watched::Live);
    second.iter().for_each(|event| publisher.publish(event));
    assert_eq!(take(&mut all, second.len()), second);

    let late = events[600].trace_id;
    let mut one = watcher.watch(late).unwrap();
    let expected: Vec<_> = events.iter().filter(|event| event.trace_id == late).cloned().collect();
    assert_eq!(take(&mut one, expected.len()), expected);
    assert_eq!(next(&mut one), Watched::Live);
    let mut none = watcher.watch(TraceId::new(1).unwrap()).unwrap();
    assert_eq!(next(&mut none), Watched::Live);
}

fn who_joins_in_the_middle_misses_and_repeats_nothing(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let (publisher, watcher) = (publisher(&server), watcher(&server));
    let events = numbered(7, 1..EVENTS + 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in events.chunks(50) {
                batch.iter().for_each(|event| publisher.publish(event));
                assert!(publisher.flush(PATIENCE));
            }
        });
        let joins: Vec<_> = (0..4)
            .map(|join| {
                wait_for("the publisher is under way", || (publisher.account().published > join * 500).then_some(()));
                watcher.watch_all().unwrap()
            })
            .collect();
        for mut watch in joins {
            let mut seen = Vec::new();
            while seen.len() < events.len() {
                match next(&mut watch) {
                    Watched::Event(event) => seen.push(*event),
                    Watched::Live => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(seen, events);
        }
    });
}

fn one_event_sent_by_two_publishers_is_given_once(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let (first, second) = (publisher(&server), publisher(&server));
    let events = numbered(7, 1..201);
    for event in &events {
        first.publish(event);
        second.publish(event);
    }
    assert!(first.flush(PATIENCE) && second.flush(PATIENCE));
    assert_eq!((first.account().published, second.account().published), (200, 200));
    let mut watch = watcher(&server).watch_all().unwrap();
    let mut seen = take(&mut watch, events.len());
    seen.sort_by_key(|event| event.seq);
    assert_eq!(seen, events);
    assert_eq!(next(&mut watch), Watched::Live);
}

fn events_are_trimmed_by_age(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let config = LiveConfig::parse(&server.address("", "?keep=1s")).unwrap();
    let publisher = LivePublisher::start(config.clone()).unwrap();
    let watcher = LiveWatcher::start(config).unwrap();
    let old = numbered(7, 1..1_001);
    old.iter().for_each(|event| publisher.publish(event));
    assert!(publisher.flush(PATIENCE));
    // Redis trims when something is added: one event a time, until the age of the old ones is over.
    let mut seq = 1_000;
    let left = wait_for("all but the newest events are trimmed", || {
        seq += 1;
        numbered(7, seq..seq + 1).iter().for_each(|event| publisher.publish(event));
        assert!(publisher.flush(PATIENCE));
        let backlog = backlog(&mut watcher.watch_all().unwrap());
        (!backlog.contains(&1_000)).then_some(backlog)
    });
    assert!(left.contains(&seq), "{left:?}");
    if kind == Kind::Redis {
        // By whole nodes of 100 entries.
        wait_for("the stream itself is short", || {
            let length = server.raw("XLEN journey:events\r\n", ":")[0][1..].parse::<u64>().unwrap();
            seq += 1;
            numbered(7, seq..seq + 1).iter().for_each(|event| publisher.publish(event));
            (publisher.flush(PATIENCE) && length < 500).then_some(())
        });
    }
}

fn hostile_texts_stay_where_they_belong(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let (publisher, watcher) = (publisher(&server), watcher(&server));
    let mut events = Vec::new();
    for (n, hostile) in CORPUS.iter().enumerate() {
        let text = hostile.text.to_owned();
        let trace = TraceId::new(n as u128 + 1).unwrap();
        let mut event = Event::new(trace, SpanId::new(1).unwrap(), "stage:completed", 1_000 + n as i64);
        event.correlation_id = Some(text.clone());
        event.route = Some(text.clone());
        event.tags.insert(text.clone(), text.clone());
        event.data.insert(text.clone(), text.clone().into());
        publisher.publish(&event);
        events.push(event.clone());
        // As a type it is refused, unless it happens to be one.
        event.event_type = text;
        event.seq = 1;
        publisher.publish(&event);
        if event.check().is_ok() {
            events.push(event);
        }
    }
    assert!(publisher.flush(PATIENCE));
    let account = publisher.account();
    assert_eq!(account.published, events.len() as u64);
    assert_eq!(account.dropped, [("invalid", 2 * CORPUS.len() as u64 - account.published)].into());
    let seen = take(&mut watcher.watch_all().unwrap(), events.len());
    assert_eq!(seen, events);

    if kind == Kind::Redis {
        assert_eq!(server.raw("KEYS *\r\n", "journey:events"), ["*1", "$14", "journey:events"]);
        return;
    }
    let filter = "{\"subjects_filter\":\">\"}";
    let ask = format!("PUB $JS.API.STREAM.INFO.JOURNEY_EVENTS _INBOX.test {}\r\n{filter}\r\n", filter.len());
    let request = format!("CONNECT {{}}\r\nSUB _INBOX.test 1\r\n{ask}");
    let answer = server.raw(&request, "stream_info_response").pop().unwrap();
    let info: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let subjects = info["state"]["subjects"].as_object().unwrap();
    assert!(subjects.len() <= 64, "{subjects:?}");
    for subject in subjects.keys() {
        let partition = subject.strip_prefix("journey.event.").unwrap_or_else(|| panic!("{subject}"));
        assert!(partition.parse::<u32>().is_ok_and(|partition| partition < 64), "{subject}");
    }
}

fn what_somebody_else_wrote_is_said_and_skipped(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let (publisher, watcher) = (publisher(&server), watcher(&server));
    let events = numbered(7, 1..3);
    publisher.publish(&events[0]);
    assert!(publisher.flush(PATIENCE));
    let nested = "[".repeat(20_000);
    for rubbish in ["rubbish", "{\"traceId\":\"x\"}", &nested] {
        let size = rubbish.len();
        if kind == Kind::Redis {
            server.raw(
                &format!(
                    "*5\r\n$4\r\nXADD\r\n$14\r\njourney:events\r\n$1\r\n*\r\n$5\r\nevent\r\n${size}\r\n{rubbish}\r\n"
                ),
                "-",
            );
        } else {
            server.raw(&format!("CONNECT {{}}\r\nPUB journey.event.1 {size}\r\n{rubbish}\r\nPING\r\n"), "PONG");
        }
    }
    publisher.publish(&events[1]);
    let mut watch = watcher.watch_all().unwrap();
    assert_eq!(next(&mut watch), Watched::Event(Box::new(events[0].clone())));
    let missed = next(&mut watch);
    assert!(matches!(&missed, Watched::Missed(why) if why.starts_with("an entry is no event: ")), "{missed:?}");
    assert_eq!(next(&mut watch), Watched::Event(Box::new(events[1].clone())));
}

fn a_password_is_needed_and_never_shown(kind: Kind) {
    let Some(server) = kind.server() else { return };
    let mut server = match kind {
        Kind::Redis => server.with(&["--requirepass", "s3cr:t@"]),
        _ => server.with(&["--user", "team", "--pass", "s3cr:t@"]),
    };
    server.start();
    let (user, right) = if kind == Kind::Redis { ("", ":s3cr%3At%40@") } else { ("team", "team:s3cr%3At%40@") };
    let event = &numbered(7, 1..2)[0];
    for login in [format!("{user}:wr0ng@"), String::new()] {
        let config = LiveConfig::parse(&server.address(&login, "")).unwrap();
        let publisher = LivePublisher::start(config.clone()).unwrap();
        publisher.publish(event);
        let state = wait_for("the server is away", || match publisher.state() {
            LiveState::Away(why) => Some(why),
            _ => None,
        });
        let said = format!("{state} {publisher:?} {config:?} {}", publisher.place());
        assert!(!said.contains("wr0ng") && !said.contains("s3cr"), "{said}");
        let mut watch = LiveWatcher::start(config).unwrap().watch_all().unwrap();
        let away = next(&mut watch);
        assert!(matches!(&away, Watched::Away(why) if !why.contains("wr0ng")), "{away:?}");
        assert_eq!(publisher.shutdown(Duration::ZERO).dropped, [("shutdown", 1)].into());
    }
    let config = LiveConfig::parse(&server.address(right, "")).unwrap();
    let publisher = LivePublisher::start(config.clone()).unwrap();
    publisher.publish(event);
    assert!(publisher.flush(PATIENCE));
    assert_eq!(take(&mut LiveWatcher::start(config).unwrap().watch_all().unwrap(), 1), std::slice::from_ref(event));
}

fn a_connection_with_tls_checks_who_is_there(kind: Kind) {
    let Some(server) = kind.server() else { return };
    let certificate = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap()
    };
    let (ours, other) = (certificate(&["127.0.0.1"]), certificate(&["127.0.0.1"]));
    let ca = server.file("ca.pem", &ours.cert.pem());
    let wrong = server.file("other.pem", &other.cert.pem());
    let key = server.file("key.pem", &ours.signing_key.serialize_pem());
    let port = server.port().to_string();
    let mut server = match kind {
        Kind::Redis => server.with(&[
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-cert-file",
            &ca,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            "no",
        ]),
        _ => server.with(&["--tls", "--tlscert", &ca, "--tlskey", &key]),
    };
    server.start();
    let scheme = if kind == Kind::Redis { "rediss" } else { "tls" };
    let config = |file: &str| LiveConfig::parse(&format!("{scheme}://127.0.0.1:{port}?ca={file}")).unwrap();
    let event = &numbered(7, 1..2)[0];

    let publisher = LivePublisher::start(config(&wrong)).unwrap();
    publisher.publish(event);
    let why = wait_for("the server is not trusted", || match publisher.state() {
        LiveState::Away(why) => Some(why),
        _ => None,
    });
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    assert_eq!(publisher.shutdown(Duration::ZERO).published, 0);

    let publisher = LivePublisher::start(config(&ca)).unwrap();
    publisher.publish(event);
    assert!(publisher.flush(PATIENCE), "{:?}", publisher.state());
    assert_eq!(
        take(&mut LiveWatcher::start(config(&ca)).unwrap().watch_all().unwrap(), 1),
        std::slice::from_ref(event)
    );
}

fn a_watch_that_is_not_read_holds_back_nobody(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let (publisher, watcher) = (publisher(&server), watcher(&server));
    let mut idle = watcher.watch_all().unwrap();
    let mut read = watcher.watch_all().unwrap();
    let events = numbered(7, 1..EVENTS + 1);
    events.iter().for_each(|event| publisher.publish(event));
    assert!(publisher.flush(PATIENCE));
    let seen = events_of(&mut read, events.len());
    assert_eq!(seen, events);
    // It was there all the time, and its events still are.
    assert_eq!(events_of(&mut idle, events.len()), events);
    drop((idle, read));
    // A place is free again once its reader has noticed.
    let mut watches = Vec::new();
    wait_for("all places are free", || {
        while watches.len() < 64 {
            watches.push(watcher.watch_all().ok()?);
        }
        Some(())
    });
    let refusal = watcher.watch_all().unwrap_err().to_string();
    assert!(refusal.starts_with("there are 64 watches already"), "{refusal}");
}

fn it_works_inside_a_runtime_that_ends_first(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let events = numbered(7, 1..101);
    let (publisher, mut watch) = runtime.block_on(async {
        let publisher = publisher(&server);
        let watch = watcher(&server).watch_all().unwrap();
        events[..50].iter().for_each(|event| publisher.publish(event));
        (publisher, watch)
    });
    drop(runtime);
    events[50..].iter().for_each(|event| publisher.publish(event));
    assert_eq!(events_of(&mut watch, 100), events);
    assert_eq!(publisher.shutdown(PATIENCE).published, 100);
}

fn publisher(server: &BusServer) -> LivePublisher {
    LivePublisher::start(LiveConfig::parse(&server.address("", "?queue=100000")).unwrap()).unwrap()
}

fn watcher(server: &BusServer) -> LiveWatcher {
    LiveWatcher::start(LiveConfig::parse(&server.address("", "")).unwrap()).unwrap()
}

fn next(watch: &mut Watch) -> Watched {
    watch.next_within(PATIENCE).expect("something to tell in time")
}

/// So many events, with nothing else between them.
fn take(watch: &mut Watch, count: usize) -> Vec<Event> {
    let event = |n| match next(watch) {
        Watched::Event(event) => *event,
        other => panic!("{other:?} instead of event {n} of {count}"),
    };
    (0..count).map(event).collect()
}

/// So many events, with the end of the backlog anywhere between them.
fn events_of(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match next(watch) {
            Watched::Event(event) => seen.push(*event),
            Watched::Live => {}
            other => panic!("{other:?} after {} of {count} events", seen.len()),
        }
    }
    seen
}

/// The numbers of the events that are kept.
fn backlog(watch: &mut Watch) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    loop {
        match next(watch) {
            Watched::Event(event) => drop(numbers.insert(event.seq)),
            Watched::Live => return numbers,
            Watched::Missed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
