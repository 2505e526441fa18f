//! One open span of interest, in words that all threads share without a lock.
//!
//! A span is opened by one thread, entered and left by any, and closed by one. What nearly every span has stands in plain
//! words; the rest, such as why an attempt failed, in a cold part behind a lock, which is touched only where the state
//! says that there is one.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use journey_core::{CorrelationId, ID_WORDS, IdWords, RouteIndex, StageRef, Within, WithinKind};
use parking_lot::{Mutex, MutexGuard};

use super::{
    callsites::{Callsite, Callsites},
    fields::{Failure, Fields, Id, Named, Rare, id_among, set_id},
    state::{StageOf, State},
    text::TakenId,
};
use crate::{
    clock::Reading,
    sighting::{At, Passage},
};

/// The number of no callsite: a root that only carries a generated id.
const NO_CALLSITE: u32 = u32::MAX;

/// One open span of interest, known by its id while that is not 0. Two cache lines: the first is all that an enter or an
/// exit touches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Slot {
    pub(super) id: AtomicU64,
    /// [`State`]; empty while the slot is free or being filled.
    state: AtomicU64,
    opened: AtomicU64,
    /// When it was entered while it was not.
    last_enter: AtomicU64,
    /// When it was left last; never, while it never was.
    last_exit: AtomicU64,
    /// Ticks during which it was entered.
    busy: AtomicU64,
    /// How often the span is entered now.
    entered: AtomicU32,
    callsite: AtomicU32,
    /// The instant of `journey.at`, where the state says that there is one.
    at: AtomicU64,
    /// The first id, where the state says that it is short.
    words: [AtomicU64; ID_WORDS],
    cold: Mutex<Option<Box<Rare>>>,
}

/// A span that is opened.
pub(crate) struct Opening<'a> {
    pub(crate) callsite: &'a Callsite,
    pub(crate) opened: Reading,
    pub(crate) state: State,
    pub(crate) fields: &'a mut Fields,
}

impl Slot {
    /// What is known in short; empty while nothing is.
    #[inline]
    pub(crate) fn state(&self) -> State {
        State::of_bits(self.state.load(Acquire))
    }

