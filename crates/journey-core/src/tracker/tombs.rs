//! Ids of journeys that are gone, remembered for a while so that a late checkpoint is not taken for a new journey.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::drops::DropReason;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tomb {
    /// Why a late checkpoint is dropped.
    pub(super) reason: DropReason,
    /// The last generation of the id.
    pub(super) generation: u32,
    until: i64,
}

/// A bounded memory of gone ids, by their hash.
#[derive(Debug)]
pub(super) struct Tombs {
    by_hash: HashMap<u64, Tomb, RandomState>,
    order: VecDeque<u64>,
    most: usize,
}

impl Tombs {
    pub(super) fn new(most: usize) -> Self {
        Self { by_hash: HashMap::default(), order: VecDeque::new(), most }
    }

    /// Remembers an id until a time, at most. Of several generations the newest counts, in whatever order they go.
    pub(super) fn bury(&mut self, hash: u64, reason: DropReason, generation: u32, until: i64) {
        match self.by_hash.get_mut(&hash) {
            Some(tomb) if tomb.generation > generation => tomb.until = tomb.until.max(until),
            Some(tomb) => *tomb = Tomb { reason, generation, until },
            None => {
                self.by_hash.insert(hash, Tomb { reason, generation, until });
                self.order.push_back(hash);
            }
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.by_hash.remove(&oldest);
            }
        }
    }

    /// What is remembered of an id.
    pub(super) fn get(&self, hash: u64, now: i64) -> Option<Tomb> {
        self.by_hash.get(&hash).filter(|tomb| tomb.until > now).copied()
    }

    /// Forgets at most `most` ids whose time is over.
    pub(super) fn sweep(&mut self, now: i64, most: usize) {
        for _ in 0..most {
            let Some(oldest) = self.order.front().copied() else { return };
            if self.by_hash.get(&oldest).is_some_and(|tomb| tomb.until > now) {
                return;
            }
            self.order.pop_front();
            self.by_hash.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_until_their_time_or_until_there_are_too_many() {
        let mut tombs = Tombs::new(2);
        tombs.bury(1, DropReason::Late, 1, 10);
        assert_eq!(tombs.get(1, 9).map(|tomb| tomb.reason), Some(DropReason::Late));
        assert_eq!(tombs.get(1, 10), None);
        tombs.bury(2, DropReason::Evicted, 1, 20);
        tombs.bury(3, DropReason::Late, 1, 30);
        assert_eq!(tombs.get(1, 0), None);
        tombs.sweep(25, 10);
        assert_eq!((tombs.get(2, 0), tombs.get(3, 25).is_some()), (None, true));
    }
}
