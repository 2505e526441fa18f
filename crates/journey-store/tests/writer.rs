//! What becomes of events, whatever the store does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod writer_support;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant},
};

use journey_store::{Emitter, Event, LossReason, SpanId, TraceId, WriterStats};
use proptest::prelude::*;

use self::writer_support::{Fault, FaultyStore, NOW, assert_adds_up, dropped, fixed, quick};

const LONG: Duration = Duration::from_secs(60);

/// Half of what a hung store is given; how little beyond its deadline a shutdown takes is a matter of benchmarks.
const HUNG: Duration = Duration::from_secs(5);

fn emitter(store: &Arc<FaultyStore>) -> Emitter {
    quick(Emitter::builder(store.clone()), 1).start().unwrap()
}

fn with_spill(store: &Arc<FaultyStore>, file: PathBuf, seed: u64) -> Emitter {
    quick(Emitter::builder(store.clone()), seed).spill(file, 1 << 20).start().unwrap()
}

fn event() -> journey_store::EventDraft {
    Event::completed("stage:test")
}

/// After a shutdown: nothing is under way, and the store alone can prove it.
#[track_caller]
fn assert_proven(store: &FaultyStore, stats: &WriterStats) {
    assert_adds_up(stats);
    assert_eq!(stats.queued, 0, "{stats:?}");
    let seqs = store.seqs(stats.emitter);
    assert!(seqs.is_sorted_by(|a, b| a < b), "an event is stored twice: {seqs:?}");
    assert_eq!(seqs.len() as u64, stats.stored, "{stats:?}");
    if stats.spilled == 0 {
        let account = store.account(stats.emitter);
        assert_eq!((account.emitted, &account.dropped), (stats.emitted, &stats.dropped), "the last account");
        assert_eq!(account.emitted, account.stored + account.dropped.values().sum::<u64>(), "from the store alone");
    }
}

#[test]
fn batches_carry_the_account_and_the_last_one_says_everything() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = quick(Emitter::builder(store.clone()), 3).service("orders").start().unwrap();
    for _ in 0..100 {
        emitter.record(event());
    }
    emitter.record(Event::draft("not a type"));
    let stats = emitter.shutdown(LONG);
    assert_eq!((stats.emitted, stats.stored, dropped(&stats, LossReason::Invalid)), (101, 100, 1));
    assert_proven(&store, &stats);
    assert_eq!(store.account(stats.emitter).service, "orders");
    assert_eq!(store.seqs(stats.emitter), (1..=100).collect::<Vec<_>>());
    emitter.record(event());
    assert_eq!(dropped(&emitter.stats(), LossReason::Shutdown), 1);
    assert_eq!(emitter.shutdown(LONG), emitter.stats(), "a second shutdown changes nothing");
}

#[test]
fn whichever_put_fails_and_however_nothing_disappears() {
    for fault in Fault::ALL {
        for nth in 0..8 {
            for spill in [false, true] {
                let store = FaultyStore::new(move |n, _| if n == nth { fault } else { Fault::None });
                let folder = tempfile::tempdir().unwrap();
                let emitter = match spill {
                    true => with_spill(&store, folder.path().join("spill"), 5),
                    false => emitter(&store),
                };
                // For good is for good: only an event that was put alone is lost by it.
                let is_final = matches!(fault, Fault::Refused | Fault::Panics | Fault::StoredButShort);
                for n in 0..20 {
                    if n % 5 == 0 {
                        let loss = emitter.emit(event()).wait().err().map(|error| error.loss());
                        let expected = loss.is_none() || (is_final && loss == Some(Some(LossReason::Refused)));
                        assert!(expected, "{fault:?} at {nth}: {loss:?}");
                    } else {
                        emitter.record(event());
                    }
                }
                let stats = emitter.shutdown(LONG);
                let lost = dropped(&stats, LossReason::Refused);
                assert!(lost <= u64::from(is_final), "{fault:?} at {nth}, spill {spill}: {stats:?}");
                assert_eq!(
                    (stats.emitted, stats.stored + lost),
                    (20, 20),
                    "{fault:?} at {nth}, spill {spill}: {stats:?}"
                );
                // A store that answers for fewer events than it stores cannot be believed.
                if fault != Fault::StoredButShort || lost == 0 {
                    assert_proven(&store, &stats);
                }
            }
        }
    }
}