    #[inline]
    pub(crate) fn callsite<'a>(&self, callsites: &'a Callsites) -> Option<&'a Callsite> {
        Some(self.callsite.load(Relaxed)).filter(|number| *number != NO_CALLSITE).and_then(|it| callsites.numbered(it))
    }

    /// Notes an enter. Several threads inside one span at once make its busy time approximate, nothing else.
    #[inline]
    pub(crate) fn enter(&self, now: impl FnOnce() -> Reading) {
        let entered = self.entered.load(Relaxed);
        if entered == 0 {
            self.last_enter.store(now().bits(), Relaxed);
        }
        self.entered.store(entered.wrapping_add(1), Relaxed);
    }

    /// Notes an exit.
    #[inline]
    pub(crate) fn exit(&self, now: Reading) {
        let entered = self.entered.load(Relaxed).saturating_sub(1);
        self.entered.store(entered, Relaxed);
        // Every exit, also a nested one: were the count ever wrong, the end of the stage still is not.
        self.last_exit.store(now.bits(), Relaxed);
        if entered == 0 {
            let busy = now.since(Reading::of_bits(self.last_enter.load(Relaxed)));
            self.busy.store(self.busy.load(Relaxed).wrapping_add(busy), Relaxed);
        }
    }

    /// When it was opened and left, for the thread that closes it.
    #[inline]
    pub(crate) fn passage(&self) -> Passage {
        let opened = Reading::of_bits(self.opened.load(Relaxed));
        let last_exit = Reading::of_bits(self.last_exit.load(Relaxed));
        let end = if last_exit == Reading::NEVER { opened } else { last_exit };
        Passage { opened, end, busy: self.busy.load(Relaxed) }
    }

    /// The first id, where the state says that it is short.
    #[inline]
    pub(crate) fn short_id(&self) -> Option<IdWords> {
        IdWords::from_words(std::array::from_fn(|at| self.words[at].load(Relaxed)))
    }

    /// The instant of `journey.at`, for the thread that closes the span.
    pub(crate) fn at(&self) -> At {
        self.state().at(self.at.load(Relaxed))
    }

    /// The stage that is open here and since when; `None` where there is none or it is just closing.
    pub(crate) fn open_stage(&self) -> Option<(u64, StageRef, Reading)> {
        let look = || {
            let id = self.id.load(Acquire);
            (id, self.state.load(Acquire), self.opened.load(Acquire))
        };
        let (id, state, opened) = look();
        fence(Acquire);
        // Nothing moved in between: the three belong together.
        let whole = id != 0 && look() == (id, state, opened);
        match State::of_bits(state).stage() {
            StageOf::Known(stage) if whole => Some((id, stage, Reading::of_bits(opened))),
            _ => None,
        }
    }

    /// The id of this span for a route: `None` where it has none, `Some(None)` where it is no correlation id.
    pub(crate) fn id_for(&self, span: u64, route: RouteIndex, callsites: &Callsites) -> Option<Option<CorrelationId>> {
        if self.state().has_no_id() {
            return None;
        }
        let (cold, state) = self.locked(span)?;
        if self.callsite(callsites).is_some_and(|callsite| callsite.first_id_counts(route))
            && let Some(first) = self.first_id(state)
        {
            return Some(first);
        }
        id_among(&cold.as_ref()?.ids, route)
    }

    /// The id of this span for any route, as [`id_for`](Self::id_for).
    pub(crate) fn any_id(&self, span: u64) -> Option<Option<CorrelationId>> {
        let (cold, state) = self.locked(span)?;
        self.first_id(state).or_else(|| cold.as_ref()?.ids.first().map(|id| id.id.clone()))
    }

    fn first_id(&self, state: State) -> Option<Option<CorrelationId>> {
        if state.has_short_id() {
            Some(self.short_id().and_then(IdWords::id))
        } else {
            state.has_invalid_id().then_some(None)
        }
    }

    /// Changes the cold part of a span, unless it is no longer that span.
    pub(crate) fn change<R>(&self, span: u64, change: impl FnOnce(&mut Rare) -> R) -> Option<R> {
        let (mut cold, _) = self.locked(span)?;
        let changed = change(cold.get_or_insert_with(|| Box::new(Rare { span, ..Rare::default() })));
        // Of whichever span is here now: another one finds that the cold part is not its own.
        self.state.fetch_or(State::COLD, Release);
        Some(changed)
    }

    /// Notes that an OpenTelemetry context was seen on the span, which is entered now.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn context_was_seen(&self) {
        self.state.fetch_or(State::CONTEXT, Release);
    }

    /// Sets the id of some routes.
    pub(crate) fn set_id(&self, span: u64, routes: u64, id: Option<CorrelationId>) {
        self.change(span, |cold| set_id(&mut cold.ids, routes, id));
    }

    /// Adds a call that ended inside.
    pub(crate) fn add_call(&self, span: u64, kind: WithinKind, nanos: u64) {
        self.change(span, |cold| {
            let calls = cold.within.get_or_insert_default();
            match calls.iter_mut().find(|calls| calls.kind == kind) {
                Some(calls) => {
                    calls.count = calls.count.saturating_add(1);
                    calls.nanos = calls.nanos.saturating_add(nanos);
                }
                None => calls.push(Within { kind, count: 1, nanos }),
            }
        });
    }

    /// What a failure inside says about the attempt.
    pub(crate) fn add_failure(&self, span: u64, failure: Option<Failure>) {
        let Some(newer) = failure else { return };
        self.change(span, |cold| match &mut cold.failure {
            Some(known) => known.merge(newer),
            none => *none = Some(newer),
        });
    }

    /// Whether it is a compensation.
    #[cfg(feature = "store")]
    pub(crate) fn is_compensation(&self, span: u64) -> bool {
        let undoes = |rare: &Rare| rare.undoes.is_some();
        self.state().is_cold() && self.locked(span).is_some_and(|(cold, _)| cold.as_deref().is_some_and(undoes))
    }

    /// Adds what was recorded later; the newer value stands.
    pub(crate) fn record(&self, span: u64, callsite: &Callsite, newer: &mut Fields) {
        let first = callsite.id_routes.first().copied().unwrap_or_default();
        let id = newer.id;
        let ids = newer.rare.as_mut().map(|rare| std::mem::take(&mut rare.ids)).unwrap_or_default();
        let first_is_long = ids.iter().any(|id| id.routes == first);
        let has_cold = self.locked(span).is_some_and(|(cold, _)| cold.is_some());
        if has_cold || !ids.is_empty() {
            self.change(span, |cold| {
                if id != TakenId::Nothing {
                    cold.ids.retain(|id| id.routes != first);
                }
                for Id { routes, id } in ids {
                    set_id(&mut cold.ids, routes, id);
                }
            });
        }
        self.add_failure(span, newer.take_failure());
        let Some((_cold, state)) = self.locked(span) else { return };
        let before = state.named();
        let named = Named { route: newer.named.route.or(before.route), stage: newer.named.stage.or(before.stage) };
        let at = if newer.at == At::Absent { state.at(self.at.load(Relaxed)) } else { newer.at };
        let mut changed = State::of(callsite, named, at).kept_from(state);
        if id != TakenId::Nothing || first_is_long {
            changed = changed.with_id(id);
        }
        self.put(id, at);
        self.state.store(changed.bits(), Release);
    }

    /// Fills a slot that was claimed. Nobody else knows the id of a span that is being made.
    #[inline]
    pub(super) fn start(&self, span: u64, opening: Opening<'_>) {
        let Opening { callsite, opened, state, fields } = opening;
        self.opened.store(opened.bits(), Release);
        self.last_exit.store(Reading::NEVER.bits(), Relaxed);
        self.busy.store(0, Relaxed);
        self.entered.store(0, Relaxed);
        self.callsite.store(callsite.number, Relaxed);
        self.put(fields.id, fields.at);
        let mut state = state.with_id(fields.id).bits() | State::READY;
        if let Some(rare) = fields.rare.take() {
            state |= State::COLD;
            self.start_cold(span, rare);
        }
        self.state.store(state, Release);
    }

    #[cold]
    fn start_cold(&self, span: u64, mut rare: Box<Rare>) {
        rare.span = span;
        *self.cold.lock() = Some(rare);
    }

    /// The same for a root that is no business of ours but for the id that was made for it.
    pub(super) fn start_root(&self, span: u64, routes: u64, id: CorrelationId) {
        self.opened.store(0, Release);
        self.entered.store(0, Relaxed);
        self.callsite.store(NO_CALLSITE, Relaxed);
        let ids = vec![Id { routes, id: Some(id) }];
        *self.cold.lock() = Some(Box::new(Rare { span, ids, ..Rare::default() }));
        self.state.store(State::READY | State::COLD, Release);
    }

    #[inline]
    fn put(&self, id: TakenId, at: At) {
        if let TakenId::Short(id) = id {
            for (word, value) in self.words.iter().zip(id.words()) {
                word.store(value, Relaxed);
            }
        }
        if let At::Given(at, _) = at {
            self.at.store(at.cast_unsigned(), Relaxed);
        }
    }

    /// The cold part of a span that closes.
    pub(crate) fn take_cold(&self, span: u64) -> Option<Box<Rare>> {
        let cold = if self.state().is_cold() { self.cold.lock().take() } else { None };
        cold.filter(|cold| cold.span == span)
    }

    /// Gives the slot up. Everything has been read.
    #[inline]
    pub(super) fn vacate(&self) {
        self.state.store(0, Release);
        self.id.store(0, Release);
    }

    /// The cold part, where the slot is still that span's.
    fn locked(&self, span: u64) -> Option<(MutexGuard<'_, Option<Box<Rare>>>, State)> {
        let mut cold = self.cold.lock();
        if self.id.load(Acquire) != span {
            return None;
        }
        if cold.as_ref().is_some_and(|cold| cold.span != span) {
            *cold = None;
        }
        Some((cold, self.state()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(bits: u64) -> Reading {
        Reading::of_bits(bits)
    }

    #[test]
    fn only_the_outermost_enter_counts_as_busy() {
        let slot = Slot::default();
        slot.enter(|| reading(10));
        slot.enter(|| unreachable!("a nested enter reads no clock"));
        slot.exit(reading(20));
        slot.exit(reading(30));
        slot.enter(|| reading(100));
        slot.exit(reading(105));
        assert_eq!(slot.passage(), Passage { opened: Reading::NEVER, end: reading(105), busy: 25 });
    }

    #[test]
    fn a_slot_is_two_cache_lines() {
        assert_eq!(size_of::<Slot>(), 128);
    }

    #[test]
    fn what_is_said_of_a_span_that_is_gone_is_no_other_spans() {
        let slot = Slot::default();
        slot.id.store(1, Relaxed);
        slot.start_root(1, 1, CorrelationId::new("one").unwrap());
        slot.set_id(1, 2, None);
        drop(slot.take_cold(1));
        slot.vacate();
        slot.id.store(2, Relaxed);
        slot.start_root(2, 1, CorrelationId::new("two").unwrap());
        slot.set_id(1, 1, None);
        assert_eq!(slot.any_id(1), None);
        assert_eq!(slot.any_id(2).unwrap().unwrap().as_str(), "two");
    }
}
