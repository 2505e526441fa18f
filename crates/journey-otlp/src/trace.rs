//! A finished journey as a trace: the root, and one child per leg.

use std::borrow::Cow;

use journey_core::{
    CorrelationId, Journey, LegKind, LegValue, Live, Outcome, Route, RouteIndex, Routes, SourceIndex, Sources,
    StageIndex, StageRef, StageState, Status, TraceIdKey, root_span_id, span_id_for_leg,
};

use crate::{
    layout::{Measured, Placed, Row},
    model::{Attribute, Link, Span, SpanKind, Trace, unix_nanos},
};

/// Seconds per nanosecond.
pub(crate) const SECONDS: f64 = 1e-9;

/// What traces are made against.
pub(crate) struct Context {
    pub(crate) routes: std::sync::Arc<Routes>,
    pub(crate) sources: Sources,
    pub(crate) key: TraceIdKey,
    /// `service.name` of the resource: legs that another service ended say so.
    pub(crate) service: String,
}

impl Context {
    pub(crate) fn new(live: &Live, service: String) -> Self {
        let (routes, sources) = (std::sync::Arc::clone(live.routes()), live.sources().clone());
        Self { routes, sources, key: live.trace_id_key().clone(), service }
    }

    /// The service of a source, unless it is the one of the resource or unknown.
    pub(crate) fn other_service(&self, source: SourceIndex) -> Option<String> {
        let service = &self.sources.get(source).service;
        (!service.is_empty() && *service != self.service).then(|| service.clone())
    }
}

/// What a journey says, read once.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) id: CorrelationId,
    pub(crate) route: RouteIndex,
    pub(crate) trace_id: u128,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    pub(crate) stages: Vec<StageState>,
    pub(crate) legs: Vec<LegValue>,
    pub(crate) missing: Vec<String>,
}

impl Facts {
    pub(crate) fn of(journey: &Journey, context: &Context) -> Self {
        Self {
            id: journey.id().clone(),
            route: journey.route(),
            trace_id: journey.trace_id(&context.routes, &context.key),
            status: journey.status(),
            reason: journey.reason().map(str::to_owned),
            stages: journey.stages(&context.routes),
            legs: journey.legs(&context.routes, &context.sources),
            missing: journey.missing(&context.routes),
        }
    }
}

/// The trace of a journey; `None` where nothing of it was seen.
pub(crate) fn trace<'a>(facts: &'a Facts, context: &'a Context) -> Option<Trace<'a>> {
    let route = context.routes.get(facts.route);
    let instants = facts.stages.iter().map(|stage| stage.sighting.at);
    let (first, last) = (instants.clone().min()?, instants.max()?);
    let mut row = Row::new(first);
    let legs = facts.legs.iter().enumerate();
    let places: Vec<Placed> = legs.map(|(place, leg)| row.place(measured(leg, place, route))).collect();
    let root = row.root(last);

    let root_id = root_span_id(facts.trace_id);
    let mut spans = Vec::with_capacity(facts.legs.len() + 1);
    let failure = failure(facts, context);
    spans.push(Span {
        span_id: root_id,
        parent_span_id: 0,
        name: Cow::Owned(format!("journey {}", route.name())),
        kind: SpanKind::Internal,
        start: unix_nanos(root.start),
        end: unix_nanos(root.end),
        attributes: root_attributes(facts, context, first, failure.as_ref()),
        link: None,
        error: failure.map(|failure| failure.message),
    });
    for (leg, place) in facts.legs.iter().zip(places) {
        let end = facts.stages.iter().find(|stage| stage.stage == leg.to);
        let declared = route.legs().iter().find(|declared| declared.name == leg.name);
        let link = end
            .map(|stage| Link { trace_id: stage.sighting.trace_id, span_id: stage.sighting.span_id })
            .filter(|link| link.trace_id != 0 && link.span_id != 0);
        spans.push(Span {
            span_id: span_id_for_leg(facts.trace_id, &leg.name),
            parent_span_id: root_id,
            name: Cow::Borrowed(&leg.name),
            kind: kind(declared.map(|declared| declared.kind).unwrap_or_default()),
            start: unix_nanos(place.start),
            end: unix_nanos(place.end),
            attributes: leg_attributes(facts, context, leg, end),
            link,
            error: None,
        });
    }
    Some(Trace { trace_id: facts.trace_id, spans })
}

fn measured(leg: &LegValue, place: usize, route: &Route) -> Measured {
    // Stages of an open route are numbered as they were learned; its legs are already in the order of time.
    let (from, to) =
        if route.is_open() { (place, place + 1) } else { (usize::from(leg.from.0), usize::from(leg.to.0)) };
    Measured { from, to, from_at: leg.from_at, to_at: leg.to_at }
}

