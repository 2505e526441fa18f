//! What a summary says: taken from the tracker in some microseconds, worked out by whoever wants it.

use std::sync::Arc;

use super::{
    Tracker,
    pool::ListName,
    statistics::{LatencyStatistics, Ring},
};
use crate::{
    attribution::{Attribution, LegShare, LegVector, attribute},
    drops::Accounting,
    histogram::Histogram,
    route::{Route, Segment, StageIndex},
    routes::{RouteIndex, Routes, StageRef, StageTexts},
    time::rfc3339,
    view::{
        BottleneckStatsView, JourneyCountsView, LegStatsView, OperationView, RouteSummaryView, SegmentStatsView,
        StageCountView, StatsView, StuckView, SummaryView,
    },
    window::{Slots, Window},
};

/// Stuck journeys in a summary at most.
const MAX_STUCK_IN_SUMMARY: usize = 20;

/// Everything that a summary is made of, at one instant. It shares most of it with the tracker.
#[derive(Debug)]
pub struct SummaryParts {
    routes: Arc<Routes>,
    now: i64,
    window: Window,
    /// Nanoseconds the window covers by now.
    covered: i64,
    parts: Vec<RouteParts>,
    operations: Vec<(Box<str>, Slots<Histogram>)>,
    accounting: Accounting,
}

#[derive(Debug)]
struct RouteParts {
    index: RouteIndex,
    covered: i64,
    counts: JourneyCountsView,
    legs: Vec<LatencyParts>,
    segments: Vec<LatencyParts>,
    ring: Ring,
    /// Active journeys and sightings by stage.
    stages: Vec<(u64, u64)>,
    stuck: Vec<StuckView>,
}

#[derive(Debug)]
struct LatencyParts {
    slots: Slots<Histogram>,
    skewed: u64,
    coarse: u64,
}

impl Tracker {
    /// Statistics over a window, of all routes or of one.
    pub fn summary(&self, route: Option<RouteIndex>, window: Window, now: i64) -> SummaryView {
        self.summary_parts(route, window, now).view()
    }

    /// What [`Tracker::summary`] is made of, for one who must not keep the tracker from others while it is made.
    pub fn summary_parts(&self, route: Option<RouteIndex>, window: Window, now: i64) -> SummaryParts {
        // An open route that learned nothing yet has nothing to tell, unless it is asked for.
        let used = |index| self.routes.stage_count(index) > 0;
        let asked = self.routes.iter().filter(|(index, _)| route.map_or_else(|| used(*index), |route| route == *index));
        SummaryParts {
            now,
            window,
            covered: self.statistics[0].started.covered(window, now),
            parts: asked.map(|(index, _)| self.route_parts(index, window, now)).collect(),
            operations: self
                .operations
                .iter()
                .map(|(name, values)| (name.clone(), values.slots(window, now)))
                .collect(),
            accounting: self.accounting.clone(),
            routes: Arc::clone(&self.routes),
        }
    }

    fn route_parts(&self, index: RouteIndex, window: Window, now: i64) -> RouteParts {
        let statistics = &self.statistics[usize::from(index.0)];
        let latency = |counted: &LatencyStatistics| LatencyParts {
            slots: counted.values.slots(window, now),
            skewed: counted.skewed,
            coarse: counted.coarse,
        };
        let stuck = std::iter::successors(self.pool.head(ListName::Stuck(index)), |place| self.pool.after(*place));
        RouteParts {
            index,
            covered: statistics.started.covered(window, now),
            counts: self.counts(index, window, now),
            legs: statistics.legs.iter().map(latency).collect(),
            segments: statistics.segments.iter().map(|segment| latency(&segment.all)).collect(),
            ring: statistics.ring.clone(),
            stages: self.stage_counts(index).map(|(_, counts)| counts).collect(),
            stuck: stuck.take(MAX_STUCK_IN_SUMMARY).map(|place| self.stuck_view(place, now)).collect(),
        }
    }
}