#[test]
fn one_poison_event_is_found_and_the_others_are_stored() {
    let poison = |event: &Event| event.seq == 613;
    let store =
        FaultyStore::new(move |_, batch| if batch.events.iter().any(poison) { Fault::Refused } else { Fault::None });
    let emitter = fixed(Emitter::builder(store.clone()), 1).batch(1_000, Duration::from_millis(20)).start().unwrap();
    for _ in 0..1_000 {
        emitter.record(event());
    }
    let stats = emitter.shutdown(LONG);
    assert_eq!((stats.stored, dropped(&stats, LossReason::Refused)), (999, 1), "{stats:?}");
    assert_proven(&store, &stats);
    assert!(!store.seqs(stats.emitter).contains(&613));
    assert!(store.puts() < 60, "{} puts", store.puts());
}

#[test]
fn what_the_store_refuses_by_row_is_counted_by_its_reason() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = emitter(&store);
    let day = 86_400_000_000_000;
    let ids = (TraceId::new(1).unwrap(), SpanId::new(1).unwrap());
    let at = |timestamp| Event::new(ids.0, ids.1, "stage:completed", timestamp);
    let old = emitter.emit(at(NOW - 100 * day)).wait().unwrap_err();
    assert_eq!((old.loss(), old.is_kept()), (Some(LossReason::TooOld), false));
    assert_eq!(old.to_string(), "the event is not stored (too_old): the store refused the event for good");
    assert_eq!(emitter.emit(at(NOW + 2 * day)).wait().unwrap_err().loss(), Some(LossReason::TooFarAhead));
    assert_eq!(emitter.emit(at(NOW)).wait(), Ok(()));
    let stats = emitter.shutdown(LONG);
    assert_proven(&store, &stats);
}

#[test]
fn a_store_that_is_away_costs_three_retries_and_the_error_says_so() {
    let store = FaultyStore::new(|_, batch| if batch.events.is_empty() { Fault::None } else { Fault::Away });
    let emitter = emitter(&store);
    let error = emitter.emit(event()).wait().unwrap_err();
    let expected = "the event is not stored (retry_exhausted): the store was away at 4 tries: away";
    assert_eq!((error.to_string().as_str(), error.loss()), (expected, Some(LossReason::RetryExhausted)));
    let stats = emitter.shutdown(LONG);
    assert_eq!(dropped(&stats, LossReason::RetryExhausted), 1);
    assert_proven(&store, &stats);
}

#[test]
fn with_a_spill_file_an_outage_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let store = FaultyStore::new(move |_, _| if away.load(SeqCst) { Fault::Away } else { Fault::None });
    let builder = quick(Emitter::builder(store.clone()), 2).queue(100, 1 << 20);
    let emitter = builder.spill(folder.path().join("spill"), 1 << 20).start().unwrap();
    let error = emitter.emit(event()).wait().unwrap_err();
    assert!(error.is_kept() && error.loss().is_none(), "{error}");
    // Far more than may wait in memory, as fast as the file takes them.
    for n in 0..1_000 {
        emitter.record(event());
        if n % 20 == 0 {
            let spilled = || emitter.stats().queued == 0;
            assert!(until(spilled), "{:?}", emitter.stats());
        }
    }
    assert!(!emitter.flush(Duration::from_millis(20)).wait(), "what is spilled is not flushed");
    let stats = emitter.stats();
    assert_eq!((stats.stored, stats.dropped.len(), stats.spilled), (0, 0, 1_001), "{stats:?}");
    assert_adds_up(&stats);
    is_away.store(false, SeqCst);
    assert!(emitter.flush(LONG).wait(), "{:?}", emitter.stats());
    let stats = emitter.shutdown(LONG);
    assert_eq!((stats.stored, stats.spilled), (1_001, 0), "{stats:?}");
    assert_proven(&store, &stats);
}

