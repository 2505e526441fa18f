//! The application's side of the hand-off to the tracker: it never waits, and every loss is counted.

use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::Thread,
    time::{Duration, Instant},
};

use crossbeam_queue::ArrayQueue;
use journey_core::{Checkpoint, CorrelationId, DropReason, Live, RouteIndex, Status};
use parking_lot::{Condvar, Mutex};

use crate::sighting::{FullRecord, StageRecord};

/// How many messages may wait where nothing else is said: a second of 16 000 stages, about 2 MiB.
pub(crate) const DEFAULT_CAPACITY: usize = 16_384;
/// How long a flush that finds the queue full waits before it tries again.
const FULL_RETRY: Duration = Duration::from_millis(1);
/// A thread looks with every so many messages whether much is waiting; a power of two.
const LOOK_EVERY: u32 = 8;
/// In a queue of less room it looks with every message, so that half of the room is enough for what threads do unseen.
const LARGE: usize = 8_192;

thread_local! {
    /// Messages that this thread offered.
    static OFFERED: Cell<u32> = const { Cell::new(0) };
}

/// A bounded queue with many producers and one consumer.
pub(crate) struct Intake {
    queue: ArrayQueue<Message>,
    /// Checkpoints lost by reason, since [`Intake::settle`] ran last.
    lost: [AtomicU64; DropReason::ALL.len()],
    /// Messages lost that are no checkpoints.
    lost_others: AtomicU64,
    /// Nothing is taken any more.
    closed: AtomicBool,
    /// The consumer is parked and may be woken, once.
    sleeping: AtomicBool,
    consumer: OnceLock<Thread>,
    /// A thread looks whether much is waiting where the number of its message has none of these bits.
    look_mask: u32,
}

/// What the application's side has to say to the tracker.
pub(crate) enum Message {
    /// A stage that was reached.
    Stage(StageRecord),
    /// An attempt at a stage of which more is to be told.
    Full(Box<FullRecord>),
    /// A sighting that is a checkpoint already.
    Checkpoint(Box<Checkpoint>),
    /// A journey ends explicitly.
    Finish(Box<Finish>),
    /// A named piece of work took this long.
    Operation {
        /// Its name.
        name: Arc<str>,
        /// How long it took.
        nanos: u64,
    },
    /// Everything before this is in the tracker when the signal is given.
    Flush(Arc<Flushed>),
}

/// The explicit end of a journey.
pub(crate) struct Finish {
    pub(crate) id: CorrelationId,
    pub(crate) route: RouteIndex,
    pub(crate) status: Status,
    /// Why, where it failed.
    pub(crate) reason: Option<Box<str>>,
}

/// A signal that is given once.
#[derive(Default)]
pub(crate) struct Flushed {
    done: Mutex<bool>,
    given: Condvar,
}

