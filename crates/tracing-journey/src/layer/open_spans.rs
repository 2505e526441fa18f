//! Which spans of interest are open, and what is known of each? A table of our own, keyed by span id.
//!
//! Spans that are no business of ours ask this table at every enter, exit, record and close, and are told "no" by one or
//! two loads. Extensions of the registry would cost a lookup and a lock for the same answer.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc,
        atomic::{
            AtomicI64, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use journey_core::{StageRef, Within, WithinKind};
use parking_lot::{Mutex, MutexGuard};

use super::{callsites::Callsite, fields::Fields};

/// Spans of interest that are open at once without a look into the overflow.
const SLOTS: usize = 4_096;
/// Slots that are tried from a span's home on.
const PROBES: usize = 4;
/// Parts of the overflow, each with a lock of its own.
const SHARDS: usize = 64;
/// Spans in the overflow at most. Beyond, spans of interest are not followed: memory stays bounded when spans leak.
const MAX_OVERFLOW: usize = 262_144;

/// The table.
pub(crate) struct OpenSpans {
    slots: Box<[Slot]>,
    /// Spans that do not stand in their home slot; while there are none, a miss is told by one slot.
    displaced: AtomicUsize,
    overflow: Box<[Shard]>,
    overflowed: AtomicUsize,
}

/// One open span of interest, known by its id while that is not 0.
#[derive(Default)]
pub(crate) struct Slot {
    id: AtomicU64,
    /// How often the span is entered now.
    entered: AtomicU32,
    /// When it was entered while it was not, unix nanoseconds.
    last_enter: AtomicI64,
    /// When it was left last; 0 while it never was.
    last_exit: AtomicI64,
    /// Time it was entered, nanoseconds.
    busy: AtomicI64,
    span: Mutex<Option<OpenSpan>>,
}

/// What is known of an open span, apart from its enters and exits.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    /// Index-by-metadata of what its fields are; `None` for a root that only carries a generated id.
    pub(crate) callsite: Option<&'static tracing_core::Metadata<'static>>,
    /// When it was opened, unix nanoseconds.
    pub(crate) opened: i64,
    pub(crate) stage: StageOf,
    pub(crate) fields: Fields,
    /// The id that came with the task, where the span has none of its own.
    pub(crate) carried: Option<journey_core::CorrelationId>,
    /// What kind of call it is, where calls are collected.
    pub(crate) call: Option<WithinKind>,
    /// Calls that ended inside.
    #[expect(clippy::box_collection, reason = "it moves into a checkpoint, which keeps it small, as it is")]
    pub(crate) within: Option<Box<Vec<Within>>>,
    /// An OpenTelemetry context was seen on it while it was open.
    pub(crate) context_seen: bool,
}

/// Which stage a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageOf {
    /// None: it carries an id or is a call.
    None,
    /// This one.
    Known(StageRef),
    /// It says it is one, and no route has it (or several have).
    Unknown,
}

