//! One line in the log for each finished journey, with the legs as real fields.
//!
//! Field names of `tracing` are static and legs are not, so one callsite per route and level is built once at setup and
//! never freed: a few kilobytes for the life of the process.

use std::sync::Arc;

use journey_core::{FinishedSink, Journey, LegValue, Route, Routes, Sources, Status};
use tracing_core::{Kind, Level, field::Value};

use crate::{line::LineCallsite, self_check::FindDispatch};

/// The text of every line, by which log searches find them.
const MESSAGE: &str = "journey_timing";
/// The target of the lines: `RUST_LOG=info,journey_timing=debug` shows them all.
const TARGET: &str = "journey_timing";
/// Fields that every line has before those of the legs.
const FIXED: [&str; 7] = ["message", "correlation_id", "route", "status", "total_ms", "reason", "legs"];

/// Writes the lines.
pub(crate) struct SummaryLine {
    routes: Arc<Routes>,
    sources: Sources,
    /// By route.
    lines: Vec<RouteLine>,
    dispatch: FindDispatch,
}

/// The callsites of one route.
struct RouteLine {
    /// For each leg of the route, the place of its field; `None` where its name is taken.
    legs: Vec<Option<usize>>,
    fields: usize,
    debug: &'static LineCallsite,
    warn: &'static LineCallsite,
    error: &'static LineCallsite,
}

impl SummaryLine {
    pub(crate) fn new(routes: Arc<Routes>, sources: Sources, dispatch: FindDispatch) -> Self {
        let lines = routes.iter().map(|(_, route)| RouteLine::new(route)).collect();
        Self { routes, sources, lines, dispatch }
    }

    fn write(&self, journey: &Journey) {
        let route = self.routes.get(journey.route());
        let Some(line) = self.lines.get(usize::from(journey.route().0)) else { return };
        let total = journey.span().map(|(from, to)| to.saturating_sub(from));
        let callsite = line.callsite(level(journey.status(), total, route));
        let Some(dispatch) = (self.dispatch)() else { return };
        if !callsite.is_enabled(&dispatch) {
            return;
        }

        let legs = journey.legs(&self.routes, &self.sources);
        let durations: Vec<i64> = legs.iter().map(|leg| millis(leg.to_at.saturating_sub(leg.from_at))).collect();
        // Legs of an open route are only known as they come, so they share one text field.
        let learned = if route.is_open() { by_name(&legs, &durations) } else { String::new() };
        let total = total.map(millis);
        let (id, status, name) = (journey.id().as_str(), journey.status().as_str(), route.name());
        let reason = journey.reason();

        let mut values: Vec<Option<&dyn Value>> = vec![None; line.fields];
        values[0] = Some(&MESSAGE as &dyn Value);
        values[1] = Some(&id);
        values[2] = Some(&name);
        values[3] = Some(&status);
        values[4] = total.as_ref().map(|total| total as &dyn Value);
        values[5] = reason.as_ref().map(|reason| reason as &dyn Value);
        values[6] = (!learned.is_empty()).then_some(&learned as &dyn Value);
        for (leg, duration) in legs.iter().zip(&durations) {
            let place = route.legs().iter().position(|declared| declared.name == leg.name);
            if let Some(place) = place.and_then(|place| line.legs[place]) {
                values[place] = Some(duration);
            }
        }
        callsite.send(&dispatch, &values);
    }
}

impl FinishedSink for SummaryLine {
    fn finished(&self, journey: &Journey) -> bool {
        self.write(journey);
        false
    }
}

impl RouteLine {
    fn new(route: &Route) -> Self {
        let mut names: Vec<&'static str> = FIXED.to_vec();
        let mut legs = Vec::new();
        for leg in route.legs() {
            let name = format!("{}_ms", leg.name);
            let free = !names.contains(&name.as_str());
            legs.push(free.then_some(names.len()));
            if free {
                names.push(String::leak(name));
            }
        }
        let names: &'static [&'static str] = Vec::leak(names);
        let callsite = |level| LineCallsite::leak(MESSAGE, TARGET, level, names, Kind::EVENT);
        let (debug, warn, error) = (callsite(Level::DEBUG), callsite(Level::WARN), callsite(Level::ERROR));
        Self { legs, fields: names.len(), debug, warn, error }
    }

    fn callsite(&self, level: Level) -> &'static LineCallsite {
        match level {
            Level::ERROR => self.error,
            Level::WARN => self.warn,
            _ => self.debug,
        }
    }
}

/// Debug normally, warn when slow or failed, error beyond the deadline.
fn level(status: Status, total: Option<i64>, route: &Route) -> Level {
    let above = |limit: Option<std::time::Duration>| {
        limit.zip(total).is_some_and(|(limit, total)| i128::from(total) > limit.as_nanos().cast_signed())
    };
    if above(route.deadline()) {
        Level::ERROR
    } else if above(route.slow()) || status == Status::Failed {
        Level::WARN
    } else {
        Level::DEBUG
    }
}

fn by_name(legs: &[LegValue], millis: &[i64]) -> String {
    let pairs = legs.iter().zip(millis).map(|(leg, millis)| format!("{}_ms={millis}", leg.name));
    pairs.collect::<Vec<_>>().join(" ")
}

/// To the nearest millisecond.
fn millis(nanos: i64) -> i64 {
    nanos.saturating_add(500_000).div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_level_follows_the_total_and_the_status() {
        let route = Route::builder("r").stage("A", "a", |s| s).stage("B", "b", |s| s).terminal("b");
        let route = route.slow(Duration::from_secs(1)).deadline(Duration::from_secs(5)).build().unwrap();
        let second = 1_000_000_000;
        assert_eq!(level(Status::Completed, Some(second), &route), Level::DEBUG);
        assert_eq!(level(Status::Completed, Some(second + 1), &route), Level::WARN);
        assert_eq!(level(Status::Expired, Some(5 * second + 1), &route), Level::ERROR);
        assert_eq!(level(Status::Failed, None, &route), Level::WARN);
        assert_eq!(level(Status::Expired, None, &route), Level::DEBUG);
        assert_eq!(level(Status::Completed, Some(-second), &route), Level::DEBUG);
    }

    #[test]
    fn every_leg_has_a_field_of_its_own_unless_the_name_is_taken() {
        let route = Route::builder("r").stage("A", "a", |s| s).stage("B", "b", |s| s).stage("C", "c", |s| s);
        let route = route.leg("total", "a", "b").leg("write", "b", "c").terminal("c").build().unwrap();
        let line = RouteLine::new(&route);
        assert_eq!(line.legs, [None, Some(7)]);
        let fields: Vec<_> =
            tracing_core::Callsite::metadata(line.debug).fields().iter().map(|field| field.name()).collect();
        assert_eq!(fields[7..], ["write_ms"]);
    }

    #[test]
    fn milliseconds_are_rounded() {
        assert_eq!([millis(499_999), millis(500_000), millis(-500_001), millis(-499_999)], [0, 1, -1, 0]);
    }
}
