//! What all sightings of one message say together: a commutative, associative, idempotent merge.

mod read;

use crate::{
    checkpoint::{Checkpoint, ClockKind, Outcome, Resolution, SourceIndex, Sources, StageError, Within},
    id::CorrelationId,
    route::{Leg, Presence, Route, StageIndex},
    routes::{RouteIndex, Routes, StageRef},
    trace_id::TraceIdKey,
};

/// Sightings of one stage that are kept: the first success and the earliest others.
const MAX_SIGHTINGS_PER_STAGE: usize = 32;

/// What became of a journey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Still open.
    #[default]
    Active,
    /// A terminal stage was reached.
    Completed,
    /// Failed explicitly, or a required stage failed and no retry succeeded in time.
    Failed,
    /// No checkpoint came for the route's TTL.
    Expired,
}

/// One journey: the merge of its checkpoints.
///
/// Any order, duplication or split of the same checkpoints gives the same journey. Of one stage at most 32 sightings
/// are kept: the first success, and the earliest others.
#[derive(Clone, Debug)]
pub struct Journey {
    id: CorrelationId,
    route: RouteIndex,
    generation: u32,
    status: Status,
    /// Why it failed.
    reason: Option<Box<str>>,
    /// Sorted by [`Sighting::key`], without duplicates.
    sightings: Vec<Sighting>,
    /// The trace id of every sighting that is not in `extras`.
    trace_id: u128,
    /// What few sightings have; sorted like the sightings they belong to.
    extras: Vec<Extra>,
    /// Stages that came after the journey was finished and counted.
    late: Vec<StageIndex>,
}

/// One sighting as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The instant that counts, unix nanoseconds.
    pub at: i64,
    /// OpenTelemetry span id, 0 where there is none.
    pub span_id: u64,
    /// Time the span was entered, microseconds.
    pub busy_us: u32,
    /// Time the span was open and not entered, microseconds.
    pub idle_us: u32,
    /// Who saw it.
    pub source: SourceIndex,
    /// The stage.
    pub stage: StageIndex,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Whose clock.
    pub clock: ClockKind,
    /// How coarse.
    pub resolution: Resolution,
    /// It came with the message from an earlier process.
    pub carried: bool,
}

/// What makes two sightings the same one.
type Key = (StageIndex, i64, Outcome, SourceIndex, u64, bool);

#[derive(Clone, Debug)]
struct Extra {
    of: Key,
    trace_id: u128,
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

/// What the sightings of one stage say together.
#[derive(Clone, Debug, PartialEq)]
pub struct StageState {
    /// The stage.
    pub stage: StageIndex,
    /// The first success, or the last attempt where there is none.
    pub sighting: Sighting,
    /// How many attempts there were.
    pub attempts: u32,
    /// Instant of the first attempt, unix nanoseconds.
    pub first_attempt_at: i64,
    /// Error of the last failed attempt.
    pub error: Option<StageError>,
    /// Trace id of the sighting's span, 0 where there is none.
    pub trace_id: u128,
    /// Calls inside the stage.
    pub within: Vec<Within>,
}

/// How far a leg can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegQuality {
    /// Both ends are by one clock.
    Exact,
    /// The ends are by two clocks.
    CrossClock,
    /// An end has a resolution of a second.
    Coarse,
    /// Negative as measured.
    Skewed,
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

/// A leg both of whose ends are known.
#[derive(Clone, Debug, PartialEq)]
pub struct LegValue {
    /// Name of the leg.
    pub name: String,
    /// Stage where it starts.
    pub from: StageIndex,
    /// Stage where it ends.
    pub to: StageIndex,
    /// Instant where it starts, unix nanoseconds.
    pub from_at: i64,
    /// Instant where it ends, unix nanoseconds.
    pub to_at: i64,
    /// How far it can be trusted.
    pub quality: LegQuality,
    /// Half width of the uncertainty, nanoseconds; `None` where it is unknown.
    pub uncertainty: Option<i64>,
}

/// A segment both of whose ends are known.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentValue {
    /// Index among the route's segments.
    pub segment: usize,
    /// Latency, nanoseconds.
    pub nanos: i64,
    /// How far it can be trusted.
    pub quality: LegQuality,
}

impl Journey {
    /// A journey without any sighting yet.
    pub(crate) fn new(id: CorrelationId, route: RouteIndex, generation: u32) -> Self {
        Self {
            id,
            route,
            generation,
            status: Status::Active,
            reason: None,
            sightings: Vec::new(),
            trace_id: 0,
            extras: Vec::new(),
            late: Vec::new(),
        }
    }

