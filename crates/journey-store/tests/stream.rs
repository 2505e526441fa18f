//! What a watcher sees: everything once, earlier events first.
#![allow(clippy::unwrap_used, reason = "tests")]

mod writer_support;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_core::Stream;
use journey_store::{Emitter, Event, TraceId, TraceStream, Watched};

use self::writer_support::{Fault, FaultyStore, fixed, run};

const LONG: Duration = Duration::from_secs(20);

fn trace(id: u128) -> TraceId {
    TraceId::new(id).unwrap()
}

fn event(id: u128) -> journey_store::EventDraft {
    Event::completed("stage:test").trace_id(trace(id))
}

fn start(store: &Arc<FaultyStore>) -> Emitter {
    fixed(Emitter::builder(store.clone()), 1).start().unwrap()
}

/// The numbers of the next events; anything else fails.
#[track_caller]
fn next(stream: &mut TraceStream, count: usize) -> Vec<u64> {
    let deadline = Instant::now() + LONG;
    let next = |_| match stream.next_until(deadline) {
        Some(Watched::Event(event)) => event.seq,
        other => panic!("{other:?}"),
    };
    (0..count).map(next).collect()
}

#[test]
fn earlier_events_come_first_then_live_ones_each_once() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = start(&store);
    // More than a page; none of them is in the store yet when somebody begins to watch.
    for _ in 0..2_500 {
        emitter.record(event(1));
    }
    emitter.record(event(2));
    let mut one = emitter.watch(trace(1));
    let mut all = emitter.watch_all(Some(i64::MIN));
    let mut live = emitter.watch_all(None);
    for _ in 0..10 {
        emitter.record(event(1));
        emitter.record(event(2));
    }
    let odd = (0..10).map(|n| 2_502 + 2 * n);
    assert_eq!(next(&mut one, 2_510), (1..=2_500).chain(odd).collect::<Vec<_>>());
    assert_eq!(next(&mut all, 2_521), (1..=2_521).collect::<Vec<_>>());
    assert_eq!(next(&mut live, 20), (2_502..=2_521).collect::<Vec<_>>());
    assert_eq!(one.next_within(Duration::from_millis(10)), None, "nothing more");
    emitter.shutdown(LONG);
    let rest: Vec<Watched> = one.blocking().chain(all.blocking()).chain(live.blocking()).collect();
    assert_eq!(rest, [], "the shutdown ends them");
    assert_eq!(emitter.watch_all(None).next_within(LONG), None);
}

#[test]
fn whenever_one_begins_to_watch_there_is_no_gap_and_no_repeat() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = fixed(Emitter::builder(store.clone()), 1).queue(1 << 20, 1 << 30).start().unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let emitter = &emitter;
                scope.spawn(move || {
                    for _ in 0..400 {
                        emitter.record(event(1));
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        let watchers: Vec<_> = (0..10)
            .map(|n| {
                let emitter = &emitter;
                scope.spawn(move || {
                    while emitter.stats().emitted < n * 110 {
                        std::thread::yield_now();
                    }
                    let mut seqs = next(&mut emitter.watch(trace(1)), 1_200);
                    seqs.sort_unstable();
                    assert_eq!(seqs, (1..=1_200).collect::<Vec<_>>(), "watcher {n}");
                })
            })
            .collect();
        writers.into_iter().chain(watchers).for_each(|thread| thread.join().unwrap());
    });
    emitter.shutdown(LONG);
}

#[test]
fn a_reader_that_does_not_read_is_told_how_many_it_missed_and_costs_nobody_anything() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = start(&store);
    let mut slow = emitter.watch_all(None);
    let mut large = emitter.watch_all(None);
    for _ in 0..3_000 {
        emitter.record(event(1));
    }
    assert_eq!(next(&mut slow, 1_024), (1..=1_024).collect::<Vec<_>>());
    assert_eq!(slow.next_within(LONG), Some(Watched::Missed(1_976)));
    emitter.record(event(1));
    assert_eq!(next(&mut slow, 1), [3_001]);
    // One that has room again says where the gap is.
    assert_eq!(next(&mut large, 1), [1]);
    emitter.record(event(1));
    assert_eq!(next(&mut large, 1_023), (2..=1_024).collect::<Vec<_>>());
    assert_eq!(large.next_within(LONG), Some(Watched::Missed(1_977)));
    assert_eq!(next(&mut large, 1), [3_002]);
    for _ in 0..200 {
        emitter.record(
            event(1).data("text", "x".repeat(8_000)).data("more", "x".repeat(8_000)).data("a", "x".repeat(8_000)),
        );
    }
    let mut got = 0;
    let missed = loop {
        match large.next_within(LONG) {
            Some(Watched::Event(_)) => got += 1,
            Some(Watched::Missed(missed)) => break missed,
            other => panic!("{other:?}"),
        }
    };
    assert!((150..180).contains(&got) && got + missed == 200, "4 MiB: {got} + {missed}");
    emitter.shutdown(LONG);
}

#[test]
fn a_store_that_is_away_or_hangs_costs_the_beginning_and_not_what_happens_now() {
    let store = FaultyStore::new(|_, _| Fault::Away);
    let emitter = start(&store);
    emitter.record(event(1));
    let mut stream = emitter.watch(trace(1));
    emitter.record(event(1));
    // Nobody could wait for the earlier event, and the reader learns it before its live ones.
    for _ in 0..1_100 {
        emitter.record(event(1));
    }
    let Some(Watched::BacklogIncomplete(why)) = stream.next_within(LONG) else { panic!("no word") };
    assert_eq!(why, "the store did not answer before live events had to be left out");
    assert_eq!(next(&mut stream, 1_024), (2..=1_025).collect::<Vec<_>>());
    assert_eq!(stream.next_within(LONG), Some(Watched::Missed(77)));
    emitter.shutdown(Duration::from_millis(1));
    assert_eq!(stream.next_within(LONG), None);
}

#[test]
fn it_is_a_stream_for_any_executor() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = start(&store);
    emitter.record(event(1));
    let mut stream = emitter.watch(trace(1));
    let task = std::thread::spawn(move || {
        run(async {
            let mut seqs = Vec::new();
            while let Some(Watched::Event(event)) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
                seqs.push(event.seq);
            }
            seqs
        })
    });
    for _ in 0..100 {
        emitter.record(event(1));
        std::thread::yield_now();
    }
    emitter.shutdown(LONG);
    let mut expected = task.join().unwrap();
    expected.dedup();
    assert_eq!(expected, (1..=101).collect::<Vec<_>>());
}
