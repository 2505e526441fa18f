//! What readers see of a journey.

use std::collections::BTreeMap;

use super::{Journey, LegValue, SegmentValue, Sighting, StageState, Status, quality};
use crate::{
    checkpoint::{Outcome, Resolution, Sources},
    route::{Presence, Route, StageIndex},
    routes::{Routes, StageRef},
    time::{MILLI, millis, rfc3339},
    trace_id::TraceIdKey,
    view::{BottleneckView, CheckpointView, ErrorView, JourneyView, LegView, SegmentView, SpanView, WithinView},
};

impl Journey {
    /// The JSON form. `stuck` and `other_generations` are the tracker's to fill in.
    pub fn view(&self, routes: &Routes, sources: &Sources, key: &TraceIdKey) -> JourneyView {
        let route = routes.get(self.route);
        let span = self.span();
        let started = span.map(|(from, _)| from);
        let stages = self.stages(routes);
        let segments = self.segments(routes, sources);
        let legs: Vec<LegView> =
            self.legs(routes, sources).into_iter().map(|leg| self.leg_view(&leg, route, routes, &segments)).collect();
        let timings: BTreeMap<String, i64> = stages
            .iter()
            .filter(|state| state.sighting.outcome == Outcome::Reached)
            .filter_map(|state| {
                Some((route.stage(state.stage)?.timings_key.clone(), state.sighting.at.div_euclid(MILLI)))
            })
            .collect();
        JourneyView {
            correlation_id: self.id.as_str().to_owned(),
            route: route.name().to_owned(),
            route_label: route.label().to_owned(),
            status: self.status.as_str().to_owned(),
            reason: self.reason.as_deref().map(str::to_owned),
            stuck: false,
            generation: self.generation,
            other_generations: Vec::new(),
            partial: !route.is_open() && self.sightings.first_success(StageIndex(0)).is_none(),
            late: self.is_late(),
            started_at: started.map(rfc3339),
            finished_at: span.filter(|_| self.status != Status::Active).map(|(_, to)| rfc3339(to)),
            total_ms: span.map(|(from, to)| millis(to - from)),
            trace_id: format!("{:032x}", self.trace_id(routes, key)),
            checkpoints: stages.iter().map(|s| self.checkpoint_view(s, started, routes, sources)).collect(),
            bottleneck: bottleneck(&legs, route),
            legs,
            segments: segments
                .iter()
                .map(|value| {
                    let segment = &route.segments()[value.segment];
                    SegmentView {
                        name: segment.name.clone(),
                        label: segment.label.clone(),
                        from: stage_id(route, segment.from),
                        to: stage_id(route, segment.to),
                        ms: millis(value.nanos),
                    }
                })
                .collect(),
            timings,
            missing: self.missing(routes),
            in_progress: Vec::new(),
            deviations: self.deviations(route, sources),
        }
    }

    fn checkpoint_view(
        &self,
        state: &StageState,
        started: Option<i64>,
        routes: &Routes,
        sources: &Sources,
    ) -> CheckpointView {
        let sighting = &state.sighting;
        let texts = routes.stage_texts(StageRef { route: self.route, stage: state.stage });
        let source = sources.get(sighting.source);
        let has_span = sighting.span_id != 0 || sighting.busy_us > 0 || sighting.idle_us > 0;
        CheckpointView {
            stage: texts.id,
            name: texts.name,
            label: texts.label,
            outcome: sighting.outcome.as_str().to_owned(),
            at: rfc3339(sighting.at),
            offset_ms: millis(sighting.at - started.unwrap_or(sighting.at)),
            service: source.service.clone(),
            instance: source.instance.clone(),
            attempts: state.attempts,
            retry_ms: (state.attempts > 1 && state.first_attempt_at < sighting.at)
                .then(|| millis(sighting.at - state.first_attempt_at)),
            error: state.error.as_ref().map(|e| ErrorView { kind: e.kind.clone(), message: e.message.clone() }),
            late: self.late.contains(&state.stage),
            resolution_ms: (sighting.resolution > Resolution::Fine).then(|| millis(sighting.resolution.nanos())),
            span: has_span.then(|| SpanView {
                trace_id: (sighting.trace_id != 0).then(|| format!("{:032x}", sighting.trace_id)),
                span_id: (sighting.span_id != 0).then(|| format!("{:016x}", sighting.span_id)),
                busy_ms: f64::from(sighting.busy_us) / 1e3,
                idle_ms: f64::from(sighting.idle_us) / 1e3,
            }),
            within: state
                .within
                .iter()
                .map(|w| (w.kind.as_str().to_owned(), WithinView { count: w.count, ms: w.nanos as f64 / 1e6 }))
                .collect(),
        }
    }

