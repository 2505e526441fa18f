//! Which spans of interest are open? A table of our own, keyed by span id.
//!
//! Spans that are no business of ours ask this table at every enter, exit, record and close, and are told "no" by one or
//! two loads. Extensions of the registry would cost a lookup and a lock for the same answer.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use journey_core::{CorrelationId, StageRef};
use parking_lot::Mutex;

use super::{
    callsites::places,
    slot::{Opening, Slot},
};
use crate::clock::Reading;

/// Spans of interest that are open at once without a look into the overflow: a megabyte.
const SLOTS: usize = 8_192;
/// Slots that are tried from a span's home on.
const PROBES: usize = 4;
/// Parts of the overflow, each with a lock of its own.
const SHARDS: usize = 64;
/// Spans in the overflow at most. Beyond, spans of interest are not followed: memory stays bounded when spans leak.
const MAX_OVERFLOW: usize = 262_144;

/// The table.
pub(crate) struct OpenSpans {
    slots: Box<[Slot; SLOTS]>,
    /// Spans that do not stand in their home slot; while there are none, a miss is told by one slot.
    displaced: AtomicUsize,
    overflow: Box<[Shard]>,
    overflowed: AtomicUsize,
}

/// What the home slot of a span says.
pub(crate) enum Look<'a> {
    /// It is here.
    Here(&'a Slot),
    /// It is none of interest.
    Nowhere,
    /// It may be in another slot.
    Elsewhere,
}

/// A slot that was found.
pub(crate) enum Found<'a> {
    Here(&'a Slot),
    Overflow(Arc<Slot>),
}

#[derive(Default)]
struct Shard {
    len: AtomicUsize,
    spans: Mutex<HashMap<u64, Arc<Slot>>>,
}

impl OpenSpans {
    pub(crate) fn new() -> Self {
        Self {
            slots: places(),
            displaced: AtomicUsize::new(0),
            overflow: (0..SHARDS).map(|_| Shard::default()).collect(),
            overflowed: AtomicUsize::new(0),
        }
    }

    /// Follows a span. `false` where the table is full.
    #[inline]
    pub(crate) fn open(&self, id: u64, opening: Opening<'_>) -> bool {
        if let Some(home) = self.claim_home(id) {
            home.start(id, opening);
            return true;
        }
        self.insert_displaced(id, |slot| slot.start(id, opening))
    }

    /// The same for a root that is no business of ours but for the id that was made for it.
    pub(crate) fn open_root(&self, id: u64, routes: u64, made: CorrelationId) -> bool {
        if let Some(home) = self.claim_home(id) {
            home.start_root(id, routes, made);
            return true;
        }
        self.insert_displaced(id, |slot| slot.start_root(id, routes, made))
    }

    /// The home slot of a span, where it is free.
    #[inline]
    fn claim_home(&self, id: u64) -> Option<&Slot> {
        let home = &self.slots[home(id)];
        let claimed = home.id.load(Relaxed) == 0 && home.id.compare_exchange(0, id, Acquire, Relaxed).is_ok();
        claimed.then_some(home)
    }

    #[cold]
    fn insert_displaced(&self, id: u64, start: impl FnOnce(&Slot)) -> bool {
        let home = home(id);
        for slot in (1..PROBES).map(|probe| &self.slots[(home + probe) % SLOTS]) {
            if slot.id.load(Relaxed) == 0 && slot.id.compare_exchange(0, id, Acquire, Relaxed).is_ok() {
                self.displaced.fetch_add(1, Relaxed);
                start(slot);
                return true;
            }
        }
        if self.overflowed.fetch_add(1, Relaxed) >= MAX_OVERFLOW {
            self.overflowed.fetch_sub(1, Relaxed);
            return false;
        }
        self.displaced.fetch_add(1, Relaxed);
        let slot = Slot::default();
        slot.id.store(id, Relaxed);
        start(&slot);
        let shard = self.shard(id);
        let mut spans = shard.spans.lock();
        spans.insert(id, Arc::new(slot));
        shard.len.store(spans.len(), Release);
        true
    }

