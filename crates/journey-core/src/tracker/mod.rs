//! Which journeys are open, finished, late or evicted, and what was lost.
//!
//! | room | question |
//! |---|---|
//! | `pool` | where is a journey kept, and which one was untouched longest? |
//! | `chunks`, `index` | how does a table grow without a pause? |
//! | `tombs` | which ids are gone but not forgotten? |
//! | `statistics` | what is counted per route? |
//! | `read`, `summary` | what do readers see? |

mod chunks;
mod index;
mod pool;
mod read;
mod statistics;
mod summary;
mod tombs;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    pool::{InHand, ListName, Pool, State, Wanted},
    statistics::{LatencyStatistics, RouteStatistics, outcome_index},
    tombs::Tombs,
};
use crate::{
    checkpoint::{Checkpoint, Outcome, Sources, StageError},
    drops::{Accounting, DropReason},
    feed::{CheckpointEvent, FeedEvent},
    histogram::Histogram,
    id::CorrelationId,
    journey::{Journey, LegQuality, Merged, Status},
    metrics::Exemplar,
    route::StageIndex,
    routes::{RouteIndex, Routes, StageRef},
    time::{millis, nanos, rfc3339},
    trace_id::{SpanIdSeed, TraceIdKey},
    window::Windows,
};

pub use self::{read::ListQuery, summary::SummaryParts};

/// Journeys that one step settles, expires, flags and forgets at most, each: the lock is held for a step.
const MOST_PER_STEP: usize = 16;
/// Gone ids that one step forgets at most; each is little work.
const MOST_TOMBS_PER_STEP: usize = 64;
/// Journeys that came back and are kept for their memory, and the most sightings each may have room for.
const MOST_USED: usize = 64;
const MOST_ROOM_OF_USED: usize = 64;
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
    in_hand: InHand,
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
    /// Journeys that came back, whose memory is used again.
    used: Vec<Journey>,
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
            in_hand: InHand::default(),
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
            used: Vec::new(),
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
        let open = self.pool.find(self.pool.wanted(route, id)).filter(|place| self.is_open(*place));
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

    /// The same for one who gives back what was taken before: then nothing is allocated for a journey. `journeys` are the
    /// used ones before and the finished ones after.
    pub fn exchange_finished(&mut self, journeys: &mut Vec<Journey>) {
        let room = MOST_USED - self.used.len();
        journeys.retain(|journey| journey.room() <= MOST_ROOM_OF_USED);
        journeys.truncate(room);
        self.used.append(journeys);
        std::mem::swap(&mut self.finished, journeys);
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
        let wanted = self.pool.wanted(route, &checkpoint.id);
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
                    _ => self.open(wanted, newest.unwrap_or(0) + 1, checkpoint.at, now),
                }
            }
        };
        self.merge(place, checkpoint, now)
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

    fn is_open(&self, place: u32) -> bool {
        self.pool.get(place).is_open()
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

    /// Counts a journey at the stage it reached last.
    fn take_position(&mut self, place: u32) {
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
    fn leave_position(&mut self, place: u32) {
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
    fn count_legs_at(&mut self, place: u32, stage: StageIndex, now: i64) {
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
    fn count_segments(&mut self, place: u32, at: Option<StageIndex>, now: i64) {
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

    /// Finishes an open journey; it settles at once where nothing is missing.
    fn end(&mut self, place: u32, status: Status, reason: Option<&str>, now: i64) {
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
    fn is_whole(&mut self, place: u32) -> bool {
        let entry = self.pool.get(place);
        let declared = self.routes.get(entry.route);
        if entry.status != Status::Completed || declared.is_open() {
            return false;
        }
        self.pool.unpack(place, &mut self.in_hand);
        self.in_hand.sightings().missing(declared).next().is_none()
    }

    /// Counts a finished journey as a whole and hands it to those who want finished ones.
    fn settle(&mut self, place: u32, number: u64, now: i64) {
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

    /// The head of a list, if nothing happened to it since `then`.
    fn idle_since(&self, list: ListName, then: i64) -> Option<u32> {
        self.pool.head(list).filter(|place| self.pool.get(*place).last_seen <= then)
    }

    /// Ends a journey whose TTL is over: failed where a stage failed for good, else expired.
    fn expire(&mut self, place: u32, now: i64) {
        let route = self.pool.get(place).route;
        let declared = self.routes.get(route);
        let reason = self.pool.with_details(place, &mut self.in_hand, |sightings| {
            let (stage, error) = sightings.unrecovered(declared)?;
            let name = self.routes.stage_texts(StageRef { route, stage }).name;
            Some(match error.filter(|error| !error.message.is_empty()) {
                Some(error) => format!("{name} failed: {}", error.message),
                None => format!("{name} failed"),
            })
        });
        let status = if reason.is_some() { Status::Failed } else { Status::Expired };
        self.end(place, status, reason.as_deref(), now);
    }

    fn flag_stuck(&mut self, place: u32, now: i64) {
        self.leave_position(place);
        self.pool.get_mut(place).state = State::Stuck;
        self.take_position(place);
        let route = self.pool.get(place).route;
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
        self.pool.unpack(place, &mut self.in_hand);
        let (route, lost) = (self.pool.get(place).route, self.in_hand.sightings().all().len() as u64);
        self.accounting.recorded -= lost;
        self.accounting.drop(DropReason::Evicted, lost);
        *self.statistics[usize::from(route.0)].ended[3].current(now) += 1;
        self.bury(place, DropReason::Evicted, now);
    }

    /// Lets a finished journey go.
    fn forget(&mut self, place: u32, now: i64) {
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

    /// Reports a checkpoint of the journey in hand.
    fn report_checkpoint(&mut self, place: u32, stage: StageIndex, outcome: Outcome, at: i64, service: &str) {
        let entry = self.pool.get(place);
        let texts = self.routes.stage_texts(StageRef { route: entry.route, stage });
        let declared = self.routes.get(entry.route);
        let leg = declared.legs().iter().find(|leg| leg.to == stage);
        let leg =
            leg.and_then(|leg| Some((leg.name.clone(), self.in_hand.sightings().between(leg.from, leg.to)?.nanos)));
        let event = CheckpointEvent {
            correlation_id: self.pool.id(entry).as_str().to_owned(),
            generation: entry.generation,
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
