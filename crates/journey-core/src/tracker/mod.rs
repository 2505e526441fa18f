//! Which journeys are open, finished, late or evicted, and what was lost.
//!
//! | room | question |
//! |---|---|
//! | `pool` | where is a journey kept, and which one was untouched longest? |
//! | `chunks`, `index` | how does a table grow without a pause? |
//! | `tombs` | which ids are gone but not forgotten? |
//! | `statistics` | what is counted per route? |
//! | `read` | what do readers see? |

mod chunks;
mod index;
mod pool;
mod read;
mod statistics;
mod tombs;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    pool::{ListName, Pool, State},
    statistics::{LatencyStatistics, RouteStatistics, outcome_index},
    tombs::Tombs,
};
use crate::{
    checkpoint::{Checkpoint, Outcome, Sources},
    drops::{Accounting, DropReason},
    feed::{CheckpointEvent, FeedEvent},
    histogram::Histogram,
    id::CorrelationId,
    journey::{Journey, LegQuality, Merged, Status},
    metrics::Exemplar,
    route::StageIndex,
    routes::{RouteIndex, Routes},
    time::{millis, nanos, rfc3339},
    trace_id::{TraceIdKey, root_span_id, span_id_for_leg},
    window::Windows,
};

pub use self::read::ListQuery;

/// Journeys that one step settles, expires, flags and forgets at most, each: the lock is held for a step.
const MOST_PER_STEP: usize = 16;
/// Gone ids that one step forgets at most; each is little work.
const MOST_TOMBS_PER_STEP: usize = 64;
/// Names of operations before the rest are `other`.
const MAX_OPERATIONS: usize = 256;

/// How much a tracker keeps, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open journeys; beyond, the one idle longest is evicted. Default 100 000.
    pub max_active: usize,
    /// How long a finished journey stays readable. Default 5 minutes.
    pub retention: Duration,
    /// Finished journeys kept at most. Default 20 000.
    pub max_finished: usize,
    /// How long a finished journey with a gap waits for checkpoints still on their way before it is counted and
    /// exported. Default 1 s.
    pub grace: Duration,
    /// How long an active journey may make no progress before it is called stuck. Default 30 s.
    pub stuck_after: Duration,
}

/// Assembles journeys from checkpoints and counts everything.
///
/// Time is passed in as unix nanoseconds that never go back. Nothing here waits, and one call does a bounded amount of
/// work.
#[derive(Debug)]
pub struct Tracker {
    routes: Arc<Routes>,
    sources: Sources,
    limits: Limits,
    key: TraceIdKey,
    started_at: i64,
    pool: Pool,
    tombs: Tombs,
    statistics: Vec<RouteStatistics>,
    operations: HashMap<Box<str>, Windows<Histogram>>,
    /// Values that went to `other` because there were too many names.
    overflowed: u64,
    accounting: Accounting,
    /// Finished journeys that wait for checkpoints on their way: place, number, and when the waiting ends.
    settling: VecDeque<(u32, u64, i64)>,
    /// Counts [`Tracker::tick_step`].
    steps: usize,
    /// Settled journeys that nobody took yet.
    finished: Vec<Journey>,
    events_wanted: bool,
    events: Vec<FeedEvent>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_active: 100_000,
            retention: Duration::from_secs(300),
            max_finished: 20_000,
            grace: Duration::from_secs(1),
            stuck_after: Duration::from_secs(30),
        }
    }
}

impl Tracker {
    /// An empty tracker that starts at `now`.
    pub fn new(routes: Arc<Routes>, sources: Sources, limits: Limits, key: TraceIdKey, now: i64) -> Self {
        let limits = Limits { max_active: limits.max_active.max(1), ..limits };
        Self {
            pool: Pool::new(routes.len()),
            tombs: Tombs::new(limits.max_active.saturating_add(limits.max_finished)),
            statistics: routes.iter().map(|(_, route)| RouteStatistics::new(route, now)).collect(),
            routes,
            sources,
            limits,
            key,
            started_at: now,
            operations: HashMap::new(),
            overflowed: 0,
            accounting: Accounting::default(),
            settling: VecDeque::new(),
            steps: 0,
            finished: Vec::new(),
            events_wanted: false,
            events: Vec::new(),
        }
    }

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

