//! Finished journeys as protobuf, from images of their spans: most of a span is the same in every trace of its route, so
//! it is copied whole, and only what differs is written anew.
//!
//! What is rarely seen (an open route, a failure, a gap) goes the long way over [`crate::model`]; a test holds both to
//! the same bytes.

use std::sync::Arc;

use journey_core::{
    Journey, LegQuality, Live, Outcome, Presence, Route, Sighting, SourceIndex, Sources, SpanIdSeed, Status,
};

use crate::{
    config::OtlpConfig,
    layout::{Measured, Placed, place},
    model::{Attribute, SpanKind, unix_nanos},
    proto::{self, SPAN_FLAGS},
    resource::{resource, service_name},
    trace::{Context, Facts, SECONDS, kind, trace},
    wire::Writer,
};

/// Key of a span among others, and two bytes for its length: every span of ours has 128 to 16 383 bytes.
const SPAN_HEAD: usize = 3;
/// Where ids are in a span.
const TRACE_ID_AT: usize = SPAN_HEAD + 2;
const SPAN_ID_AT: usize = TRACE_ID_AT + 16 + 2;
const PARENT_ID_AT: usize = SPAN_ID_AT + 8 + 2;

/// Writes finished journeys as OTLP protobuf, the way the exporter does.
///
/// Nothing is allocated for a journey but room for its bytes, and none where [`TraceEncoder::clear`] left some.
pub struct TraceEncoder {
    context: Arc<Context>,
    resource: Vec<u8>,
    /// By route; none for an open one.
    routes: Vec<Option<RouteImages>>,
    /// Spans as they stand in a request.
    spans: Vec<u8>,
    // Room that is used again.
    stages: Vec<Option<(Sighting, u32)>>,
    legs: Vec<FoundLeg>,
    placed: Vec<Placed>,
    id: Vec<u8>,
}

struct RouteImages {
    /// The root up to its first attribute, and where its start is.
    root: Vec<u8>,
    root_start: usize,
    legs: Vec<LegImages>,
}

/// A span of a leg, before and after the attribute of the correlation id.
struct LegImages {
    seed: SpanIdSeed,
    head: Vec<u8>,
    start: usize,
    tail: Option<Tail>,
}

/// The second part, and where in it things differ.
struct Tail {
    shape: Shape,
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    uncertainty: usize,
    link: usize,
}

/// What says which bytes there are; other values are of the same length in the same place.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    quality: LegQuality,
    has_uncertainty: bool,
    has_link: bool,
    from_len: usize,
    to_len: usize,
    attempts: u32,
    source: SourceIndex,
}

/// A leg of which both ends were reached.
struct FoundLeg {
    /// Among the legs of the route.
    index: usize,
    from_at: i64,
    to: Sighting,
    attempts: u32,
    quality: LegQuality,
    uncertainty: Option<i64>,
}

impl TraceEncoder {
    /// An encoder for the journeys of a tracker, with the resource that an exporter of this configuration has.
    pub fn new(live: &Live, config: &OtlpConfig) -> Self {
        let own = live.sources().get(SourceIndex(0));
        let resource = resource(&own, config);
        Self::of(Arc::new(Context::new(live, service_name(&resource))), &resource)
    }

