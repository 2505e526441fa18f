//! What is counted per route: latencies of legs and segments, sightings of stages, vectors of finished journeys.

mod ring;

use std::collections::BTreeMap;

pub(super) use self::ring::Ring;
use crate::{
    histogram::{Histogram, power_of_two_above},
    journey::Status,
    metrics::Exemplar,
    route::Route,
    window::Windows,
};

/// Different `error.type` of one stage before the rest are `other`.
const MAX_ERROR_KINDS: usize = 15;

/// Statistics of one route.
#[derive(Debug)]
pub(super) struct RouteStatistics {
    /// By leg of the route; of an open route by stage.
    pub(super) legs: Vec<LatencyStatistics>,
    /// By segment of the route.
    pub(super) segments: Vec<SegmentStatistics>,
    /// By stage of the route.
    pub(super) stages: Vec<StageStatistics>,
    pub(super) started: Windows<u64>,
    /// By outcome: completed, failed, expired, evicted.
    pub(super) ended: [Windows<u64>; 4],
    /// Vectors of the journeys finished last.
    pub(super) ring: Ring,
    now: i64,
}

/// Latencies of one leg or segment.
#[derive(Debug)]
pub(super) struct LatencyStatistics {
    pub(super) values: Windows<Histogram>,
    /// Negative ones since start; in no histogram.
    pub(super) skewed: u64,
    /// Those with an end in whole seconds since start; in the histogram as measured.
    pub(super) coarse: u64,
    /// Newest exemplar by power-of-two bucket.
    exemplars: BTreeMap<i32, Exemplar>,
}

/// Latencies of one segment.
#[derive(Debug)]
pub(super) struct SegmentStatistics {
    pub(super) all: LatencyStatistics,
    /// Since start, by outcome: completed, failed, expired.
    pub(super) by_outcome: [Histogram; 3],
}

/// Sightings of one stage.
#[derive(Debug, Default)]
pub(super) struct StageStatistics {
    /// Successes.
    pub(super) reached: u64,
    /// Other sightings by `error.type`.
    pub(super) failed: BTreeMap<String, u64>,
    /// Active journeys that reached this stage last.
    pub(super) active: u64,
    /// Stuck journeys that reached this stage last.
    pub(super) stuck: u64,
}

impl RouteStatistics {
    pub(super) fn new(route: &Route, now: i64) -> Self {
        Self {
            legs: route.legs().iter().map(|_| LatencyStatistics::new(now)).collect(),
            segments: route.segments().iter().map(|_| SegmentStatistics::new(now)).collect(),
            stages: route.stages().iter().map(|_| StageStatistics::default()).collect(),
            started: Windows::new(now),
            ended: std::array::from_fn(|_| Windows::new(now)),
            ring: Ring::new(route),
            now,
        }
    }

    /// The leg of an open route that ends at a stage, or any leg by its index.
    pub(super) fn leg(&mut self, index: usize) -> &mut LatencyStatistics {
        while self.legs.len() <= index {
            self.legs.push(LatencyStatistics::new(self.now));
        }
        &mut self.legs[index]
    }

    /// A stage; those of an open route come as they are learned.
    pub(super) fn stage(&mut self, index: usize) -> &mut StageStatistics {
        if self.stages.len() <= index {
            self.stages.resize_with(index + 1, StageStatistics::default);
        }
        &mut self.stages[index]
    }
}

impl LatencyStatistics {
    fn new(now: i64) -> Self {
        Self { values: Windows::new(now), skewed: 0, coarse: 0, exemplars: BTreeMap::new() }
    }

    /// Counts a latency; a negative one only as skew. Returns what goes into a histogram.
    pub(super) fn count(&mut self, nanos: i64, coarse: bool, now: i64) -> Option<u64> {
        match u64::try_from(nanos) {
            Ok(nanos) => {
                self.values.current(now).record(nanos);
                self.coarse += u64::from(coarse);
                Some(nanos)
            }
            Err(_) => {
                self.skewed += 1;
                None
            }
        }
    }

    pub(super) fn exemplar(&mut self, exemplar: Exemplar) {
        self.exemplars.insert(power_of_two_above(exemplar.nanos), exemplar);
    }

    pub(super) fn exemplars(&self) -> Vec<Exemplar> {
        self.exemplars.values().copied().collect()
    }
}

impl SegmentStatistics {
    fn new(now: i64) -> Self {
        Self { all: LatencyStatistics::new(now), by_outcome: Default::default() }
    }

    pub(super) fn count(&mut self, nanos: i64, coarse: bool, status: Status, now: i64) {
        if let (Some(nanos), Some(outcome)) = (self.all.count(nanos, coarse, now), outcome_index(status)) {
            self.by_outcome[outcome].record(nanos);
        }
    }
}

impl StageStatistics {
    /// Counts a sighting by its `error.type`; the empty one is success.
    pub(super) fn sighted(&mut self, error: &str) {
        if error.is_empty() {
            self.reached += 1;
            return;
        }
        if let Some(count) = self.failed.get_mut(error) {
            *count += 1;
            return;
        }
        let kind = if self.failed.len() < MAX_ERROR_KINDS { error } else { "other" };
        *self.failed.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn total(&self) -> u64 {
        self.reached + self.failed.values().sum::<u64>()
    }
}

/// Outcomes in the order of the counters.
pub(super) const OUTCOMES: [&str; 4] = ["completed", "failed", "expired", "evicted"];

/// Place of a status among [`OUTCOMES`]; `None` while active.
pub(super) fn outcome_index(status: Status) -> Option<usize> {
    match status {
        Status::Active => None,
        Status::Completed => Some(0),
        Status::Failed => Some(1),
        Status::Expired => Some(2),
    }
}