    /// The correlation id.
    pub fn id(&self) -> &CorrelationId {
        &self.id
    }

    /// The route.
    pub fn route(&self) -> RouteIndex {
        self.route
    }

    /// 1 for the first journey of this id.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What became of it.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why it failed.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How many sightings it holds.
    pub(crate) fn len(&self) -> usize {
        self.sightings.len()
    }

    pub(crate) fn finish(&mut self, status: Status, reason: Option<&str>) {
        self.status = status;
        self.reason = reason.map(|reason| StageError::new("", reason).message.into());
    }

    pub(crate) fn mark_late(&mut self, stage: StageIndex) {
        if let Err(place) = self.late.binary_search(&stage) {
            self.late.insert(place, stage);
        }
    }

    /// Adds one checkpoint of this journey.
    pub(crate) fn merge(&mut self, checkpoint: Checkpoint, route: &Route) -> Merged {
        let sighting = Sighting {
            at: checkpoint.at,
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
        if checkpoint.trace_id != 0 && self.trace_id == 0 {
            // Sightings so far had none: they keep none by an entry of their own.
            let without: Vec<Key> = self.sightings.iter().map(Sighting::key).collect();
            for of in without {
                self.extra_mut(of, 0);
            }
            self.trace_id = checkpoint.trace_id;
        }
        let place = self.sightings.binary_search_by_key(&key, Sighting::key);
        let details = checkpoint.error.is_some() || checkpoint.within.is_some();
        // A sighting with an entry of its own is compared with that entry, also when it now has the common trace id.
        if checkpoint.trace_id != self.trace_id || details || self.extra(key).is_some() {
            let so_far = if place.is_ok() { self.trace_id } else { checkpoint.trace_id };
            let extra = self.extra_mut(key, so_far);
            // Of two reports of the same sighting the greater stays, whichever came first.
            extra.trace_id = extra.trace_id.max(checkpoint.trace_id);
            extra.error = extra.error.take().max(checkpoint.error);
            extra.within = extra.within.take().max(checkpoint.within);
        }
        match place {
            Ok(place) => {
                let known = &mut self.sightings[place];
                let rank = |s: &Sighting| (s.busy_us, s.idle_us, s.clock, s.resolution);
                if rank(&sighting) > rank(known) {
                    *known = sighting;
                }
                Merged::Duplicate
            }
            Err(place) => {
                self.sightings.insert(place, sighting);
                self.keep_to_limit(sighting.stage, route)
            }
        }
    }

    /// Lets the latest sighting of a stage go where there are too many; never the first success.
    fn keep_to_limit(&mut self, stage: StageIndex, route: &Route) -> Merged {
        let limit = match route.stage(stage).map(|stage| stage.presence) {
            // One more than allowed, so that too many can be told.
            Some(Presence::Repeatable(max)) => MAX_SIGHTINGS_PER_STAGE.max(max.min(255) as usize + 1),
            _ => MAX_SIGHTINGS_PER_STAGE,
        };
        let start = self.sightings.partition_point(|s| s.stage < stage);
        let end = self.sightings.partition_point(|s| s.stage <= stage);
        if end - start <= limit {
            return Merged::New;
        }
        let first_success = self.first_success(stage).map(Sighting::key);
        let last = if first_success == Some(self.sightings[end - 1].key()) { end - 2 } else { end - 1 };
        let gone = self.sightings.remove(last).key();
        self.extras.retain(|extra| extra.of != gone);
        Merged::Displaced
    }

    fn extra_mut(&mut self, of: Key, trace_id: u128) -> &mut Extra {
        let place = self.extras.binary_search_by_key(&of, |extra| extra.of);
        let place = place.unwrap_or_else(|place| {
            self.extras.insert(place, Extra { of, trace_id, error: None, within: None });
            place
        });
        &mut self.extras[place]
    }

    fn extra(&self, of: Key) -> Option<&Extra> {
        self.extras.binary_search_by_key(&of, |extra| extra.of).ok().map(|place| &self.extras[place])
    }

    fn of_stage(&self, stage: StageIndex) -> &[Sighting] {
        let start = self.sightings.partition_point(|s| s.stage < stage);
        let end = self.sightings.partition_point(|s| s.stage <= stage);
        &self.sightings[start..end]
    }

    /// The sighting by which a stage counts as reached: the earliest success, one of our own before a carried one.
    pub(crate) fn first_success(&self, stage: StageIndex) -> Option<&Sighting> {
        let successes = self.of_stage(stage).iter().filter(|s| s.outcome == Outcome::Reached);
        successes.min_by_key(|s| (s.carried, s.key()))
    }

    /// Sightings of a stage that were not carried here.
    pub(crate) fn own_sightings(&self, stage: StageIndex) -> impl Iterator<Item = &Sighting> {
        self.of_stage(stage).iter().filter(|s| !s.carried)
    }

    /// Stages with any sighting, in the order of their index.
    fn seen(&self) -> Vec<StageIndex> {
        let mut stages: Vec<StageIndex> = self.sightings.iter().map(|s| s.stage).collect();
        stages.dedup();
        stages
    }

    /// First success of every reached stage, in the order of time.
    fn reached_by_time(&self) -> Vec<Sighting> {
        let mut reached: Vec<Sighting> =
            self.seen().into_iter().filter_map(|stage| self.first_success(stage)).copied().collect();
        reached.sort_by_key(|s| (s.at, s.stage));
        reached
    }

    /// The earliest and the latest instant of a reached stage.
    pub fn span(&self) -> Option<(i64, i64)> {
        let mut bounds = None;
        let mut rest = &self.sightings[..];
        while let Some(first) = rest.first() {
            let end = rest.partition_point(|s| s.stage <= first.stage);
            if let Some(success) = self.first_success(first.stage) {
                let (from, to) = bounds.unwrap_or((success.at, success.at));
                bounds = Some((success.at.min(from), success.at.max(to)));
            }
            rest = &rest[end..];
        }
        bounds
    }

    /// The stage reached last: the furthest of a declared route, the newest of an open one.
    pub(crate) fn position(&self, route: &Route) -> Option<StageIndex> {
        if route.is_open() {
            return self.reached_by_time().last().map(|s| s.stage);
        }
        self.sightings.iter().rev().find(|s| s.outcome == Outcome::Reached).map(|s| s.stage)
    }

    /// The first failed stage that was never reached and has to be, with its last error.
    pub(crate) fn unrecovered(&self, route: &Route) -> Option<(StageIndex, Option<&StageError>)> {
        self.seen().into_iter().find_map(|stage| {
            let required = route.stage(stage).is_none_or(|stage| stage.presence == Presence::Required);
            if !required || self.first_success(stage).is_some() {
                return None;
            }
            let last = self.of_stage(stage).iter().max_by_key(|s| (s.at, s.key()))?;
            Some((stage, self.extra(last.key()).and_then(|extra| extra.error.as_deref())))
        })
    }

    /// Stages seen, in the order of the route (an open route: of time).
    pub fn stages(&self, routes: &Routes) -> Vec<StageState> {
        let mut states: Vec<StageState> = self.seen().into_iter().filter_map(|stage| self.stage_state(stage)).collect();
        if routes.get(self.route).is_open() {
            states.sort_by_key(|state| (state.sighting.at, state.stage));
        }
        states
    }

    fn stage_state(&self, stage: StageIndex) -> Option<StageState> {
        let all = self.of_stage(stage);
        let last = all.iter().max_by_key(|s| (s.at, s.key()))?;
        let sighting = *self.first_success(stage).unwrap_or(last);
        let attempts = self.own_sightings(stage).count().max(1);
        let first_attempt_at = self.own_sightings(stage).map(|s| s.at).min().unwrap_or(sighting.at);
        let last_failed = all.iter().filter(|s| s.outcome != Outcome::Reached).max_by_key(|s| (s.at, s.key()));
        let error = last_failed.map(|s| match self.extra(s.key()).and_then(|extra| extra.error.as_deref()) {
            Some(error) => error.clone(),
            None => StageError::new(if s.outcome == Outcome::Cancelled { "cancelled" } else { "error" }, ""),
        });
        let extra = self.extra(sighting.key());
        Some(StageState {
            stage,
            sighting,
            attempts: attempts as u32,
            first_attempt_at,
            error,
            trace_id: extra.map_or(self.trace_id, |extra| extra.trace_id),
            within: extra.and_then(|extra| extra.within.as_deref()).cloned().unwrap_or_default(),
        })
    }

    /// Legs both of whose ends were reached.
    ///
    /// On an open route a leg runs from one reached stage to the next in time and has the name of the stage it ends at.
    pub fn legs(&self, routes: &Routes, sources: &Sources) -> Vec<LegValue> {
        let route = routes.get(self.route);
        if route.is_open() {
            let reached = self.reached_by_time();
            return reached
                .windows(2)
                .map(|pair| {
                    let at = StageRef { route: self.route, stage: pair[1].stage };
                    leg_value(routes.stage_texts(at).name, &pair[0], &pair[1], sources)
                })
                .collect();
        }
        route.legs().iter().filter_map(|leg| self.leg(leg, sources)).collect()
    }

    /// One leg of a declared route.
    pub(crate) fn leg(&self, leg: &Leg, sources: &Sources) -> Option<LegValue> {
        let (from, to) = (self.first_success(leg.from)?, self.first_success(leg.to)?);
        Some(leg_value(leg.name.clone(), from, to, sources))
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

    /// Segments both of whose ends were reached.
    pub fn segments(&self, routes: &Routes, sources: &Sources) -> Vec<SegmentValue> {
        let segments = routes.get(self.route).segments().iter().enumerate();
        segments
            .filter_map(|(segment, declared)| {
                let (from, to) = (self.first_success(declared.from)?, self.first_success(declared.to)?);
                let (quality, _) = quality(from, to, sources);
                Some(SegmentValue { segment, nanos: to.at.saturating_sub(from.at), quality })
            })
            .collect()
    }

    /// Ids of required stages that were not reached although a later one was.
    pub fn missing(&self, routes: &Routes) -> Vec<String> {
        let route = routes.get(self.route);
        self.missing_stages(route).filter_map(|stage| route.stage(stage)).map(|stage| stage.id.clone()).collect()
    }

    pub(crate) fn missing_stages<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = StageIndex> + 'a {
        let furthest = if route.is_open() { 0 } else { self.position(route).map_or(0, |stage| stage.0) };
        (0..furthest).map(StageIndex).filter(|stage| {
            let required = route.stage(*stage).is_some_and(|stage| stage.presence == Presence::Required);
            required && self.first_success(*stage).is_none()
        })
    }

    /// The id under which it is exported.
    pub fn trace_id(&self, routes: &Routes, key: &TraceIdKey) -> u128 {
        key.trace_id(routes.get(self.route).name(), self.id.as_str(), self.generation)
    }

    /// Whether a stage came after the journey was finished and counted.
    pub fn is_late(&self) -> bool {
        !self.late.is_empty()
    }
}

impl Sighting {
    fn key(&self) -> Key {
        (self.stage, self.at, self.outcome, self.source, self.span_id, self.carried)
    }
}

impl LegValue {
    /// Latency as measured, nanoseconds; may be negative.
    pub fn nanos(&self) -> i64 {
        self.to_at.saturating_sub(self.from_at)
    }
}

impl Status {
    /// The word in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Active, Self::Completed, Self::Failed, Self::Expired];
        all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(32).collect();
            format!("`{}` is not a status (try `active`, `completed`, `failed` or `expired`)", shown.escape_debug())
        })
    }
}

