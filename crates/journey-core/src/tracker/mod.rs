//! Which journeys are open, finished, late or evicted, and what was lost.
//!
//! | room | question |
//! |---|---|
//! | `record` | which journey is a checkpoint part of, and what does it change there? |
//! | `end` | how does a journey end, settle and go? |
//! | `tick` | what is due as time passes? |
//! | `count`, `statistics` | what is counted, and when; what is kept of it per route? |
//! | `hand_over` | what is told to those who want to know? |
//! | `pool` | where is a journey kept, and which one was untouched longest? |
//! | `chunks`, `index` | how does a table grow without a pause? |
//! | `tombs` | which ids are gone but not forgotten? |
//! | `read`, `summary` | what do readers see? |

mod chunks;
mod count;
mod end;
mod hand_over;
mod index;
mod pool;
mod read;
mod record;
mod statistics;
mod summary;
mod tick;
mod tombs;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    pool::{InHand, ListName, Pool},
    statistics::RouteStatistics,
    tombs::Tombs,
};
use crate::{
    checkpoint::{Checkpoint, Sources},
    drops::Accounting,
    feed::FeedEvent,
    histogram::Histogram,
    id::CorrelationId,
    journey::Journey,
    routes::{RouteIndex, Routes},
    trace_id::TraceIdKey,
    window::Windows,
};

pub use self::{read::ListQuery, summary::SummaryParts};

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
    recorded_wanted: bool,
    recorded: Vec<Recorded>,
}

/// A checkpoint that became part of a journey.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Which journey of its id, counted from 1.
    pub generation: u32,
    /// The journey began with it: no other checkpoint of it was recorded before.
    pub first: bool,
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
            recorded_wanted: false,
            recorded: Vec::new(),
        }
    }

    /// Which journey of its id is the newest, counted from 1; 1 where none is known.
    pub fn generation(&self, route: RouteIndex, id: &CorrelationId) -> u32 {
        self.pool.find(self.pool.wanted(route, id)).map_or(1, |place| self.pool.get(place).generation)
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

    fn is_open(&self, place: u32) -> bool {
        self.pool.get(place).is_open()
    }
}