    /// Looks for a span where it should be.
    #[inline]
    pub(crate) fn look(&self, id: u64) -> Look<'_> {
        let slot = &self.slots[home(id)];
        // Whoever hands a span to another thread orders these loads behind the stores of `open`.
        if slot.id.load(Acquire) == id {
            Look::Here(slot)
        } else if self.displaced.load(Relaxed) == 0 {
            Look::Nowhere
        } else {
            Look::Elsewhere
        }
    }

    /// The span, where it is one of interest and not in its home slot.
    pub(crate) fn displaced(&self, id: u64) -> Option<Found<'_>> {
        let home = home(id);
        for slot in (1..PROBES).map(|probe| &self.slots[(home + probe) % SLOTS]) {
            if slot.id.load(Acquire) == id {
                return Some(Found::Here(slot));
            }
        }
        let shard = self.shard(id);
        if shard.len.load(Acquire) == 0 {
            return None;
        }
        shard.spans.lock().get(&id).map(|slot| Found::Overflow(Arc::clone(slot)))
    }

    /// The span, where it is one of interest.
    pub(crate) fn find(&self, id: u64) -> Option<Found<'_>> {
        match self.look(id) {
            Look::Here(slot) => Some(Found::Here(slot)),
            Look::Nowhere => None,
            Look::Elsewhere => self.displaced(id),
        }
    }

    /// Stops following a span, of which everything was read.
    #[inline]
    pub(crate) fn close(&self, id: u64, slot: &Slot) {
        slot.vacate();
        // A span that is displaced is one of those counted.
        if self.displaced.load(Relaxed) != 0 && !std::ptr::eq(slot, &self.slots[home(id)]) {
            self.close_displaced(id);
        }
    }

    #[cold]
    fn close_displaced(&self, id: u64) {
        self.displaced.fetch_sub(1, Relaxed);
        if self.overflowed.load(Relaxed) == 0 {
            return;
        }
        let shard = self.shard(id);
        let mut spans = shard.spans.lock();
        if spans.remove(&id).is_some() {
            shard.len.store(spans.len(), Release);
            self.overflowed.fetch_sub(1, Relaxed);
        }
    }

    /// Every open stage with its span and when that was opened. A look at all slots, for readers only.
    pub(crate) fn stages(&self) -> Vec<(u64, StageRef, Reading)> {
        let overflow: Vec<Arc<Slot>> = match self.overflowed.load(Relaxed) {
            0 => Vec::new(),
            _ => self
                .overflow
                .iter()
                .flat_map(|shard| shard.spans.lock().values().cloned().collect::<Vec<_>>())
                .collect(),
        };
        self.slots.iter().chain(overflow.iter().map(|slot| &**slot)).filter_map(Slot::open_stage).collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.id.load(Relaxed) != 0).count() + self.overflowed.load(Relaxed)
    }

    fn shard(&self, id: u64) -> &Shard {
        &self.overflow[(id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize]
    }
}

impl Deref for Found<'_> {
    type Target = Slot;

    #[inline]
    fn deref(&self) -> &Slot {
        match self {
            Self::Here(slot) => slot,
            Self::Overflow(slot) => slot,
        }
    }
}

/// The registry puts the place within a thread's slab into the low 38 bits of an id, then 13 bits for the thread, then a
/// generation. Without the generation a thread that opens and closes one span after another stays on one warm slot, and
/// the multiplication sets threads far apart. Only speed depends on this: ids are compared whole.
#[inline]
fn home(id: u64) -> usize {
    // An odd number near 0.618 of the slots; only the thread's bits reach the result.
    ((id >> 38).wrapping_mul(0x13C7) ^ id) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(spans: &OpenSpans, id: u64) -> bool {
        // Anything that tells one span from another.
        spans.open_root(id, 1, CorrelationId::new(&id.to_string()).unwrap())
    }

    /// The id that the span was opened with.
    fn close(spans: &OpenSpans, id: u64) -> Option<u64> {
        let found = spans.find(id)?;
        let opened_with = found.any_id(id)??;
        drop(found.take_cold(id));
        spans.close(id, &found);
        opened_with.as_str().parse().ok()
    }

    #[test]
    fn more_spans_than_slots_are_all_found_and_all_released() {
        let spans = OpenSpans::new();
        let ids = 1..=(3 * SLOTS as u64);
        for id in ids.clone() {
            assert!(open(&spans, id));
        }
        assert_eq!(spans.len(), 3 * SLOTS);
        assert!(spans.find(9_999_999).is_none());
        for id in ids.clone() {
            assert_eq!(close(&spans, id), Some(id));
            assert_eq!(close(&spans, id), None, "closed twice");
        }
        assert_eq!((spans.len(), spans.displaced.load(Relaxed), spans.overflowed.load(Relaxed)), (0, 0, 0));
    }

    #[test]
    fn ids_with_one_home_are_told_apart() {
        let spans = OpenSpans::new();
        let ids: Vec<u64> = (0..10).map(|number| 7 + number * SLOTS as u64).collect();
        for id in &ids {
            assert_eq!(home(*id), home(7));
            open(&spans, *id);
        }
        assert_eq!(spans.overflowed.load(Relaxed), 10 - PROBES);
        for id in ids.iter().rev() {
            assert_eq!(close(&spans, *id), Some(*id));
        }
        assert_eq!(spans.displaced.load(Relaxed), 0);
    }

    #[test]
    fn the_overflow_is_bounded() {
        let spans = OpenSpans::new();
        let taken = (1..=(SLOTS + MAX_OVERFLOW) as u64 + 10).filter(|id| open(&spans, *id)).count();
        assert_eq!(taken, SLOTS + MAX_OVERFLOW);
        close(&spans, (SLOTS + MAX_OVERFLOW) as u64);
        assert!(open(&spans, u64::MAX), "there is room again");
    }

    #[test]
    fn threads_that_open_and_close_at_once_never_mix_their_spans() {
        let spans = OpenSpans::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let spans = &spans;
                scope.spawn(move || {
                    for round in 0..20_000_u64 {
                        // Few homes, many ids: claims and releases meet all the time.
                        let id = 1 + thread + (round % 8) + (round * 4 + thread + 1) * SLOTS as u64;
                        assert!(open(spans, id));
                        assert_eq!(close(spans, id), Some(id));
                    }
                });
            }
        });
        assert_eq!((spans.len(), spans.displaced.load(Relaxed)), (0, 0));
    }
}