/// Enters and exits of a span that closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// When it was left last; `None` where it was never entered.
    pub(crate) last_exit: Option<i64>,
    /// Time it was entered, nanoseconds.
    pub(crate) busy: i64,
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
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            displaced: AtomicUsize::new(0),
            overflow: (0..SHARDS).map(|_| Shard::default()).collect(),
            overflowed: AtomicUsize::new(0),
        }
    }

    /// Follows a span. `false` where the table is full.
    pub(crate) fn insert(&self, id: u64, span: OpenSpan) -> bool {
        let home = home(id);
        for probe in 0..PROBES {
            let slot = &self.slots[(home + probe) % SLOTS];
            if slot.id.load(Relaxed) == 0 && slot.id.compare_exchange(0, id, Acquire, Relaxed).is_ok() {
                if probe > 0 {
                    self.displaced.fetch_add(1, Relaxed);
                }
                // Nobody else knows the id of a span that is being made, so that nobody looks in between.
                slot.start(span);
                return true;
            }
        }
        self.insert_overflow(id, span)
    }

    #[cold]
    fn insert_overflow(&self, id: u64, span: OpenSpan) -> bool {
        if self.overflowed.fetch_add(1, Relaxed) >= MAX_OVERFLOW {
            self.overflowed.fetch_sub(1, Relaxed);
            return false;
        }
        self.displaced.fetch_add(1, Relaxed);
        let slot = Slot { id: AtomicU64::new(id), ..Slot::default() };
        slot.start(span);
        let shard = self.shard(id);
        let mut spans = shard.spans.lock();
        spans.insert(id, Arc::new(slot));
        shard.len.store(spans.len(), Release);
        true
    }

    /// The span, where it is one of interest.
    #[inline]
    pub(crate) fn find(&self, id: u64) -> Option<Found<'_>> {
        let slot = &self.slots[home(id)];
        // Whoever hands a span to another thread orders these loads behind the stores of `insert`.
        if slot.id.load(Acquire) == id {
            return Some(Found::Here(slot));
        }
        if self.displaced.load(Relaxed) == 0 {
            return None;
        }
        self.find_displaced(id)
    }

    #[inline(never)]
    fn find_displaced(&self, id: u64) -> Option<Found<'_>> {
        let home = home(id);
        let probed = (1..PROBES).map(|probe| &self.slots[(home + probe) % SLOTS]);
        for slot in probed {
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

    /// Stops following a span that was found, and gives what was known of it.
    pub(crate) fn remove(&self, id: u64, found: &Found<'_>) -> Option<(OpenSpan, Passage)> {
        let ended = found.end(id)?;
        match found {
            Found::Here(slot) => {
                if !std::ptr::eq(*slot, &self.slots[home(id)]) {
                    self.displaced.fetch_sub(1, Relaxed);
                }
            }
            Found::Overflow(_) => {
                let shard = self.shard(id);
                let mut spans = shard.spans.lock();
                if spans.remove(&id).is_some() {
                    shard.len.store(spans.len(), Release);
                    self.overflowed.fetch_sub(1, Relaxed);
                    self.displaced.fetch_sub(1, Relaxed);
                }
            }
        }
        Some(ended)
    }

    /// Spans that are followed now.
    /// Every open stage with its span and when that was opened. A look at all slots, for readers only.
    pub(crate) fn stages(&self) -> Vec<(u64, StageRef, i64)> {
        let overflow: Vec<Arc<Slot>> = match self.overflowed.load(Relaxed) {
            0 => Vec::new(),
            _ => self
                .overflow
                .iter()
                .flat_map(|shard| shard.spans.lock().values().cloned().collect::<Vec<_>>())
                .collect(),
        };
        let open = self.slots.iter().filter(|slot| slot.id.load(Acquire) != 0);
        open.chain(overflow.iter().map(|slot| &**slot))
            .filter_map(|slot| {
                let guard = slot.span();
                // Under the lock, which is held while a slot is given up.
                let id = slot.id.load(Relaxed);
                match guard.as_ref().map(|span| (span.stage, span.opened)) {
                    Some((StageOf::Known(stage), opened)) if id != 0 => Some((id, stage, opened)),
                    _ => None,
                }
            })
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.id.load(Relaxed) != 0).count() + self.overflowed.load(Relaxed)
    }

    fn shard(&self, id: u64) -> &Shard {
        &self.overflow[(id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize]
    }
}

