//! One kept journey in 88 bytes; its sightings are packed elsewhere.

use super::{blocks::Bytes, key::Key};
use crate::{
    journey::{Detail, Status, packed::Common},
    route::StageIndex,
    routes::RouteIndex,
};

/// One kept journey.
#[derive(Debug)]
pub(in crate::tracker) struct Entry {
    pub(super) key: Key,
    pub(in crate::tracker) route: RouteIndex,
    pub(in crate::tracker) status: Status,
    pub(in crate::tracker) state: State,
    pub(super) list: ListKind,
    /// The trace id of its spans is kept in front of the sightings.
    pub(super) has_trace_id: bool,
    /// The stage reached last; [`NO_STAGE`] for none.
    position: u16,
    pub(in crate::tracker) generation: u32,
    /// Counts journeys from 1, so a place that was used again is told from before.
    pub(in crate::tracker) number: u64,
    /// When the tracker last took a checkpoint of it (finished: when it was finished), unix nanoseconds.
    pub(in crate::tracker) last_seen: i64,
    /// The instant that was recorded first: all others are differences to it.
    pub(super) base: i64,
    /// The text of a long id, the common trace id, the sightings.
    pub(super) bytes: Bytes,
    pub(in crate::tracker) rare: Option<Box<Rare>>,
    pub(super) hash: u32,
    /// The next in its bucket of the index.
    pub(super) chained: u32,
    /// The previous generation of the same id.
    pub(super) older: u32,
    /// Neighbours in its list.
    pub(super) previous: u32,
    pub(super) next: u32,
}

/// No stage; no route has so many.
const NO_STAGE: u16 = u16::MAX;

/// What few journeys have.
#[derive(Clone, Debug, Default)]
pub(in crate::tracker) struct Rare {
    /// Why it failed.
    pub(in crate::tracker) reason: Option<Box<str>>,
    /// Stages that came after the journey was finished and counted, sorted.
    pub(in crate::tracker) late: Vec<StageIndex>,
    pub(in crate::tracker) details: Vec<Detail>,
}

/// Where a journey is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracker) enum State {
    /// Checkpoints are expected.
    Active,
    /// Checkpoints are expected and overdue.
    Stuck,
    /// Finished; checkpoints still on their way are no surprise.
    Settling,
    /// Finished, counted and exported.
    Settled,
}

/// Which list of its route a journey is in; the finished ones of all routes are in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    Active,
    Stuck,
    Finished,
}

impl Entry {
    pub(super) fn new(key: Key, route: RouteIndex, generation: u32, base: i64, now: i64) -> Self {
        Self {
            key,
            route,
            status: Status::Active,
            state: State::Active,
            list: ListKind::Active,
            has_trace_id: false,
            position: NO_STAGE,
            generation,
            number: 0,
            last_seen: now,
            base,
            bytes: Bytes::EMPTY,
            rare: None,
            hash: 0,
            chained: super::NONE,
            older: super::NONE,
            previous: super::NONE,
            next: super::NONE,
        }
    }

    /// The stage reached last.
    pub(in crate::tracker) fn position(&self) -> Option<StageIndex> {
        Some(StageIndex(self.position)).filter(|stage| stage.0 != NO_STAGE)
    }

    pub(in crate::tracker) fn set_position(&mut self, stage: Option<StageIndex>) {
        self.position = stage.map_or(NO_STAGE, |stage| stage.0);
    }

    /// Whether it takes checkpoints as a matter of course.
    pub(in crate::tracker) fn is_open(&self) -> bool {
        matches!(self.state, State::Active | State::Stuck)
    }

    /// Room for what few journeys have.
    pub(in crate::tracker) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Where the sightings start among the bytes.
    pub(super) fn front(&self) -> usize {
        self.key.text_in_front() + if self.has_trace_id { size_of::<u128>() } else { 0 }
    }

    /// What the sightings are written against; `front` are the bytes before them.
    pub(super) fn common(&self, front: &[u8]) -> Common {
        let trace_id = front[self.key.text_in_front()..].first_chunk().filter(|_| self.has_trace_id);
        Common { base: self.base, trace_id: trace_id.map_or(0, |id| u128::from_le_bytes(*id)) }
    }
}