    /// Finishes an open journey explicitly. `false` where there is no such open journey.
    pub fn finish(
        &mut self,
        id: &CorrelationId,
        route: RouteIndex,
        status: Status,
        reason: Option<&str>,
        now: i64,
    ) -> bool {
        let open = self.pool.find(route, id).filter(|place| self.is_open(*place));
        if let (Some(place), true) = (open, status != Status::Active) {
            self.end(place, status, reason, now);
            return true;
        }
        false
    }

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

    /// Lets time pass: settles, expires, flags as stuck, forgets. Everything that is due, however long it takes.
    pub fn tick(&mut self, now: i64) {
        while self.tick_step(now) {}
    }

    /// A bounded piece of [`Tracker::tick`], some twenty microseconds. `true` while more may be due.
    ///
    /// Within a route what is idle longest comes first, whatever the size of the pieces.
    pub fn tick_step(&mut self, now: i64) -> bool {
        let mut more = self.settle_due(now);
        let routes = Arc::clone(&self.routes);
        // Steps begin at different routes, so that much to do on one does not hold back the others.
        let first = self.steps % routes.len();
        self.steps = self.steps.wrapping_add(1);
        let (mut to_expire, mut to_flag) = (MOST_PER_STEP, MOST_PER_STEP);
        for turn in 0..routes.len() {
            let route = RouteIndex(((first + turn) % routes.len()) as u8);
            let expired = now.saturating_sub(nanos(routes.get(route).ttl()));
            for list in [ListName::Stuck(route), ListName::Active(route)] {
                while to_expire > 0
                    && let Some(place) = self.idle_since(list, expired)
                {
                    self.expire(place, now);
                    to_expire -= 1;
                }
            }
            let stuck = now.saturating_sub(nanos(self.limits.stuck_after));
            // What is about to expire is not called stuck first.
            while to_expire > 0
                && to_flag > 0
                && let Some(place) = self.idle_since(ListName::Active(route), stuck)
            {
                self.flag_stuck(place, now);
                to_flag -= 1;
            }
        }
        more |= to_expire == 0 || to_flag == 0;
        let old = now.saturating_sub(nanos(self.limits.retention));
        let mut to_forget = MOST_PER_STEP;
        while to_forget > 0
            && let Some(place) = self.idle_since(ListName::Finished, old)
        {
            self.forget(place, now);
            to_forget -= 1;
        }
        more |= to_forget == 0;
        more | self.tombs.sweep(now, MOST_TOMBS_PER_STEP)
    }

    /// Settles finished journeys that waited long enough; `true` where more may be due.
    fn settle_due(&mut self, now: i64) -> bool {
        for _ in 0..MOST_PER_STEP {
            let Some((place, number, _)) = self.settling.front().copied().filter(|(_, _, due)| *due <= now) else {
                return false;
            };
            self.settling.pop_front();
            self.settle(place, number, now);
        }
        true
    }

    /// Settles every finished journey at once, without waiting for checkpoints still on their way: for a shutdown.
    pub fn settle_all(&mut self, now: i64) {
        while self.settle_step(now) {}
    }

    /// A bounded piece of [`Tracker::settle_all`]. `true` while there is more.
    pub fn settle_step(&mut self, now: i64) -> bool {
        for _ in 0..MOST_PER_STEP {
            let Some((place, number, _)) = self.settling.pop_front() else { return false };
            self.settle(place, number, now);
        }
        true
    }

    /// Whether the events of the next writes are wanted.
    pub fn collect_events(&mut self, wanted: bool) {
        self.events_wanted = wanted;
    }