impl Intake {
    /// An open queue for `capacity` messages, at least 1.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: ArrayQueue::new(capacity.max(1)),
            lost: Default::default(),
            lost_others: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            consumer: OnceLock::new(),
            look_mask: if capacity < LARGE { 0 } else { LOOK_EVERY - 1 },
        })
    }

    /// Hands one message over; where there is no room it is dropped and counted. Never waits.
    // In line: the message is then made where the queue takes it from.
    #[inline(always)]
    pub(crate) fn offer(&self, message: Message) {
        if let Err(message) = self.queue.push(message) {
            return self.refuse(message);
        }
        let offered = OFFERED.get();
        OFFERED.set(offered.wrapping_add(1));
        if offered & self.look_mask == 0 {
            self.look();
        }
        // After the push, and sequentially consistent with `close`: either the consumer's last drain sees the message,
        // or this sees that the queue is closed.
        if self.closed.load(SeqCst) {
            self.refuse_rest();
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, message: Message) {
        self.count(&message, DropReason::QueueFull);
        self.wake();
    }

    /// Wakes the consumer where it sleeps and much is waiting.
    #[inline(never)]
    fn look(&self) {
        // While the consumer is awake, nothing more is paid.
        if self.sleeping.load(Relaxed) && self.queue.len() > self.queue.capacity() / 2 {
            self.wake();
        }
    }

    /// Counts checkpoints that were lost before they could be offered.
    pub(crate) fn count_lost(&self, reason: DropReason, count: u64) {
        self.lost[reason as usize].fetch_add(count, Relaxed);
    }

    /// Waits until everything offered before is in the tracker; `false` where that takes longer than `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let flushed = Arc::new(Flushed::default());
        let mut message = Message::Flush(Arc::clone(&flushed));
        while let Err(refused) = self.queue.push(message) {
            if Instant::now() >= deadline || self.closed.load(SeqCst) {
                return false;
            }
            message = refused;
            self.wake_now();
            std::thread::park_timeout(FULL_RETRY);
        }
        if self.closed.load(SeqCst) {
            // Nobody will answer. What was offered before the close is in the tracker or counted.
            self.refuse_rest();
            return false;
        }
        self.wake_now();
        flushed.wait_until(deadline)
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Messages that can wait.
    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Finishes, operations and flushes that were lost; checkpoints are counted by the tracker.
    pub(crate) fn lost_others(&self) -> u64 {
        self.lost_others.load(Relaxed)
    }

    /// Takes the oldest message.
    pub(crate) fn take(&self) -> Option<Message> {
        self.queue.pop()
    }

    /// Tells the tracker about losses since the last call. The worker does so with every batch; after it has stopped,
    /// whoever reads the accounting calls this first.
    pub(crate) fn settle(&self, live: &Live) {
        let lost = DropReason::ALL.map(|reason| (reason, self.lost[reason as usize].swap(0, Relaxed)));
        if lost.iter().any(|(_, count)| *count > 0) {
            live.write(|tracker, _| {
                for (reason, count) in lost.into_iter().filter(|(_, count)| *count > 0) {
                    tracker.count_lost(reason, count);
                }
            });
        }
    }

    /// From now on everything offered is counted as `shutdown`.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Drops everything that waits, counted as `shutdown`.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse_rest(&self) {
        while let Some(message) = self.queue.pop() {
            self.count(&message, DropReason::Shutdown);
        }
    }

    /// Names the thread that takes messages.
    pub(crate) fn consumed_by(&self, thread: Thread) {
        // There is one consumer; a second call is a mistake of ours that must not change whom producers wake.
        let _ = self.consumer.set(thread);
    }

    /// Parks the consumer for at most `timeout`, unless half of the queue is already used or it is woken.
    pub(crate) fn park(&self, timeout: Duration) {
        self.sleeping.store(true, SeqCst);
        if self.queue.len() <= self.queue.capacity() / 2 {
            std::thread::park_timeout(timeout);
        }
        self.sleeping.store(false, SeqCst);
    }

    /// Wakes the consumer now, whatever waits.
    pub(crate) fn wake_now(&self) {
        self.sleeping.store(false, SeqCst);
        if let Some(thread) = self.consumer.get() {
            thread.unpark();
        }
    }

    /// Wakes the consumer where nobody else did since it went to sleep: an unpark costs more than a whole stage.
    #[cold]
    fn wake(&self) {
        if self.sleeping.swap(false, SeqCst)
            && let Some(thread) = self.consumer.get()
        {
            thread.unpark();
        }
    }

    fn count(&self, message: &Message, reason: DropReason) {
        match message {
            Message::Stage(_) | Message::Full(_) | Message::Checkpoint(_) => self.count_lost(reason, 1),
            Message::Finish(_) | Message::Operation { .. } | Message::Flush(_) => {
                self.lost_others.fetch_add(1, Relaxed);
            }
        }
    }

    /// Losses that the tracker does not know yet.
    #[cfg(test)]
    pub(crate) fn unsettled(&self, reason: DropReason) -> u64 {
        self.lost[reason as usize].load(Relaxed)
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("len", &self.len()).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl Flushed {
    /// Gives the signal.
    pub(crate) fn give(&self) {
        *self.done.lock() = true;
        self.given.notify_all();
    }

    /// Waits for the signal; `false` where it is not given by the deadline.
    pub(crate) fn wait_until(&self, deadline: Instant) -> bool {
        let mut done = self.done.lock();
        while !*done {
            if self.given.wait_until(&mut done, deadline).timed_out() {
                return *done;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use journey_core::{StageIndex, StageRef};

    use super::*;

    fn checkpoint(number: i64) -> Message {
        let stage = StageRef { route: RouteIndex(0), stage: StageIndex(4) };
        Message::Checkpoint(Box::new(Checkpoint::reached(CorrelationId::new("msg_1").unwrap(), stage, number)))
    }

    #[test]
    fn what_finds_no_room_is_dropped_newest_first_and_counted() {
        let intake = Intake::new(4);
        (0..10).for_each(|number| intake.offer(checkpoint(number)));
        assert_eq!((intake.len(), intake.unsettled(DropReason::QueueFull)), (4, 6));
        let Some(Message::Checkpoint(oldest)) = intake.take() else { panic!("nothing there") };
        assert_eq!(oldest.at, 0);
    }

    #[test]
    fn losses_that_are_no_checkpoints_have_their_own_counter() {
        let intake = Intake::new(1);
        intake.offer(checkpoint(0));
        intake.offer(Message::Operation { name: "parse".into(), nanos: 1 });
        assert_eq!((intake.unsettled(DropReason::QueueFull), intake.lost_others()), (0, 1));
    }

    #[test]
    fn a_closed_intake_refuses_and_counts() {
        let intake = Intake::new(8);
        intake.offer(checkpoint(0));
        intake.close();
        intake.offer(checkpoint(1));
        // Whatever still waited is refused with it: nobody is there to take it.
        assert_eq!((intake.len(), intake.unsettled(DropReason::Shutdown)), (0, 2));
    }

    #[test]
    fn nothing_disappears_between_producers_and_a_close() {
        const EACH: u64 = 20_000;
        for _ in 0..5 {
            let intake = Intake::new(256);
            let taken = std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..EACH).for_each(|number| intake.offer(checkpoint(number as i64))));
                }
                // However fast the producers are, the close comes somewhere among their offers.
                let mut taken = (0..EACH / 2).filter(|_| intake.take().is_some()).count() as u64;
                intake.close();
                while intake.take().is_some() {
                    taken += 1;
                }
                taken
            });
            let lost = intake.unsettled(DropReason::QueueFull) + intake.unsettled(DropReason::Shutdown);
            assert_eq!((taken + lost, intake.len()), (2 * EACH, 0));
        }
    }

    #[test]
    fn a_flush_that_nobody_answers_ends_at_its_timeout() {
        let intake = Intake::new(2);
        assert!(!intake.flush(Duration::from_millis(5)));
        intake.offer(checkpoint(0));
        // Full: the flush cannot even be queued.
        assert!(!intake.flush(Duration::from_millis(5)));
    }
}