impl SummaryParts {
    /// The summary itself.
    pub fn view(self) -> SummaryView {
        let (routes, now) = (self.routes, self.now);
        let operation = |(name, slots): (Box<str>, Slots<_>)| OperationView {
            name: name.into(),
            stats: StatsView::of(&slots.sum()),
        };
        let mut operations: Vec<OperationView> = self.operations.into_iter().map(operation).collect();
        operations.sort_by(|a, b| a.name.cmp(&b.name));
        SummaryView {
            at: rfc3339(now),
            window: self.window.as_str().to_owned(),
            window_seconds: self.covered as f64 / 1e9,
            routes: self.parts.into_iter().map(|parts| parts.view(&routes, now)).collect(),
            operations,
            accounting: self.accounting.view(),
        }
    }
}

impl RouteParts {
    fn view(self, routes: &Routes, now: i64) -> RouteSummaryView {
        let route = routes.get(self.index);
        let seconds = self.covered as f64 / 1e9;
        let ended = self.counts.completed + self.counts.failed + self.counts.expired;
        let texts = |stage| routes.stage_texts(StageRef { route: self.index, stage });
        let stages: Vec<StageCountView> = self
            .stages
            .iter()
            .enumerate()
            .map(|(stage, (active, seen))| {
                let texts = texts(StageIndex(stage as u16));
                StageCountView { stage: texts.id, name: texts.name, active: *active, seen: *seen }
            })
            .collect();
        let unseen = stages.iter().filter(|stage| stage.seen == 0);
        RouteSummaryView {
            route: route.name().to_owned(),
            label: route.label().to_owned(),
            throughput_per_second: if seconds > 0.0 { ended as f64 / seconds } else { 0.0 },
            journeys: self.counts,
            legs: leg_stats(self.legs, route, texts),
            segments: route
                .segments()
                .iter()
                .zip(self.segments)
                .map(|(segment, counted)| SegmentStatsView {
                    name: segment.name.clone(),
                    label: segment.label.clone(),
                    from: texts(segment.from).id,
                    to: texts(segment.to).id,
                    stats: StatsView::of(&counted.slots.sum()),
                    skewed: counted.skewed,
                    coarse: counted.coarse,
                })
                .collect(),
            bottlenecks: bottlenecks(route, &self.ring, now.saturating_sub(self.covered)),
            never_seen: unseen.map(|stage| format!("{} {}", stage.stage, stage.name)).collect(),
            active_by_stage: stages,
            stuck: self.stuck,
        }
    }
}

fn leg_stats(legs: Vec<LatencyParts>, route: &Route, texts: impl Fn(StageIndex) -> StageTexts) -> Vec<LegStatsView> {
    let view = |name: String, from: String, to: String, budget_ms, leg: LatencyParts| LegStatsView {
        name,
        from,
        to,
        budget_ms,
        stats: StatsView::of(&leg.slots.sum()),
        skewed: leg.skewed,
        coarse: leg.coarse,
    };
    if route.is_open() {
        let known = legs.into_iter().enumerate().map(|(stage, leg)| {
            let texts = texts(StageIndex(stage as u16));
            view(texts.name, String::new(), texts.id, None, leg)
        });
        return known.filter(|leg| leg.stats.count > 0 || leg.skewed > 0).collect();
    }
    let declared = route.legs().iter().zip(legs);
    declared
        .map(|(leg, counted)| {
            let budget = leg.budget.map(|budget| budget.as_secs_f64() * 1e3);
            view(leg.name.clone(), texts(leg.from).id, texts(leg.to).id, budget, counted)
        })
        .collect()
}