    /// Takes the events since the last call.
    pub fn take_events(&mut self) -> Vec<FeedEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes the journeys that were finished since the last call, each once.
    pub fn take_finished(&mut self) -> Vec<Journey> {
        std::mem::take(&mut self.finished)
    }

    /// Notes that a finished journey is exported, so that metrics may point to it.
    pub fn exported(&mut self, journey: &Journey, now: i64) {
        let trace_id = journey.trace_id(&self.routes, &self.key);
        let statistics = &mut self.statistics[usize::from(journey.route().0)];
        let declared = self.routes.get(journey.route());
        for leg in journey.legs(&self.routes, &self.sources) {
            let index = match declared.is_open() {
                true => usize::from(leg.to.0),
                false => declared.legs().iter().position(|declared| declared.name == leg.name).unwrap_or(usize::MAX),
            };
            if let (Ok(nanos), true) = (u64::try_from(leg.nanos()), index < statistics.legs.len()) {
                let span_id = span_id_for_leg(trace_id, &leg.name);
                statistics.legs[index].exemplar(Exemplar { nanos, at: now, trace_id, span_id });
            }
        }
        for segment in journey.segments(&self.routes, &self.sources) {
            if let Ok(nanos) = u64::try_from(segment.nanos) {
                let span_id = root_span_id(trace_id);
                statistics.segments[segment.segment].all.exemplar(Exemplar { nanos, at: now, trace_id, span_id });
            }
        }
    }

    /// What was offered, recorded and dropped.
    pub fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// Open journeys.
    pub fn active(&self) -> usize {
        let of = |(route, _)| self.pool.len(ListName::Active(route)) + self.pool.len(ListName::Stuck(route));
        self.routes.iter().map(of).sum()
    }

    /// Finds or opens the journey of a checkpoint and merges it.
    fn place(&mut self, checkpoint: Checkpoint, now: i64) -> Result<(), DropReason> {
        let (route, stage) = (checkpoint.stage.route, checkpoint.stage.stage);
        let known_route = usize::from(route.0) < self.routes.len();
        if !known_route || usize::from(stage.0) >= self.routes.stage_count(route) {
            return Err(DropReason::UnknownStage);
        }
        let place = match self.pool.find(route, &checkpoint.id) {
            Some(place) if self.is_open(place) => place,
            found => {
                let generation = |place| self.pool.get(place).journey.generation();
                let tomb = self.tombs.get(self.pool.hash(route, &checkpoint.id), now);
                // A newer generation may be gone before an older one: evicted while open.
                let kept = found.filter(|place| tomb.is_none_or(|tomb| tomb.generation < generation(*place)));
                let first = stage == StageIndex(0) && !checkpoint.carried && !self.routes.get(route).is_open();
                match (kept, tomb) {
                    (Some(place), _) if !self.starts_again(place, &checkpoint) => place,
                    (None, Some(tomb)) if !first => return Err(tomb.reason),
                    (kept, tomb) => {
                        let newest = kept.map(generation).max(tomb.map(|tomb| tomb.generation));
                        self.open(&checkpoint, newest.unwrap_or(0) + 1, now)
                    }
                }
            }
        };
        self.merge(place, checkpoint, now)
    }

    /// Whether a checkpoint for a finished journey is the first of a new one: its first stage once more, after the end.
    fn starts_again(&self, place: u32, checkpoint: &Checkpoint) -> bool {
        let journey = &self.pool.get(place).journey;
        let stage = checkpoint.stage.stage;
        if checkpoint.carried || self.routes.get(journey.route()).is_open() || stage != StageIndex(0) {
            return false;
        }
        if journey.own_sightings(stage).any(|known| known.at == checkpoint.at) {
            return false;
        }
        // A coarse instant may lie up to its resolution before the true one. That counts only for a start after a start:
        // the only start may simply arrive last, also in a journey shorter than the step of its instant.
        let step = checkpoint.resolution.nanos();
        let known = journey.own_sightings(stage).map(|known| known.at).max();
        let again = known.is_some_and(|known| checkpoint.at >= known.saturating_add(step));
        let at = checkpoint.at.saturating_add(if again { step } else { 0 });
        journey.span().is_none_or(|(_, end)| at > end)
    }

