//! Finished journeys as protobuf, from images of their spans: most of a span is the same in every trace of its route, so
//! it is copied whole, and only what differs is written anew.
//!
//! What is rarely seen (an open route, a failure, a gap) goes the long way over [`crate::model`]; a test holds both to
//! the same bytes.

use std::sync::Arc;

use journey_core::{
    CountedStage, Journey, LegQuality, Live, Outcome, Presence, Route, RouteIndex, SourceIndex, SpanIdSeed, StageRef,
    Status,
};

use crate::{
    config::OtlpConfig,
    layout::{Measured, Placed, Row},
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
/// From the trace id of a link to its end: that, key and length of the span id, and the span id.
const LINK_LEN: usize = 16 + 2 + 8;
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

struct RouteImages {
    /// The root up to its first attribute, and where its start is.
    root: Vec<u8>,
    root_start: usize,
    /// The attributes between the two that hold the correlation id.
    root_attributes: Vec<u8>,
    legs: Vec<LegImage>,
}

/// The span of a leg.
struct LegImage {
    seed: SpanIdSeed,
    /// Up to the attribute of the correlation id.
    head: Vec<u8>,
    /// Where its start is.
    start: usize,
    /// The whole as it was written last.
    last: Option<Image>,
}

/// A whole span, and where in it things differ.
struct Image {
    shape: Shape,
    bytes: Vec<u8>,
    id: usize,
    from: usize,
    to: usize,
    uncertainty: usize,
    link: usize,
}

/// What says which bytes there are; other values are of the same length in the same place.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    id_len: usize,
    quality: LegQuality,
    has_uncertainty: bool,
    has_link: bool,
    from_len: usize,
    to_len: usize,
    attempts: u32,
    source: SourceIndex,
}

/// A leg of which both ends were reached.
struct FoundLeg<'a> {
    from_at: i64,
    to: CountedStage<'a>,
    uncertainty: Option<i64>,
}

/// The ids of one trace, as bytes.
#[derive(Clone, Copy)]
struct Ids {
    trace: [u8; 16],
    root: [u8; 8],
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
        let ids = Ids { trace: trace_id.to_be_bytes(), root: SpanIdSeed::ROOT.span_id(trace_id).to_be_bytes() };
        let id = journey.id().as_str();
        self.id.clear();
        write_text(&mut Writer(&mut self.id), "journey.id", id);

        let out = &mut self.bytes;
        let root_at = out.len();
        images.append_root(out, ids, &self.id, id);
        append_offsets(out, &stages[..route.stages().len()], first);
        Writer(out).fixed32(16, SPAN_FLAGS);
        put_length(&mut out[root_at..]);

