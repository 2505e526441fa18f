//! How a journey ends, settles and goes.
//!
//! A finished journey with a gap waits a little for checkpoints on their way; then it is settled: counted as a whole
//! and handed over, once. Later it is forgotten, or it is evicted while still open, and only its id is remembered.

use super::{
    Tracker,
    pool::{ListName, State},
    statistics::outcome_index,
};
use crate::{
    checkpoint::StageError,
    drops::DropReason,
    feed::FeedEvent,
    id::CorrelationId,
    journey::{LegQuality, Status},
    routes::RouteIndex,
    time::nanos,
};

impl Tracker {
    /// Finishes an open journey explicitly. `false` where there is no such open journey.
    pub fn finish(
        &mut self,
        id: &CorrelationId,
        route: RouteIndex,
        status: Status,
        reason: Option<&str>,
        now: i64,
    ) -> bool {
        let open = self.pool.find(self.pool.wanted(route, id)).filter(|place| self.is_open(*place));
        if let (Some(place), true) = (open, status != Status::Active) {
            self.end(place, status, reason, now);
            return true;
        }
        false
    }

    /// Finishes an open journey; it settles at once where nothing is missing.
    pub(super) fn end(&mut self, place: u32, status: Status, reason: Option<&str>, now: i64) {
        self.leave_position(place);
        let entry = self.pool.get_mut(place);
        entry.status = status;
        if let Some(reason) = reason {
            entry.rare_mut().reason = Some(StageError::new("", reason).message.into());
        }
        entry.last_seen = now;
        entry.set_position(None);
        entry.state = State::Settling;
        let (route, number) = (entry.route, entry.number);
        if let Some(outcome) = outcome_index(status) {
            *self.statistics[usize::from(route.0)].ended[outcome].current(now) += 1;
        }
        self.pool.move_to(place, ListName::Finished);
        if status == Status::Expired || self.is_whole(place) {
            self.settle(place, number, now);
        } else {
            self.settling.push_back((place, number, now.saturating_add(nanos(self.limits.grace))));
        }
        while self.pool.len(ListName::Finished) > self.limits.max_finished.max(1) {
            let Some(oldest) = self.pool.head(ListName::Finished) else { break };
            self.forget(oldest, now);
        }
    }

    /// Whether a completed journey has every stage it has to have.
    pub(super) fn is_whole(&mut self, place: u32) -> bool {
        let entry = self.pool.get(place);
        let declared = self.routes.get(entry.route);
        if entry.status != Status::Completed || declared.is_open() {
            return false;
        }
        self.pool.unpack(place, &mut self.in_hand);
        self.in_hand.sightings().missing(declared).next().is_none()
    }

    /// Counts a finished journey as a whole and hands it to those who want finished ones.
    pub(super) fn settle(&mut self, place: u32, number: u64, now: i64) {
        let waiting = self.pool.numbered(place, number).is_some_and(|entry| entry.state == State::Settling);
        if !waiting {
            return;
        }
        self.pool.get_mut(place).state = State::Settled;
        self.pool.unpack(place, &mut self.in_hand);
        self.count_segments(place, None, now);
        let journey = self.pool.copy_of(place, &self.in_hand, self.used.pop());
        let declared = self.routes.get(journey.route());
        let statistics = &mut self.statistics[usize::from(journey.route().0)];
        if declared.is_open() {
            for leg in journey.legs(&self.routes, &self.sources) {
                let coarse = leg.quality == LegQuality::Coarse;
                statistics.leg(usize::from(leg.to.0)).count(leg.nanos(), coarse, now);
            }
        } else {
            statistics.ring.keep(now, self.in_hand.sightings(), declared);
        }
        if self.events_wanted {
            let view = journey.view(&self.routes, &self.sources, &self.key);
            self.events.push(FeedEvent::Journey(Box::new(view)));
        }
        self.finished.push(journey);
    }

    /// Evicts the open journey that is idle longest; its checkpoints become losses.
    pub(super) fn evict(&mut self, now: i64) {
        let heads = self.routes.iter().flat_map(|(route, _)| [ListName::Stuck(route), ListName::Active(route)]);
        let idle_longest =
            heads.filter_map(|list| self.pool.head(list)).min_by_key(|place| self.pool.get(*place).last_seen);
        let Some(place) = idle_longest else { return };
        self.leave_position(place);
        self.pool.unpack(place, &mut self.in_hand);
        let (route, lost) = (self.pool.get(place).route, self.in_hand.sightings().all().len() as u64);
        self.accounting.recorded -= lost;
        self.accounting.drop(DropReason::Evicted, lost);
        *self.statistics[usize::from(route.0)].ended[3].current(now) += 1;
        self.bury(place, DropReason::Evicted, now);
    }

    /// Lets a finished journey go.
    pub(super) fn forget(&mut self, place: u32, now: i64) {
        let number = self.pool.get(place).number;
        self.settle(place, number, now);
        self.bury(place, DropReason::Late, now);
    }

    /// Removes a journey and remembers its id for a while.
    fn bury(&mut self, place: u32, reason: DropReason, now: i64) {
        let entry = self.pool.get(place);
        let ttl = nanos(self.routes.get(entry.route).ttl());
        let until = now.saturating_add(ttl).saturating_add(nanos(self.limits.retention));
        self.tombs.bury(self.pool.hash(entry), reason, entry.generation, until);
        self.pool.remove(place);
    }
}
