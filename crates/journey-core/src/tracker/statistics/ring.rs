//! Latencies of the journeys finished last, for attribution: numbers in blocks that are used again.

use std::sync::Arc;

use crate::{journey::Sightings, route::Route};

/// Finished journeys per route whose leg latencies are kept.
const JOURNEYS: usize = 4096;
/// Journeys in one block, a part of [`JOURNEYS`]: memory comes as journeys do, and nothing is copied for it.
const PER_BLOCK: usize = 64;
/// Numbers of each journey before its latencies.
const HEAD: usize = 4;

/// The latest finished journeys of one route.
///
/// A clone shares the blocks, so that a reader can leave the tracker at once and think afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    /// Of each journey: when it finished, which segments are known, which of these are coarse, which legs are known,
    /// then the latencies of segments and legs in nanoseconds.
    blocks: Vec<Arc<[i64]>>,
    segments: usize,
    legs: usize,
    /// Journeys ever added.
    added: u64,
}

/// Leg latencies of one finished journey.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingEntry<'a>(&'a [i64], usize);

impl Ring {
    pub(super) fn new(route: &Route) -> Self {
        Self { blocks: Vec::new(), segments: route.segments().len(), legs: route.legs().len(), added: 0 }
    }

    /// Keeps the latencies of a journey, letting the oldest go.
    pub(crate) fn keep(&mut self, finished_at: i64, sightings: &Sightings, route: &Route) {
        let width = self.width();
        let place = (self.added % JOURNEYS as u64) as usize;
        self.added += 1;
        if place / PER_BLOCK == self.blocks.len() {
            self.blocks.push(vec![0; PER_BLOCK * width].into());
        }
        // Copied first where a reader still looks at it.
        let block = Arc::make_mut(&mut self.blocks[place / PER_BLOCK]);
        let numbers = &mut block[place % PER_BLOCK * width..][..width];
        let (head, latencies) = numbers.split_at_mut(HEAD);
        head.copy_from_slice(&[finished_at, 0, 0, 0]);
        let (segments, legs) = latencies.split_at_mut(self.segments);
        for (index, segment) in route.segments().iter().enumerate() {
            if let Some(between) = sightings.between(segment.from, segment.to) {
                segments[index] = between.nanos;
                head[1] |= 1 << index;
                head[2] |= i64::from(between.coarse) << index;
            }
        }
        for (index, leg) in route.legs().iter().enumerate() {
            if let Some(between) = sightings.between(leg.from, leg.to) {
                legs[index] = between.nanos;
                head[3] |= 1 << index;
            }
        }
    }

    /// Journeys finished after an instant, the newest first.
    pub(crate) fn since(&self, since: i64) -> impl Iterator<Item = RingEntry<'_>> {
        let kept = self.added.min(JOURNEYS as u64);
        let newest_first = (self.added - kept..self.added).rev();
        newest_first.map(|number| self.entry(number)).take_while(move |entry| entry.0[0] >= since)
    }

    fn entry(&self, number: u64) -> RingEntry<'_> {
        let place = (number % JOURNEYS as u64) as usize;
        let width = self.width();
        RingEntry(&self.blocks[place / PER_BLOCK][place % PER_BLOCK * width..][..width], self.segments)
    }

    fn width(&self) -> usize {
        HEAD + self.segments + self.legs
    }
}

impl RingEntry<'_> {
    /// Latency of a segment of the route, nanoseconds, and whether an end has a resolution of a second; `None` unless
    /// both ends were reached.
    pub(crate) fn segment(&self, index: usize) -> Option<(i64, bool)> {
        let known = self.0[1] >> index & 1 == 1;
        known.then(|| (self.0[HEAD + index], self.0[2] >> index & 1 == 1))
    }

    /// Latency of a leg of the route, nanoseconds; `None` unless both ends were reached.
    pub(crate) fn leg(&self, index: usize) -> Option<i64> {
        let known = self.0[3] >> index & 1 == 1;
        known.then(|| self.0[HEAD + self.1 + index])
    }
}
