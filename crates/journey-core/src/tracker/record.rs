//! Which journey is a checkpoint part of, and what does it change there?

use super::{
    Recorded, Tracker,
    pool::{ListName, State, Wanted},
};
use crate::{
    checkpoint::{Checkpoint, Outcome},
    drops::DropReason,
    journey::{Merged, Status},
    route::StageIndex,
};

impl Tracker {
    /// Offers one checkpoint.
    ///
    /// # Errors
    ///
    /// Why it was dropped; it is counted already.
    pub fn record(&mut self, checkpoint: Checkpoint, now: i64) -> Result<(), DropReason> {
        self.accounting.offered += 1;
        let result = self.place(checkpoint, now);
        match result {
            Ok(()) => self.accounting.recorded += 1,
            Err(reason) => self.accounting.drop(reason, 1),
        }
        result
    }

    /// Counts checkpoints that were offered and lost before they came here.
    pub fn count_lost(&mut self, reason: DropReason, count: u64) {
        self.accounting.offered += count;
        self.accounting.drop(reason, count);
    }

    /// Finds or opens the journey of a checkpoint and merges it.
    fn place(&mut self, checkpoint: Checkpoint, now: i64) -> Result<(), DropReason> {
        let (route, stage) = (checkpoint.stage.route, checkpoint.stage.stage);
        let known_route = usize::from(route.0) < self.routes.len();
        if !known_route || usize::from(stage.0) >= self.routes.stage_count(route) {
            return Err(DropReason::UnknownStage);
        }
        let wanted = self.pool.wanted(route, &checkpoint.id);
        let mut first_of_journey = false;
        let place = match self.pool.find(wanted) {
            Some(place) if self.is_open(place) => place,
            found => {
                let generation = |place| self.pool.get(place).generation;
                let tomb = self.tombs.get(wanted.hash, now);
                // A newer generation may be gone before an older one: evicted while open.
                let kept = found.filter(|place| tomb.is_none_or(|tomb| tomb.generation < generation(*place)));
                let first = stage == StageIndex(0) && !checkpoint.carried && !self.routes.get(route).is_open();
                let newest = kept.map(generation).max(tomb.map(|tomb| tomb.generation));
                match (kept, tomb) {
                    (Some(place), _) if !self.starts_again(place, &checkpoint) => place,
                    (None, Some(tomb)) if !first => return Err(tomb.reason),
                    _ => {
                        first_of_journey = true;
                        self.open(wanted, newest.unwrap_or(0) + 1, checkpoint.at, now)
                    }
                }
            }
        };
        if !self.recorded_wanted {
            return self.merge(place, checkpoint, now);
        }
        let generation = self.pool.get(place).generation;
        let recorded = Recorded { checkpoint: checkpoint.clone(), generation, first: first_of_journey };
        let merged = self.merge(place, checkpoint, now);
        if merged != Err(DropReason::Duplicate) {
            self.recorded.push(recorded);
        }
        merged
    }

    /// Whether a checkpoint for a finished journey is the first of a new one: its first stage once more, after the end.
    fn starts_again(&mut self, place: u32, checkpoint: &Checkpoint) -> bool {
        let stage = checkpoint.stage.stage;
        if checkpoint.carried || self.routes.get(checkpoint.stage.route).is_open() || stage != StageIndex(0) {
            return false;
        }
        self.pool.unpack(place, &mut self.in_hand);
        let sightings = self.in_hand.sightings();
        if sightings.own(stage).any(|known| known.at == checkpoint.at) {
            return false;
        }
        // A coarse instant may lie up to its resolution before the true one. That counts only for a start after a start:
        // the only start may simply arrive last, also in a journey shorter than the step of its instant.
        let step = checkpoint.resolution.nanos();
        let known = sightings.own(stage).map(|known| known.at).max();
        let again = known.is_some_and(|known| checkpoint.at >= known.saturating_add(step));
        let at = checkpoint.at.saturating_add(if again { step } else { 0 });
        sightings.span().is_none_or(|(_, end)| at > end)
    }

    /// Opens a journey, evicting the one idle longest where there are too many.
    fn open(&mut self, wanted: Wanted<'_>, generation: u32, at: i64, now: i64) -> u32 {
        if self.active() >= self.limits.max_active {
            self.evict(now);
        }
        let place = self.pool.insert(wanted, generation, at, now);
        let route = self.pool.get(place).route;
        *self.statistics[usize::from(route.0)].started.current(now) += 1;
        place
    }

    fn merge(&mut self, place: u32, checkpoint: Checkpoint, now: i64) -> Result<(), DropReason> {
        let (route, stage) = (checkpoint.stage.route, checkpoint.stage.stage);
        let declared = self.routes.get(route);
        let (is_open_route, is_terminal) = (declared.is_open(), declared.is_terminal(stage));
        let (outcome, at, source) = (checkpoint.outcome, checkpoint.at, checkpoint.source);
        let error = match (&checkpoint.error, outcome) {
            (_, Outcome::Reached) => String::new(),
            (Some(error), _) => error.kind.clone(),
            (None, Outcome::Failed) => "error".to_owned(),
            (None, Outcome::Cancelled) => "cancelled".to_owned(),
        };

        self.pool.unpack(place, &mut self.in_hand);
        let was_reached = self.in_hand.sightings().first_success(stage).is_some();
        let merged = self.pool.merge(place, &mut self.in_hand, checkpoint, declared);
        if merged == Merged::Duplicate {
            return Err(DropReason::Duplicate);
        }
        self.statistics[usize::from(route.0)].stage(usize::from(stage.0)).sighted(&error);
        let state = self.pool.get(place).state;
        if state == State::Settled {
            let late = &mut self.pool.get_mut(place).rare_mut().late;
            if let Err(before) = late.binary_search(&stage) {
                late.insert(before, stage);
            }
        }
        if self.is_open(place) {
            self.touch(place, now);
        }
        // A stage that was reached before changes no leg that is counted already, and completes no other.
        if outcome == Outcome::Reached && !was_reached {
            if !is_open_route {
                self.count_legs_at(place, stage, now);
            }
            if state == State::Settled {
                self.count_segments(place, Some(stage), now);
            }
        }
        if self.events_wanted {
            self.report_checkpoint(place, stage, outcome, at, &self.sources.get(source).service.clone());
        }
        if outcome == Outcome::Reached && is_terminal && self.is_open(place) {
            self.end(place, Status::Completed, None, now);
        } else if state == State::Settling && self.is_whole(place) {
            let number = self.pool.get(place).number;
            self.settle(place, number, now);
        }
        match merged {
            Merged::Displaced => Err(DropReason::AttemptsLimit),
            _ => Ok(()),
        }
    }

    /// An open journey made progress; its sightings are in hand.
    fn touch(&mut self, place: u32, now: i64) {
        let entry = self.pool.get(place);
        let (route, state, before) = (entry.route, entry.state, entry.position());
        let position = self.in_hand.sightings().position(self.routes.get(route));
        if (state, before) != (State::Active, position) {
            self.leave_position(place);
            let entry = self.pool.get_mut(place);
            entry.state = State::Active;
            entry.set_position(position);
            self.take_position(place);
        }
        self.pool.get_mut(place).last_seen = now;
        self.pool.move_to(place, ListName::Active(route));
    }
}
