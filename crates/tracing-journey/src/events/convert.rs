//! How does a checkpoint, or the end of a journey, read as an event?
//!
//! Ids are derived, as those of exported journeys are: the trace from route, correlation id and generation, its root span
//! from the trace, the span of an attempt from trace, stage and instant. So a store that several processes write to has one
//! trace for one message, and what is put again is the same event again.

use std::sync::{Arc, Weak};

use journey_core::{
    Checkpoint, ClockKind, CorrelationId, InstantRule, Journey, LegQuality, Live, Outcome, Recorded, RouteIndex,
    Routes, SourceIndex, Sources, SpanIdSeed, Status, TraceIdKey, root_span_id,
};
use journey_store::{Event, EventDraft, EventStatus, SpanId, TraceId};
use serde_json::{Map, Value, json};

/// A trace and its root span.
type Place = (TraceId, SpanId);

/// What a conversion needs to know.
pub(super) struct Converter {
    routes: Arc<Routes>,
    sources: Sources,
    key: TraceIdKey,
}

impl Converter {
    pub(super) fn new(live: &Live) -> Self {
        Self { routes: Arc::clone(live.routes()), sources: live.sources().clone(), key: live.trace_id_key().clone() }
    }

    /// How many events a checkpoint becomes. One that came along with the message was told by the process that saw it.
    pub(super) fn events_of(recorded: &Recorded) -> u64 {
        match (recorded.checkpoint.carried, recorded.first) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    /// `workflow:started` for the first checkpoint of a journey, and `stage:completed`, `stage:failed` or `stage:cancelled`.
    pub(super) fn checkpoint(&self, recorded: &Recorded) -> impl Iterator<Item = Event> {
        let Recorded { checkpoint, generation, first } = recorded;
        let route = checkpoint.stage.route;
        let place = (!checkpoint.carried).then(|| self.place(route, &checkpoint.id, *generation)).flatten();
        let root = |place| self.event(place, route, &checkpoint.id, "workflow:started", checkpoint.at);
        let started = place.filter(|_| *first).map(root);
        started.into_iter().chain(place.map(|place| self.stage(place, checkpoint)))
    }

    fn stage(&self, place: Place, checkpoint: &Checkpoint) -> Event {
        let (event_type, status) = match checkpoint.outcome {
            Outcome::Reached => ("stage:completed", EventStatus::Success),
            Outcome::Failed => ("stage:failed", EventStatus::Failed),
            Outcome::Cancelled => ("stage:cancelled", EventStatus::Failed),
        };
        let (route, at) = (checkpoint.stage.route, checkpoint.at);
        let texts = self.routes.stage_texts(checkpoint.stage);
        let mut event = self.event(place, route, &checkpoint.id, event_type, at);
        event.parent_span_id = Some(event.span_id);
        event.span_id = span_of(event.trace_id, &texts.id, at).unwrap_or(event.span_id);
        event.status = status;
        let took = (i64::from(checkpoint.busy_us) + i64::from(checkpoint.idle_us)) * 1_000;
        // Only where the instant is the end of the work can work and instant be put together.
        let at_its_end = checkpoint.clock == ClockKind::Process
            && self
                .routes
                .get(route)
                .stage(checkpoint.stage.stage)
                .is_none_or(|stage| stage.instant == InstantRule::End);
        event.duration = (at_its_end && took > 0).then_some(took);
        let data = &mut event.data;
        let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
        put("stage", texts.id.into());
        put("name", texts.name.into());
        put("service", self.sources.get(checkpoint.source).service.clone().into());
        // Nobody undoes that a message was seen.
        put("compensable", false.into());
        if checkpoint.idle_us > 0 {
            put("busyMs", (f64::from(checkpoint.busy_us) / 1e3).into());
        }
        if let Some(error) = &checkpoint.error {
            put("error", json!({ "type": error.kind, "message": error.message }));
        } else if checkpoint.outcome == Outcome::Cancelled {
            put("error", json!({ "type": "cancelled", "message": "the attempt was dropped before it finished" }));
        }
        if let Some(within) = checkpoint.within.as_ref().filter(|within| !within.is_empty()) {
            let calls = within.iter().map(|call| {
                let spent = json!({ "count": call.count, "ms": call.nanos as f64 / 1e6 });
                (call.kind.as_str().to_owned(), spent)
            });
            put("within", Value::Object(calls.collect()));
        }
        if checkpoint.trace_id != 0 {
            put("otelTraceId", format!("{:032x}", checkpoint.trace_id).into());
            put("otelSpanId", format!("{:016x}", checkpoint.span_id).into());
        }
        event
    }

    /// `workflow:completed`, `workflow:failed` or `workflow:expired`, with the time of every leg and segment.
    pub(super) fn end(&self, journey: &Journey) -> Option<Event> {
        let (event_type, status) = match journey.status() {
            Status::Completed => ("workflow:completed", EventStatus::Success),
            Status::Failed => ("workflow:failed", EventStatus::Failed),
            // Nothing came any more. Whether that is a failure, another process may know.
            _ => ("workflow:expired", EventStatus::Pending),
        };
        let route = journey.route();
        let place = self.place(route, journey.id(), journey.generation())?;
        // An attempt that failed may be what came last; what was reached is all that a span knows.
        let seen = journey.counted_stages().map(|stage| stage.sighting.at);
        let (from, to) = seen.fold(None, |span: Option<(i64, i64)>, at| {
            Some(span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))))
        })?;
        let mut event = self.event(place, route, journey.id(), event_type, to);
        event.status = status;
        event.duration = Some(to.saturating_sub(from).max(0));
        let legs = journey.legs(&self.routes, &self.sources);
        let segments = journey.segments(&self.routes, &self.sources);
        let declared = self.routes.get(route).segments();
        let legs = legs.into_iter().map(|leg| {
            let nanos = leg.nanos();
            (leg.name, nanos, leg.quality)
        });
        let segments = segments
            .into_iter()
            .filter_map(|segment| Some((declared.get(segment.segment)?.name.clone(), segment.nanos, segment.quality)));
        put_times(&mut event.data, "legs", legs);
        put_times(&mut event.data, "segments", segments);
        event.data.insert("service".to_owned(), self.sources.get(SourceIndex(0)).service.clone().into());
        let missing = journey.missing(&self.routes);
        if !missing.is_empty() {
            event.data.insert("missing".to_owned(), missing.into());
        }
        if let Some(reason) = journey.reason() {
            let (key, value) = match status {
                EventStatus::Failed => ("error", json!({ "type": "error", "message": reason })),
                _ => ("reason", reason.into()),
            };
            event.data.insert(key.to_owned(), value);
        }
        Some(event)
    }

    /// The trace of a journey and its root span: there always is one, as the key promises.
    pub(super) fn place(&self, route: RouteIndex, id: &CorrelationId, generation: u32) -> Option<Place> {
        let trace = self.key.trace_id(self.routes.get(route).name(), id.as_str(), generation);
        Some((TraceId::new(trace)?, SpanId::new(root_span_id(trace))?))
    }

    /// A draft as one of a journey, below its root; its generation is the one that is there now.
    pub(super) fn placed(
        &self,
        mut draft: EventDraft,
        live: &Weak<Live>,
        (route, id): &(RouteIndex, CorrelationId),
    ) -> (EventDraft, Option<Place>) {
        let generation = live.upgrade().map_or(1, |live| live.generation(*route, id));
        let place = self.place(*route, id, generation);
        if let Some((trace, root)) = place {
            draft = draft.trace_id(trace).parent_span_id(root);
        }
        (draft.correlation_id(id.as_str()).route(self.route_name(*route)), place)
    }

    pub(super) fn route_name(&self, route: RouteIndex) -> &str {
        self.routes.get(route).name()
    }

    /// An event about the root span of a trace.
    fn event(&self, place: Place, route: RouteIndex, id: &CorrelationId, event_type: &str, at: i64) -> Event {
        let mut event = Event::new(place.0, place.1, event_type, at);
        event.correlation_id = Some(id.as_str().to_owned());
        event.route = Some(self.route_name(route).to_owned());
        event
    }
}

/// The span of a piece of work in a trace. The same work at another instant, such as a second attempt, has another.
pub(super) fn span_of(trace: TraceId, work: &str, at: i64) -> Option<SpanId> {
    SpanId::new(SpanIdSeed::of_leg(work).span_id(trace.get() ^ u128::from(at.cast_unsigned())))
}

/// Times by name, nanoseconds. Coarse ones stand apart: statistics would take them for what they are not.
fn put_times(data: &mut Map<String, Value>, key: &str, times: impl Iterator<Item = (String, i64, LegQuality)>) {
    let (mut fine, mut coarse) = (Map::new(), Map::new());
    for (name, nanos, quality) in times {
        let into = if quality == LegQuality::Coarse { &mut coarse } else { &mut fine };
        into.insert(name, nanos.into());
    }
    for (key, times) in [(key.to_owned(), fine), (format!("{key}Coarse"), coarse)] {
        if !times.is_empty() {
            data.insert(key, Value::Object(times));
        }
    }
}
