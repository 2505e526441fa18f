//! Which bytes of a span are the same in every trace of its route, and where in them things differ.

use journey_core::{CountedStage, LegQuality, Route, RouteIndex, SourceIndex, SpanIdSeed, StageRef, Status};

use super::place::{PARENT_ID_AT, SPAN_ID_AT, TRACE_ID_AT, put, put_length, put_period, put_varint, varint_len};
use crate::{
    layout::Placed,
    model::{Attribute, SpanKind},
    proto::{self, SPAN_FLAGS},
    trace::{Context, SECONDS, kind},
    wire::Writer,
};

/// From the trace id of a link to its end: that, key and length of the span id, and the span id.
const LINK_LEN: usize = 16 + 2 + 8;

/// The spans of a declared route.
pub(super) struct RouteImages {
    /// The root up to its first attribute, and where its start is.
    root: Vec<u8>,
    pub(super) root_start: usize,
    /// The attributes between the two that hold the correlation id.
    root_attributes: Vec<u8>,
    pub(super) legs: Vec<LegImage>,
}

/// The span of a leg.
pub(super) struct LegImage {
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
pub(super) struct FoundLeg<'a> {
    pub(super) from_at: i64,
    pub(super) to: CountedStage<'a>,
    pub(super) quality: LegQuality,
    pub(super) uncertainty: Option<i64>,
}

/// What every span of one trace says.
pub(super) struct Common<'a> {
    pub(super) trace_id: u128,
    pub(super) root_id: u64,
    /// The correlation id, and its attribute.
    pub(super) id: &'a str,
    pub(super) id_attribute: &'a [u8],
}

impl RouteImages {
    pub(super) fn new(route: &Route) -> Self {
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
    pub(super) fn append_root(&self, out: &mut Vec<u8>, common: &Common<'_>) {
        let at = out.len();
        out.extend_from_slice(&self.root);
        put(&mut out[at..], TRACE_ID_AT, common.trace_id.to_be_bytes());
        put(&mut out[at..], SPAN_ID_AT, common.root_id.to_be_bytes());
        out.extend_from_slice(common.id_attribute);
        out.extend_from_slice(&self.root_attributes);
        write_text(&mut Writer(out), "messaging.message.conversation_id", common.id);
    }
}

impl LegImage {
    /// The span of the leg, as it was written last where that has the same shape. `at`: its route and its index there.
    pub(super) fn append(
        &mut self,
        out: &mut Vec<u8>,
        common: &Common<'_>,
        leg: &FoundLeg<'_>,
        placed: Placed,
        at: (RouteIndex, usize),
        context: &Context,
    ) {
        let shape = Shape::of(leg, common.id.len());
        if self.last.as_ref().is_none_or(|last| last.shape != shape) {
            self.last = Some(Image::new(&self.head, common.id_attribute, leg, shape, at, context));
        }
        let Some(last) = &self.last else { return };
        let start = out.len();
        out.extend_from_slice(&last.bytes);
        let span = &mut out[start..];
        put(span, TRACE_ID_AT, common.trace_id.to_be_bytes());
        put(span, SPAN_ID_AT, self.seed.span_id(common.trace_id).to_be_bytes());
        put(span, PARENT_ID_AT, common.root_id.to_be_bytes());
        put_period(span, self.start, placed);
        last.fill(span, common.id.as_bytes(), leg);
    }
}

impl Shape {
    fn of(leg: &FoundLeg<'_>, id_len: usize) -> Self {
        let to = leg.to.sighting;
        Self {
            id_len,
            quality: leg.quality,
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

pub(super) fn write_text(w: &mut Writer<'_>, key: &'static str, text: &str) {
    write_attribute(w, Attribute::new(key, text));
}

fn write_attribute(w: &mut Writer<'_>, attribute: Attribute<'_>) {
    proto::write_attribute(w, 9, &attribute);
}
