//! What readers see of a tracker.

use std::collections::BTreeMap;

use super::{
    Tracker,
    pool::{Entry, InHand, ListName, State},
    statistics::OUTCOMES,
};
use crate::{
    id::CorrelationId,
    journey::Status,
    metrics::{MetricsSnapshot, Series},
    routes::{RouteIndex, StageRef},
    time::{millis, rfc3339},
    view::{JourneyCountsView, JourneyView, ListItemView, ListView, SelfView, StuckView},
    window::Window,
};

/// Journeys in a list where no limit is asked for.
const DEFAULT_LIST: usize = 100;
/// Journeys in a list at most.
const MAX_LIST: usize = 1000;

/// Which journeys to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListQuery {
    /// Only of this route.
    pub route: Option<String>,
    /// Only with this status.
    pub status: Option<Status>,
    /// Only stuck ones.
    pub stuck: bool,
    /// Only with a total of at least this many milliseconds.
    pub min_ms: Option<f64>,
    /// Only those that reached this stage last (any of its names).
    pub stage: Option<String>,
    /// Slowest first instead of newest first.
    pub slowest: bool,
    /// At most this many, 1 to 1000. 0 means 100.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// What a list is sorted by, largest first: total (0 for newest first), then number.
type Rank = (i64, u64);

impl Tracker {
    /// One journey: its newest generation, or the one asked for. Of several routes with the id, the one touched last.
    pub fn journey(&self, correlation_id: &str, generation: Option<u32>) -> Option<JourneyView> {
        let id = CorrelationId::new(correlation_id).ok()?;
        let newest = self.routes.iter().filter_map(|(route, _)| self.pool.find(self.pool.wanted(route, &id)));
        let newest = newest.max_by_key(|place| self.pool.get(*place).last_seen)?;
        let all: Vec<u32> = std::iter::successors(Some(newest), |place| self.pool.older(*place)).collect();
        let number = |place: u32| self.pool.get(place).generation;
        let asked = match generation {
            None => newest,
            Some(generation) => all.iter().copied().find(|place| number(*place) == generation)?,
        };
        let entry = self.pool.get(asked);
        let mut view = self.pool.journey(entry).view(&self.routes, &self.sources, &self.key);
        view.stuck = entry.state == State::Stuck;
        view.other_generations = all.into_iter().filter(|place| *place != asked).map(number).collect();
        Some(view)
    }

    /// Journeys that fit a query.
    ///
    /// # Errors
    ///
    /// A sentence about a cursor that is not ours, or an unknown route or stage.
    pub fn list(&self, query: &ListQuery, now: i64) -> Result<ListView, String> {
        let shown = |text: &str| text.chars().take(64).collect::<String>().escape_debug().to_string();
        let route = match &query.route {
            None => None,
            Some(name) => Some(self.routes.find(name).ok_or_else(|| {
                let known: Vec<&str> = self.routes.iter().map(|(_, route)| route.name()).collect();
                format!("`{}` is not an active route (there are: {})", shown(name), known.join(", "))
            })?),
        };
        let stages: Option<Vec<StageRef>> = match &query.stage {
            None => None,
            Some(name) => Some(self.stages_of_any_route(name).ok_or_else(|| {
                format!("`{}` is not a stage of an active route (try `T4` or `db_stored`)", shown(name))
            })?),
        };
        let after = match &query.cursor {
            None => None,
            Some(cursor) => Some(parse_cursor(cursor).ok_or_else(|| {
                format!("`{}` is not a cursor (take `nextCursor` of the page before, or none)", shown(cursor))
            })?),
        };
        let limit = if query.limit == 0 { DEFAULT_LIST } else { query.limit.min(MAX_LIST) };

        let mut found: Vec<(Rank, &Entry)> = Vec::new();
        let mut in_hand = InHand::default();
        for entry in self.pool.iter() {
            let fits = query.status.is_none_or(|status| entry.status == status)
                && (!query.stuck || entry.state == State::Stuck)
                && route.is_none_or(|route| entry.route == route);
            if !fits {
                continue;
            }
            let declared = self.routes.get(entry.route);
            if let Some(stages) = &stages {
                let last = || self.pool.sightings(entry, &mut in_hand).position(declared);
                let position = entry.position().or_else(last);
                if !stages.iter().any(|s| s.route == entry.route && Some(s.stage) == position) {
                    continue;
                }
            }
            let mut total = None;
            if query.slowest || query.min_ms.is_some() {
                total = self.pool.sightings(entry, &mut in_hand).span().map(|(from, to)| to.saturating_sub(from));
            }
            if query.min_ms.is_some_and(|min| total.is_none_or(|total| millis(total) < min)) {
                continue;
            }
            let rank = (if query.slowest { total.unwrap_or(0) } else { 0 }, entry.number);
            if after.is_none_or(|after| rank < after) {
                found.push((rank, entry));
            }
        }
        let more = found.len() > limit;
        if more {
            found.select_nth_unstable_by(limit, |a, b| b.0.cmp(&a.0));
            found.truncate(limit);
        }
        found.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let next_cursor = found.last().filter(|_| more).map(|((total, number), _)| format!("{total}-{number}"));
        Ok(ListView { journeys: found.into_iter().map(|(_, entry)| self.list_item(entry, now)).collect(), next_cursor })
    }

