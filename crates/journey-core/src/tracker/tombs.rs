//! Ids of journeys that are gone, remembered for a while so that a late checkpoint is not taken for a new journey.

use super::{
    chunks::Chunks,
    index::{Chained, Index, NONE},
};
use crate::drops::DropReason;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tomb {
    /// Why a late checkpoint is dropped.
    pub(super) reason: DropReason,
    /// The last generation of the id.
    pub(super) generation: u32,
    until: i64,
    hash: u64,
    /// The next in its bucket; of a free place, the next free one.
    next: u32,
    /// The one buried after it.
    newer: u32,
}

/// A bounded memory of gone ids, by their hash.
#[derive(Debug)]
pub(super) struct Tombs {
    tombs: Chunks<Tomb>,
    free: u32,
    by_hash: Index,
    oldest: u32,
    newest: u32,
    len: usize,
    most: usize,
}

impl Tombs {
    pub(super) fn new(most: usize) -> Self {
        let tombs = Chunks::new();
        Self { tombs, free: NONE, by_hash: Index::new(), oldest: NONE, newest: NONE, len: 0, most }
    }

    /// Remembers an id until a time, at most. Of several generations the newest counts, in whatever order they go.
    pub(super) fn bury(&mut self, hash: u64, reason: DropReason, generation: u32, until: i64) {
        if let Some(place) = self.find(hash) {
            let tomb = self.tombs.get_mut(place);
            if tomb.generation > generation {
                tomb.until = tomb.until.max(until);
            } else {
                (tomb.reason, tomb.generation, tomb.until) = (reason, generation, until);
            }
            return;
        }
        let tomb = Tomb { reason, generation, until, hash, next: NONE, newer: NONE };
        let place = match self.free {
            NONE => self.tombs.push(tomb),
            free => {
                self.free = std::mem::replace(self.tombs.get_mut(free), tomb).next;
                free
            }
        };
        match self.newest {
            NONE => self.oldest = place,
            newest => self.tombs.get_mut(newest).newer = place,
        }
        self.newest = place;
        self.by_hash.insert(&mut self.tombs, place);
        self.len += 1;
        while self.len > self.most {
            self.forget_oldest();
        }
    }

    /// What is remembered of an id.
    pub(super) fn get(&self, hash: u64, now: i64) -> Option<Tomb> {
        self.find(hash).map(|place| *self.tombs.get(place)).filter(|tomb| tomb.until > now)
    }

    /// Forgets at most `most` ids whose time is over; `false` when there are no more of them.
    pub(super) fn sweep(&mut self, now: i64, most: usize) -> bool {
        for _ in 0..most {
            if self.oldest == NONE || self.tombs.get(self.oldest).until > now {
                return false;
            }
            self.forget_oldest();
        }
        true
    }

    fn find(&self, hash: u64) -> Option<u32> {
        self.by_hash.find(&self.tombs, hash as u32, |place| self.tombs.get(place).hash == hash)
    }

    fn forget_oldest(&mut self) {
        let place = self.oldest;
        if place == NONE {
            return;
        }
        self.by_hash.remove(&mut self.tombs, place);
        let tomb = self.tombs.get_mut(place);
        self.oldest = tomb.newer;
        tomb.next = std::mem::replace(&mut self.free, place);
        if self.oldest == NONE {
            self.newest = NONE;
        }
        self.len -= 1;
    }
}

impl Chained for Chunks<Tomb> {
    fn hash(&self, place: u32) -> u32 {
        self.get(place).hash as u32
    }

    fn next(&self, place: u32) -> u32 {
        self.get(place).next
    }

    fn set_next(&mut self, place: u32, next: u32) {
        self.get_mut(place).next = next;
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
        assert!(!tombs.sweep(25, 10));
        assert_eq!((tombs.get(2, 0), tombs.get(3, 25).is_some()), (None, true));
    }

    #[test]
    fn places_of_forgotten_ids_are_used_again() {
        let mut tombs = Tombs::new(10);
        for id in 0..1_000 {
            tombs.bury(id, DropReason::Late, 1, id as i64);
            assert!(tombs.get(id, 0).is_some() || id == 0);
        }
        assert_eq!(tombs.tombs.len(), 11);
        assert!(tombs.sweep(2_000, 4) && tombs.get(993, 0).is_none() && tombs.get(994, 0).is_some());
        assert!(!tombs.sweep(2_000, 400));
        assert_eq!((tombs.len, tombs.oldest, tombs.newest), (0, NONE, NONE));
        tombs.bury(7, DropReason::Evicted, 3, 9);
        assert_eq!(tombs.get(7, 8).map(|tomb| tomb.generation), Some(3));
    }
}