    fn is_open(&self, place: u32) -> bool {
        matches!(self.pool.get(place).state, State::Active | State::Stuck)
    }

    /// Opens a journey, evicting the one idle longest where there are too many.
    fn open(&mut self, checkpoint: &Checkpoint, generation: u32, now: i64) -> u32 {
        if self.active() >= self.limits.max_active {
            self.evict(now);
        }
        let route = checkpoint.stage.route;
        *self.statistics[usize::from(route.0)].started.current(now) += 1;
        self.pool.insert(Journey::new(checkpoint.id.clone(), route, generation), now)
    }

    fn merge(&mut self, place: u32, checkpoint: Checkpoint, now: i64) -> Result<(), DropReason> {
        let routes = Arc::clone(&self.routes);
        let (route, stage) = (checkpoint.stage.route, checkpoint.stage.stage);
        let declared = routes.get(route);
        let (outcome, at, source) = (checkpoint.outcome, checkpoint.at, checkpoint.source);
        let error = match (&checkpoint.error, outcome) {
            (_, Outcome::Reached) => String::new(),
            (Some(error), _) => error.kind.clone(),
            (None, Outcome::Failed) => "error".to_owned(),
            (None, Outcome::Cancelled) => "cancelled".to_owned(),
        };

        let entry = self.pool.get_mut(place);
        let merged = entry.journey.merge(checkpoint, declared);
        if merged == Merged::Duplicate {
            return Err(DropReason::Duplicate);
        }
        if entry.state == State::Settled {
            entry.journey.mark_late(stage);
        }
        self.statistics[usize::from(route.0)].stage(usize::from(stage.0)).sighted(&error);
        if self.is_open(place) {
            self.touch(place, now);
        }
        if !declared.is_open() {
            self.count_legs(place, Some(stage), now);
        }
        if self.pool.get(place).state == State::Settled {
            self.count_segments(place, now);
        }
        if self.events_wanted {
            self.report_checkpoint(place, stage, outcome, at, &self.sources.get(source).service.clone());
        }
        if outcome == Outcome::Reached && declared.is_terminal(stage) && self.is_open(place) {
            self.end(place, Status::Completed, None, now);
        } else if self.pool.get(place).state == State::Settling && self.is_whole(place) {
            let number = self.pool.get(place).number;
            self.settle(place, number, now);
        }
        match merged {
            Merged::Displaced => Err(DropReason::AttemptsLimit),
            _ => Ok(()),
        }
    }

    /// An open journey made progress.
    fn touch(&mut self, place: u32, now: i64) {
        self.leave_position(place);
        let routes = Arc::clone(&self.routes);
        let entry = self.pool.get_mut(place);
        let route = entry.journey.route();
        entry.last_seen = now;
        entry.state = State::Active;
        entry.position = entry.journey.position(routes.get(route));
        self.pool.move_to(place, ListName::Active(route));
        self.take_position(place);
    }

    /// Counts a journey at the stage it reached last.
    fn take_position(&mut self, place: u32) {
        let entry = self.pool.get(place);
        if let Some(position) = entry.position {
            let stage = self.statistics[usize::from(entry.journey.route().0)].stage(usize::from(position.0));
            match entry.state {
                State::Stuck => (stage.active, stage.stuck) = (stage.active + 1, stage.stuck + 1),
                _ => stage.active += 1,
            }
        }
    }