pub(crate) fn kind(leg: LegKind) -> SpanKind {
    match leg {
        LegKind::Internal => SpanKind::Internal,
        LegKind::Producer => SpanKind::Producer,
        LegKind::Consumer => SpanKind::Consumer,
        LegKind::Client => SpanKind::Client,
    }
}

/// Why a journey did not complete.
struct Failure {
    error_type: String,
    stage: Option<StageIndex>,
    message: String,
}

fn failure(facts: &Facts, context: &Context) -> Option<Failure> {
    let last_reached = || {
        let reached = facts.stages.iter().rev().find(|stage| stage.sighting.outcome == Outcome::Reached);
        reached.map(|stage| stage.stage)
    };
    let named = |stage: Option<StageIndex>| match stage {
        Some(stage) => format!("after stage `{}`", stage_name(facts.route, stage, context)),
        None => "before any stage".to_owned(),
    };
    match facts.status {
        Status::Active | Status::Completed => None,
        Status::Expired => {
            let stage = last_reached();
            let ttl = context.routes.get(facts.route).ttl();
            let message = format!("expired {}: no checkpoint came for {ttl:?}", named(stage));
            Some(Failure { error_type: "expired".to_owned(), stage, message })
        }
        Status::Failed => {
            let failed = facts.stages.iter().find(|stage| stage.sighting.outcome != Outcome::Reached);
            let error = failed.and_then(|stage| stage.error.as_ref());
            // A low-cardinality word or none: what was given as reason is free text.
            let error_type = error.map_or("_OTHER", |error| &error.kind).to_owned();
            let reason = facts.reason.as_deref().filter(|reason| !reason.is_empty());
            let Some(failed) = failed else {
                let stage = last_reached();
                let message = format!("failed {}: {}", named(stage), reason.unwrap_or("no reason was given"));
                return Some(Failure { error_type, stage, message });
            };
            let mut message = format!("stage `{}` failed", stage_name(facts.route, failed.stage, context));
            for text in [error.map(|error| error.kind.as_str()), reason.or(error.map(|error| error.message.as_str()))] {
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    message.push_str(": ");
                    message.push_str(text);
                }
            }
            Some(Failure { error_type, stage: Some(failed.stage), message })
        }
    }
}

fn stage_name<'a>(route: RouteIndex, stage: StageIndex, context: &'a Context) -> Cow<'a, str> {
    match context.routes.get(route).stage(stage) {
        Some(declared) => Cow::Borrowed(&declared.name),
        None => Cow::Owned(context.routes.stage_texts(StageRef { route, stage }).name),
    }
}

fn stage_attributes<'a>(attributes: &mut Vec<Attribute<'a>>, facts: &Facts, context: &'a Context, stage: StageIndex) {
    let name = stage_name(facts.route, stage, context);
    attributes.push(Attribute { key: "journey.stage.name".into(), value: crate::model::Value::Text(name) });
    attributes.push(Attribute::new("journey.stage.index", i64::from(stage.0)));
}

fn root_attributes<'a>(
    facts: &'a Facts,
    context: &'a Context,
    first: i64,
    failure: Option<&Failure>,
) -> Vec<Attribute<'a>> {
    let route = context.routes.get(facts.route);
    let mut attributes = vec![
        Attribute::new("journey.id", facts.id.as_str()),
        Attribute::new("journey.name", route.name()),
        Attribute::new("journey.outcome", facts.status.as_str()),
        Attribute::new("messaging.message.conversation_id", facts.id.as_str()),
    ];
    if !route.is_open() {
        let mut offsets = vec![-1; route.stages().len()];
        for stage in facts.stages.iter().filter(|stage| stage.sighting.outcome == Outcome::Reached) {
            if let Some(offset) = offsets.get_mut(usize::from(stage.stage.0)) {
                *offset = stage.sighting.at.saturating_sub(first);
            }
        }
        attributes.push(Attribute::new("journey.stage.offsets", offsets));
    }
    if !facts.missing.is_empty() {
        attributes.push(Attribute::new("journey.stages.missing", facts.missing.as_slice()));
    }
    if let Some(failure) = failure {
        attributes.push(Attribute::new("error.type", failure.error_type.clone()));
        if let Some(stage) = failure.stage {
            stage_attributes(&mut attributes, facts, context, stage);
        }
    }
    attributes
}

