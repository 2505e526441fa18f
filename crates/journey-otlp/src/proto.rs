//! The model as OTLP protobuf requests, and what the answers say.
//!
//! The field numbers are those of opentelemetry-proto 1.x; the tests read every request back with the generated types.

use crate::{
    json,
    model::{Attribute, Data, Exemplar, Metric, Number, Period, Span, Summary, Trace, Value},
    wire::{Field, Writer, fields},
};

/// Sampled, and the parent is known to be of the same process: both as the SDKs write them for spans of their own.
pub(crate) const SPAN_FLAGS: u32 = 0x101;
/// Cumulative since start.
pub(crate) const CUMULATIVE: u64 = 2;
/// Name of the instrumentation scope.
pub(crate) const SCOPE: &str = "journey";

/// The part of an answer that says what was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    /// Spans or points that were refused.
    pub(crate) rejected: u64,
    /// Why, or a warning.
    pub(crate) message: String,
}

/// The resource as bytes, written once and used in every request.
pub(crate) fn resource(attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer(&mut bytes);
    for attribute in attributes {
        write_attribute(&mut writer, 1, attribute);
    }
    bytes
}

/// Spans as they stand inside `ScopeSpans`.
///
/// Requests of several traces are the bytes of each, one after the other: see [`before_spans`].
pub(crate) fn append_trace(trace: &Trace<'_>, bytes: &mut Vec<u8>) {
    let mut writer = Writer(bytes);
    for span in &trace.spans {
        writer.message(2, |w| write_span(w, trace.trace_id, span));
    }
}

/// Everything of an `ExportTraceServiceRequest` (or, which is the same, `TracesData`) that stands before the spans which
/// [`append_trace`] wrote, by their length.
pub(crate) fn before_spans(resource: &[u8], spans: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(resource.len() + 64);
    let mut scope = Vec::new();
    write_scope(&mut Writer(&mut scope));
    let key = |bytes: &mut Vec<u8>, number: u32, length: usize| {
        let mut w = Writer(bytes);
        w.varint(u64::from(number << 3 | 2));
        w.varint(length as u64);
    };
    let mut own = Vec::with_capacity(resource.len() + 64);
    Writer(&mut own).bytes(1, resource);
    key(&mut own, 2, scope.len() + spans);
    own.extend_from_slice(&scope);
    key(&mut bytes, 1, own.len() + spans);
    bytes.extend_from_slice(&own);
    bytes
}

/// An `ExportMetricsServiceRequest`.
pub(crate) fn metrics_request(resource: &[u8], metrics: &[Metric<'_>], period: Period) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer(&mut bytes).message(1, |w| {
        w.bytes(1, resource);
        w.message(2, |w| {
            write_scope(w);
            for metric in metrics {
                w.message(2, |w| write_metric(w, metric, period));
            }
        });
    });
    bytes
}

/// Reads an `ExportTraceServiceResponse` or `ExportMetricsServiceResponse`; one that cannot be read says nothing.
pub(crate) fn partial_success(answer: &[u8]) -> PartialSuccess {
    let mut partial = PartialSuccess::default();
    for (number, field) in fields(answer) {
        let (1, Field::Bytes(inner)) = (number, field) else { continue };
        for (number, field) in fields(inner) {
            match (number, field) {
                // An int64: a negative number of rejected spans is nonsense and counts as none.
                (1, Field::Varint(rejected)) => partial.rejected = u64::try_from(rejected as i64).unwrap_or(0),
                (2, Field::Bytes(text)) => partial.message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
    }
    partial
}

/// The message of a `google.rpc.Status`.
pub(crate) fn status_message(status: &[u8]) -> Option<String> {
    let text = fields(status).find_map(|field| match field {
        (2, Field::Bytes(text)) => Some(text),
        _ => None,
    })?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The delay of a `RetryInfo` among the details of a `google.rpc.Status`.
pub(crate) fn retry_delay(status: &[u8]) -> Option<std::time::Duration> {
    fields(status).find_map(|field| {
        let (3, Field::Bytes(any)) = field else { return None };
        let is_retry_info =
            fields(any).any(|field| matches!(field, (1, Field::Bytes(url)) if url.ends_with(b"/google.rpc.RetryInfo")));
        let info = fields(any).find_map(bytes_of(2)).filter(|_| is_retry_info)?;
        let delay = fields(info).find_map(bytes_of(1)).unwrap_or_default();
        let number = |wanted| {
            fields(delay).find_map(|field| match field {
                (number, Field::Varint(value)) if number == wanted => Some(value as i64),
                _ => None,
            })
        };
        let seconds = u64::try_from(number(1).unwrap_or(0)).unwrap_or(0);
        let nanos = u32::try_from(number(2).unwrap_or(0)).unwrap_or(0).min(999_999_999);
        Some(std::time::Duration::new(seconds, nanos))
    })
}

fn bytes_of<'a>(wanted: u32) -> impl Fn((u32, Field<'a>)) -> Option<&'a [u8]> {
    move |field| match field {
        (number, Field::Bytes(bytes)) if number == wanted => Some(bytes),
        _ => None,
    }
}

fn write_scope(w: &mut Writer<'_>) {
    w.message(1, |w| {
        w.bytes(1, SCOPE.as_bytes());
        w.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    });
}