    /// Undoes [`Tracker::take_position`].
    fn leave_position(&mut self, place: u32) {
        let entry = self.pool.get(place);
        if let Some(position) = entry.position {
            let stage = self.statistics[usize::from(entry.journey.route().0)].stage(usize::from(position.0));
            match entry.state {
                State::Stuck => (stage.active, stage.stuck) = (stage.active - 1, stage.stuck - 1),
                _ => stage.active -= 1,
            }
        }
    }

    /// Counts the legs that are known now and were not before: those at one stage, or all.
    fn count_legs(&mut self, place: u32, at: Option<StageIndex>, now: i64) {
        let entry = self.pool.get_mut(place);
        let declared = self.routes.get(entry.journey.route());
        let statistics = &mut self.statistics[usize::from(entry.journey.route().0)];
        for (index, leg) in declared.legs().iter().enumerate() {
            let touched = at.is_none_or(|stage| leg.from == stage || leg.to == stage);
            if !touched || entry.legs_counted & (1 << index) != 0 {
                continue;
            }
            let Some(between) = entry.journey.between(leg.from, leg.to) else { continue };
            // A leg belongs to the process that records its end: a carried end was counted there.
            if !between.carried {
                statistics.leg(index).count(between.nanos, between.coarse, now);
            }
            entry.legs_counted |= 1 << index;
        }
    }

    /// Counts the segments that are known now and were not before.
    fn count_segments(&mut self, place: u32, now: i64) {
        let entry = self.pool.get_mut(place);
        let declared = self.routes.get(entry.journey.route());
        let statistics = &mut self.statistics[usize::from(entry.journey.route().0)];
        for (index, segment) in declared.segments().iter().enumerate() {
            if entry.segments_counted & (1 << index) != 0 {
                continue;
            }
            let Some(between) = entry.journey.between(segment.from, segment.to) else { continue };
            if !between.carried {
                statistics.segments[index].count(between.nanos, between.coarse, entry.journey.status(), now);
            }
            entry.segments_counted |= 1 << index;
        }
    }