impl Slot {
    /// What is known of the span; `None` once it is closed.
    pub(crate) fn span(&self) -> MutexGuard<'_, Option<OpenSpan>> {
        self.span.lock()
    }

    /// Notes an enter. Several threads inside one span at once make its busy time approximate, nothing else.
    #[inline]
    pub(crate) fn enter(&self, now: impl FnOnce() -> i64) {
        let entered = self.entered.load(Relaxed);
        if entered == 0 {
            self.last_enter.store(now(), Relaxed);
        }
        self.entered.store(entered.saturating_add(1), Relaxed);
    }

    /// Notes an exit.
    #[inline]
    pub(crate) fn exit(&self, now: i64) {
        let entered = self.entered.load(Relaxed).saturating_sub(1);
        self.entered.store(entered, Relaxed);
        // Every exit, also a nested one: were the count ever wrong, the end of the stage still is not.
        self.last_exit.store(now, Relaxed);
        if entered == 0 {
            let busy = now.saturating_sub(self.last_enter.load(Relaxed));
            self.busy.store(self.busy.load(Relaxed).saturating_add(busy), Relaxed);
        }
    }

    fn start(&self, span: OpenSpan) {
        self.entered.store(0, Relaxed);
        self.last_exit.store(0, Relaxed);
        self.busy.store(0, Relaxed);
        *self.span.lock() = Some(span);
    }

    fn end(&self, id: u64) -> Option<(OpenSpan, Passage)> {
        let last_exit = self.last_exit.load(Relaxed);
        let passage = Passage { last_exit: (last_exit != 0).then_some(last_exit), busy: self.busy.load(Relaxed) };
        let mut guard = self.span.lock();
        if self.id.load(Relaxed) != id {
            return None;
        }
        let span = guard.take()?;
        // Under the lock: whoever claims the slot next waits for it.
        self.id.store(0, Release);
        Some((span, passage))
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

impl OpenSpan {
    /// A span that was opened now, with nothing known.
    pub(crate) fn new(callsite: Option<&Callsite>, opened: i64) -> Self {
        Self {
            callsite: callsite.map(|callsite| callsite.metadata),
            opened,
            stage: StageOf::None,
            fields: Fields::default(),
            carried: None,
            call: callsite.and_then(|callsite| callsite.within),
            within: None,
            context_seen: false,
        }
    }

    /// Adds a call that ended inside.
    pub(crate) fn add_call(&mut self, kind: WithinKind, nanos: u64) {
        let calls = self.within.get_or_insert_default();
        match calls.iter_mut().find(|calls| calls.kind == kind) {
            Some(calls) => {
                calls.count = calls.count.saturating_add(1);
                calls.nanos = calls.nanos.saturating_add(nanos);
            }
            None => calls.push(Within { kind, count: 1, nanos }),
        }
    }
}

/// The registry puts the place within a thread's slab into the low 38 bits of an id, then 13 bits for the thread, then a
/// generation. Without the generation a thread that opens and closes one span after another stays on one warm slot.
/// Only speed depends on this: ids are compared whole.
#[inline]
fn home(id: u64) -> usize {
    let place = id & ((1 << 38) - 1);
    let thread = (id >> 38) & ((1 << 13) - 1);
    (place ^ thread.wrapping_mul(0x2B5)) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(opened: i64) -> OpenSpan {
        OpenSpan::new(None, opened)
    }

    fn close(spans: &OpenSpans, id: u64) -> Option<i64> {
        let found = spans.find(id)?;
        spans.remove(id, &found).map(|(span, _)| span.opened)
    }

    #[test]
    fn more_spans_than_slots_are_all_found_and_all_released() {
        let spans = OpenSpans::new();
        let ids = 1..=(3 * SLOTS as u64);
        for id in ids.clone() {
            assert!(spans.insert(id, span(id as i64)));
        }
        assert_eq!(spans.len(), 3 * SLOTS);
        assert!(spans.find(9_999_999).is_none());
        for id in ids.clone() {
            assert_eq!(close(&spans, id), Some(id as i64));
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
            spans.insert(*id, span(*id as i64));
        }
        assert_eq!(spans.overflowed.load(Relaxed), 10 - PROBES);
        for id in ids.iter().rev() {
            assert_eq!(close(&spans, *id), Some(*id as i64));
        }
        assert_eq!(spans.displaced.load(Relaxed), 0);
    }

    #[test]
    fn the_overflow_is_bounded() {
        let spans = OpenSpans::new();
        let taken = (1..=(SLOTS + MAX_OVERFLOW) as u64 + 10).filter(|id| spans.insert(*id, span(0))).count();
        assert_eq!(taken, SLOTS + MAX_OVERFLOW);
        close(&spans, (SLOTS + MAX_OVERFLOW) as u64);
        assert!(spans.insert(u64::MAX, span(0)), "there is room again");
    }

    #[test]
    fn only_the_outermost_enter_counts_as_busy() {
        let slot = Slot::default();
        slot.start(span(0));
        slot.id.store(1, Relaxed);
        slot.enter(|| 10);
        slot.enter(|| unreachable!("a nested enter reads no clock"));
        slot.exit(20);
        slot.exit(30);
        slot.enter(|| 100);
        slot.exit(105);
        let (_, passage) = slot.end(1).unwrap();
        assert_eq!(passage, Passage { last_exit: Some(105), busy: 25 });
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
                        assert!(spans.insert(id, span(id as i64)));
                        assert_eq!(close(spans, id), Some(id as i64));
                    }
                });
            }
        });
        assert_eq!((spans.len(), spans.displaced.load(Relaxed)), (0, 0));
    }

    #[test]
    fn a_slot_stays_within_three_cache_lines() {
        assert!(size_of::<Slot>() <= 256, "{}", size_of::<Slot>());
    }
}