/// The three largest legs of the widest segment and the largest leg of every other segment of more than one leg.
fn bottlenecks(route: &Route, ring: &Ring, since: i64) -> Vec<BottleneckStatsView> {
    let widest = route.segments().iter().map(|s| s.to.0 - s.from.0).max();
    let mut rows = Vec::new();
    for (index, segment) in route.segments().iter().enumerate() {
        let inside: Vec<usize> = (0..route.legs().len()).filter(|leg| segment.contains(&route.legs()[*leg])).collect();
        if inside.len() < 2 {
            continue;
        }
        // An end in whole seconds makes a leg look up to a second longer: it would be called the bottleneck for nothing.
        let known = || ring.since(since).filter_map(|entry| Some((entry.segment(index)?, entry)));
        let (all, left_out) =
            known().fold((0, 0), |(all, left), ((_, coarse), _)| (all + 1, left + usize::from(coarse)));
        let only_coarse = all == left_out;
        let note = match (only_coarse, left_out) {
            (true, 0) => continue,
            (true, _) => "; an end is given in whole seconds, so all this is up to 1 s off".to_owned(),
            (false, 0) => String::new(),
            (false, _) => format!(" ({left_out} with an end in whole seconds are left out)"),
        };
        // All in one piece: there are up to four thousand.
        let mut totals = Vec::with_capacity(all);
        let mut legs = Vec::with_capacity(all * inside.len());
        for ((total, coarse), entry) in known() {
            if coarse == only_coarse {
                totals.push(total);
                legs.extend(inside.iter().map(|leg| entry.leg(*leg)));
            }
        }
        let vectors: Vec<LegVector<'_>> = totals
            .iter()
            .zip(legs.chunks(inside.len()))
            .map(|(total, legs)| LegVector { total: *total, legs })
            .collect();
        let attribution = attribute(&vectors, 0.95);
        let most = if Some(segment.to.0 - segment.from.0) == widest { 3 } else { 1 };
        let mut named = largest(route, segment, &inside, &attribution, most);
        named.iter_mut().for_each(|row| row.sentence.push_str(&note));
        rows.extend(named);
    }
    rows
}

fn largest(
    route: &Route,
    segment: &Segment,
    inside: &[usize],
    attribution: &Attribution,
    most: usize,
) -> Vec<BottleneckStatsView> {
    let row = |leg: Option<usize>, share: &LegShare| {
        let leg = leg.map(|leg| &route.legs()[leg]);
        let name = leg.map_or("unexplained", |leg| &leg.name);
        let stage = leg.and_then(|leg| route.stage(leg.to)).map(|stage| stage.id.clone()).unwrap_or_default();
        let at_p95_share =
            if attribution.at_quantile > 0.0 { share.at_quantile / attribution.at_quantile } else { 0.0 };
        BottleneckStatsView {
            segment: segment.name.clone(),
            leg: name.to_owned(),
            mean_share: share.mean_share,
            at_p95_ms: share.at_quantile / 1e6,
            at_p95_share,
            largest: share.largest,
            journeys: attribution.journeys as u64,
            sentence: sentence(&segment.name, name, &stage, attribution, share, at_p95_share),
            stage,
        }
    };
    let legs = inside.iter().zip(&attribution.legs).map(|(leg, share)| row(Some(*leg), share));
    let mut rows: Vec<BottleneckStatsView> = legs.chain([row(None, &attribution.unexplained)]).collect();
    rows.sort_by(|a, b| b.at_p95_ms.total_cmp(&a.at_p95_ms));
    rows.retain(|row| row.at_p95_ms > 0.0);
    rows.truncate(most);
    rows
}

fn sentence(
    segment: &str,
    leg: &str,
    stage: &str,
    attribution: &Attribution,
    share: &LegShare,
    at_p95_share: f64,
) -> String {
    let stage = if stage.is_empty() { String::new() } else { format!(" ({stage})") };
    format!(
        "{leg}{stage} is {:.1} ms of the {segment} p95 of {:.1} ms ({:.0} %), {:.0} % of its time on average, and the \
         largest in {:.0} % of {} journeys",
        share.at_quantile / 1e6,
        attribution.at_quantile / 1e6,
        at_p95_share * 100.0,
        share.mean_share * 100.0,
        share.largest * 100.0,
        attribution.journeys
    )
}
