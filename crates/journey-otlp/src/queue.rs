//! Journeys that wait for export: bounded, the newest dropped, every one accounted for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// No item waits longer for company, whatever was asked for.
const LONGEST_DELAY: Duration = Duration::from_secs(3_600);

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The destination took it.
    Exported,
    /// There was no room for it.
    QueueFull,
    /// The exporter was shut down before it could go out.
    Shutdown,
    /// The destination refused it for good.
    Refused,
    /// The destination failed too often.
    GivenUp,
}

/// Counters at one instant: `offered = exported + lost + unsettled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) queued: u64,
    /// Queued, or being exported.
    pub(crate) unsettled: u64,
    fates: [u64; Fate::ALL.len()],
}

/// A bounded queue between any number of threads that never wait, and one task that takes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    capacity: usize,
    batch_size: usize,
    delay: Duration,
    /// Wakes the task that takes.
    wake: Notify,
    /// Wakes those who wait in [`Queue::flush`].
    settled: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    /// When the oldest of them came, or the oldest that was left behind by the last batch.
    first_at: Option<Instant>,
    /// Items that ever got in.
    accepted: u64,
    /// Items that got in and met their fate.
    settled: u64,
    /// Up to this many accepted items somebody waits for.
    flush_to: u64,
    fates: [u64; Fate::ALL.len()],
    closed: bool,
}

impl Fate {
    pub(crate) const ALL: [Self; 5] = [Self::Exported, Self::QueueFull, Self::Shutdown, Self::Refused, Self::GivenUp];

    /// The word in reports and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::QueueFull => "queue_full",
            Self::Shutdown => "shutdown",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
        }
    }
}

impl Figures {
    pub(crate) fn of(&self, fate: Fate) -> u64 {
        self.fates[fate as usize]
    }