#[test]
fn what_a_process_left_in_its_spill_file_the_next_one_stores_under_the_old_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spill");
    let away = FaultyStore::new(|_, _| Fault::Away);
    let emitter = with_spill(&away, file.clone(), 7);
    for _ in 0..50 {
        emitter.record(event());
    }
    let first = emitter.shutdown(Duration::from_millis(30));
    assert_eq!((first.spilled, first.stored, first.queued), (50, 0, 0), "{first:?}");
    assert_adds_up(&first);

    let store = FaultyStore::new(|n, _| if n == 1 { Fault::StoredButAway } else { Fault::None });
    let emitter = with_spill(&store, file, 8);
    emitter.record(event());
    let second = emitter.shutdown(LONG);
    assert_eq!((second.emitted, second.stored, second.replayed, second.damaged), (1, 1, 50, 0), "{second:?}");
    assert_proven(&store, &second);
    assert_eq!(store.seqs(first.emitter), (1..=50).collect::<Vec<_>>());
    let account = store.account(first.emitter);
    assert_eq!((account.emitted, account.stored), (50, 50), "the last account came through the file too");
}

#[test]
fn what_the_store_refuses_of_an_earlier_process_is_added_to_that_ones_account() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spill");
    let away = FaultyStore::new(|_, _| Fault::Away);
    let emitter = with_spill(&away, file.clone(), 7);
    let ids = (TraceId::new(1).unwrap(), SpanId::new(1).unwrap());
    for n in 0..60 {
        let old = NOW - 100 * 86_400_000_000_000 + n;
        emitter.record(Event::new(ids.0, ids.1, "stage:completed", if n % 10 == 0 { old } else { NOW + n }));
    }
    let first = emitter.shutdown(Duration::from_millis(30));
    assert_eq!(first.spilled, 60);
    // The next one is ended before it has read all, the one after that begins anew.
    for seed in 8..10 {
        let faults = move |n, _: &_| if seed == 8 && n > 3 { Fault::Away } else { Fault::None };
        let store = FaultyStore::new(faults);
        let time = if seed == 8 { Duration::from_millis(100) } else { LONG };
        let stats = with_spill(&store, file.clone(), seed).shutdown(time);
        if seed == 9 {
            assert_eq!((stats.replayed, stats.replay_lost), (54, 6), "{stats:?}");
            let account = store.account(first.emitter);
            assert_eq!((account.emitted, account.stored, account.dropped["too_old"]), (60, 54, 6), "{account:?}");
        }
    }
}

#[test]
fn a_full_spill_file_and_a_full_queue_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let store = FaultyStore::new(move |_, _| if away.load(SeqCst) { Fault::Away } else { Fault::None });
    let builder = quick(Emitter::builder(store.clone()), 2).queue(40, 1 << 20);
    let emitter = builder.spill(folder.path().join("spill"), 10_000).start().unwrap();
    assert!(until(|| {
        emitter.record(event());
        let stats = emitter.stats();
        stats.spilled > 10 && dropped(&stats, LossReason::QueueFull) > 0
    }));
    let stats = emitter.stats();
    assert!(stats.spilled < 60 && stats.queued <= 40, "{stats:?}");
    assert_adds_up(&stats);
    is_away.store(false, SeqCst);
    assert!(emitter.flush(LONG).wait());
    let stats = emitter.shutdown(LONG);
    assert_eq!(stats.spilled, 0);
    assert_proven(&store, &stats);
}

