//! Live events while a real Redis or NATS is killed, hangs or is not there: the caller never waits, and every event is
//! published or counted.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use journey_bus::{LiveConfig, LivePublisher, LiveState, LiveWatcher, Watch, Watched};
use journey_store::Event;
use journey_tests::{
    PATIENCE,
    bus::{BusServer, Kind},
    events::numbered,
    wait_for,
};

/// Every test of the list runs on Redis and on NATS.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod redis { $(#[test] fn $test() { super::$test(super::Kind::Redis); })* }
        mod nats { $(#[test] fn $test() { super::$test(super::Kind::Nats); })* }
    };
}

on_both! {
    a_server_that_is_killed_loses_nothing_that_was_published
    a_server_that_comes_later_gets_what_waited
    a_server_that_hangs_holds_back_nobody_and_costs_bounded_memory
    a_shutdown_ends_at_its_deadline_whatever_hangs
    a_shutdown_with_nothing_left_waits_for_nothing
    a_stream_that_is_lost_is_said
}

fn a_server_that_is_killed_loses_nothing_that_was_published(kind: Kind) {
    let Some(mut server) = kind.started() else { return };
    // Small, so that some find no room while the server is away.
    let publisher = start(&server, "?queue=500");
    let watcher = LiveWatcher::start(config(&server, "")).unwrap();
    let mut watch = watcher.watch_all().unwrap();
    assert_eq!(watch.next_within(PATIENCE), Some(Watched::Live));
    let (done, mut seq) = (AtomicBool::new(false), 0);
    let (publishing, given) = (&publisher, &done);
    let offered = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            while !given.load(Relaxed) {
                seq += 1;
                numbered(7, seq..seq + 1).iter().for_each(|event| publishing.publish(event));
                if seq.is_multiple_of(20) {
                    std::thread::sleep(Duration::from_millis(1)); // a rate, not a wait
                }
            }
            seq
        });
        let at_end = SetAtEnd(&done);
        for _ in 0..4 {
            let before = publisher.account();
            wait_for("events go out", || (publisher.account().published > before.published + 500).then_some(()));
            server.kill();
            wait_for("the queue is full", || (publisher.account().lost() > before.lost() + 100).then_some(()));
            wait_for("the publisher says so", || matches!(publisher.state(), LiveState::Away(_)).then_some(()));
            server.start();
        }
        drop(at_end);
        thread.join().unwrap()
    });
    assert!(publisher.flush(PATIENCE), "{:?}", publisher.state());
    let account = publisher.shutdown(PATIENCE);
    assert_eq!((account.offered, account.waiting), (offered, 0));
    assert_eq!(account.offered, account.published + account.lost());
    assert_eq!(account.dropped.keys().copied().collect::<Vec<_>>(), ["queue_full"]);

    // What was published is there, and nothing else; for who watched all the time as well.
    let stored = backlog(&mut watcher.watch_all().unwrap());
    assert_eq!(stored.len() as u64, account.published);
    let (mut seen, mut outages, mut last) = (BTreeSet::new(), 0, 0);
    while seen.len() < stored.len() {
        match watch.next_within(PATIENCE).expect("the rest of the events") {
            Watched::Event(event) => {
                assert!(seen.insert(event.seq), "{} comes twice", event.seq);
                last = event.seq.max(last);
            }
            Watched::Away(_) => outages += 1,
            Watched::Live => {}
            other => panic!("{other:?} after event {last}"),
        }
    }
    assert_eq!(seen, stored);
    assert!(outages >= 1, "the watch did not notice");
}

/// Ends a thread also where the test fails: otherwise the scope would wait for it for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn a_server_that_comes_later_gets_what_waited(kind: Kind) {
    let Some(mut server) = kind.server() else { return };
    let publisher = start(&server, "");
    let mut watch = LiveWatcher::start(config(&server, "")).unwrap().watch_all().unwrap();
    let events = numbered(7, 1..101);
    events.iter().for_each(|event| publisher.publish(event));
    wait_for("the publisher says so", || matches!(publisher.state(), LiveState::Away(_)).then_some(()));
    assert!(matches!(watch.next_within(PATIENCE), Some(Watched::Away(_))));
    assert_eq!((publisher.account().waiting, publisher.account().published), (100, 0));
    server.start();
    assert!(publisher.flush(PATIENCE), "{:?}", publisher.state());
    assert_eq!((publisher.account().published, publisher.state()), (100, LiveState::Up));
    assert_eq!(events_of(&mut watch, 100), events);
}