    fn leg_view(&self, leg: &LegValue, route: &Route, routes: &Routes, segments: &[SegmentValue]) -> LegView {
        let texts = |stage| routes.stage_texts(StageRef { route: self.route, stage }).id;
        let declared = route.legs().iter().find(|declared| declared.name == leg.name);
        let segment = declared.and_then(|declared| route.narrowest_segment(declared));
        let whole = segment.and_then(|segment| {
            segments.iter().find(|value| route.segments()[value.segment].name == segment.name).map(|value| value.nanos)
        });
        let nanos = leg.nanos();
        LegView {
            name: leg.name.clone(),
            from: texts(leg.from),
            to: texts(leg.to),
            ms: millis(nanos),
            quality: leg.quality.as_str().to_owned(),
            uncertainty_ms: leg.uncertainty.filter(|u| *u > 0).map(millis),
            share_of_segment: whole
                .filter(|whole| *whole > 0 && nanos >= 0)
                .map(|whole| (nanos as f64 / whole as f64).min(1.0)),
            segment: segment.map(|segment| segment.name.clone()),
            budget_ms: declared.and_then(|declared| declared.budget).map(|budget| budget.as_secs_f64() * 1e3),
        }
    }

    /// What does not fit the route. Out of sequence only where the clocks leave no doubt.
    fn deviations(&self, route: &Route, sources: &Sources) -> Vec<String> {
        if route.is_open() {
            return Vec::new();
        }
        let mut deviations = Vec::new();
        let mut before: Option<&Sighting> = None;
        for of_stage in self.sightings.by_stage() {
            let Some(stage) = of_stage.first().map(|s| s.stage) else { continue };
            let Some(declared) = route.stage(stage) else { continue };
            let most = match declared.presence {
                Presence::Required | Presence::Optional => 1,
                Presence::Repeatable(max) => max as usize,
            };
            let successes = self.sightings.own(stage).filter(|s| s.outcome == Outcome::Reached).count();
            if successes > most {
                deviations.push(format!("too_often: {} ({successes}, at most {most})", declared.id));
            }
            let Some(reached) = self.sightings.first_success(stage) else { continue };
            if let Some(earlier) = before {
                let (_, uncertainty) = quality(earlier, reached, sources);
                if uncertainty.is_some_and(|u| reached.at.saturating_add(u) < earlier.at) {
                    deviations.push(format!(
                        "out_of_sequence: {} before {}",
                        declared.id,
                        stage_id(route, earlier.stage)
                    ));
                }
            }
            before = Some(reached);
        }
        deviations
    }
}

fn stage_id(route: &Route, stage: StageIndex) -> String {
    route.stage(stage).map(|stage| stage.id.clone()).unwrap_or_default()
}

/// The longest leg whose segment has more legs than it: a segment of one leg explains nothing.
fn bottleneck(legs: &[LegView], route: &Route) -> Option<BottleneckView> {
    let several = |leg: &&LegView| {
        let segment = route.segments().iter().find(|segment| Some(&segment.name) == leg.segment.as_ref());
        segment.is_some_and(|segment| route.legs().iter().filter(|leg| segment.contains(leg)).count() > 1)
    };
    // What may be nothing but the step of a clock is not accused.
    let sure = |leg: &&LegView| leg.uncertainty_ms.is_none_or(|uncertainty| uncertainty < leg.ms);
    let known = |leg: &&LegView| leg.share_of_segment.is_some() && leg.ms > 0.0;
    let longest = legs.iter().filter(known).filter(sure).filter(several).max_by(|a, b| a.ms.total_cmp(&b.ms));
    longest.map(|leg| BottleneckView {
        segment: leg.segment.clone().unwrap_or_default(),
        leg: leg.name.clone(),
        stage: leg.to.clone(),
        ms: leg.ms,
        share_of_segment: leg.share_of_segment.unwrap_or_default(),
    })
}