fn write_span(w: &mut Writer<'_>, trace_id: u128, span: &Span<'_>) {
    w.bytes(1, &trace_id.to_be_bytes());
    w.bytes(2, &span.span_id.to_be_bytes());
    if span.parent_span_id != 0 {
        w.bytes(4, &span.parent_span_id.to_be_bytes());
    }
    w.bytes(5, span.name.as_bytes());
    w.varint_field(6, span.kind as u64);
    w.fixed64(7, span.start);
    w.fixed64(8, span.end);
    for attribute in &span.attributes {
        write_attribute(w, 9, attribute);
    }
    if let Some(link) = span.link {
        write_link(w, link.trace_id, link.span_id);
    }
    if let Some(message) = &span.error {
        w.message(15, |w| {
            w.bytes(2, message.as_bytes());
            w.varint_field(3, json::STATUS_ERROR);
        });
    }
    w.fixed32(16, SPAN_FLAGS);
}

pub(crate) fn write_link(w: &mut Writer<'_>, trace_id: u128, span_id: u64) {
    w.message(13, |w| {
        w.bytes(1, &trace_id.to_be_bytes());
        w.bytes(2, &span_id.to_be_bytes());
    });
}

fn write_int_values(w: &mut Writer<'_>, values: impl Iterator<Item = i64>) {
    w.message(5, |w| values.for_each(|value| w.message(1, |w| w.varint_field(3, value as u64))));
}

pub(crate) fn write_attribute(w: &mut Writer<'_>, number: u32, attribute: &Attribute<'_>) {
    w.message(number, |w| {
        w.bytes(1, attribute.key.as_bytes());
        w.message(2, |w| match &attribute.value {
            Value::Text(text) => w.bytes(1, text.as_bytes()),
            Value::Bool(value) => w.varint_field(2, u64::from(*value)),
            Value::Int(value) => w.varint_field(3, *value as u64),
            Value::Double(value) => w.double(4, *value),
            Value::Texts(texts) => w.message(5, |w| {
                for text in *texts {
                    w.message(1, |w| w.bytes(1, text.as_bytes()));
                }
            }),
            Value::Ints(values) => write_int_values(w, values.iter().copied()),
        });
    });
}

fn write_metric(w: &mut Writer<'_>, metric: &Metric<'_>, period: Period) {
    w.bytes(1, metric.name.as_bytes());
    w.bytes(2, metric.description.as_bytes());
    w.bytes(3, metric.unit.as_bytes());
    match &metric.data {
        Data::Gauge(points) => w.message(5, |w| write_numbers(w, points, period)),
        Data::Sum { monotonic, points } => w.message(7, |w| {
            write_numbers(w, points, period);
            w.varint_field(2, CUMULATIVE);
            w.varint_field(3, u64::from(*monotonic));
        }),
        Data::Explicit(points) => w.message(9, |w| {
            for point in points {
                w.message(1, |w| {
                    write_period(w, 2, period);
                    w.fixed64(4, point.summary.count);
                    w.double(5, point.summary.sum);
                    w.message(6, |w| point.counts.iter().for_each(|count| w.0.extend_from_slice(&count.to_le_bytes())));
                    w.message(7, |w| point.bounds.iter().for_each(|bound| w.0.extend_from_slice(&bound.to_le_bytes())));
                    write_rest(w, &point.summary, SummaryFields { exemplar: 8, attribute: 9, min: 11, max: 12 });
                });
            }
            w.varint_field(2, CUMULATIVE);
        }),
        Data::Exponential(points) => w.message(10, |w| {
            for point in points {
                w.message(1, |w| {
                    write_period(w, 2, period);
                    w.fixed64(4, point.summary.count);
                    w.double(5, point.summary.sum);
                    w.zigzag_field(6, point.scale);
                    w.fixed64(7, point.zero_count);
                    w.message(8, |w| {
                        w.zigzag_field(1, point.offset);
                        w.message(2, |w| point.counts.iter().for_each(|count| w.varint(*count)));
                    });
                    write_rest(w, &point.summary, SummaryFields { exemplar: 11, attribute: 1, min: 12, max: 13 });
                });
            }
            w.varint_field(2, CUMULATIVE);
        }),
    }
}

fn write_numbers(w: &mut Writer<'_>, points: &[Number<'_>], period: Period) {
    for point in points {
        w.message(1, |w| {
            for attribute in &point.attributes {
                write_attribute(w, 7, attribute);
            }
            write_period(w, 2, period);
            // An sfixed64; more than 2^63 of anything does not happen.
            w.fixed64(6, point.value);
        });
    }
}

fn write_period(w: &mut Writer<'_>, start: u32, period: Period) {
    w.fixed64(start, period.start);
    w.fixed64(start + 1, period.end);
}

/// Numbers of the fields that both forms of a histogram have at different places.
struct SummaryFields {
    exemplar: u32,
    attribute: u32,
    min: u32,
    max: u32,
}

fn write_rest(w: &mut Writer<'_>, summary: &Summary<'_>, at: SummaryFields) {
    for attribute in &summary.attributes {
        write_attribute(w, at.attribute, attribute);
    }
    for exemplar in &summary.exemplars {
        w.message(at.exemplar, |w| write_exemplar(w, exemplar));
    }
    if let Some(min) = summary.min {
        w.double(at.min, min);
    }
    if let Some(max) = summary.max {
        w.double(at.max, max);
    }
}

fn write_exemplar(w: &mut Writer<'_>, exemplar: &Exemplar) {
    w.fixed64(2, exemplar.at);
    w.double(3, exemplar.value);
    w.bytes(4, &exemplar.span_id.to_be_bytes());
    w.bytes(5, &exemplar.trace_id.to_be_bytes());
}
