//! The tracker's own thread: takes what waits in the intake, in bounded batches, and lets time pass.

use std::{
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use journey_core::{DropReason, Live, Tracker};
use parking_lot::{Condvar, Mutex};

use crate::{
    clock::ProcessClock,
    intake::{Finish, Flushed, Intake, Message},
    layer::Hushed,
};

/// Messages per hold of the tracker's lock: readers wait for at most so many.
const BATCH: usize = 256;
/// How often time passes for the tracker.
const TICK: Duration = Duration::from_millis(100);
/// The shortest and the longest sleep. The longest bounds how old a reader's picture can be; ten wakes a second cost
/// less than a millisecond of processor time.
const SHORTEST_PARK: Duration = Duration::from_millis(1);
const LONGEST_PARK: Duration = Duration::from_millis(100);
/// A wake that found fewer messages than this came too early, one that found eight times as many too late.
const WORTH_A_WAKE: usize = 64;

/// The running thread.
pub(crate) struct Worker {
    intake: Arc<Intake>,
    life: Arc<Life>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and its owner tell each other.
#[derive(Default)]
struct Life {
    stopping: AtomicBool,
    /// When stopping: what is queued after this is given up.
    give_up: Mutex<Option<Instant>>,
    ended: Mutex<bool>,
    end: Condvar,
    panics: AtomicU64,
}

impl Worker {
    /// Starts the thread `journey-tracker`.
    ///
    /// # Errors
    ///
    /// The operating system refused a thread.
    pub(crate) fn spawn(intake: Arc<Intake>, live: Arc<Live>, clock: ProcessClock) -> io::Result<Self> {
        let life = Arc::new(Life::default());
        let thread = thread::Builder::new().name("journey-tracker".to_owned()).spawn({
            let (intake, life) = (Arc::clone(&intake), Arc::clone(&life));
            move || {
                intake.consumed_by(thread::current());
                run(&intake, &live, &clock, &life);
            }
        })?;
        // Known before the first offer, which may come before the thread runs at all.
        intake.consumed_by(thread.thread().clone());
        Ok(Self { intake, life, thread: Mutex::new(Some(thread)) })
    }

    /// Takes what is queued, closes the intake and ends the thread; what is not taken within `deadline` is counted as
    /// `shutdown`. `false` where the thread did not end in time. A second call waits for the same end.
    pub(crate) fn stop(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        self.life.give_up.lock().get_or_insert(until);
        self.life.stopping.store(true, Release);
        self.intake.wake_now();
        let ended = self.life.wait_until(until);
        if ended {
            if let Some(thread) = self.thread.lock().take() {
                // It has said that it ends: this waits for nothing but the operating system.
                let _ = thread.join();
            }
        } else {
            self.intake.close();
            self.intake.refuse_rest();
        }
        ended
    }

    /// Batches that panicked inside: bugs of ours. The thread went on after each.
    pub(crate) fn panics(&self) -> u64 {
        self.life.panics.load(Relaxed)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without an owner nobody will ask for an end: it ends as soon as the queue is empty.
        self.life.give_up.lock().get_or_insert_with(Instant::now);
        self.life.stopping.store(true, Release);
        self.intake.wake_now();
    }
}

impl Life {
    fn wait_until(&self, until: Instant) -> bool {
        let mut ended = self.ended.lock();
        while !*ended {
            if self.end.wait_until(&mut ended, until).timed_out() {
                return *ended;
            }
        }
        true
    }

    fn given_up(&self) -> bool {
        self.give_up.lock().is_some_and(|until| Instant::now() >= until)
    }
}

fn run(intake: &Intake, live: &Live, clock: &ProcessClock, life: &Life) {
    // Our own layer does not look at this thread. A scoped `NoSubscriber` would hide it from every other layer too, but
    // one scoped subscriber anywhere makes each span and event of the whole process take tracing's slow path.
    let _hushed = Hushed::new();
    let mut park = SHORTEST_PARK;
    let mut next_tick = Instant::now() + TICK;
    while !life.stopping.load(Acquire) {
        let taken = drain(intake, live, clock, life, || life.stopping.load(Acquire));
        if Instant::now() >= next_tick {
            clock.observe();
            guarded(life, || live.tick());
            next_tick = Instant::now() + TICK;
        }
        park = next_park(park, taken);
        intake.park(park.min(next_tick.saturating_duration_since(Instant::now())));
    }

    drain(intake, live, clock, life, || life.given_up());
    intake.close();
    // What came between the drain and the close.
    drain(intake, live, clock, life, || life.given_up());
    intake.refuse_rest();
    guarded(life, || {
        intake.settle(live);
        live.tick();
    });
    *life.ended.lock() = true;
    life.end.notify_all();
}

/// Takes batches until the queue is empty or it is time to leave; returns how many messages were taken.
fn drain(intake: &Intake, live: &Live, clock: &ProcessClock, life: &Life, leave: impl Fn() -> bool) -> usize {
    let mut taken = 0;
    // Bounded by what waited at the start, so that a flood cannot keep the tracker from its ticks.
    let waiting = intake.len().max(BATCH);
    loop {
        let batch = take_batch(intake, live, clock, life);
        taken += batch;
        if batch < BATCH || taken >= waiting.next_multiple_of(BATCH) || leave() {
            return taken;
        }
    }
}

fn take_batch(intake: &Intake, live: &Live, clock: &ProcessClock, life: &Life) -> usize {
    let mut flushes: Vec<Arc<Flushed>> = Vec::new();
    let taken = Cell::new(0);
    let in_hand = Cell::new(false);
    let whole = guarded(life, || {
        intake.settle(live);
        // Nothing waits: the lock is left to the readers.
        if intake.len() == 0 {
            return;
        }
        // Before anything is taken: what was read by then lies between two looks at the clock.
        clock.observe();
        let times = clock.times();
        live.write(|tracker, now| {
            let sighting = |tracker: &mut Tracker, checkpoint| match checkpoint {
                Ok(checkpoint) => {
                    in_hand.set(true);
                    // Counted by the tracker either way.
                    let _ = tracker.record(checkpoint, now);
                    in_hand.set(false);
                }
                Err(reason) => tracker.count_lost(reason, 1),
            };
            while taken.get() < BATCH {
                let Some(message) = intake.take() else { break };
                taken.set(taken.get() + 1);
                match message {
                    Message::Stage(record) => sighting(tracker, record.checkpoint(live.routes(), &times)),
                    Message::Full(record) => sighting(tracker, record.checkpoint(live.routes(), &times)),
                    Message::Checkpoint(checkpoint) => sighting(tracker, Ok(*checkpoint)),
                    Message::Finish(finish) => {
                        let Finish { id, route, status, reason } = *finish;
                        tracker.finish(&id, route, status, reason.as_deref(), now);
                    }
                    Message::Operation { name, nanos } => tracker.operation(&name, nanos, now),
                    Message::Flush(flushed) => flushes.push(flushed),
                }
            }
        });
    });
    if !whole && in_hand.get() {
        intake.count_lost(DropReason::Internal, 1);
    }
    for flushed in flushes {
        flushed.give();
    }
    taken.get()
}

/// Runs a piece of work; a panic inside is a bug of ours that must not end the thread.
fn guarded(life: &Life, work: impl FnOnce()) -> bool {
    let whole = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !whole {
        life.panics.fetch_add(1, Relaxed);
    }
    whole
}

fn next_park(last: Duration, taken: usize) -> Duration {
    let next = match taken {
        0..WORTH_A_WAKE => last * 2,
        taken if taken > 8 * WORTH_A_WAKE => last / 2,
        _ => last,
    };
    next.clamp(SHORTEST_PARK, LONGEST_PARK)
}

#[cfg(test)]
mod tests {
    use journey_core::{
        Checkpoint, CorrelationId, FinishedSink, Journey, Limits, RouteIndex, Routes, Source, StageIndex, StageRef,
        Status, TraceIdKey, Window,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn live() -> Arc<Live> {
        let clock = ProcessClock::new();
        let now = Arc::new(move || clock.now());
        Live::new(Arc::new(Routes::default()), Source::default(), Limits::default(), TraceIdKey::default(), now)
    }

    fn checkpoint(id: &str, stage: u16, at: i64) -> Message {
        let stage = StageRef { route: RouteIndex(0), stage: StageIndex(stage) };
        Message::Checkpoint(Box::new(Checkpoint::reached(CorrelationId::new(id).unwrap(), stage, at)))
    }

    fn dropped(live: &Live, reason: DropReason) -> u64 {
        live.self_view().accounting.dropped[reason.as_str()]
    }

    fn recorded_and_offered(live: &Live) -> (u64, u64) {
        let accounting = live.self_view().accounting;
        (accounting.recorded, accounting.offered)
    }

    #[test]
    fn what_was_offered_before_a_flush_is_in_the_tracker_after_it() {
        let (intake, live) = (Intake::new(1_024), live());
        let worker = Worker::spawn(Arc::clone(&intake), Arc::clone(&live), ProcessClock::new()).unwrap();
        let now = live.now();
        for number in 0..500 {
            intake.offer(checkpoint(&format!("m{number}"), 4, now));
        }
        intake.offer(Message::Operation { name: "parse".into(), nanos: 1_000_000 });
        intake.count_lost(DropReason::NoId, 3);
        assert!(intake.flush(SOON));
        assert_eq!(recorded_and_offered(&live), (500, 503));
        assert_eq!(dropped(&live, DropReason::NoId), 3);
        assert!(live.journey("m499", None).is_some());
        assert!(worker.stop(SOON));
    }

    #[test]
    fn an_explicit_end_stands_behind_the_checkpoints_before_it() {
        let (intake, live) = (Intake::new(64), live());
        let worker = Worker::spawn(Arc::clone(&intake), Arc::clone(&live), ProcessClock::new()).unwrap();
        intake.offer(checkpoint("m", 1, live.now()));
        let id = CorrelationId::new("m").unwrap();
        let reason = Some("refused".into());
        let finish = Finish { id, route: RouteIndex(0), status: Status::Failed, reason };
        intake.offer(Message::Finish(Box::new(finish)));
        assert!(worker.stop(SOON));
        assert_eq!(live.journey("m", None).unwrap().status, "failed");
    }

    #[test]
    fn a_stop_takes_what_is_queued_and_counts_what_comes_later() {
        let (intake, live) = (Intake::new(16_384), live());
        let now = live.now();
        for number in 0..10_000 {
            intake.offer(checkpoint(&format!("m{number}"), 4, now));
        }
        let worker = Worker::spawn(Arc::clone(&intake), Arc::clone(&live), ProcessClock::new()).unwrap();
        assert!(worker.stop(SOON));
        assert!(worker.stop(SOON), "a second stop finds the same end");
        assert_eq!(recorded_and_offered(&live), (10_000, 10_000));
        intake.offer(checkpoint("late", 4, now));
        intake.settle(&live);
        assert_eq!((recorded_and_offered(&live), dropped(&live, DropReason::Shutdown)), ((10_000, 10_001), 1));
        let asked = Instant::now();
        assert!(
            !intake.flush(SOON) && asked.elapsed() < SOON / 2,
            "nobody is there to answer, and nobody waits for it"
        );
    }

    struct Panics;

    impl FinishedSink for Panics {
        fn finished(&self, _: &Journey) -> bool {
            panic!("a sink with a bug")
        }
    }

    #[derive(Default)]
    struct Hangs {
        reached: Flushed,
        let_go: Flushed,
    }

    impl FinishedSink for Hangs {
        fn finished(&self, _: &Journey) -> bool {
            self.reached.give();
            self.let_go.wait_until(Instant::now() + SOON)
        }
    }

    #[test]
    fn a_panic_on_the_trackers_thread_does_not_end_it() {
        let (intake, live) = (Intake::new(64), live());
        live.add_sink(Arc::new(Panics));
        let worker = Worker::spawn(Arc::clone(&intake), Arc::clone(&live), ProcessClock::new()).unwrap();
        let now = live.now();
        for stage in 0..12 {
            intake.offer(checkpoint("m", stage, now));
        }
        assert!(intake.flush(SOON));
        assert_eq!(worker.panics(), 1);
        intake.offer(checkpoint("next", 4, now));
        assert!(intake.flush(SOON));
        assert!(live.journey("next", None).is_some());
        assert_eq!(recorded_and_offered(&live), (13, 13));
        assert!(worker.stop(SOON));
    }

    #[test]
    fn a_stop_keeps_its_deadline_although_a_sink_hangs() {
        let (intake, live) = (Intake::new(64), live());
        let sink = Arc::new(Hangs::default());
        live.add_sink(Arc::clone(&sink) as _);
        let worker = Worker::spawn(Arc::clone(&intake), Arc::clone(&live), ProcessClock::new()).unwrap();
        for stage in 0..12 {
            intake.offer(checkpoint("m", stage, live.now()));
        }
        assert!(sink.reached.wait_until(Instant::now() + SOON));
        intake.offer(checkpoint("behind", 4, live.now()));
        let asked = Instant::now();
        assert!(!worker.stop(Duration::from_millis(20)));
        assert!(asked.elapsed() < SOON / 2);
        sink.let_go.give();
        assert!(worker.stop(SOON));
        assert_eq!((recorded_and_offered(&live), dropped(&live, DropReason::Shutdown)), ((12, 13), 1));
    }

    #[test]
    fn producers_that_outrun_the_tracker_lose_nothing_uncounted() {
        const EACH: u64 = 30_000;
        let (intake, live) = (Intake::new(512), live());
        let worker = Worker::spawn(Arc::clone(&intake), Arc::clone(&live), ProcessClock::new()).unwrap();
        let now = live.now();
        thread::scope(|scope| {
            for producer in 0..2 {
                let intake = &intake;
                scope.spawn(move || {
                    for number in 0..EACH {
                        intake.offer(checkpoint(&format!("m{producer}_{}", number % 1_000), 4, now + number as i64));
                    }
                });
            }
        });
        assert!(worker.stop(SOON));
        let accounting = live.self_view().accounting;
        assert_eq!(accounting.offered, 2 * EACH);
        assert_eq!(accounting.recorded + accounting.dropped.values().sum::<u64>(), accounting.offered);
        let _ = live.summary(None, Window::ALL[0]);
    }

    #[test]
    fn the_park_follows_the_load() {
        assert_eq!(next_park(SHORTEST_PARK, 0), SHORTEST_PARK * 2);
        assert_eq!(next_park(LONGEST_PARK, 0), LONGEST_PARK);
        assert_eq!(next_park(LONGEST_PARK, 10_000), LONGEST_PARK / 2);
        assert_eq!(next_park(SHORTEST_PARK, 10_000), SHORTEST_PARK);
        assert_eq!(next_park(LONGEST_PARK, WORTH_A_WAKE), LONGEST_PARK);
    }
}