        let mut row = Row::new(first);
        for (index, (leg, image)) in route.legs().iter().zip(&mut images.legs).enumerate() {
            let reached = |stage: usize| stages[stage].filter(|it| it.sighting.outcome == Outcome::Reached);
            let (from_stage, to_stage) = (usize::from(leg.from.0), usize::from(leg.to.0));
            let (Some(from), Some(to)) = (reached(from_stage), reached(to_stage)) else { continue };
            let (quality, uncertainty) = LegQuality::between(from.sighting, to.sighting, &self.context.sources);
            let found = FoundLeg { from_at: from.sighting.at, to, uncertainty };
            let measured = Measured { from: from_stage, to: to_stage, from_at: found.from_at, to_at: to.sighting.at };
            let placed = row.place(measured);
            let shape = Shape::of(&found, quality, id.len());
            let span_id = image.seed.span_id(trace_id).to_be_bytes();
            let start = image.start;
            if image.last.as_ref().is_none_or(|last| last.shape != shape) {
                image.last =
                    Some(Image::new(&image.head, &self.id, &found, shape, (journey.route(), index), &self.context));
            }
            let Some(last) = &image.last else { continue };
            let at = out.len();
            out.extend_from_slice(&last.bytes);
            let span = &mut out[at..];
            put(span, TRACE_ID_AT, ids.trace);
            put(span, SPAN_ID_AT, span_id);
            put(span, PARENT_ID_AT, ids.root);
            put_period(span, start, placed);
            last.fill(span, id.as_bytes(), &found);
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

impl RouteImages {
    fn new(route: &Route) -> Self {
        let (root, root_start) = head(&format!("journey {}", route.name()), SpanKind::Internal, false);
        let legs = route.legs().iter().map(|leg| {
            let (head, start) = head(&leg.name, kind(leg.kind), true);
            LegImage { seed: SpanIdSeed::of_leg(&leg.name), head, start, last: None }
        });
        let legs = legs.collect();
        let mut root_attributes = Vec::new();
        let mut w = Writer(&mut root_attributes);
        write_text(&mut w, "journey.name", route.name());
        write_text(&mut w, "journey.outcome", Status::Completed.as_str());
        Self { root, root_start, root_attributes, legs }
    }

    /// The root up to the offsets of its stages.
    fn append_root(&self, out: &mut Vec<u8>, ids: Ids, id_attribute: &[u8], id: &str) {
        let at = out.len();
        out.extend_from_slice(&self.root);
        put(&mut out[at..], TRACE_ID_AT, ids.trace);
        put(&mut out[at..], SPAN_ID_AT, ids.root);
        out.extend_from_slice(id_attribute);
        out.extend_from_slice(&self.root_attributes);
        write_text(&mut Writer(out), "messaging.message.conversation_id", id);
    }
}

impl Shape {
    fn of(leg: &FoundLeg<'_>, quality: LegQuality, id_len: usize) -> Self {
        let to = leg.to.sighting;
        Self {
            id_len,
            quality,
            has_uncertainty: leg.uncertainty.is_some(),
            has_link: to.trace_id != 0 && to.span_id != 0,
            from_len: varint_len(leg.from_at as u64),
            to_len: varint_len(to.at as u64),
            attempts: leg.to.attempts,
            source: to.source,
        }
    }
}

impl Image {
    fn new(
        head: &[u8],
        id_attribute: &[u8],
        leg: &FoundLeg<'_>,
        shape: Shape,
        (route, index): (RouteIndex, usize),
        context: &Context,
    ) -> Self {
        let declared = &context.routes.get(route).legs()[index];
        let bytes = [head, id_attribute].concat();
        // Values stand at the end of their attribute.
        let id = bytes.len() - shape.id_len;
        let mut image = Self { shape, bytes, id, from: 0, to: 0, uncertainty: 0, link: 0 };
        let mut w = Writer(&mut image.bytes);
        write_text(&mut w, "journey.name", context.routes.get(route).name());
        write_text(&mut w, "journey.leg.name", &declared.name);
        write_text(&mut w, "journey.leg.quality", shape.quality.as_str());
        write_attribute(&mut w, Attribute::new("journey.leg.start_unix_nano", leg.from_at));
        image.from = w.0.len() - shape.from_len;
        write_attribute(&mut w, Attribute::new("journey.leg.end_unix_nano", leg.to.sighting.at));
        image.to = w.0.len() - shape.to_len;
        if shape.has_uncertainty {
            write_attribute(&mut w, Attribute::new("journey.clock.uncertainty", 0.0));
            image.uncertainty = w.0.len() - size_of::<f64>();
        }
        let stage = StageRef { route, stage: declared.to };
        write_text(&mut w, "journey.stage.name", &context.routes.stage_texts(stage).name);
        write_attribute(&mut w, Attribute::new("journey.stage.index", i64::from(declared.to.0)));
        if shape.attempts > 1 {
            write_attribute(&mut w, Attribute::new("journey.stage.attempt", i64::from(shape.attempts)));
        }
        if let Some(service) = context.other_service(shape.source) {
            write_text(&mut w, "journey.stage.service", &service);
        }
        if shape.has_link {
            proto::write_link(&mut w, 0, 0);
            image.link = w.0.len() - LINK_LEN;
        }
        w.fixed32(16, SPAN_FLAGS);
        put_length(&mut image.bytes);
        image
    }

    /// Writes what is this journey's own into a copy.
    fn fill(&self, copy: &mut [u8], id: &[u8], leg: &FoundLeg<'_>) {
        copy[self.id..self.id + id.len()].copy_from_slice(id);
        let to = leg.to.sighting;
        put_varint(&mut copy[self.from..self.from + self.shape.from_len], leg.from_at as u64);
        put_varint(&mut copy[self.to..self.to + self.shape.to_len], to.at as u64);
        if let Some(uncertainty) = leg.uncertainty {
            put(copy, self.uncertainty, (uncertainty as f64 * SECONDS).to_le_bytes());
        }
        if self.shape.has_link {
            put(copy, self.link, to.trace_id.to_be_bytes());
            put(copy, self.link + LINK_LEN - 8, to.span_id.to_be_bytes());
        }
    }
}

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

/// A number into as many bytes as it takes.
fn put_varint(bytes: &mut [u8], value: u64) {
    if let [eight @ .., last] = bytes
        && let Some(eight) = eight.first_chunk_mut::<8>()
        && value >> 63 == 0
    {
        // Instants of our time are nine bytes: seven bits into each at once.
        let mut spread = value & 0x00ff_ffff_ffff_ffff;
        spread = spread & 0x0fff_ffff | (spread & 0x00ff_ffff_f000_0000) << 4;
        spread = spread & 0x0000_3fff_0000_3fff | (spread & 0x0fff_c000_0fff_c000) << 2;
        spread = spread & 0x007f_007f_007f_007f | (spread & 0x3f80_3f80_3f80_3f80) << 1;
        *eight = (spread | 0x8080_8080_8080_8080).to_le_bytes();
        *last = (value >> 56) as u8;
        return;
    }
    let mut rest = value;
    for byte in bytes {
        *byte = rest as u8 & 0x7f | if rest < 0x80 { 0 } else { 0x80 };
        rest >>= 7;
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
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
    fn every_number_is_written_as_a_varint() {
        for shift in 0..64 {
            for value in [1 << shift, (1 << shift) - 1, u64::MAX >> shift, START as u64 >> shift] {
                let mut bytes = vec![0xee; varint_len(value)];
                put_varint(&mut bytes, value);
                let mut expected = Vec::new();
                Writer(&mut expected).varint(value);
                assert_eq!(bytes, expected, "{value}");
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
