//! Finished journeys as protobuf, from images of their spans: most of a span is the same in every trace of its route, so
//! it is copied whole, and only what differs is written anew.
//!
//! What is rarely seen (an open route, a failure, a gap) goes the long way over [`crate::model`]; a test holds both to
//! the same bytes.
//!
//! | module | question it answers |
//! |---|---|
//! | `images` | which bytes are the same in every trace of a route? |
//! | `place` | where does what differs stand, and how is it written there? |

mod images;
mod place;

use std::sync::Arc;

use journey_core::{
    CountedStage, Journey, LegQuality, Live, Outcome, Presence, Route, SourceIndex, SpanIdSeed, Status,
};

use self::{
    images::{Common, FoundLeg, RouteImages, write_text},
    place::{put, put_length, put_period, put_varint, varint_len},
};
use crate::{
    config::OtlpConfig,
    layout::{Measured, Row},
    model::Attribute,
    proto::{self, SPAN_FLAGS},
    resource::{resource, service_name},
    trace::{Context, Facts, trace},
    wire::Writer,
};

/// The most stages of a declared route.
const MAX_STAGES: usize = 64;

/// Writes finished journeys as OTLP protobuf, the way the exporter does.
///
/// Nothing is allocated for a journey but room for its bytes, and none where [`TraceEncoder::clear`] left some.
pub struct TraceEncoder {
    context: Arc<Context>,
    resource: Vec<u8>,
    /// By route; none for an open one.
    routes: Vec<Option<RouteImages>>,
    /// Room for what stands before the spans in a request, then the spans.
    bytes: Vec<u8>,
    /// Where the spans start.
    front: usize,
    /// The attribute of the correlation id.
    id: Vec<u8>,
}

/// What counts of each stage of one journey.
type Stages<'a> = [Option<CountedStage<'a>>; MAX_STAGES];

impl TraceEncoder {
    /// An encoder for the journeys of a tracker, with the resource that an exporter of this configuration has.
    pub fn new(live: &Live, config: &OtlpConfig) -> Self {
        let own = live.sources().get(SourceIndex(0));
        let resource = resource(&own, config);
        Self::of(Arc::new(Context::new(live, service_name(&resource))), &resource)
    }

    pub(crate) fn of(context: Arc<Context>, resource: &[Attribute<'_>]) -> Self {
        let images = |route: &Route| (!route.is_open()).then(|| RouteImages::new(route));
        let resource = proto::resource(resource);
        let front = proto::before_spans(&resource, u32::MAX as usize).len();
        Self {
            routes: context.routes.iter().map(|(_, route)| images(route)).collect(),
            context,
            resource,
            bytes: vec![0; front],
            front,
            id: Vec::new(),
        }
    }

    /// Appends the spans of a journey; `false` where nothing of it was seen, so that it has none.
    pub fn append(&mut self, journey: &Journey) -> bool {
        self.append_by_images(journey).is_some() || {
            let facts = Facts::of(journey, &self.context);
            let trace = trace(&facts, &self.context);
            trace.inspect(|trace| proto::append_trace(trace, &mut self.bytes)).is_some()
        }
    }

    /// Bytes of all spans so far.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.front
    }

    /// Whether there are no spans.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An `ExportTraceServiceRequest` of all spans so far.
    pub fn request(&mut self) -> &[u8] {
        let before = proto::before_spans(&self.resource, self.len());
        // There is room for the longest, so that no span has to move.
        let start = self.front.saturating_sub(before.len());
        self.bytes[start..self.front].copy_from_slice(&before);
        &self.bytes[start..]
    }

    /// Forgets the spans, and keeps their room.
    pub fn clear(&mut self) {
        self.bytes.truncate(self.front);
    }

    /// Spans of a completed journey of a declared route without a gap; `None` of any other, and nothing is appended.
    fn append_by_images(&mut self, journey: &Journey) -> Option<()> {
        let images = self.routes[usize::from(journey.route().0)].as_mut()?;
        if journey.status() != Status::Completed {
            return None;
        }
        let route = self.context.routes.get(journey.route());
        let mut stages: Stages<'_> = [None; MAX_STAGES];
        let (first, last) = read_stages(journey, route, &mut stages)?;
        let trace_id = journey.trace_id(&self.context.routes, &self.context.key);
        let id = journey.id().as_str();
        self.id.clear();
        write_text(&mut Writer(&mut self.id), "journey.id", id);
        let root_id = SpanIdSeed::ROOT.span_id(trace_id);
        let common = Common { trace_id, root_id, id, id_attribute: &self.id };

        let out = &mut self.bytes;
        let root_at = out.len();
        images.append_root(out, &common);
        append_offsets(out, &stages[..route.stages().len()], first);
        Writer(out).fixed32(16, SPAN_FLAGS);
        put_length(&mut out[root_at..]);

        let mut row = Row::new(first);
        for (index, (leg, image)) in route.legs().iter().zip(&mut images.legs).enumerate() {
            let reached = |stage: usize| stages[stage].filter(|it| it.sighting.outcome == Outcome::Reached);
            let (from_stage, to_stage) = (usize::from(leg.from.0), usize::from(leg.to.0));
            let (Some(from), Some(to)) = (reached(from_stage), reached(to_stage)) else { continue };
            let (quality, uncertainty) = LegQuality::between(from.sighting, to.sighting, &self.context.sources);
            let (from_at, to_at) = (from.sighting.at, to.sighting.at);
            let placed = row.place(Measured { from: from_stage, to: to_stage, from_at, to_at });
            let found = FoundLeg { from_at, to, quality, uncertainty };
            image.append(out, &common, &found, placed, (journey.route(), index), &self.context);
        }
        put_period(&mut out[root_at..], images.root_start, row.root(last));
        Some(())
    }
}