#[test]
fn records_that_were_damaged_meanwhile_are_counted_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spill");
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let store = FaultyStore::new(move |_, _| if away.load(SeqCst) { Fault::Away } else { Fault::None });
    let emitter = with_spill(&store, file.clone(), 2);
    for _ in 0..30 {
        emitter.record(event());
    }
    assert!(until(|| emitter.stats().spilled == 30), "{:?}", emitter.stats());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&file, bytes).unwrap();
    is_away.store(false, SeqCst);
    assert!(emitter.flush(LONG).wait());
    let stats = emitter.shutdown(LONG);
    let lost = dropped(&stats, LossReason::SpillDamaged);
    // One record; it may have been an account.
    assert!(lost <= 1 && stats.damaged == 1 && stats.stored == 30 - lost, "{stats:?}");
    assert_proven(&store, &stats);
}

#[test]
fn a_store_that_hangs_costs_bounded_memory_and_no_time_at_the_end() {
    for spill in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = FaultyStore::new(|_, _| Fault::Hangs);
        let mut builder =
            fixed(Emitter::builder(store.clone()), 1).queue(500, 100_000).batch(50, Duration::from_millis(1));
        if spill {
            builder = builder.spill(folder.path().join("spill"), 1 << 30);
        }
        let emitter = builder.start().unwrap();
        let waiting = emitter.emit(event());
        for _ in 0..5_000 {
            emitter.record(event().data("text", "x".repeat(100)));
        }
        let stats = emitter.stats();
        assert!(stats.queued <= 500, "{stats:?}");
        assert_adds_up(&stats);
        let began = Instant::now();
        let stats = emitter.shutdown(Duration::from_millis(100));
        assert!(began.elapsed() < HUNG, "{:?}", began.elapsed());
        assert_eq!(stats.queued, 0);
        assert_adds_up(&stats);
        assert!(stats.stored == 0 && (stats.spilled > 0) == spill, "{stats:?}");
        let error = waiting.wait().unwrap_err();
        assert!(error.is_kept() == spill && error.loss() == (!spill).then_some(LossReason::Shutdown), "{error}");
    }
}

/// A store must not do this, but one might.
#[test]
fn a_store_that_blocks_the_writer_does_not_block_the_shutdown() {
    let (sender, entered) = mpsc::sync_channel(1);
    let hangs = Arc::new(parking_lot::Mutex::new(()));
    let held = hangs.lock();
    let blocked = Arc::clone(&hangs);
    let store = FaultyStore::new(move |_, _| {
        let _ = sender.try_send(());
        drop(blocked.lock());
        Fault::None
    });
    let emitter = emitter(&store);
    let waiting = emitter.emit(event());
    entered.recv().unwrap();
    for _ in 0..10 {
        emitter.record(event());
    }
    let began = Instant::now();
    let stats = emitter.shutdown(Duration::from_millis(50));
    assert!(began.elapsed() < HUNG, "{:?}", began.elapsed());
    assert_eq!((stats.emitted, stats.queued, dropped(&stats, LossReason::Shutdown)), (11, 0, 11), "{stats:?}");
    assert_eq!(waiting.wait().unwrap_err().loss(), Some(LossReason::Shutdown));
    drop(held);
    assert_eq!(emitter.shutdown(LONG).dropped, stats.dropped, "a writer that comes back changes nothing");
}

#[test]
fn an_emitter_that_nobody_has_any_more_puts_what_it_has_and_ends() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = emitter(&store);
    let number = emitter.number();
    for _ in 0..10 {
        emitter.record(event());
    }
    drop(emitter);
    assert!(until(|| Arc::strong_count(&store) == 1), "the writer's thread has ended");
    let account = store.account(number);
    assert_eq!((account.emitted, account.stored), (10, 10));
}

#[test]
fn an_account_that_changed_without_an_event_is_put_alone() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = emitter(&store);
    emitter.record(Event::draft(""));
    assert!(until(|| store.account(emitter.number()).dropped.get("invalid") == Some(&1)));
    emitter.shutdown(LONG);
}