    /// Everything that was not exported, by reason.
    pub(crate) fn lost(&self) -> Vec<(&'static str, u64)> {
        Fate::ALL[1..].iter().map(|fate| (fate.as_str(), self.of(*fate))).collect()
    }
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize, batch_size: usize, delay: Duration) -> Self {
        let inner = Inner {
            items: VecDeque::new(),
            first_at: None,
            accepted: 0,
            settled: 0,
            flush_to: 0,
            fates: [0; Fate::ALL.len()],
            closed: false,
        };
        Self {
            inner: Mutex::new(inner),
            capacity,
            batch_size: batch_size.min(capacity),
            delay: delay.min(LONGEST_DELAY),
            wake: Notify::new(),
            settled: Condvar::new(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counts an item as offered and says whether it would be taken: where not, it need not be built.
    pub(crate) fn has_room(&self) -> bool {
        let mut inner = self.inner.lock();
        let refusal = self.refusal(&inner);
        if let Some(fate) = refusal {
            inner.fates[fate as usize] += 1;
        }
        refusal.is_none()
    }

    /// Takes an item, or drops it and counts why.
    pub(crate) fn push(&self, item: T) -> bool {
        let mut inner = self.inner.lock();
        if let Some(fate) = self.refusal(&inner) {
            inner.fates[fate as usize] += 1;
            return false;
        }
        inner.items.push_back(item);
        inner.accepted += 1;
        inner.first_at.get_or_insert_with(Instant::now);
        let length = inner.items.len();
        drop(inner);
        // Once when the wait begins and once when it can end: between, the taker sleeps.
        if length == 1 || length == self.batch_size {
            self.wake.notify_one();
        }
        true
    }

    fn refusal(&self, inner: &Inner<T>) -> Option<Fate> {
        match (inner.closed, inner.items.len() < self.capacity) {
            (true, _) => Some(Fate::Shutdown),
            (false, false) => Some(Fate::QueueFull),
            (false, true) => None,
        }
    }

    /// Waits for a batch: enough items, the first waited long enough, a flush or the end. `false`: there will be none.
    pub(crate) async fn ready(&self) -> bool {
        loop {
            let due = {
                let inner = self.inner.lock();
                let taken = inner.accepted - inner.items.len() as u64;
                if inner.closed {
                    return !inner.items.is_empty();
                }
                let due = inner.first_at.map(|at| at + self.delay);
                let flushed = inner.flush_to > taken;
                if !inner.items.is_empty()
                    && (inner.items.len() >= self.batch_size || flushed || due.is_some_and(|due| due <= Instant::now()))
                {
                    return true;
                }
                due.filter(|_| !inner.items.is_empty())
            };
            match due {
                Some(due) => {
                    let _ = tokio::time::timeout_at(due.into(), self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Takes the oldest item. It counts as unsettled until [`Queue::settle`].
    pub(crate) fn pop(&self) -> Option<T> {
        let mut inner = self.inner.lock();
        let item = inner.items.pop_front();
        if inner.items.is_empty() {
            inner.first_at = None;
        }
        item
    }

    /// Counts what became of taken items.
    pub(crate) fn settle(&self, fate: Fate, items: u64) {
        let mut inner = self.inner.lock();
        inner.settled += items;
        inner.fates[fate as usize] += items;
        drop(inner);
        self.settled.notify_all();
    }

    /// Waits until everything that was taken before has met its fate; `true` when all of it was exported in time.
    pub(crate) fn flush(&self, until: Instant) -> bool {
        let mut inner = self.inner.lock();
        let target = inner.accepted;
        let lost = |inner: &Inner<T>| inner.settled - inner.fates[Fate::Exported as usize].min(inner.settled);
        let lost_before = lost(&inner);
        inner.flush_to = inner.flush_to.max(target);
        self.wake.notify_one();
        while inner.settled < target {
            if self.settled.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        inner.settled >= target && lost(&inner) == lost_before
    }

    /// Takes no more; what is there can still be taken out.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.wake.notify_one();
    }

    /// Takes no more and counts what is there as lost by the shutdown.
    pub(crate) fn abandon(&self) {
        let left = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            std::mem::take(&mut inner.items)
        };
        self.settle(Fate::Shutdown, left.len() as u64);
        self.wake.notify_one();
    }

    pub(crate) fn figures(&self) -> Figures {
        let inner = self.inner.lock();
        Figures { queued: inner.items.len() as u64, unsettled: inner.accepted - inner.settled, fates: inner.fates }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn block_on<R>(future: impl Future<Output = R>) -> R {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_newest_is_dropped_and_counted_when_there_is_no_room() {
        let queue = Queue::new(2, 2, LONG);
        let taken: Vec<bool> = (0..4).map(|n| queue.push(n)).collect();
        assert_eq!(taken, [true, true, false, false]);
        assert!(!queue.has_room());
        assert_eq!(queue.pop(), Some(0));
        assert!(queue.push(9));
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(9), None));
        assert_eq!(queue.figures().of(Fate::QueueFull), 3);
    }

    #[test]
    fn a_batch_is_ready_when_it_is_full_or_old_enough_or_asked_for() {
        let full = Queue::new(9, 2, LONG);
        full.push(1);
        full.push(2);
        assert!(block_on(full.ready()));
        let old = Queue::new(9, 5, Duration::from_millis(1));
        old.push(1);
        assert!(block_on(old.ready()));
        let asked = Arc::new(Queue::new(9, 5, LONG));
        asked.push(1);
        let taker = std::thread::spawn({
            let asked = Arc::clone(&asked);
            move || {
                assert!(block_on(asked.ready()));
                asked.pop();
                asked.settle(Fate::Exported, 1);
            }
        });
        assert!(asked.flush(Instant::now() + Duration::from_secs(20)));
        taker.join().unwrap();
    }

    #[test]
    fn a_flush_ends_at_its_deadline_and_says_what_was_lost() {
        let queue = Queue::new(9, 5, LONG);
        assert!(queue.flush(Instant::now()), "there is nothing to wait for");
        queue.push(1);
        assert!(!queue.flush(Instant::now() + Duration::from_millis(5)));
        let queue = Arc::new(Queue::new(9, 5, LONG));
        queue.push(1);
        let waiting = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.flush(Instant::now() + Duration::from_secs(20))
        });
        // Ready before its time only because the flush has begun.
        assert!(block_on(queue.ready()));
        queue.pop();
        queue.settle(Fate::Refused, 1);
        assert!(!waiting.join().unwrap());
    }

    #[test]
    fn a_closed_queue_takes_no_more_and_ends_when_it_is_empty() {
        let queue = Queue::new(9, 5, LONG);
        queue.push(1);
        queue.close();
        assert!(!queue.push(2));
        assert!(block_on(queue.ready()));
        queue.pop();
        queue.settle(Fate::Exported, 1);
        assert!(!block_on(queue.ready()));
        assert_eq!(queue.figures().lost(), [("queue_full", 0), ("shutdown", 1), ("refused", 0), ("given_up", 0)]);
    }

    proptest! {
        #[test]
        fn nothing_disappears(steps in prop::collection::vec(0..6_u8, 0..200)) {
            let queue = Queue::new(4, 2, LONG);
            let mut offered = 0;
            let mut taken = 0;
            for step in steps {
                match step {
                    0..=2 => { offered += 1; queue.push(()); }
                    3 => taken += u64::from(queue.pop().is_some()),
                    4 => { queue.settle(Fate::Exported, taken); taken = 0; }
                    _ => { queue.settle(Fate::GivenUp, taken); taken = 0; }
                }
                let figures = queue.figures();
                let lost: u64 = figures.lost().iter().map(|(_, n)| n).sum();
                prop_assert_eq!(offered, figures.of(Fate::Exported) + lost + figures.unsettled);
            }
            queue.abandon();
            prop_assert_eq!(queue.figures().unsettled, taken);
        }
    }
}