    fn stages_of_any_route(&self, name: &str) -> Option<Vec<StageRef>> {
        let mut stages = self.routes.stages_named(name).to_vec();
        for (route, declared) in self.routes.iter().filter(|(_, declared)| declared.is_open()) {
            let known = (0..self.routes.stage_count(route)).map(|stage| crate::route::StageIndex(stage as u16));
            stages.extend(
                known
                    .map(|stage| StageRef { route, stage })
                    .filter(|at| declared.is_open() && self.routes.stage_texts(*at).name == name),
            );
        }
        Some(stages).filter(|stages| !stages.is_empty())
    }

    fn list_item(&self, entry: &Entry, now: i64) -> ListItemView {
        let journey = self.pool.journey(entry);
        let route = self.routes.get(entry.route);
        let span = journey.span();
        let position = journey.sightings.position(route);
        ListItemView {
            correlation_id: journey.id().as_str().to_owned(),
            generation: entry.generation,
            route: route.name().to_owned(),
            status: entry.status.as_str().to_owned(),
            reason: journey.reason().map(str::to_owned),
            stuck: entry.state == State::Stuck,
            started_at: span.map(|(from, _)| rfc3339(from)),
            total_ms: span.map(|(from, to)| millis(to.saturating_sub(from))),
            stage: position
                .map(|stage| self.routes.stage_texts(StageRef { route: entry.route, stage }).id)
                .unwrap_or_default(),
            idle_ms: entry.is_open().then(|| millis(now - entry.last_seen)),
        }
    }

    pub(super) fn stuck_view(&self, place: u32, now: i64) -> StuckView {
        let entry = self.pool.get(place);
        let at = |stage| self.routes.stage_texts(StageRef { route: entry.route, stage }).id;
        StuckView {
            correlation_id: self.pool.id(entry).as_str().to_owned(),
            route: self.routes.get(entry.route).name().to_owned(),
            stage: entry.position().map(at).unwrap_or_default(),
            idle_ms: millis(now - entry.last_seen),
            in_progress: None,
        }
    }

    pub(super) fn counts(&self, index: RouteIndex, window: Window, now: i64) -> JourneyCountsView {
        let statistics = &self.statistics[usize::from(index.0)];
        let [completed, failed, expired, evicted] = [0, 1, 2, 3].map(|o| statistics.ended[o].read(window, now));
        let stuck = self.pool.len(ListName::Stuck(index));
        JourneyCountsView {
            started: statistics.started.read(window, now),
            active: (self.pool.len(ListName::Active(index)) + stuck) as u64,
            stuck: stuck as u64,
            completed,
            failed,
            expired,
            evicted,
        }
    }