#[test]
fn a_flush_ends_when_what_came_before_is_stored_although_more_comes() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = emitter(&store);
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), emitter.clone());
    let goes_on = Arc::clone(&stop);
    let others = std::thread::spawn(move || {
        while !goes_on.load(SeqCst) {
            stopped.record(event());
            std::thread::yield_now();
        }
    });
    for _ in 0..20 {
        emitter.record(event());
        let emitted = emitter.stats().emitted;
        assert!(emitter.flush(LONG).wait());
        assert!(emitter.stats().stored + emitter.stats().dropped.values().sum::<u64>() >= emitted);
    }
    stop.store(true, SeqCst);
    others.join().unwrap();
    assert_proven(&store, &emitter.shutdown(LONG));
}

#[test]
fn the_numbers_of_many_threads_have_no_gaps() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = fixed(Emitter::builder(store.clone()), 1).queue(200_000, 1 << 30).start().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let emitter = &emitter;
            scope.spawn(move || {
                for n in 0..1_000 {
                    match (thread + n) % 100 {
                        0 => emitter.emit(event()).wait().unwrap(),
                        _ => emitter.record(event()),
                    }
                    if n % 50 == 0 {
                        assert_adds_up(&emitter.stats());
                    }
                }
            });
        }
    });
    let stats = emitter.shutdown(LONG);
    assert_eq!(stats.stored, 8_000);
    assert_eq!(store.seqs(stats.emitter), (1..=8_000).collect::<Vec<_>>());
    assert_proven(&store, &stats);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any faults in any order, with or without a spill file, small queues: the sums hold at every moment, nothing is stored
    /// twice, and with a later process over the same file everything is accounted for from the store alone.
    #[test]
    fn whatever_the_store_does_the_sums_hold(
        faults in prop::collection::vec(prop::sample::select(Fault::ALL.to_vec()), 0..30),
        calls in prop::collection::vec(0_u8..10, 1..80),
        queue in 5_usize..60,
        spill in prop::option::of(500_u64..20_000),
        seed in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spill");
        let store = FaultyStore::new(move |n, _| faults.get(n).copied().unwrap_or(Fault::None));
        let mut builder = quick(Emitter::builder(store.clone()), seed).queue(queue, 1 << 20);
        if let Some(bytes) = spill {
            builder = builder.spill(file.clone(), bytes);
        }
        let emitter = builder.start().unwrap();
        let mut waiting = Vec::new();
        for call in &calls {
            match call {
                0 => waiting.push(emitter.emit(event())),
                1 => emitter.record(Event::draft("")),
                2 => assert_adds_up(&emitter.stats()),
                _ => emitter.record(event()),
            }
        }
        let outcomes: Vec<_> = waiting.into_iter().map(|emit| emit.wait()).collect();
        assert_adds_up(&emitter.stats());
        let stats = emitter.shutdown(LONG);
        assert_adds_up(&stats);
        prop_assert_eq!(stats.queued, 0);
        prop_assert_eq!(stats.emitted, calls.iter().filter(|call| **call != 2).count() as u64);
        let seqs = store.seqs(stats.emitter);
        prop_assert!(seqs.is_sorted_by(|a, b| a < b), "{:?}", seqs);
        // What was stored behind an answer that said otherwise may be more than is known.
        prop_assert!(seqs.len() as u64 >= stats.stored, "{:?} {:?}", seqs, stats);
        let succeeded = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        prop_assert!(succeeded <= stats.stored);
        if spill.is_some() {
            let next = with_spill(&store, file, seed ^ 1);
            let replayed = next.shutdown(LONG);
            prop_assert_eq!((replayed.spilled, replayed.damaged), (0, 0));
            prop_assert!(replayed.replayed >= stats.spilled, "{:?} {:?}", stats, replayed);
        }
        let account = store.account(stats.emitter);
        prop_assert_eq!(account.emitted, stats.emitted);
        let known = account.stored + account.dropped.values().sum::<u64>();
        prop_assert!(known >= account.emitted, "{:?}", account);
    }
}

/// Waits for something that another thread does; not for ever.
fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < LONG {
        if is_so() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
