//! Where journeys are kept: a pool with free places, an index by id, and lists in the order of time.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use super::{
    chunks::Chunks,
    index::{Chained, Index, NONE},
};
use crate::{id::CorrelationId, journey::Journey, route::StageIndex, routes::RouteIndex};

/// One kept journey.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) journey: Journey,
    /// Counts journeys from 1, so a place that was used again is told from before.
    pub(super) number: u64,
    /// When the tracker last took a checkpoint of it (finished: when it was finished), unix nanoseconds.
    pub(super) last_seen: i64,
    /// The stage reached last.
    pub(super) position: Option<StageIndex>,
    /// Which legs are in the statistics already.
    pub(super) legs_counted: u64,
    /// Which segments are in the statistics already.
    pub(super) segments_counted: u64,
    pub(super) state: State,
    hash: u32,
    /// The next in its bucket.
    chained: u32,
    /// The previous generation of the same id.
    older: u32,
    list: ListName,
    previous: u32,
    next: u32,
}

/// Where a journey is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Checkpoints are expected.
    Active,
    /// Checkpoints are expected and overdue.
    Stuck,
    /// Finished; checkpoints still on their way are no surprise.
    Settling,
    /// Finished, counted and exported.
    Settled,
}

/// Every journey is in one list, the one untouched longest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListName {
    /// Active journeys of a route.
    Active(RouteIndex),
    /// Stuck journeys of a route.
    Stuck(RouteIndex),
    /// Finished journeys of all routes.
    Finished,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    len: usize,
}

/// A place of the pool.
#[derive(Debug)]
enum Slot {
    Kept(Entry),
    Free { next: u32 },
}

/// All kept journeys.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Chunks<Slot>,
    free: u32,
    /// The newest generation of every route and id.
    newest: Index,
    hasher: RandomState,
    /// Active and stuck of every route, then finished.
    lists: Vec<List>,
    next_number: u64,
}

impl Pool {
    pub(super) fn new(routes: usize) -> Self {
        let empty = List { head: NONE, tail: NONE, len: 0 };
        Self {
            slots: Chunks::new(),
            free: NONE,
            newest: Index::new(),
            hasher: RandomState::default(),
            lists: vec![empty; routes * 2 + 1],
            next_number: 1,
        }
    }

    /// A number for a route and id, the same for as long as the pool lives.
    pub(super) fn hash(&self, route: RouteIndex, id: &CorrelationId) -> u64 {
        let mut state = self.hasher.build_hasher();
        route.hash(&mut state);
        id.hash(&mut state);
        std::hash::Hasher::finish(&state)
    }

    /// The newest generation of an id.
    pub(super) fn find(&self, route: RouteIndex, id: &CorrelationId) -> Option<u32> {
        let same = |place| {
            let journey = &self.get(place).journey;
            journey.route() == route && journey.id() == id
        };
        self.newest.find(&self.slots, self.hash(route, id) as u32, same)
    }

    /// The generation before.
    pub(super) fn older(&self, place: u32) -> Option<u32> {
        Some(self.get(place).older).filter(|older| *older != NONE)
    }

    /// A kept journey. The place must be of one that was not removed.
    pub(super) fn get(&self, place: u32) -> &Entry {
        kept(&self.slots, place)
    }

    /// A kept journey, to change.
    pub(super) fn get_mut(&mut self, place: u32) -> &mut Entry {
        kept_mut(&mut self.slots, place)
    }

    /// A kept journey, if the place is still of the journey with that number.
    pub(super) fn numbered(&self, place: u32, number: u64) -> Option<&Entry> {
        match self.slots.get(place) {
            Slot::Kept(entry) => Some(entry).filter(|entry| entry.number == number),
            Slot::Free { .. } => None,
        }
    }

    /// Adds a journey as the newest generation of its id, at the end of its route's active list.
    pub(super) fn insert(&mut self, journey: Journey, now: i64) -> u32 {
        let (route, hash) = (journey.route(), self.hash(journey.route(), journey.id()) as u32);
        let older = self.find(route, journey.id()).unwrap_or(NONE);
        let entry = Entry {
            journey,
            number: self.next_number,
            last_seen: now,
            position: None,
            legs_counted: 0,
            segments_counted: 0,
            state: State::Active,
            hash,
            chained: NONE,
            older,
            list: ListName::Active(route),
            previous: NONE,
            next: NONE,
        };
        self.next_number += 1;
        let place = match self.slots_free() {
            Some((free, next)) => {
                self.free = next;
                *self.slots.get_mut(free) = Slot::Kept(entry);
                free
            }
            None => self.slots.push(Slot::Kept(entry)),
        };
        if older != NONE {
            self.newest.remove(&mut self.slots, older);
        }
        self.newest.insert(&mut self.slots, place);
        self.append(place, ListName::Active(route));
        place
    }

    fn slots_free(&self) -> Option<(u32, u32)> {
        match self.free {
            NONE => None,
            free => match self.slots.get(free) {
                Slot::Free { next } => Some((free, *next)),
                Slot::Kept(_) => unreachable!("place {free} is free"),
            },
        }
    }

