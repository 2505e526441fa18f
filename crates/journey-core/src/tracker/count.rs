//! What is counted of journeys and operations, and when.

use super::{Tracker, pool::State};
use crate::{journey::Journey, metrics::Exemplar, route::StageIndex, trace_id::SpanIdSeed, window::Windows};

/// Names of operations before the rest are `other`.
const MAX_OPERATIONS: usize = 256;

impl Tracker {
    /// Counts the duration of a named operation, nanoseconds. From the 257th name on, all are `other`.
    pub fn operation(&mut self, name: &str, nanos: u64, now: i64) {
        let known = self.operations.contains_key(name);
        let name = if known || self.operations.len() < MAX_OPERATIONS { name } else { "other" };
        if !known && name == "other" {
            self.overflowed += 1;
        }
        let windows = match self.operations.get_mut(name) {
            Some(windows) => windows,
            None => self.operations.entry(name.into()).or_insert_with(|| Windows::new(self.started_at)),
        };
        windows.current(now).record(nanos);
    }

    /// Counts a journey at the stage it reached last.
    pub(super) fn take_position(&mut self, place: u32) {
        let entry = self.pool.get(place);
        if let Some(position) = entry.position() {
            let stage = self.statistics[usize::from(entry.route.0)].stage(usize::from(position.0));
            match entry.state {
                State::Stuck => (stage.active, stage.stuck) = (stage.active + 1, stage.stuck + 1),
                _ => stage.active += 1,
            }
        }
    }

    /// Undoes [`Tracker::take_position`].
    pub(super) fn leave_position(&mut self, place: u32) {
        let entry = self.pool.get(place);
        if let Some(position) = entry.position() {
            let stage = self.statistics[usize::from(entry.route.0)].stage(usize::from(position.0));
            match entry.state {
                State::Stuck => (stage.active, stage.stuck) = (stage.active - 1, stage.stuck - 1),
                _ => stage.active -= 1,
            }
        }
    }

    /// Counts the legs at a stage of the journey in hand that was reached just now.
    pub(super) fn count_legs_at(&mut self, place: u32, stage: StageIndex, now: i64) {
        let route = self.pool.get(place).route;
        let statistics = &mut self.statistics[usize::from(route.0)];
        for (index, leg) in self.routes.get(route).legs().iter().enumerate() {
            if leg.from != stage && leg.to != stage {
                continue;
            }
            let Some(between) = self.in_hand.sightings().between(leg.from, leg.to) else { continue };
            // A leg belongs to the process that records its end: a carried end was counted there.
            if !between.carried {
                statistics.leg(index).count(between.nanos, between.coarse, now);
            }
        }
    }

    /// Counts segments of the journey in hand: all that are known, or those at a stage that was reached just now.
    pub(super) fn count_segments(&mut self, place: u32, at: Option<StageIndex>, now: i64) {
        let entry = self.pool.get(place);
        let statistics = &mut self.statistics[usize::from(entry.route.0)];
        for (index, segment) in self.routes.get(entry.route).segments().iter().enumerate() {
            if at.is_some_and(|stage| segment.from != stage && segment.to != stage) {
                continue;
            }
            let Some(between) = self.in_hand.sightings().between(segment.from, segment.to) else { continue };
            if !between.carried {
                statistics.segments[index].count(between.nanos, between.coarse, entry.status, now);
            }
        }
    }

    /// Notes that a finished journey is exported, so that metrics may point to it.
    pub fn exported(&mut self, journey: &Journey, now: i64) {
        let trace_id = journey.trace_id(&self.routes, &self.key);
        let statistics = &mut self.statistics[usize::from(journey.route().0)];
        let declared = self.routes.get(journey.route());
        let exemplar = |nanos: i64, seed: SpanIdSeed| {
            let nanos = u64::try_from(nanos).ok()?;
            Some(Exemplar { nanos, at: now, trace_id, span_id: seed.span_id(trace_id) })
        };
        if declared.is_open() {
            for leg in journey.legs(&self.routes, &self.sources) {
                let known = statistics.legs.get_mut(usize::from(leg.to.0));
                if let Some((known, exemplar)) = known.zip(exemplar(leg.nanos(), SpanIdSeed::of_leg(&leg.name))) {
                    known.exemplar(exemplar);
                }
            }
        }
        for (leg, known) in declared.legs().iter().zip(&mut statistics.legs) {
            let between = journey.sightings.between(leg.from, leg.to);
            if let Some(exemplar) = between.and_then(|it| exemplar(it.nanos, SpanIdSeed::of_leg(&leg.name))) {
                known.exemplar(exemplar);
            }
        }
        for (segment, known) in declared.segments().iter().zip(&mut statistics.segments) {
            let between = journey.sightings.between(segment.from, segment.to);
            if let Some(exemplar) = between.and_then(|it| exemplar(it.nanos, SpanIdSeed::ROOT)) {
                known.all.exemplar(exemplar);
            }
        }
    }
}
