//! What all sightings of one message say together: a commutative, associative, idempotent merge.

pub(crate) mod packed;
mod read;
mod sightings;

pub(crate) use self::sightings::{Detail, Merged, Sightings};
use crate::{
    checkpoint::{ClockKind, Outcome, Resolution, SourceIndex, Sources, StageError, Within},
    id::CorrelationId,
    route::{Leg, StageIndex},
    routes::{RouteIndex, Routes, StageRef},
    trace_id::TraceIdKey,
};

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
#[derive(Debug)]
pub struct Journey {
    pub(crate) id: CorrelationId,
    pub(crate) route: RouteIndex,
    pub(crate) generation: u32,
    pub(crate) status: Status,
    /// Why it failed.
    pub(crate) reason: Option<Box<str>>,
    /// Stages that came after the journey was finished and counted.
    pub(crate) late: Vec<StageIndex>,
    pub(crate) sightings: Sightings,
}

/// One sighting as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The instant that counts, unix nanoseconds.
    pub at: i64,
    /// OpenTelemetry trace id, 0 where there is none.
    pub trace_id: u128,
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
    /// Calls inside the stage.
    pub within: Vec<Within>,
}

/// The sighting of a stage that counts: what exporters need of most stages, without a copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CountedStage<'a> {
    /// The first success, or the last attempt where there is none.
    pub sighting: &'a Sighting,
    /// How many attempts there were.
    pub attempts: u32,
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
        let sightings = Sightings::default();
        Self { id, route, generation, status: Status::Active, reason: None, late: Vec::new(), sightings }
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

    /// How many sightings have room without another allocation.
    pub(crate) fn room(&self) -> usize {
        self.sightings.capacity()
    }

    /// Becomes a copy of another, in the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        self.id.clone_from(&other.id);
        (self.route, self.generation, self.status) = (other.route, other.generation, other.status);
        self.reason.clone_from(&other.reason);
        self.late.clone_from(&other.late);
        self.sightings.copy(&other.sightings, other.sightings.details());
    }

    /// First success of every reached stage, in the order of time.
    fn reached_by_time(&self) -> Vec<Sighting> {
        let mut reached: Vec<Sighting> = self.sightings.reached().copied().collect();
        reached.sort_by_key(|s| (s.at, s.stage));
        reached
    }

    /// The earliest and the latest instant of a reached stage.
    pub fn span(&self) -> Option<(i64, i64)> {
        self.sightings.span()
    }

    /// Stages seen, in the order of their index, as [`Journey::stages`] has them.
    pub fn counted_stages(&self) -> impl Iterator<Item = CountedStage<'_>> {
        self.sightings.by_stage().filter_map(sightings::counted)
    }

    /// Stages seen, in the order of the route (an open route: of time).
    pub fn stages(&self, routes: &Routes) -> Vec<StageState> {
        let by_stage = self.sightings.by_stage();
        let mut states: Vec<StageState> =
            by_stage.filter_map(|of_stage| self.sightings.stage_state(of_stage)).collect();
        if routes.get(self.route).is_open() {
            states.sort_by_key(|state| (state.sighting.at, state.stage));
        }
        states
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
        let (from, to) = (self.sightings.first_success(leg.from)?, self.sightings.first_success(leg.to)?);
        Some(leg_value(leg.name.clone(), from, to, sources))
    }

    /// Segments both of whose ends were reached.
    pub fn segments(&self, routes: &Routes, sources: &Sources) -> Vec<SegmentValue> {
        let segments = routes.get(self.route).segments().iter().enumerate();
        segments
            .filter_map(|(segment, declared)| {
                let from = self.sightings.first_success(declared.from)?;
                let to = self.sightings.first_success(declared.to)?;
                let (quality, _) = quality(from, to, sources);
                Some(SegmentValue { segment, nanos: to.at.saturating_sub(from.at), quality })
            })
            .collect()
    }

    /// Ids of required stages that were not reached although a later one was.
    pub fn missing(&self, routes: &Routes) -> Vec<String> {
        let route = routes.get(self.route);
        self.sightings.missing(route).filter_map(|stage| route.stage(stage)).map(|stage| stage.id.clone()).collect()
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

impl Clone for Journey {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.id.clone(), self.route, self.generation);
        copy.copy_from(self);
        copy
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
    /// How far the difference of two instants can be trusted, and its half width where that is known, nanoseconds.
    pub fn between(from: &Sighting, to: &Sighting, sources: &Sources) -> (Self, Option<i64>) {
        quality(from, to, sources)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;

    #[test]
    fn a_copy_is_the_same_whatever_the_memory_held_before() {
        let routes = Routes::default();
        let journey = |id: &str, stages: u16| {
            let mut journey = Journey::new(CorrelationId::new(id).unwrap(), RouteIndex(0), u32::from(stages));
            for stage in 0..stages {
                let at = StageRef { route: RouteIndex(0), stage: StageIndex(stage) };
                let mut checkpoint = Checkpoint::reached(journey.id.clone(), at, i64::from(stage));
                checkpoint.error = (stage == 2).then(|| Box::new(StageError::new("io", id)));
                checkpoint.outcome = if stage == 2 { Outcome::Failed } else { Outcome::Reached };
                journey.sightings.merge(checkpoint, routes.get(RouteIndex(0)));
            }
            journey
        };
        let mut rich = journey("rich", 5);
        (rich.status, rich.reason, rich.late) = (Status::Failed, Some("why".into()), vec![StageIndex(1)]);
        let poor = journey("poor", 1);
        for (one, other) in [(&rich, &poor), (&poor, &rich), (&rich, &rich)] {
            let mut copy = one.clone();
            copy.copy_from(other);
            assert_eq!(format!("{copy:?}"), format!("{other:?}"));
            assert_eq!(copy.stages(&routes), other.stages(&routes));
        }
    }
}
