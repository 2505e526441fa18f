//! Where journeys are kept: a pool with free places, an index by id, and lists in the order of time.
//!
//! | room | question |
//! |---|---|
//! | `entry` | what is kept of a journey, and how small? |
//! | `key` | how is an id kept? |
//! | `blocks` | where are its sightings, as bytes? |

mod blocks;
mod entry;
mod key;

use foldhash::fast::RandomState;

pub(super) use self::entry::{Entry, State};
use self::{blocks::Blocks, entry::ListKind, key::Key};
use super::{
    chunks::Chunks,
    index::{Chained, Index, NONE},
};
use crate::{
    checkpoint::Checkpoint,
    id::CorrelationId,
    journey::{Journey, Merged, Sightings, packed},
    route::Route,
    routes::RouteIndex,
};

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

/// The sightings of the journey that was worked on last, unpacked: often the next checkpoint is of the same.
#[derive(Debug, Default)]
pub(super) struct InHand {
    /// Place and number of the journey; number 0 is of none.
    of: (u32, u64),
    sightings: Sightings,
    /// Its bytes as they are in the pool.
    bytes: Vec<u8>,
    /// Where each sighting starts among them.
    starts: Vec<usize>,
}

impl Pool {
    pub(super) fn new(routes: usize) -> Self {
        let empty = List { head: NONE, tail: NONE, len: 0 };
        Self {
            slots: Chunks::new(),
            free: NONE,
            blocks: Blocks::new(),
            newest: Index::new(),
            hasher: RandomState::default(),
            lists: vec![empty; routes * 2 + 1],
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

    /// Unpacks the sightings of a journey, unless they are in hand already.
    pub(super) fn unpack(&self, place: u32, in_hand: &mut InHand) {
        let entry = self.get(place);
        if in_hand.of != (place, entry.number) {
            in_hand.of = (place, entry.number);
            self.unpack_entry(entry, in_hand);
        }
    }

    /// The same by its entry, and in any case.
    fn unpack_entry(&self, entry: &Entry, in_hand: &mut InHand) {
        self.blocks.read(entry.bytes, &mut in_hand.bytes);
        in_hand.sightings.clear();
        in_hand.starts.clear();
        let (front, mut rest) = in_hand.bytes.split_at(entry.front());
        let common = entry.common(front);
        loop {
            let start = in_hand.bytes.len() - rest.len();
            let Some(sighting) = packed::read(&mut rest, common) else { return };
            in_hand.starts.push(start);
            in_hand.sightings.push(sighting);
        }
    }

    /// The sightings of a journey, for readers.
    pub(super) fn sightings<'a>(&self, entry: &Entry, in_hand: &'a mut InHand) -> &'a Sightings {
        in_hand.of = (NONE, 0);
        self.unpack_entry(entry, in_hand);
        &in_hand.sightings
    }

    /// Adds a checkpoint to a journey, whose sightings are in hand before and after.
    pub(super) fn merge(&mut self, place: u32, in_hand: &mut InHand, checkpoint: Checkpoint, route: &Route) -> Merged {
        self.unpack(place, in_hand);
        let entry = kept_mut(&mut self.slots, place);
        let detailed = checkpoint.error.is_some() || checkpoint.within.is_some();
        if let Some(rare) = &mut entry.rare {
            in_hand.sightings.swap_details(&mut rare.details);
        }
        let trace_id = checkpoint.trace_id;
        let (merged, mut from) = in_hand.sightings.merge(checkpoint, route);
        if detailed || entry.rare.is_some() {
            in_hand.sightings.swap_details(&mut entry.rare_mut().details);
        }

        let bytes = &mut in_hand.bytes;
        if trace_id != 0 && !entry.has_trace_id {
            // From now on it stands in front, so everything is written again.
            bytes.truncate(entry.key.text_in_front());
            bytes.extend_from_slice(&trace_id.to_le_bytes());
            entry.has_trace_id = true;
            from = 0;
        }
        let common = entry.common(&bytes[..entry.front()]);
        let start = if from == 0 { Some(entry.front()) } else { in_hand.starts.get(from).copied() };
        bytes.truncate(start.unwrap_or(bytes.len()));
        let same = bytes.len();
        in_hand.starts.truncate(from);
        for sighting in &in_hand.sightings.all()[from..] {
            in_hand.starts.push(bytes.len());
            packed::write(sighting, common, bytes);
        }
        // The front may be new where all are.
        self.blocks.write(&mut entry.bytes, bytes, if from == 0 { 0 } else { same });
        merged
    }