    pub(crate) fn of(context: Arc<Context>, resource: &[Attribute<'_>]) -> Self {
        let images = |route: &Route| (!route.is_open()).then(|| RouteImages::new(route));
        Self {
            routes: context.routes.iter().map(|(_, route)| images(route)).collect(),
            context,
            resource: proto::resource(resource),
            spans: Vec::new(),
            stages: Vec::new(),
            legs: Vec::new(),
            placed: Vec::new(),
            id: Vec::new(),
        }
    }

    /// Appends the spans of a journey; `false` where nothing of it was seen, so that it has none.
    pub fn append(&mut self, journey: &Journey) -> bool {
        self.append_by_images(journey).is_some() || {
            let facts = Facts::of(journey, &self.context);
            let trace = trace(&facts, &self.context);
            trace.inspect(|trace| proto::append_trace(trace, &mut self.spans)).is_some()
        }
    }

    /// Bytes of all spans so far.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no spans.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// An `ExportTraceServiceRequest` of all spans so far.
    pub fn request(&self) -> Vec<u8> {
        proto::traces_request(&self.resource, &self.spans)
    }

    /// Forgets the spans, and keeps their room.
    pub fn clear(&mut self) {
        self.spans.clear();
    }

    /// Spans of a completed journey of a declared route without a gap; `None` of any other, and nothing is appended.
    fn append_by_images(&mut self, journey: &Journey) -> Option<()> {
        let images = self.routes[usize::from(journey.route().0)].as_mut()?;
        if journey.status() != Status::Completed {
            return None;
        }
        let route = self.context.routes.get(journey.route());
        let (first, last) = read_stages(journey, route, &mut self.stages)?;
        find_legs(route, &self.stages, &self.context.sources, &mut self.legs);
        let measured = self.legs.iter().map(|leg| {
            let declared = &route.legs()[leg.index];
            let (from, to) = (usize::from(declared.from.0), usize::from(declared.to.0));
            Measured { from, to, from_at: leg.from_at, to_at: leg.to.at }
        });
        let root = place(first, last, measured, &mut self.placed);

        let trace_id = journey.trace_id(&self.context.routes, &self.context.key);
        let root_id = SpanIdSeed::ROOT.span_id(trace_id).to_be_bytes();
        let trace_id_bytes = trace_id.to_be_bytes();
        let id = journey.id().as_str();
        self.id.clear();
        write_text(&mut Writer(&mut self.id), "journey.id", id);

        let out = &mut self.spans;
        let at = out.len();
        out.extend_from_slice(&images.root);
        put(&mut out[at..], TRACE_ID_AT, trace_id_bytes);
        put(&mut out[at..], SPAN_ID_AT, root_id);
        put_period(&mut out[at..], images.root_start, root);
        out.extend_from_slice(&self.id);
        let mut w = Writer(out);
        write_text(&mut w, "journey.name", route.name());
        write_text(&mut w, "journey.outcome", Status::Completed.as_str());
        write_text(&mut w, "messaging.message.conversation_id", id);
        let offsets = self.stages.iter().map(|stage| match stage {
            Some((sighting, _)) if sighting.outcome == Outcome::Reached => sighting.at.saturating_sub(first),
            _ => -1,
        });
        proto::write_ints(&mut w, 9, "journey.stage.offsets", offsets);
        w.fixed32(16, SPAN_FLAGS);
        put_length(&mut out[at..]);

        for (leg, placed) in self.legs.iter().zip(&self.placed) {
            let image = &mut images.legs[leg.index];
            let shape = Shape::of(leg);
            if image.tail.as_ref().is_none_or(|tail| tail.shape != shape) {
                image.tail = Some(Tail::new(leg, shape, journey.route(), route, &self.context));
            }
            let Some(tail) = &image.tail else { continue };
            let at = out.len();
            out.extend_from_slice(&image.head);
            out.extend_from_slice(&self.id);
            let tail_at = out.len();
            out.extend_from_slice(&tail.bytes);
            let span = &mut out[at..];
            put(span, TRACE_ID_AT, trace_id_bytes);
            put(span, SPAN_ID_AT, image.seed.span_id(trace_id).to_be_bytes());
            put(span, PARENT_ID_AT, root_id);
            put_period(span, image.start, *placed);
            put_length(span);
            tail.fill(&mut out[tail_at..], leg);
        }
        Some(())
    }
}

impl std::fmt::Debug for TraceEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceEncoder").field("bytes", &self.spans.len()).finish_non_exhaustive()
    }
}

impl RouteImages {
    fn new(route: &Route) -> Self {
        let (root, root_start) = head(&format!("journey {}", route.name()), SpanKind::Internal, false);
        let legs = route.legs().iter().map(|leg| {
            let (head, start) = head(&leg.name, kind(leg.kind), true);
            LegImages { seed: SpanIdSeed::of_leg(&leg.name), head, start, tail: None }
        });
        Self { root, root_start, legs: legs.collect() }
    }
}

impl Shape {
    fn of(leg: &FoundLeg) -> Self {
        Self {
            quality: leg.quality,
            has_uncertainty: leg.uncertainty.is_some(),
            has_link: leg.to.trace_id != 0 && leg.to.span_id != 0,
            from_len: varint_len(leg.from_at),
            to_len: varint_len(leg.to.at),
            attempts: leg.attempts,
            source: leg.to.source,
        }
    }
}

impl Tail {
    fn new(leg: &FoundLeg, shape: Shape, index: journey_core::RouteIndex, route: &Route, context: &Context) -> Self {
        let declared = &route.legs()[leg.index];
        let mut tail = Self { shape, bytes: Vec::new(), from: 0, to: 0, uncertainty: 0, link: 0 };
        let mut w = Writer(&mut tail.bytes);
        write_text(&mut w, "journey.name", route.name());
        write_text(&mut w, "journey.leg.name", &declared.name);
        write_text(&mut w, "journey.leg.quality", leg.quality.as_str());
        // Values stand at the end of their attribute.
        write_attribute(&mut w, Attribute::new("journey.leg.start_unix_nano", leg.from_at));
        tail.from = w.0.len() - shape.from_len;
        write_attribute(&mut w, Attribute::new("journey.leg.end_unix_nano", leg.to.at));
        tail.to = w.0.len() - shape.to_len;
        if shape.has_uncertainty {
            write_attribute(&mut w, Attribute::new("journey.clock.uncertainty", 0.0));
            tail.uncertainty = w.0.len() - size_of::<f64>();
        }
        let stage = journey_core::StageRef { route: index, stage: declared.to };
        write_text(&mut w, "journey.stage.name", &context.routes.stage_texts(stage).name);
        write_attribute(&mut w, Attribute::new("journey.stage.index", i64::from(declared.to.0)));
        if leg.attempts > 1 {
            write_attribute(&mut w, Attribute::new("journey.stage.attempt", i64::from(leg.attempts)));
        }
        if let Some(service) = context.other_service(leg.to.source) {
            write_text(&mut w, "journey.stage.service", &service);
        }
        if shape.has_link {
            proto::write_link(&mut w, 0, 0);
            tail.link = w.0.len() - LINK_LEN;
        }
        w.fixed32(16, SPAN_FLAGS);
        tail
    }

