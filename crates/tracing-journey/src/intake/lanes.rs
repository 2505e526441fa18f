//! One bounded queue, made of several so that producers on different processors do not write the same cache line.
//!
//! A thread keeps to its lane. What it finds no room for there goes to another lane, so that there is room until all are
//! full. The consumer takes what was said first, by the reading that each message carries: of two messages, one of which
//! was pushed after the other had been, it takes that other one first, as one queue would.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;

/// Lanes of a queue that is large enough for several.
const LANES: usize = 8;
/// The least room in a lane.
const LEAST: usize = 64;

/// Something that was said at some time.
pub(super) trait Timed {
    /// Tells earlier from later: never greater for what was pushed before something else was.
    fn when(&self) -> u64;
}

/// A bounded queue with many producers.
pub(super) struct Lanes<T> {
    lanes: Box<[ArrayQueue<T>]>,
    /// Of each lane the next one to be taken, once it was looked at.
    heads: Mutex<Box<[Option<T>]>>,
}

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl<T: Timed> Lanes<T> {
    /// Room for `capacity`, at least 1.
    pub(super) fn new(capacity: usize) -> Self {
        let lanes = 1 << (capacity / LEAST).clamp(1, LANES).ilog2();
        Self {
            // Rounded down: what is asked for is the most that may wait.
            lanes: (0..lanes).map(|_| ArrayQueue::new((capacity / lanes).max(1))).collect(),
            heads: Mutex::new((0..lanes).map(|_| None).collect()),
        }
    }

    /// Adds something; gives it back where there is no room.
    #[inline]
    pub(super) fn push(&self, value: T) -> Result<(), T> {
        match self.lanes[self.own_lane()].push(value) {
            Ok(()) => Ok(()),
            Err(value) => self.push_elsewhere(value),
        }
    }

    /// Whether the lane of this thread is more than half full.
    pub(super) fn is_crowded(&self) -> bool {
        let lane = &self.lanes[self.own_lane()];
        lane.len() > lane.capacity() / 2
    }

    #[cold]
    fn push_elsewhere(&self, mut value: T) -> Result<(), T> {
        let own = self.own_lane();
        for other in 1..self.lanes.len() {
            match self.lanes[(own + other) % self.lanes.len()].push(value) {
                Ok(()) => return Ok(()),
                Err(refused) => value = refused,
            }
        }
        Err(value)
    }

    /// Takes what was said first.
    pub(super) fn pop(&self) -> Option<T> {
        let mut heads = self.heads.lock();
        let complete = self.fill(&mut heads);
        let mut first = first_of(&heads)?;
        // Whatever had been pushed when that one was is there now, also in lanes that were empty a moment ago.
        if !complete && self.fill_again(&mut heads) {
            first = first_of(&heads)?;
        }
        heads[first].take()
    }

    /// Looks at every lane; `false` where some were empty.
    fn fill(&self, heads: &mut [Option<T>]) -> bool {
        let mut complete = true;
        for (lane, head) in self.lanes.iter().zip(heads) {
            if head.is_none() {
                // Cheaper than a `pop` that finds nothing.
                *head = if lane.is_empty() { None } else { lane.pop() };
                complete &= head.is_some();
            }
        }
        complete
    }

    fn fill_again(&self, heads: &mut [Option<T>]) -> bool {
        let mut found = false;
        for (lane, head) in self.lanes.iter().zip(heads) {
            if head.is_none() && !lane.is_empty() {
                *head = lane.pop();
                found = true;
            }
        }
        found
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        let looked_at = self.heads.lock().iter().flatten().count();
        looked_at + self.lanes.iter().map(ArrayQueue::len).sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(ArrayQueue::is_empty) && self.heads.lock().iter().all(Option::is_none)
    }

    /// More than half of some lane is used.
    pub(super) fn any_crowded(&self) -> bool {
        self.lanes.iter().any(|lane| lane.len() > lane.capacity() / 2)
    }

    /// How many can wait.
    pub(super) fn capacity(&self) -> usize {
        self.lanes.iter().map(ArrayQueue::capacity).sum()
    }

    #[inline]
    fn own_lane(&self) -> usize {
        let lane = LANE.get();
        // A power of two of them.
        (if lane == usize::MAX { choose_lane() } else { lane }) & (self.lanes.len() - 1)
    }
}

/// The next lane for the next thread.
#[cold]
fn choose_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let lane = NEXT.fetch_add(1, Relaxed) % LANES;
    LANE.set(lane);
    lane
}

fn first_of<T: Timed>(heads: &[Option<T>]) -> Option<usize> {
    let times = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.when(), at)));
    times.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    impl Timed for (u64, usize) {
        fn when(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_lane_that_is_full_leaves_room_in_the_others() {
        let lanes = Lanes::new(1_024);
        assert_eq!((lanes.lanes.len(), lanes.capacity()), (8, 1_024));
        let taken = (0..2_000).take_while(|number| lanes.push((*number, 0)).is_ok()).count();
        assert_eq!((taken, lanes.len(), lanes.any_crowded()), (1_024, 1_024, true));
        let all: Vec<u64> = std::iter::from_fn(|| lanes.pop()).map(|(number, _)| number).collect();
        assert!(all.is_sorted() && all.len() == 1_024 && lanes.is_empty());
    }

    #[test]
    fn small_queues_have_one_lane() {
        for capacity in [0, 1, 2, 127] {
            assert_eq!((Lanes::<(u64, usize)>::new(capacity).lanes.len()), 1, "{capacity}");
        }
        assert_eq!(Lanes::<(u64, usize)>::new(0).capacity(), 1);
    }

    #[test]
    fn what_was_pushed_after_something_else_is_taken_after_it() {
        // Two threads take turns: each pushes only after it has seen that the other did.
        const TURNS: u64 = 20_000;
        let (lanes, turn) = (Lanes::new(65_536), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..2_u64 {
                let (lanes, turn) = (&lanes, &turn);
                scope.spawn(move || {
                    for number in (thread..TURNS).step_by(2) {
                        while turn.load(std::sync::atomic::Ordering::Acquire) != number {
                            std::thread::yield_now();
                        }
                        assert_eq!(lanes.push((number, thread as usize)), Ok(()));
                        turn.store(number + 1, std::sync::atomic::Ordering::Release);
                    }
                });
            }
            let mut next = 0;
            while next < TURNS {
                if let Some((number, _)) = lanes.pop() {
                    assert_eq!(number, next);
                    next += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
    }
}