fn a_server_that_hangs_holds_back_nobody_and_costs_bounded_memory(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let publisher = start(&server, "?queue=1000000&queue_mib=2");
    let mut event = numbered(7, 1..2).remove(0);
    event.data.insert("text".to_owned(), "x".repeat(4_000).into());
    publisher.publish(&event);
    assert!(publisher.flush(PATIENCE));
    server.freeze();
    let (before, started) = (resident_bytes(), Instant::now());
    let mut longest = Duration::ZERO;
    for seq in 2..=50_000 {
        event.seq = seq;
        let called = Instant::now();
        publisher.publish(&event);
        longest = longest.max(called.elapsed());
    }
    let (took, grown) = (started.elapsed(), resident_bytes().saturating_sub(before));
    let account = publisher.account();
    eprintln!(
        "{kind:?}: 50000 calls in {took:?}, the longest {longest:?}; {} waiting, {grown} bytes more",
        account.waiting
    );
    // 200 MB were offered; 2 MiB wait, and a batch or two are in flight. Other tests of this process run beside this one.
    assert!(account.waiting < 1_500 && account.dropped["queue_full"] > 40_000, "{account:?}");
    assert!(grown < 60 << 20, "{grown} bytes more");
    // A server that takes 5 s to answer nothing shows in none of the calls; a busy machine may.
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    wait_for("the publisher says so", || matches!(publisher.state(), LiveState::Away(_)).then_some(()));
    server.thaw();
    assert!(publisher.flush(PATIENCE), "{:?}", publisher.state());
    let account = publisher.account();
    assert_eq!(account.published + account.lost(), 50_000);
    let stored = backlog(&mut LiveWatcher::start(config(&server, "")).unwrap().watch_all().unwrap());
    assert_eq!(stored.len() as u64, account.published);
}

fn a_shutdown_ends_at_its_deadline_whatever_hangs(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let connected = start(&server, "");
    let events = numbered(7, 1..1_001);
    connected.publish(&events[0]);
    assert!(connected.flush(PATIENCE));
    server.freeze();
    let connecting = start(&server, "");
    for publisher in [&connected, &connecting] {
        events.iter().for_each(|event| publisher.publish(event));
        let started = Instant::now();
        let account = publisher.shutdown(Duration::from_secs(1));
        let took = started.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert_eq!(account.offered, account.published + account.lost());
        assert_eq!(account.waiting, 0);
        publisher.publish(&events[0]);
        assert_eq!(publisher.account().lost(), account.lost() + 1, "later events are counted too");
    }
    let account = connected.account();
    assert_eq!(account.published, 1);
    assert!(account.dropped["unconfirmed"] > 0, "{account:?}");
    assert_eq!(connecting.account().dropped, [("shutdown", 1_001)].into());
    server.thaw();
    // What was not confirmed may have arrived, never more.
    let stored = backlog(&mut LiveWatcher::start(config(&server, "")).unwrap().watch_all().unwrap());
    let most = 1 + account.dropped["unconfirmed"] as usize;
    assert!((1..=most).contains(&stored.len()), "{} of {account:?}", stored.len());
}

