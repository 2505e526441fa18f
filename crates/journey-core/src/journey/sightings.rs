//! The sightings of one journey: what a merge keeps, and which of them count.

use super::{CountedStage, Key, Sighting, StageState};
use crate::{
    checkpoint::{Checkpoint, Outcome, Resolution, StageError, Within},
    route::{Presence, Route, StageIndex},
};

/// Sightings of one stage that are kept: the first success and the earliest others.
const MAX_PER_STAGE: usize = 32;

/// All sightings of one journey.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// Sorted by [`Sighting::key`], without duplicates.
    all: Vec<Sighting>,
    /// What few sightings have; sorted like the sightings they belong to.
    details: Vec<Detail>,
}

/// Why an attempt failed, and calls inside of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detail {
    of: Key,
    error: Option<Box<StageError>>,
    #[expect(clippy::box_collection, reason = "one word instead of three for what is rarely there")]
    within: Option<Box<Vec<Within>>>,
}

/// What a merge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// The sighting is new.
    New,
    /// The sighting was there.
    Duplicate,
    /// The stage holds the most sightings that are kept: one, this or a later one, was let go.
    Displaced,
}

/// What statistics need of a leg or segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Between {
    /// Latency as measured, nanoseconds.
    pub(crate) nanos: i64,
    /// An end has a resolution of a second, so the latency is up to a second off.
    pub(crate) coarse: bool,
    /// The end was carried here: it belongs to the process that saw it.
    pub(crate) carried: bool,
}

