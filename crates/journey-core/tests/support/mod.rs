//! What the property tests of the tracker share: a tracker by value, and its statistics in comparable form.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{collections::BTreeMap, sync::Arc};

use journey_core::{
    Checkpoint, CorrelationId, Histogram, Limits, Route, RouteIndex, Routes, Source, Sources, StageIndex, StageRef,
    TraceIdKey, Tracker,
};

pub(crate) const MILLI: i64 = 1_000_000;
pub(crate) const SECOND: i64 = 1_000 * MILLI;
/// When every tracker of the tests starts.
pub(crate) const START: i64 = 1_800_000_000 * SECOND;

/// A tracker of these routes, with three sources: two of one clock domain and one of another.
pub(crate) fn tracker(routes: &Arc<Routes>, limits: Limits) -> Tracker {
    let source = |service: &str, clock_domain: &str| Source {
        service: service.to_owned(),
        instance: format!("{service}-1"),
        clock_domain: clock_domain.to_owned(),
        ..Source::default()
    };
    let sources = Sources::new(source("gateway", "host-a"));
    sources.intern(source("agent", "host-a"));
    sources.intern(source("sender", "host-b"));
    Tracker::new(Arc::clone(routes), sources, limits, TraceIdKey::default(), START)
}

pub(crate) fn routes(routes: Vec<Route>) -> Arc<Routes> {
    Arc::new(Routes::new(routes).unwrap())
}

pub(crate) fn at_stage(route: u8, stage: u16) -> StageRef {
    StageRef { route: RouteIndex(route), stage: StageIndex(stage) }
}

/// A success of a stage, `after` nanoseconds after the start.
pub(crate) fn reached(id: &str, route: u8, stage: u16, after: i64) -> Checkpoint {
    Checkpoint::reached(CorrelationId::new(id).unwrap(), at_stage(route, stage), START + after)
}

/// Histogram and skew of every leg, by route and name.
pub(crate) fn legs(tracker: &Tracker, now: i64) -> BTreeMap<(String, String), (Histogram, u64)> {
    let metrics = tracker.metrics(now);
    let mut legs: BTreeMap<_, _> =
        metrics.legs.into_iter().map(|series| ((series.route, series.name), (series.histogram, 0))).collect();
    for (route, leg, skewed) in metrics.skewed {
        if let Some((_, known)) = legs.get_mut(&(route, leg)) {
            *known += skewed;
        }
    }
    legs
}

/// Histogram of every segment, by route, name and outcome.
pub(crate) fn segments(tracker: &Tracker, now: i64) -> BTreeMap<(String, String, Option<String>), Histogram> {
    let segments = tracker.metrics(now).segments.into_iter();
    segments.map(|series| ((series.route, series.name, series.outcome), series.histogram)).collect()
}