fn a_shutdown_with_nothing_left_waits_for_nothing(kind: Kind) {
    let Some(mut server) = kind.server() else { return };
    let away = start(&server, "");
    let started = Instant::now();
    assert_eq!(away.shutdown(PATIENCE).offered, 0);
    server.start();
    let up = start(&server, "");
    numbered(7, 1..501).iter().for_each(|event| up.publish(event));
    let account = up.shutdown(PATIENCE);
    assert_eq!((account.published, account.lost()), (500, 0));
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

fn a_stream_that_is_lost_is_said(kind: Kind) {
    let Some(server) = kind.started() else { return };
    let publisher = start(&server, "");
    let mut watch = LiveWatcher::start(config(&server, "")).unwrap().watch_all().unwrap();
    let events = numbered(7, 1..31);
    events[..20].iter().for_each(|event| publisher.publish(event));
    assert_eq!(events_of(&mut watch, 20), events[..20]);
    if kind == Kind::Redis {
        server.raw("DEL journey:events\r\n", ":1");
        // The watch waits on an open connection; it looks again when that breaks.
        server.raw("CLIENT KILL TYPE normal SKIPME yes\r\n", ":");
    } else {
        let delete = "PUB $JS.API.STREAM.DELETE.JOURNEY_EVENTS _INBOX.test 0\r\n\r\n";
        server.raw(&format!("CONNECT {{}}\r\nSUB _INBOX.test 1\r\n{delete}"), "stream_delete_response");
    }
    // The publisher makes the stream again; the watch starts over with it.
    events[20..].iter().for_each(|event| publisher.publish(event));
    assert!(publisher.flush(PATIENCE), "{:?}", publisher.state());
    let (mut rest, mut is_said) = (Vec::new(), false);
    while rest.len() < 10 || !is_said {
        match watch.next_within(PATIENCE).expect("the rest, and that something was lost") {
            Watched::Event(event) => rest.push(*event),
            Watched::Missed(why) => is_said |= why == "the server lost events that it had",
            Watched::Live | Watched::Away(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rest, events[20..]);
}

#[test]
fn without_jetstream_it_is_said_and_every_event_is_still_confirmed_or_counted() {
    let Some(mut server) = Kind::NatsWithoutJetStream.started() else { return };
    let publisher = start(&server, "?queue=100");
    let watcher = LiveWatcher::start(config(&server, "")).unwrap();
    let mut watch = watcher.watch_all().unwrap();
    assert!(matches!(watch.next_within(PATIENCE), Some(Watched::Missed(why)) if why.contains("no JetStream")));
    assert_eq!(watch.next_within(PATIENCE), Some(Watched::Live));
    let events = numbered(7, 1..51);
    events.iter().for_each(|event| publisher.publish(event));
    assert_eq!(events_of(&mut watch, 50), events);
    assert!(publisher.flush(PATIENCE));
    assert_eq!((publisher.state(), publisher.account().published), (LiveState::Unkept, 50));

    let mut seq = 51;
    for _ in 0..4 {
        let lost = publisher.account().lost();
        server.kill();
        wait_for("the queue is full", || {
            numbered(7, seq..seq + 10).iter().for_each(|event| publisher.publish(event));
            seq += 10;
            (publisher.account().lost() > lost).then_some(())
        });
        server.start();
        assert!(publisher.flush(PATIENCE), "{:?}", publisher.state());
    }
    let account = publisher.shutdown(PATIENCE);
    assert_eq!((account.offered, account.waiting), (seq - 1, 0));
    assert_eq!(account.offered, account.published + account.lost());
    assert_eq!(account.dropped.keys().copied().collect::<Vec<_>>(), ["queue_full"]);
}

fn config(server: &BusServer, options: &str) -> LiveConfig {
    LiveConfig::parse(&server.address("", options)).unwrap()
}

fn start(server: &BusServer, options: &str) -> LivePublisher {
    LivePublisher::start(config(server, options)).unwrap()
}

fn events_of(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match watch.next_within(PATIENCE).expect("an event in time") {
            Watched::Event(event) => seen.push(*event),
            Watched::Live | Watched::Away(_) => {}
            other => panic!("{other:?} after {} of {count} events", seen.len()),
        }
    }
    seen
}

/// The numbers of the events that are kept.
fn backlog(watch: &mut Watch) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    loop {
        match watch.next_within(PATIENCE).expect("the end of the backlog") {
            Watched::Event(event) => assert!(numbers.insert(event.seq), "{} comes twice", event.seq),
            Watched::Live => return numbers,
            other => panic!("{other:?}"),
        }
    }
}

/// Memory of this process; 0 where the system does not say.
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}