impl Sightings {
    /// All of them, sorted by stage, instant and the rest of what makes them different.
    pub(crate) fn all(&self) -> &[Sighting] {
        &self.all
    }

    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.details.clear();
    }

    /// Adds a sighting that comes after all that are there.
    pub(crate) fn push(&mut self, sighting: Sighting) {
        self.all.push(sighting);
    }

    /// What few of them have.
    pub(crate) fn details(&self) -> &[Detail] {
        &self.details
    }

    /// Exchanges the details, which are kept elsewhere.
    pub(crate) fn swap_details(&mut self, details: &mut Vec<Detail>) {
        std::mem::swap(&mut self.details, details);
    }

    /// Becomes the same as another, in the memory that is there; `details` are those of the other.
    pub(crate) fn copy(&mut self, other: &Self, details: &[Detail]) {
        self.all.clear();
        self.all.extend_from_slice(&other.all);
        self.details.clear();
        self.details.extend_from_slice(details);
    }

    /// How many sightings have room without another allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.all.capacity()
    }

    /// Adds one checkpoint. Also says from which place on the sightings are others than before.
    pub(crate) fn merge(&mut self, checkpoint: Checkpoint, route: &Route) -> (Merged, usize) {
        let sighting = Sighting {
            at: checkpoint.at,
            trace_id: checkpoint.trace_id,
            span_id: checkpoint.span_id,
            busy_us: checkpoint.busy_us,
            idle_us: checkpoint.idle_us,
            source: checkpoint.source,
            stage: checkpoint.stage.stage,
            outcome: checkpoint.outcome,
            clock: checkpoint.clock,
            resolution: checkpoint.resolution,
            carried: checkpoint.carried,
        };
        let key = sighting.key();
        let place = match self.all.last() {
            // Most come in the order of stages.
            Some(last) if last.key() >= key => self.all.binary_search_by_key(&key, Sighting::key),
            _ => Err(self.all.len()),
        };
        if checkpoint.error.is_some() || checkpoint.within.is_some() {
            let detail = self.detail_mut(key);
            // Of two reports of the same sighting the greater stays, whichever came first.
            detail.error = detail.error.take().max(checkpoint.error);
            detail.within = detail.within.take().max(checkpoint.within);
        }
        match place {
            Ok(place) => {
                let known = &mut self.all[place];
                let trace_id = known.trace_id.max(sighting.trace_id);
                let rank = |s: &Sighting| (s.busy_us, s.idle_us, s.clock, s.resolution);
                if rank(&sighting) > rank(known) {
                    *known = sighting;
                }
                known.trace_id = trace_id;
                (Merged::Duplicate, place)
            }
            Err(place) => {
                self.all.insert(place, sighting);
                let merged = self.keep_to_limit(sighting.stage, route);
                // Where one was let go, it may lie before the new one.
                let from = if merged == Merged::New { place } else { 0 };
                (merged, from)
            }
        }
    }

    /// Lets the latest sighting of a stage go where there are too many; never the first success.
    fn keep_to_limit(&mut self, stage: StageIndex, route: &Route) -> Merged {
        if self.all.len() <= MAX_PER_STAGE {
            return Merged::New;
        }
        let limit = match route.stage(stage).map(|stage| stage.presence) {
            // One more than allowed, so that too many can be told.
            Some(Presence::Repeatable(max)) => MAX_PER_STAGE.max(max.min(255) as usize + 1),
            _ => MAX_PER_STAGE,
        };
        let start = self.all.partition_point(|s| s.stage < stage);
        let end = self.all.partition_point(|s| s.stage <= stage);
        if end - start <= limit {
            return Merged::New;
        }
        let first_success = self.first_success(stage).map(Sighting::key);
        let last = if first_success == Some(self.all[end - 1].key()) { end - 2 } else { end - 1 };
        let gone = self.all.remove(last).key();
        self.details.retain(|detail| detail.of != gone);
        Merged::Displaced
    }

    fn detail_mut(&mut self, of: Key) -> &mut Detail {
        let place = self.details.binary_search_by_key(&of, |detail| detail.of);
        let place = place.unwrap_or_else(|place| {
            self.details.insert(place, Detail { of, error: None, within: None });
            place
        });
        &mut self.details[place]
    }

    fn detail(&self, of: Key) -> Option<&Detail> {
        self.details.binary_search_by_key(&of, |detail| detail.of).ok().map(|place| &self.details[place])
    }

    /// All sightings of one stage.
    pub(crate) fn of_stage(&self, stage: StageIndex) -> &[Sighting] {
        // In a journey without gaps and repeats so far, each stage stands at its own number.
        let guess = usize::from(stage.0);
        let is_of_stage = |place: usize| self.all.get(place).is_some_and(|s| s.stage == stage);
        if is_of_stage(guess) && !is_of_stage(guess + 1) && (guess == 0 || !is_of_stage(guess - 1)) {
            return &self.all[guess..=guess];
        }
        let start = self.all.partition_point(|s| s.stage < stage);
        let len = self.all[start..].iter().take_while(|s| s.stage == stage).count();
        &self.all[start..start + len]
    }

    /// Sightings by stage, in the order of stages.
    pub(crate) fn by_stage(&self) -> impl Iterator<Item = &[Sighting]> {
        self.all.chunk_by(|a, b| a.stage == b.stage)
    }

    /// The sighting by which a stage counts as reached: the earliest success, one of our own before a carried one.
    pub(crate) fn first_success(&self, stage: StageIndex) -> Option<&Sighting> {
        first_success(self.of_stage(stage))
    }

    /// Sightings of a stage that were not carried here.
    pub(crate) fn own(&self, stage: StageIndex) -> impl Iterator<Item = &Sighting> {
        self.of_stage(stage).iter().filter(|s| !s.carried)
    }

    /// First success of every reached stage, in the order of stages.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Sighting> {
        self.by_stage().filter_map(first_success)
    }

    /// The earliest and the latest instant of a reached stage.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        self.reached().map(|s| s.at).fold(None, |bounds, at| {
            let (from, to) = bounds.unwrap_or((at, at));
            Some((at.min(from), at.max(to)))
        })
    }

    /// The stage reached last: the furthest of a declared route, the newest of an open one.
    pub(crate) fn position(&self, route: &Route) -> Option<StageIndex> {
        if route.is_open() {
            return self.reached().max_by_key(|s| (s.at, s.stage)).map(|s| s.stage);
        }
        self.all.iter().rev().find(|s| s.outcome == Outcome::Reached).map(|s| s.stage)
    }

    /// Latency between two stages; `None` unless both were reached.
    pub(crate) fn between(&self, from: StageIndex, to: StageIndex) -> Option<Between> {
        let (from, to) = (self.first_success(from)?, self.first_success(to)?);
        Some(Between {
            nanos: to.at.saturating_sub(from.at),
            coarse: from.resolution.max(to.resolution) == Resolution::Second,
            carried: to.carried,
        })
    }

    /// Required stages that were not reached although a later one was.
    pub(crate) fn missing<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = StageIndex> + 'a {
        let furthest = if route.is_open() { 0 } else { self.position(route).map_or(0, |stage| stage.0) };
        (0..furthest).map(StageIndex).filter(|stage| {
            let required = route.stage(*stage).is_some_and(|stage| stage.presence == Presence::Required);
            required && self.first_success(*stage).is_none()
        })
    }

    /// The first failed stage that was never reached and has to be, with its last error.
    pub(crate) fn unrecovered(&self, route: &Route) -> Option<(StageIndex, Option<&StageError>)> {
        self.by_stage().find_map(|of_stage| {
            let stage = of_stage.first()?.stage;
            let required = route.stage(stage).is_none_or(|stage| stage.presence == Presence::Required);
            if !required || first_success(of_stage).is_some() {
                return None;
            }
            Some((stage, self.error(last(of_stage.iter())?)))
        })
    }

    /// What the sightings of one stage say together.
    pub(crate) fn stage_state(&self, of_stage: &[Sighting]) -> Option<StageState> {
        let CountedStage { sighting, attempts } = counted(of_stage)?;
        let sighting = *sighting;
        let own = || of_stage.iter().filter(|s| !s.carried);
        let last_failed = last(of_stage.iter().filter(|s| s.outcome != Outcome::Reached));
        let error = last_failed.map(|s| match self.error(s) {
            Some(error) => error.clone(),
            None => StageError::new(if s.outcome == Outcome::Cancelled { "cancelled" } else { "error" }, ""),
        });
        let within = self.detail(sighting.key()).and_then(|detail| detail.within.as_deref());
        Some(StageState {
            stage: sighting.stage,
            sighting,
            attempts,
            first_attempt_at: own().map(|s| s.at).min().unwrap_or(sighting.at),
            error,
            within: within.cloned().unwrap_or_default(),
        })
    }

    fn error(&self, of: &Sighting) -> Option<&StageError> {
        self.detail(of.key()).and_then(|detail| detail.error.as_deref())
    }
}

/// What counts of the sightings of one stage.
pub(crate) fn counted(of_stage: &[Sighting]) -> Option<CountedStage<'_>> {
    let sighting = first_success(of_stage).or_else(|| last(of_stage.iter()))?;
    let attempts = of_stage.iter().filter(|s| !s.carried).count().max(1) as u32;
    Some(CountedStage { sighting, attempts })
}

/// The sighting of a stage by which it counts as reached.
pub(crate) fn first_success(of_stage: &[Sighting]) -> Option<&Sighting> {
    match of_stage {
        [only] => Some(only).filter(|s| s.outcome == Outcome::Reached),
        several => {
            let successes = several.iter().filter(|s| s.outcome == Outcome::Reached);
            successes.min_by_key(|s| (s.carried, s.key()))
        }
    }
}

fn last<'a>(sightings: impl Iterator<Item = &'a Sighting>) -> Option<&'a Sighting> {
    sightings.max_by_key(|s| (s.at, s.key()))
}