    /// Lets somebody look at the sightings of a journey with their details.
    pub(super) fn with_details<R>(
        &mut self,
        place: u32,
        in_hand: &mut InHand,
        look: impl FnOnce(&Sightings) -> R,
    ) -> R {
        self.unpack(place, in_hand);
        match &mut self.get_mut(place).rare {
            Some(rare) => {
                in_hand.sightings.swap_details(&mut rare.details);
                let seen = look(&in_hand.sightings);
                in_hand.sightings.swap_details(&mut rare.details);
                seen
            }
            None => look(&in_hand.sightings),
        }
    }

    /// A kept journey as a whole.
    pub(super) fn journey(&self, entry: &Entry) -> Journey {
        let mut in_hand = InHand::default();
        self.unpack_entry(entry, &mut in_hand);
        let mut journey = Journey::new(entry.key.id(&in_hand.bytes), entry.route, entry.generation);
        fill(&mut journey, entry, &in_hand);
        journey
    }

    /// A journey whose sightings are in hand as a whole, in the memory of another where there is one.
    pub(super) fn copy_of(&self, place: u32, in_hand: &InHand, used: Option<Journey>) -> Journey {
        let entry = self.get(place);
        debug_assert_eq!(in_hand.of, (place, entry.number));
        let id = entry.key.id(&in_hand.bytes);
        let mut journey = match used {
            Some(mut used) => {
                (used.id, used.route, used.generation) = (id, entry.route, entry.generation);
                used
            }
            None => Journey::new(id, entry.route, entry.generation),
        };
        fill(&mut journey, entry, in_hand);
        journey
    }

    /// The id of a kept journey.
    pub(super) fn id(&self, entry: &Entry) -> CorrelationId {
        let mut front = Vec::new();
        if entry.key.text_in_front() > 0 {
            self.blocks.read(entry.bytes, &mut front);
        }
        entry.key.id(&front)
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
        (entry.previous, entry.next) = (tail, NONE);
        entry.list = match name {
            ListName::Active(_) => ListKind::Active,
            ListName::Stuck(_) => ListKind::Stuck,
            ListName::Finished => ListKind::Finished,
        };
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
        let name = match entry.list {
            ListKind::Active => ListName::Active(entry.route),
            ListKind::Stuck => ListName::Stuck(entry.route),
            ListKind::Finished => ListName::Finished,
        };
        let (index, previous, next) = (self.index(name), entry.previous, entry.next);
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

impl InHand {
    /// The sightings in hand.
    pub(super) fn sightings(&self) -> &Sightings {
        &self.sightings
    }
}

fn fill(journey: &mut Journey, entry: &Entry, in_hand: &InHand) {
    let rare = entry.rare.as_deref();
    journey.status = entry.status;
    journey.reason = rare.and_then(|rare| rare.reason.clone());
    journey.late.clear();
    journey.late.extend_from_slice(rare.map_or(&[], |rare| &rare.late));
    journey.sightings.copy(&in_hand.sightings, rare.map_or(&[], |rare| &rare.details));
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
    use proptest::prelude::*;

    use super::*;
    use crate::{
        checkpoint::{ClockKind, Outcome, Resolution, SourceIndex, StageError, Within, WithinKind},
        route::{Presence, StageIndex},
        routes::StageRef,
    };

    fn add(pool: &mut Pool, id: &str, generation: u32) -> u32 {
        let id = CorrelationId::new(id).unwrap();
        let wanted = pool.wanted(RouteIndex(0), &id);
        pool.insert(wanted, generation, 0, 0)
    }

    #[test]
    fn a_kept_journey_is_small() {
        assert_eq!(size_of::<Slot>(), 88);
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
                let id = CorrelationId::new("x").unwrap();
                let newest = pool.find(pool.wanted(RouteIndex(0), &id));
                let chain: Vec<u32> = std::iter::successors(newest, |place| pool.older(*place))
                    .map(|place| pool.get(place).generation)
                    .collect();
                assert_eq!(chain, left);
            }
        }
    }