    /// Finishes an open journey; it settles at once where nothing is missing.
    fn end(&mut self, place: u32, status: Status, reason: Option<&str>, now: i64) {
        self.leave_position(place);
        let entry = self.pool.get_mut(place);
        entry.journey.finish(status, reason);
        entry.last_seen = now;
        entry.position = None;
        entry.state = State::Settling;
        let (route, number) = (entry.journey.route(), entry.number);
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
    fn is_whole(&self, place: u32) -> bool {
        let journey = &self.pool.get(place).journey;
        let declared = self.routes.get(journey.route());
        let ended = journey.status() == Status::Completed && !declared.is_open();
        ended && journey.missing_stages(declared).next().is_none()
    }

    /// Counts a finished journey as a whole and hands it to those who want finished ones.
    fn settle(&mut self, place: u32, number: u64, now: i64) {
        let waiting = self.pool.numbered(place, number).is_some_and(|entry| entry.state == State::Settling);
        if !waiting {
            return;
        }
        self.pool.get_mut(place).state = State::Settled;
        self.count_segments(place, now);
        let journey = self.pool.get(place).journey.clone();
        let declared = self.routes.get(journey.route());
        let statistics = &mut self.statistics[usize::from(journey.route().0)];
        if declared.is_open() {
            for leg in journey.legs(&self.routes, &self.sources) {
                let coarse = leg.quality == LegQuality::Coarse;
                statistics.leg(usize::from(leg.to.0)).count(leg.nanos(), coarse, now);
            }
        } else {
            statistics.ring.keep(now, &journey, declared);
        }
        if self.events_wanted {
            let view = journey.view(&self.routes, &self.sources, &self.key);
            self.events.push(FeedEvent::Journey(Box::new(view)));
        }
        self.finished.push(journey);
    }

    /// The head of a list, if nothing happened to it since `then`.
    fn idle_since(&self, list: ListName, then: i64) -> Option<u32> {
        self.pool.head(list).filter(|place| self.pool.get(*place).last_seen <= then)
    }

    /// Ends a journey whose TTL is over: failed where a stage failed for good, else expired.
    fn expire(&mut self, place: u32, now: i64) {
        let routes = Arc::clone(&self.routes);
        let journey = &self.pool.get(place).journey;
        let declared = routes.get(journey.route());
        let reason = journey.unrecovered(declared).map(|(stage, error)| {
            let texts = routes.stage_texts(crate::routes::StageRef { route: journey.route(), stage });
            match error.filter(|error| !error.message.is_empty()) {
                Some(error) => format!("{} failed: {}", texts.name, error.message),
                None => format!("{} failed", texts.name),
            }
        });
        let status = if reason.is_some() { Status::Failed } else { Status::Expired };
        self.end(place, status, reason.as_deref(), now);
    }

    fn flag_stuck(&mut self, place: u32, now: i64) {
        self.leave_position(place);
        self.pool.get_mut(place).state = State::Stuck;
        self.take_position(place);
        let route = self.pool.get(place).journey.route();
        self.pool.move_to(place, ListName::Stuck(route));
        if self.events_wanted {
            let view = self.stuck_view(place, now);
            self.events.push(FeedEvent::Stuck(view));
        }
    }

    /// Evicts the open journey that is idle longest; its checkpoints become losses.
    fn evict(&mut self, now: i64) {
        let heads = self.routes.iter().flat_map(|(route, _)| [ListName::Stuck(route), ListName::Active(route)]);
        let idle_longest =
            heads.filter_map(|list| self.pool.head(list)).min_by_key(|place| self.pool.get(*place).last_seen);
        let Some(place) = idle_longest else { return };
        self.leave_position(place);
        let Some(entry) = self.pool.remove(place) else { return };
        let (route, lost) = (entry.journey.route(), entry.journey.len() as u64);
        self.accounting.recorded -= lost;
        self.accounting.drop(DropReason::Evicted, lost);
        *self.statistics[usize::from(route.0)].ended[3].current(now) += 1;
        self.bury(&entry.journey, DropReason::Evicted, now);
    }

    /// Lets a finished journey go.
    fn forget(&mut self, place: u32, now: i64) {
        let number = self.pool.get(place).number;
        self.settle(place, number, now);
        if let Some(entry) = self.pool.remove(place) {
            self.bury(&entry.journey, DropReason::Late, now);
        }
    }

    fn bury(&mut self, journey: &Journey, reason: DropReason, now: i64) {
        let hash = self.pool.hash(journey.route(), journey.id());
        let ttl = nanos(self.routes.get(journey.route()).ttl());
        let until = now.saturating_add(ttl).saturating_add(nanos(self.limits.retention));
        self.tombs.bury(hash, reason, journey.generation(), until);
    }

    fn report_checkpoint(&mut self, place: u32, stage: StageIndex, outcome: Outcome, at: i64, service: &str) {
        let journey = &self.pool.get(place).journey;
        let texts = self.routes.stage_texts(crate::routes::StageRef { route: journey.route(), stage });
        let declared = self.routes.get(journey.route());
        let leg = declared.legs().iter().find(|leg| leg.to == stage);
        let leg = leg.and_then(|leg| Some((leg.name.clone(), journey.between(leg.from, leg.to)?.nanos)));
        let event = CheckpointEvent {
            correlation_id: journey.id().as_str().to_owned(),
            generation: journey.generation(),
            route: declared.name().to_owned(),
            stage: texts.id,
            name: texts.name,
            outcome: outcome.as_str().to_owned(),
            at: rfc3339(at),
            service: service.to_owned(),
            leg_ms: leg.as_ref().map(|(_, nanos)| millis(*nanos)),
            leg: leg.map(|(name, _)| name),
        };
        self.events.push(FeedEvent::Checkpoint(event));
    }
}

impl LatencyStatistics {
    fn exemplars(&self) -> Vec<Exemplar> {
        self.exemplars.values().copied().collect()
    }
}