    /// Active journeys and sightings of every stage.
    pub(super) fn stage_counts(&self, route: RouteIndex) -> impl Iterator<Item = (StageRef, (u64, u64))> + '_ {
        let counted = &self.statistics[usize::from(route.0)].stages;
        (0..self.routes.stage_count(route)).map(move |stage| {
            let known = counted.get(stage);
            let at = StageRef { route, stage: crate::route::StageIndex(stage as u16) };
            (at, known.map_or((0, 0), |stage| (stage.active, stage.total())))
        })
    }

    pub(super) fn never_seen(&self, route: RouteIndex) -> Vec<String> {
        let unseen = self.stage_counts(route).filter(|(_, (_, seen))| *seen == 0);
        unseen.map(|(at, _)| self.routes.stage_texts(at)).map(|texts| format!("{} {}", texts.id, texts.name)).collect()
    }

    /// Everything that is exported as metrics.
    pub fn metrics(&self, now: i64) -> MetricsSnapshot {
        let mut snapshot = MetricsSnapshot {
            started_at: self.started_at,
            at: now,
            accounting: self.accounting.clone(),
            overflowed: self.overflowed,
            ..MetricsSnapshot::default()
        };
        for (index, route) in self.routes.iter() {
            let name = || route.name().to_owned();
            let statistics = &self.statistics[usize::from(index.0)];
            for (leg, counted) in statistics.legs.iter().enumerate() {
                let stage = StageRef { route: index, stage: crate::route::StageIndex(leg as u16) };
                let leg =
                    route.legs().get(leg).map_or_else(|| self.routes.stage_texts(stage).name, |leg| leg.name.clone());
                snapshot.skewed.push((name(), leg.clone(), counted.skewed));
                snapshot.legs.push(Series {
                    route: name(),
                    name: leg,
                    outcome: None,
                    histogram: counted.values.since_start(),
                    exemplars: counted.exemplars(),
                });
            }
            for (segment, counted) in route.segments().iter().zip(&statistics.segments) {
                for (outcome, histogram) in OUTCOMES.iter().zip(&counted.by_outcome) {
                    // Exemplars are kept per segment; completed journeys are by far the most.
                    let exemplars = if *outcome == "completed" { counted.all.exemplars() } else { Vec::new() };
                    snapshot.segments.push(Series {
                        route: name(),
                        name: segment.name.clone(),
                        outcome: Some((*outcome).to_owned()),
                        histogram: histogram.clone(),
                        exemplars,
                    });
                }
            }
            let counts = self.counts(index, Window::Start, now);
            snapshot.active.push((name(), counts.active));
            let ended = [counts.completed, counts.failed, counts.expired, counts.evicted];
            for (outcome, count) in OUTCOMES.iter().zip(ended) {
                snapshot.completions.push((name(), (*outcome).to_owned(), count));
            }
            for (stage, counted) in statistics.stages.iter().enumerate() {
                let at = StageRef { route: index, stage: crate::route::StageIndex(stage as u16) };
                let stage = self.routes.stage_texts(at).name;
                snapshot.stuck.push((name(), stage.clone(), counted.stuck));
                snapshot.checkpoints.push((name(), stage.clone(), String::new(), counted.reached));
                for (error, count) in &counted.failed {
                    snapshot.checkpoints.push((name(), stage.clone(), error.clone(), *count));
                }
            }
        }
        let mut operations: Vec<_> = self.operations.iter().collect();
        operations.sort_by_key(|(name, _)| *name);
        for (name, values) in operations {
            let histogram = values.since_start();
            snapshot.operations.push(Series { name: name.to_string(), histogram, ..Series::default() });
        }
        snapshot
    }

    /// What the tracker knows about itself; parts and warnings of others are added by [`crate::Live`].
    pub fn self_view(&self, now: i64) -> SelfView {
        let mut journeys = JourneyCountsView::default();
        let mut never_seen = BTreeMap::new();
        for (index, route) in self.routes.iter() {
            let counts = self.counts(index, Window::Start, now);
            journeys.started += counts.started;
            journeys.active += counts.active;
            journeys.stuck += counts.stuck;
            journeys.completed += counts.completed;
            journeys.failed += counts.failed;
            journeys.expired += counts.expired;
            journeys.evicted += counts.evicted;
            never_seen.insert(route.name().to_owned(), self.never_seen(index));
        }
        let mut clock_domains: Vec<String> = self.sources.all().iter().map(|s| s.clock_domain.clone()).collect();
        // Carried checkpoints come from a source that nobody named.
        clock_domains.retain(|domain| !domain.is_empty());
        clock_domains.sort();
        clock_domains.dedup();
        SelfView {
            at: rfc3339(now),
            started_at: rfc3339(self.started_at),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            accounting: self.accounting.view(),
            journeys,
            retained: self.pool.len(ListName::Finished) as u64,
            never_seen,
            clock_domains,
            warnings: Vec::new(),
            parts: BTreeMap::new(),
        }
    }
}

fn parse_cursor(cursor: &str) -> Option<Rank> {
    let (total, number) = cursor.split_once('-')?;
    Some((total.parse().ok()?, number.parse().ok()?))
}