    /// Any checkpoint of stages 0 to 3, now and then the same sighting as before with other details.
    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let at = prop_oneof![0_i64..5, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
        let outcome =
            prop::sample::select(vec![Outcome::Reached, Outcome::Reached, Outcome::Failed, Outcome::Cancelled]);
        let clock = prop::sample::select(vec![ClockKind::Process, ClockKind::Platform, ClockKind::Carried]);
        let resolution = prop::sample::select(vec![Resolution::Fine, Resolution::Millisecond, Resolution::Second]);
        let trace = prop_oneof![4 => Just(0_u128), 2 => Just(7), 1 => any::<u128>()];
        let span = prop_oneof![4 => Just(0_u64), 2 => 0_u64..3, 1 => any::<u64>()];
        let time = || prop_oneof![Just(0_u32), 0_u32..300, Just(u32::MAX)];
        let source = prop_oneof![2 => Just(0_u16), 1 => any::<u16>()];
        let rare = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
        (0_u16..4, at, (outcome, clock, resolution), (trace, span), (time(), time()), source, rare).prop_map(
            |(stage, at, (outcome, clock, resolution), (trace_id, span_id), (busy_us, idle_us), source, rare)| {
                let (carried, failed, within) = rare;
                let stage = StageRef { route: RouteIndex(0), stage: StageIndex(stage) };
                Checkpoint {
                    clock,
                    resolution,
                    source: SourceIndex(source),
                    outcome,
                    carried,
                    busy_us,
                    idle_us,
                    trace_id,
                    span_id,
                    error: failed.then(|| Box::new(StageError::new("io", &busy_us.to_string()))),
                    within: within.then(|| Box::new(vec![Within { kind: WithinKind::Db, count: 1, nanos: at as u64 }])),
                    ..Checkpoint::reached(CorrelationId::new("x").unwrap(), stage, at)
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_packed_journey_is_the_same_as_a_plain_one(
            steps in prop::collection::vec((0_usize..3, checkpoint(), any::<bool>()), 1..200),
            route in prop::sample::select(vec![Presence::Required, Presence::Repeatable(200)]),
        ) {
            let route = Route::builder("r")
                .stage("A", "a", |s| s)
                .stage("B", "b", |s| s.presence(route))
                .stage("C", "c", |s| s)
                .stage("D", "d", |s| s)
                .terminal("d")
                .build()
                .unwrap();
            // A UUID, a short text and a long one, whose bytes come before the sightings.
            let ids = ["01234567-89ab-cdef-0123-456789abcdef".to_owned(), "m".to_owned(), "long ".repeat(20)];
            let ids = ids.map(|id| CorrelationId::new(&id).unwrap());
            let mut pool = Pool::new(1);
            let mut in_hand = InHand::default();
            let mut plain: [Sightings; 3] = Default::default();
            for (at, checkpoint, look_elsewhere) in steps {
                let wanted = pool.wanted(RouteIndex(0), &ids[at]);
                let place = pool.find(wanted).unwrap_or_else(|| pool.insert(wanted, 1, checkpoint.at, 0));
                let (expected, _) = plain[at].merge(checkpoint.clone(), &route);
                prop_assert_eq!(pool.merge(place, &mut in_hand, checkpoint, &route), expected);
                prop_assert_eq!(in_hand.sightings().all(), plain[at].all());
                if look_elsewhere {
                    in_hand = InHand::default();
                }
                for (id, plain) in ids.iter().zip(&plain) {
                    let Some(place) = pool.find(pool.wanted(RouteIndex(0), id)) else { continue };
                    let journey = pool.journey(pool.get(place));
                    prop_assert_eq!(journey.id(), id);
                    prop_assert_eq!(journey.sightings.all(), plain.all());
                    prop_assert_eq!(journey.sightings.details(), plain.details());
                }
            }
            for id in &ids {
                if let Some(place) = pool.find(pool.wanted(RouteIndex(0), id)) {
                    pool.remove(place);
                    prop_assert_eq!(pool.find(pool.wanted(RouteIndex(0), id)), None);
                }
            }
            prop_assert_eq!(pool.iter().count(), 0);
        }
    }
}