impl std::fmt::Debug for TraceEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceEncoder").field("bytes", &self.len()).finish_non_exhaustive()
    }
}

/// Puts what counts of each stage at its place; the first and the last instant, or `None` where nothing was seen or a
/// stage that has to be there is not.
fn read_stages<'a>(journey: &'a Journey, route: &Route, stages: &mut Stages<'a>) -> Option<(i64, i64)> {
    let mut bounds = None;
    let mut furthest = 0;
    for counted in journey.counted_stages() {
        let (at, stage) = (counted.sighting.at, usize::from(counted.sighting.stage.0));
        *stages.get_mut(stage)? = Some(counted);
        let (first, last) = bounds.unwrap_or((at, at));
        bounds = Some((at.min(first), at.max(last)));
        if counted.sighting.outcome == Outcome::Reached {
            furthest = stage;
        }
    }
    let declared = route.stages().iter().zip(&stages[..]);
    let is_missing = |(declared, stage): (&journey_core::Stage, &Option<CountedStage<'_>>)| {
        let reached = stage.is_some_and(|it| it.sighting.outcome == Outcome::Reached);
        !reached && declared.presence == Presence::Required
    };
    if declared.take(furthest).any(is_missing) { None } else { bounds }
}

/// The attribute with the offset of each stage from the first instant, -1 where it was not reached.
fn append_offsets(out: &mut Vec<u8>, stages: &[Option<CountedStage<'_>>], first: i64) {
    // Each a message of one number in a list in a value in an attribute: the inner lengths come first.
    let mut list = [0; MAX_STAGES * 13];
    let mut len = 0;
    for stage in stages {
        let reached = stage.filter(|it| it.sighting.outcome == Outcome::Reached);
        let offset = reached.map_or(-1, |it| it.sighting.at.saturating_sub(first)) as u64;
        let offset_len = varint_len(offset);
        put(&mut list, len, [1 << 3 | 2, 1 + offset_len as u8, 3 << 3]);
        put_varint(&mut list[len + 3..len + 3 + offset_len], offset);
        len += 3 + offset_len;
    }
    Writer(out).message(9, |w| {
        w.bytes(1, b"journey.stage.offsets");
        w.message(2, |w| w.bytes(5, &list[..len]));
    });
}

#[cfg(test)]
mod tests {
    use journey_core::{
        Checkpoint, ClockKind, CorrelationId, FinishedSink, Limits, Resolution, Route, RouteIndex, Routes, Source,
        StageError, StageIndex, StageRef, TraceIdKey,
    };
    use parking_lot::Mutex;
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_800_000_000_000_000_000;

    #[derive(Default)]
    struct Collect(Mutex<Vec<Journey>>);

    impl FinishedSink for Collect {
        fn finished(&self, journey: &Journey) -> bool {
            self.0.lock().push(journey.clone());
            false
        }
    }

    fn routes() -> Vec<Route> {
        let small = Route::builder("small").stage("A", "a", |s| s);
        let small = small.stage("B", "b", |s| s.presence(Presence::Repeatable(3)));
        let small = small.stage("C", "c", |s| s.presence(Presence::Optional)).stage("D", "d", |s| s);
        let small = small.leg("whole", "a", "d").terminal("d").build().unwrap();
        vec![Route::message(), small, Route::open("flow")]
    }

    /// What finishes when checkpoints arrive, and what it is encoded against.
    fn finish(checkpoints: Vec<Checkpoint>) -> (Vec<Journey>, Arc<Context>) {
        let own = Source { service: "gateway".into(), clock_domain: "a".into(), ..Source::default() };
        let routes = Arc::new(Routes::new(routes()).unwrap());
        routes.stage(RouteIndex(2), "one").unwrap();
        routes.stage(RouteIndex(2), "two").unwrap();
        let live = Live::new(routes, own, Limits::default(), TraceIdKey::default(), Arc::new(|| START));
        for (service, domain) in [("worker", "a"), ("gateway", "b")] {
            live.sources().intern(Source { service: service.into(), clock_domain: domain.into(), ..Source::default() });
        }
        let sink = Arc::new(Collect::default());
        live.add_sink(Arc::clone(&sink) as _);
        for checkpoint in checkpoints {
            live.write(|tracker, now| tracker.record(checkpoint, now)).unwrap_or_default();
        }
        for number in 0..4 {
            let id = CorrelationId::new(&id(number)).unwrap();
            for route in 0..3 {
                live.write(|tracker, now| tracker.finish(&id, RouteIndex(route), Status::Completed, None, now));
            }
        }
        live.settle();
        let context = Arc::new(Context::new(&live, "gateway".to_owned()));
        (std::mem::take(&mut *sink.0.lock()), context)
    }

    fn id(number: u8) -> String {
        match number {
            0 => "m".to_owned(),
            1 => "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
            2 => "x".repeat(128),
            _ => "<ä>".repeat(20),
        }
    }

    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let at = prop_oneof![8 => START..START + 5_000_000_000, 1 => -5_i64..5, 1 => any::<i64>()];
        let outcome = prop_oneof![8 => Just(Outcome::Reached), 1 => Just(Outcome::Failed)];
        let resolution =
            prop_oneof![3 => Just(Resolution::Fine), 1 => Just(Resolution::Millisecond), 1 => Just(Resolution::Second)];
        let clock = prop_oneof![4 => Just(ClockKind::Process), 1 => Just(ClockKind::Platform)];
        let span = prop_oneof![Just((0, 0)), Just((7, 3)), (any::<u128>(), any::<u64>())];
        (0_u8..4, 0_u8..3, 0_u16..12, at, (outcome, resolution, clock), span, 0_u16..3).prop_map(
            |(number, route, stage, at, (outcome, resolution, clock), (trace_id, span_id), source)| {
                let stage = StageRef { route: RouteIndex(route), stage: StageIndex(stage) };
                let error = (outcome == Outcome::Failed).then(|| Box::new(StageError::new("io", "no")));
                let source = SourceIndex(source);
                let plain = Checkpoint::reached(CorrelationId::new(&id(number)).unwrap(), stage, at);
                Checkpoint { outcome, resolution, clock, trace_id, span_id, source, error, ..plain }
            },
        )
    }

    /// All stages of the built-in route in their order, then any others.
    fn whole_and_more() -> impl Strategy<Value = Vec<Checkpoint>> {
        let whole = prop::collection::vec((0_u8..4, 0_i64..3_000_000_000, 0_u16..3), 0..4);
        (whole, prop::collection::vec(checkpoint(), 0..60)).prop_map(|(whole, more)| {
            let stages = whole.into_iter().flat_map(|(number, step, source)| {
                (0..12).map(move |stage| {
                    let at = StageRef { route: RouteIndex(0), stage: StageIndex(stage) };
                    let id = CorrelationId::new(&id(number)).unwrap();
                    let plain = Checkpoint::reached(id, at, START + i64::from(stage) * step);
                    Checkpoint { source: SourceIndex(source), ..plain }
                })
            });
            more.into_iter().chain(stages).collect()
        })
    }

    proptest! {
        #[test]
        fn images_are_the_bytes_of_the_model(checkpoints in whole_and_more()) {
            let (journeys, context) = finish(checkpoints);
            let mut encoder = TraceEncoder::of(Arc::clone(&context), &[]);
            for journey in &journeys {
                encoder.clear();
                let mut expected = Vec::new();
                let facts = Facts::of(journey, &context);
                let seen = trace(&facts, &context).inspect(|trace| proto::append_trace(trace, &mut expected)).is_some();
                prop_assert_eq!(encoder.append(journey), seen);
                prop_assert!(encoder.bytes[encoder.front..] == expected[..], "{facts:?}");
            }
        }
    }

    #[test]
    fn a_whole_journey_is_made_of_images() {
        let stages = (0..12).map(|stage| {
            let at = StageRef { route: RouteIndex(0), stage: StageIndex(stage) };
            Checkpoint::reached(CorrelationId::new("m").unwrap(), at, START + i64::from(stage))
        });
        let (journeys, context) = finish(stages.collect());
        let mut encoder = TraceEncoder::of(context, &[]);
        assert!(encoder.is_empty());
        assert!(encoder.append_by_images(&journeys[0]).is_some());
        let once = encoder.len();
        encoder.append(&journeys[0]);
        let spans = encoder.bytes[encoder.front..].to_vec();
        assert_eq!(spans[..once], spans[once..]);
        assert!(encoder.request().ends_with(&spans));
    }
}