    /// Removes a journey from the pool, the index and its list.
    pub(super) fn remove(&mut self, place: u32) -> Option<Entry> {
        self.unlink(place);
        let (hash, older) = (self.get(place).hash, self.get(place).older);
        // Its chain of generations starts at the newest, which alone is in the index.
        let newest = self.newest.find(&self.slots, hash, |newest| self.generations(newest).any(|one| one == place));
        if newest == Some(place) {
            self.newest.remove(&mut self.slots, place);
            if older != NONE {
                self.newest.insert(&mut self.slots, older);
            }
        } else if let Some(newest) = newest {
            let newer = self.generations(newest).find(|one| self.get(*one).older == place);
            if let Some(newer) = newer {
                self.get_mut(newer).older = older;
            }
        }
        let slot = std::mem::replace(self.slots.get_mut(place), Slot::Free { next: self.free });
        self.free = place;
        match slot {
            Slot::Kept(entry) => Some(entry),
            Slot::Free { .. } => None,
        }
    }

    fn generations(&self, newest: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(newest), |place| self.older(*place))
    }

    /// Moves a journey to the end of a list.
    pub(super) fn move_to(&mut self, place: u32, list: ListName) {
        self.unlink(place);
        self.append(place, list);
    }

    /// The journey untouched longest of a list.
    pub(super) fn head(&self, list: ListName) -> Option<u32> {
        Some(self.lists[self.index(list)].head).filter(|head| *head != NONE)
    }

    /// The journey after another in its list.
    pub(super) fn after(&self, place: u32) -> Option<u32> {
        Some(self.get(place).next).filter(|next| *next != NONE)
    }

    /// How many journeys a list has.
    pub(super) fn len(&self, list: ListName) -> usize {
        self.lists[self.index(list)].len
    }

    /// Every kept journey with its place, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Kept(entry) => Some(entry),
            Slot::Free { .. } => None,
        })
    }

    fn index(&self, list: ListName) -> usize {
        match list {
            ListName::Active(route) => usize::from(route.0) * 2,
            ListName::Stuck(route) => usize::from(route.0) * 2 + 1,
            ListName::Finished => self.lists.len() - 1,
        }
    }

    fn append(&mut self, place: u32, name: ListName) {
        let index = self.index(name);
        let tail = self.lists[index].tail;
        let entry = self.get_mut(place);
        (entry.list, entry.previous, entry.next) = (name, tail, NONE);
        if tail == NONE {
            self.lists[index].head = place;
        } else {
            self.get_mut(tail).next = place;
        }
        self.lists[index].tail = place;
        self.lists[index].len += 1;
    }

    fn unlink(&mut self, place: u32) {
        let entry = self.get(place);
        let (index, previous, next) = (self.index(entry.list), entry.previous, entry.next);
        if previous == NONE {
            self.lists[index].head = next;
        } else {
            self.get_mut(previous).next = next;
        }
        if next == NONE {
            self.lists[index].tail = previous;
        } else {
            self.get_mut(next).previous = previous;
        }
        self.lists[index].len -= 1;
    }
}

fn kept(slots: &Chunks<Slot>, place: u32) -> &Entry {
    match slots.get(place) {
        Slot::Kept(entry) => entry,
        Slot::Free { .. } => unreachable!("place {place} is free"),
    }
}

fn kept_mut(slots: &mut Chunks<Slot>, place: u32) -> &mut Entry {
    match slots.get_mut(place) {
        Slot::Kept(entry) => entry,
        Slot::Free { .. } => unreachable!("place {place} is free"),
    }
}

impl Chained for Chunks<Slot> {
    fn hash(&self, place: u32) -> u32 {
        kept(self, place).hash
    }

    fn next(&self, place: u32) -> u32 {
        kept(self, place).chained
    }

    fn set_next(&mut self, place: u32, next: u32) {
        kept_mut(self, place).chained = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(pool: &mut Pool, id: &str, generation: u32) -> u32 {
        pool.insert(Journey::new(CorrelationId::new(id).unwrap(), RouteIndex(0), generation), 0)
    }

    fn ids(pool: &Pool, list: ListName) -> Vec<u32> {
        std::iter::successors(pool.head(list), |place| pool.after(*place)).collect()
    }

    #[test]
    fn lists_keep_the_order_of_touching() {
        let mut pool = Pool::new(1);
        let active = ListName::Active(RouteIndex(0));
        let [a, b, c] = ["a", "b", "c"].map(|id| add(&mut pool, id, 1));
        pool.move_to(a, active);
        assert_eq!(ids(&pool, active), [b, c, a]);
        pool.move_to(c, ListName::Finished);
        assert_eq!((ids(&pool, active), ids(&pool, ListName::Finished)), (vec![b, a], vec![c]));
        pool.remove(b);
        pool.remove(a);
        assert_eq!((pool.head(active), pool.len(active)), (None, 0));
    }

    #[test]
    fn generations_are_found_newest_first_and_leave_in_any_order() {
        for leaves in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut pool = Pool::new(1);
            let places = [1, 2, 3].map(|generation| add(&mut pool, "x", generation));
            let mut left: Vec<u32> = vec![3, 2, 1];
            for gone in leaves {
                pool.remove(places[gone]);
                left.retain(|generation| *generation != gone as u32 + 1);
                let newest = pool.find(RouteIndex(0), &CorrelationId::new("x").unwrap());
                let chain: Vec<u32> = std::iter::successors(newest, |place| pool.older(*place))
                    .map(|place| pool.get(place).journey.generation())
                    .collect();
                assert_eq!(chain, left);
            }
        }
    }
}