fn leg_attributes<'a>(
    facts: &'a Facts,
    context: &'a Context,
    leg: &'a LegValue,
    end: Option<&StageState>,
) -> Vec<Attribute<'a>> {
    let mut attributes = Vec::with_capacity(12);
    attributes.push(Attribute::new("journey.id", facts.id.as_str()));
    attributes.push(Attribute::new("journey.name", context.routes.get(facts.route).name()));
    attributes.push(Attribute::new("journey.leg.name", leg.name.as_str()));
    attributes.push(Attribute::new("journey.leg.quality", leg.quality.as_str()));
    attributes.push(Attribute::new("journey.leg.start_unix_nano", leg.from_at));
    attributes.push(Attribute::new("journey.leg.end_unix_nano", leg.to_at));
    if let Some(uncertainty) = leg.uncertainty {
        attributes.push(Attribute::new("journey.clock.uncertainty", uncertainty as f64 * SECONDS));
    }
    stage_attributes(&mut attributes, facts, context, leg.to);
    if let Some(stage) = end {
        if stage.attempts > 1 {
            attributes.push(Attribute::new("journey.stage.attempt", i64::from(stage.attempts)));
        }
        if let Some(service) = context.other_service(stage.sighting.source) {
            attributes.push(Attribute::new("journey.stage.service", service));
        }
    }
    attributes
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use journey_core::{ClockKind, LegQuality, Resolution, Sighting, Source, StageError};

    use super::*;
    use crate::text;

    /// A context of the built-in route, and a second service as source 1.
    fn context() -> Context {
        let sources = Sources::new(Source { service: "gateway".into(), ..Source::default() });
        sources.intern(Source { service: "worker".into(), ..Source::default() });
        Context {
            routes: Arc::new(Routes::default()),
            sources,
            key: TraceIdKey::default(),
            service: "gateway".to_owned(),
        }
    }

    /// A stage that was reached at an instant, with nothing else known.
    pub(crate) fn stage(index: u16, at: i64) -> StageState {
        let sighting = Sighting {
            at,
            trace_id: 0,
            span_id: 0,
            busy_us: 0,
            idle_us: 0,
            source: SourceIndex(0),
            stage: StageIndex(index),
            outcome: Outcome::Reached,
            clock: ClockKind::Process,
            resolution: Resolution::Fine,
            carried: false,
        };
        StageState {
            stage: StageIndex(index),
            sighting,
            attempts: 1,
            first_attempt_at: at,
            error: None,
            within: Vec::new(),
        }
    }

    fn facts(context: &Context, stages: Vec<StageState>) -> Facts {
        let route = context.routes.get(RouteIndex(0));
        let at = |wanted| {
            let found = stages.iter().find(|s| s.stage == wanted && s.sighting.outcome == Outcome::Reached);
            found.map(|s| s.sighting.at)
        };
        let legs = route.legs().iter().filter_map(|leg| {
            let (from_at, to_at) = (at(leg.from)?, at(leg.to)?);
            let quality = if to_at < from_at { LegQuality::Skewed } else { LegQuality::Exact };
            Some(LegValue {
                name: leg.name.clone(),
                from: leg.from,
                to: leg.to,
                from_at,
                to_at,
                quality,
                uncertainty: None,
            })
        });
        Facts {
            id: CorrelationId::new("msg_1").unwrap(),
            route: RouteIndex(0),
            trace_id: context.key.trace_id("message", "msg_1", 1),
            status: Status::Completed,
            reason: None,
            legs: legs.collect(),
            stages,
            missing: Vec::new(),
        }
    }

    fn tree(facts: &Facts, context: &Context) -> String {
        text::trace(&trace(facts, context).unwrap())
    }

    #[test]
    fn a_journey_is_a_root_with_a_child_per_leg() {
        let context = context();
        let mut stages = vec![stage(0, 1_000_000_000), stage(1, 1_052_000_000), stage(2, 1_060_000_000)];
        stages.push(stage(3, 1_100_000_000));
        stages[3].sighting.source = SourceIndex(1);
        stages[3].sighting.span_id = 0xab;
        stages[3].sighting.trace_id = 0xcd;
        stages[3].attempts = 2;
        stages[1].sighting.span_id = 0xef;
        let mut facts = facts(&context, stages);
        facts.legs[0].quality = LegQuality::Coarse;
        facts.legs[0].uncertainty = Some(500_000_000);
        insta::assert_snapshot!(tree(&facts, &context), @r#"
        trace 31dade5b4d025de12ceb8ce7df9efd06
        journey message [internal] +0.000 ms, 100.000 ms
            journey.id = "msg_1"
            journey.name = "message"
            journey.outcome = "completed"
            messaging.message.conversation_id = "msg_1"
            journey.stage.offsets = [0, 52000000, 60000000, 100000000, -1, -1, -1, -1, -1, -1, -1, -1]
          channel_processing [internal] +0.000 ms, 52.000 ms
            journey.id = "msg_1"
            journey.name = "message"
            journey.leg.name = "channel_processing"
            journey.leg.quality = "coarse"
            journey.leg.start_unix_nano = 1000000000
            journey.leg.end_unix_nano = 1052000000
            journey.clock.uncertainty = 0.5
            journey.stage.name = "plugin_received"
            journey.stage.index = 1
          event_publish [producer] +52.000 ms, 8.000 ms
            journey.id = "msg_1"
            journey.name = "message"
            journey.leg.name = "event_publish"
            journey.leg.quality = "exact"
            journey.leg.start_unix_nano = 1052000000
            journey.leg.end_unix_nano = 1060000000
            journey.stage.name = "event_published"
            journey.stage.index = 2
          bus_delivery [consumer] +60.000 ms, 40.000 ms
            journey.id = "msg_1"
            journey.name = "message"
            journey.leg.name = "bus_delivery"
            journey.leg.quality = "exact"
            journey.leg.start_unix_nano = 1060000000
            journey.leg.end_unix_nano = 1100000000
            journey.stage.name = "event_consumed"
            journey.stage.index = 3
            journey.stage.attempt = 2
            journey.stage.service = "worker"
            link = 000000000000000000000000000000cd/00000000000000ab
        "#);
    }

    #[test]
    fn a_gap_leaves_its_legs_out_and_a_negative_leg_is_shown_as_measured() {
        let context = context();
        let mut facts =
            facts(&context, vec![stage(0, 50_000), stage(2, 9_000_000), stage(3, 4_000_000), stage(4, 20_000_000)]);
        facts.missing = vec!["T1".to_owned()];
        let trace = trace(&facts, &context).unwrap();
        let names: Vec<_> = trace.spans.iter().map(|span| (&*span.name, span.start, span.end)).collect();
        assert_eq!(
            names,
            [
                ("journey message", 50_000, 20_000_000),
                ("bus_delivery", 9_000_000, 9_001_000),
                ("db_write", 9_001_000, 20_000_000)
            ]
        );
        let text = text::trace(&trace);
        assert!(text.contains("journey.leg.quality = \"skewed\""), "{text}");
        assert!(
            text.contains("journey.leg.start_unix_nano = 9000000\n    journey.leg.end_unix_nano = 4000000"),
            "{text}"
        );
        assert!(text.contains("journey.stages.missing = [\"T1\"]"), "{text}");
    }

    #[test]
    fn a_failed_journey_names_the_stage_and_the_kind_of_error() {
        let context = context();
        let mut failed = stage(4, 9_000_000);
        failed.sighting.outcome = Outcome::Failed;
        failed.error = Some(StageError::new("timeout", "the pool is empty"));
        let mut facts = facts(&context, vec![stage(3, 1_000_000), failed]);
        facts.status = Status::Failed;
        let trace = trace(&facts, &context).unwrap();
        let root = &trace.spans[0];
        assert_eq!(root.error.as_deref(), Some("stage `db_stored` failed: timeout: the pool is empty"));
        assert!(root.attributes.contains(&Attribute::new("error.type", "timeout")));
        assert!(root.attributes.contains(&Attribute::new("journey.stage.name", "db_stored")));
        assert!(root.attributes.contains(&Attribute::new("journey.outcome", "failed")));
        assert_eq!((root.start, root.end), (1_000_000, 9_000_000), "the failed attempt belongs to the journey");
    }

    #[test]
    fn an_explicit_failure_and_an_expiry_name_the_stage_reached_last() {
        let context = context();
        let mut facts = facts(&context, vec![stage(0, 1), stage(1, 2_000)]);
        facts.status = Status::Failed;
        facts.reason = Some("user went away".to_owned());
        let message = |facts: &Facts| trace(facts, &context).unwrap().spans[0].error.clone().unwrap();
        assert_eq!(message(&facts), "failed after stage `plugin_received`: user went away");
        facts.status = Status::Expired;
        assert_eq!(message(&facts), "expired after stage `plugin_received`: no checkpoint came for 300s");
    }

    #[test]
    fn the_same_journey_gives_the_same_ids_and_all_are_different_and_not_zero() {
        let context = context();
        let facts = facts(&context, (0..12).map(|index| stage(index, i64::from(index) * 1_000_000)).collect());
        let one = trace(&facts, &context).unwrap();
        assert_eq!(one, trace(&facts.clone(), &super::tests::context()).unwrap());
        let ids: std::collections::BTreeSet<u64> = one.spans.iter().map(|span| span.span_id).collect();
        assert_eq!((ids.len(), ids.contains(&0)), (12, false));
        assert!(one.spans[1..].iter().all(|span| span.parent_span_id == one.spans[0].span_id));
    }

    #[test]
    fn a_journey_of_which_nothing_was_seen_has_no_trace() {
        let context = context();
        assert_eq!(trace(&facts(&context, Vec::new()), &context), None);
    }
}
