//! Where journeys are kept: a pool with free places, an index by id, and lists in the order of time.
//!
//! | room | question |
//! |---|---|
//! | `entry` | what is kept of a journey, and how small? |
//! | `key` | how is an id kept? |
//! | `blocks` | where are its sightings, as bytes? |
//! | `in_hand` | how is a journey unpacked, changed and packed again? |
//! | `lists` | which journey of a list was untouched longest? |

mod blocks;
mod entry;
mod in_hand;
mod key;
mod lists;

use foldhash::fast::RandomState;

use self::{blocks::Blocks, key::Key, lists::List};
pub(super) use self::{
    entry::{Entry, State},
    in_hand::InHand,
    lists::ListName,
};
use super::{
    chunks::Chunks,
    index::{Chained, Index, NONE},
};
use crate::{id::CorrelationId, routes::RouteIndex};

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
    blocks: Blocks,
    /// The newest generation of every route and id.
    newest: Index,
    hasher: RandomState,
    /// Active and stuck of every route, then finished.
    lists: Vec<List>,
    next_number: u64,
}

/// An id that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    route: RouteIndex,
    key: Key,
    text: &'a [u8],
    /// A number for the route and id, the same for as long as the pool lives.
    pub(super) hash: u64,
}

impl Pool {
    pub(super) fn new(routes: usize) -> Self {
        Self {
            slots: Chunks::new(),
            free: NONE,
            blocks: Blocks::new(),
            newest: Index::new(),
            hasher: RandomState::default(),
            lists: lists::empty(routes),
            next_number: 1,
        }
    }

    /// Makes an id ready to be looked for.
    pub(super) fn wanted<'a>(&self, route: RouteIndex, id: &'a CorrelationId) -> Wanted<'a> {
        let key = Key::of(id, &self.hasher);
        Wanted { route, key, text: id.as_bytes(), hash: key.hash(route, &self.hasher) }
    }

    /// The newest generation of an id.
    pub(super) fn find(&self, wanted: Wanted<'_>) -> Option<u32> {
        let same = |place| {
            let entry = self.get(place);
            entry.key == wanted.key
                && entry.route == wanted.route
                && (entry.key.text_in_front() == 0 || self.blocks.starts_with(entry.bytes, wanted.text))
        };
        self.newest.find(&self.slots, wanted.hash as u32, same)
    }

    /// A number for the route and id of a kept journey, as in [`Wanted`].
    pub(super) fn hash(&self, entry: &Entry) -> u64 {
        entry.key.hash(entry.route, &self.hasher)
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

    /// Adds a journey as the newest generation of its id, at the end of its route's active list. It has no sighting yet;
    /// `base` is the instant of its first.
    pub(super) fn insert(&mut self, wanted: Wanted<'_>, generation: u32, base: i64, now: i64) -> u32 {
        let older = self.find(wanted).unwrap_or(NONE);
        let mut entry = Entry::new(wanted.key, wanted.route, generation, base, now);
        (entry.number, entry.hash, entry.older) = (self.next_number, wanted.hash as u32, older);
        self.blocks.write(&mut entry.bytes, &wanted.text[..wanted.key.text_in_front()], 0);
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
        self.append(place, ListName::Active(wanted.route));
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
    pub(super) fn remove(&mut self, place: u32) {
        self.unlink(place);
        self.blocks.release(self.get(place).bytes);
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
        *self.slots.get_mut(place) = Slot::Free { next: self.free };
        self.free = place;
    }

    fn generations(&self, newest: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(newest), |place| self.older(*place))
    }

    /// Every kept journey with its place, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Kept(entry) => Some(entry),
            Slot::Free { .. } => None,
        })
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

    pub(super) fn add(pool: &mut Pool, id: &str, generation: u32) -> u32 {
        let id = CorrelationId::new(id).unwrap();
        let wanted = pool.wanted(RouteIndex(0), &id);
        pool.insert(wanted, generation, 0, 0)
    }

    #[test]
    fn a_kept_journey_is_small() {
        assert_eq!(size_of::<Slot>(), 88);
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
                let id = CorrelationId::new("x").unwrap();
                let newest = pool.find(pool.wanted(RouteIndex(0), &id));
                let chain: Vec<u32> = std::iter::successors(newest, |place| pool.older(*place))
                    .map(|place| pool.get(place).generation)
                    .collect();
                assert_eq!(chain, left);
            }
        }
    }
}