impl LegQuality {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::CrossClock => "cross_clock",
            Self::Coarse => "coarse",
            Self::Skewed => "skewed",
        }
    }
}

fn leg_value(name: String, from: &Sighting, to: &Sighting, sources: &Sources) -> LegValue {
    let (quality, uncertainty) = quality(from, to, sources);
    LegValue { name, from: from.stage, to: to.stage, from_at: from.at, to_at: to.at, quality, uncertainty }
}

/// How far a difference of two instants can be trusted, and its half width where that is known.
fn quality(from: &Sighting, to: &Sighting, sources: &Sources) -> (LegQuality, Option<i64>) {
    let steps = from.resolution.nanos() + to.resolution.nanos();
    let one_clock = match (from.clock, to.clock) {
        (ClockKind::Process, ClockKind::Process) => {
            from.source == to.source || sources.get(from.source).clock_domain == sources.get(to.source).clock_domain
        }
        (ClockKind::Platform, ClockKind::Platform) => true,
        // Carried instants do not say which process's clock they are from.
        _ => false,
    };
    let coarse = from.resolution.max(to.resolution) == Resolution::Second;
    // Of two clocks only the steps are known, and only a step of a second says more than nothing.
    let uncertainty = (one_clock || coarse).then_some(steps);
    let quality = match (to.at < from.at, coarse, one_clock) {
        (true, _, _) => LegQuality::Skewed,
        (_, true, _) => LegQuality::Coarse,
        (_, _, true) => LegQuality::Exact,
        (_, _, false) => LegQuality::CrossClock,
    };
    (quality, uncertainty)
}