    /// Writes what is this journey's own into a copy.
    fn fill(&self, copy: &mut [u8], leg: &FoundLeg) {
        put_varint(copy, self.from, leg.from_at);
        put_varint(copy, self.to, leg.to.at);
        if let Some(uncertainty) = leg.uncertainty {
            put(copy, self.uncertainty, (uncertainty as f64 * SECONDS).to_le_bytes());
        }
        if self.shape.has_link {
            put(copy, self.link, leg.to.trace_id.to_be_bytes());
            put(copy, self.link + LINK_LEN - 8, leg.to.span_id.to_be_bytes());
        }
    }
}

/// From the trace id of a link to its end: the id, key and length of the span id, and that.
const LINK_LEN: usize = 16 + 2 + 8;

/// A span up to its first attribute, and where its start is.
fn head(name: &str, kind: SpanKind, has_parent: bool) -> (Vec<u8>, usize) {
    let mut bytes = vec![2 << 3 | 2, 0, 0];
    let mut w = Writer(&mut bytes);
    w.bytes(1, &[0; 16]);
    w.bytes(2, &[0; 8]);
    if has_parent {
        w.bytes(4, &[0; 8]);
    }
    w.bytes(5, name.as_bytes());
    w.varint_field(6, kind as u64);
    w.fixed64(7, 0);
    let start = w.0.len() - 8;
    w.fixed64(8, 0);
    (bytes, start)
}

/// Puts what counts of each stage at its place; the first and the last instant, or `None` where nothing was seen or a
/// stage that has to be there is not.
fn read_stages(journey: &Journey, route: &Route, stages: &mut Vec<Option<(Sighting, u32)>>) -> Option<(i64, i64)> {
    stages.clear();
    stages.resize(route.stages().len(), None);
    let mut bounds = None;
    let mut furthest = 0;
    for counted in journey.counted_stages() {
        let (sighting, stage) = (counted.sighting, usize::from(counted.sighting.stage.0));
        *stages.get_mut(stage)? = Some((*sighting, counted.attempts));
        let (first, last) = bounds.unwrap_or((sighting.at, sighting.at));
        bounds = Some((sighting.at.min(first), sighting.at.max(last)));
        if sighting.outcome == Outcome::Reached {
            furthest = stage;
        }
    }
    let is_missing = |stage: usize| {
        let reached = stages[stage].is_some_and(|(sighting, _)| sighting.outcome == Outcome::Reached);
        !reached && route.stages()[stage].presence == Presence::Required
    };
    if (0..furthest).any(is_missing) { None } else { bounds }
}

fn find_legs(route: &Route, stages: &[Option<(Sighting, u32)>], sources: &Sources, legs: &mut Vec<FoundLeg>) {
    let reached = |stage: journey_core::StageIndex| {
        stages[usize::from(stage.0)].as_ref().filter(|(sighting, _)| sighting.outcome == Outcome::Reached)
    };
    legs.clear();
    legs.extend(route.legs().iter().enumerate().filter_map(|(index, leg)| {
        let ((from, _), (to, attempts)) = (reached(leg.from)?, reached(leg.to)?);
        let (quality, uncertainty) = LegQuality::between(from, to, sources);
        Some(FoundLeg { index, from_at: from.at, to: *to, attempts: *attempts, quality, uncertainty })
    }));
}

fn write_text(w: &mut Writer<'_>, key: &'static str, text: &str) {
    write_attribute(w, Attribute::new(key, text));
}

fn write_attribute(w: &mut Writer<'_>, attribute: Attribute<'_>) {
    proto::write_attribute(w, 9, &attribute);
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// Start and end, with the key of the end between them.
fn put_period(span: &mut [u8], at: usize, placed: Placed) {
    put(span, at, unix_nanos(placed.start).to_le_bytes());
    put(span, at + 9, unix_nanos(placed.end).to_le_bytes());
}

/// The length of a span that ends with its bytes.
fn put_length(span: &mut [u8]) {
    let length = span.len() - SPAN_HEAD;
    debug_assert!((0x80..0x4000).contains(&length), "{length}");
    put(span, 1, [length as u8 | 0x80, (length >> 7) as u8]);
}

/// An instant as long as it is.
fn put_varint(bytes: &mut [u8], at: usize, value: i64) {
    let mut rest = value as u64;
    for byte in &mut bytes[at..] {
        if rest < 0x80 {
            *byte = rest as u8;
            return;
        }
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
}

fn varint_len(value: i64) -> usize {
    (64 - (value as u64 | 1).leading_zeros()).div_ceil(7) as usize
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
                prop_assert!(encoder.spans == expected, "{facts:?}");
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
        assert_eq!(encoder.spans[..once], encoder.spans[once..]);
        assert!(encoder.request().ends_with(&encoder.spans));
    }
}
