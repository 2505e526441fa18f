//! The model as canonical OTLP/JSON: hex ids, 64 bit integers as texts, enums as numbers.
//!
//! Written by hand: the serde form of the generated types writes some fields as no receiver expects them.

use serde_json::{Map, Value as Json, json};

use crate::{
    model::{Attribute, Data, Exemplar, Metric, Number, Period, Span, Summary, Trace, Value},
    proto::{CUMULATIVE, PartialSuccess, SCOPE, SPAN_FLAGS},
};

/// `STATUS_CODE_ERROR`.
pub(crate) const STATUS_ERROR: u64 = 2;

/// An `ExportTraceServiceRequest` or `TracesData`.
pub(crate) fn traces(resource: &[Attribute<'_>], traces: &[Trace<'_>]) -> Json {
    let spans: Vec<Json> =
        traces.iter().flat_map(|trace| trace.spans.iter().map(|one| span(trace.trace_id, one))).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes(resource)},
        "scopeSpans": [{"scope": scope(), "spans": spans}],
    }]})
}

/// An `ExportMetricsServiceRequest` or `MetricsData`.
pub(crate) fn metrics(resource: &[Attribute<'_>], metrics: &[Metric<'_>], period: Period) -> Json {
    let metrics: Vec<Json> = metrics.iter().map(|one| metric(one, period)).collect();
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{"scope": scope(), "metrics": metrics}],
    }]})
}

/// Reads an answer; one that cannot be read says nothing. Numbers may come as texts.
pub(crate) fn partial_success(answer: &[u8]) -> PartialSuccess {
    let answer: Json = serde_json::from_slice(answer).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    let rejected = ["rejectedSpans", "rejectedDataPoints"].iter().find_map(|key| match &partial[key] {
        Json::Number(number) => number.as_u64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    });
    let message = partial["errorMessage"].as_str().unwrap_or_default().to_owned();
    PartialSuccess { rejected: rejected.unwrap_or(0), message }
}

fn scope() -> Json {
    json!({"name": SCOPE, "version": env!("CARGO_PKG_VERSION")})
}

fn span(trace_id: u128, span: &Span<'_>) -> Json {
    let mut object = Map::new();
    object.insert("traceId".into(), hex_128(trace_id));
    object.insert("spanId".into(), hex_64(span.span_id));
    if span.parent_span_id != 0 {
        object.insert("parentSpanId".into(), hex_64(span.parent_span_id));
    }
    object.insert("flags".into(), SPAN_FLAGS.into());
    object.insert("name".into(), span.name.as_ref().into());
    object.insert("kind".into(), (span.kind as u64).into());
    object.insert("startTimeUnixNano".into(), int64(span.start));
    object.insert("endTimeUnixNano".into(), int64(span.end));
    object.insert("attributes".into(), attributes(&span.attributes));
    if let Some(link) = span.link {
        let link = json!({"traceId": hex_128(link.trace_id), "spanId": hex_64(link.span_id)});
        object.insert("links".into(), Json::Array(vec![link]));
    }
    if let Some(message) = &span.error {
        object.insert("status".into(), json!({"message": message, "code": STATUS_ERROR}));
    }
    Json::Object(object)
}

fn attributes(attributes: &[Attribute<'_>]) -> Json {
    let one = |attribute: &Attribute<'_>| {
        let value = match &attribute.value {
            Value::Text(text) => json!({"stringValue": text}),
            Value::Bool(value) => json!({"boolValue": value}),
            Value::Int(value) => json!({"intValue": int64(value)}),
            Value::Double(value) => json!({"doubleValue": value}),
            Value::Texts(texts) => {
                let values: Vec<Json> = texts.iter().map(|text| json!({"stringValue": text})).collect();
                json!({"arrayValue": {"values": values}})
            }
            Value::Ints(values) => {
                let values: Vec<Json> = values.iter().map(|value| json!({"intValue": int64(value)})).collect();
                json!({"arrayValue": {"values": values}})
            }
        };
        json!({"key": attribute.key, "value": value})
    };
    attributes.iter().map(one).collect()
}

fn metric(metric: &Metric<'_>, period: Period) -> Json {
    let (kind, data) = match &metric.data {
        Data::Gauge(points) => ("gauge", json!({"dataPoints": numbers(points, period)})),
        Data::Sum { monotonic, points } => (
            "sum",
            json!({
                "dataPoints": numbers(points, period),
                "aggregationTemporality": CUMULATIVE,
                "isMonotonic": monotonic,
            }),
        ),
        Data::Explicit(points) => {
            let point = |point: &crate::model::Explicit<'_>| {
                let mut object = summary(&point.summary, period);
                object.insert("bucketCounts".into(), point.counts.iter().map(int64).collect());
                object.insert("explicitBounds".into(), point.bounds.as_slice().into());
                Json::Object(object)
            };
            let points: Vec<Json> = points.iter().map(point).collect();
            ("histogram", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE}))
        }
        Data::Exponential(points) => {
            let point = |point: &crate::model::Exponential<'_>| {
                let mut object = summary(&point.summary, period);
                object.insert("scale".into(), point.scale.into());
                object.insert("zeroCount".into(), int64(point.zero_count));
                let counts: Json = point.counts.iter().map(int64).collect();
                object.insert("positive".into(), json!({"offset": point.offset, "bucketCounts": counts}));
                Json::Object(object)
            };
            let points: Vec<Json> = points.iter().map(point).collect();
            ("exponentialHistogram", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE}))
        }
    };
    json!({"name": metric.name, "description": metric.description, "unit": metric.unit, kind: data})
}

fn numbers(points: &[Number<'_>], period: Period) -> Json {
    let one = |point: &Number<'_>| {
        json!({
            "attributes": attributes(&point.attributes),
            "startTimeUnixNano": int64(period.start),
            "timeUnixNano": int64(period.end),
            "asInt": int64(point.value),
        })
    };
    points.iter().map(one).collect()
}

fn summary(summary: &Summary<'_>, period: Period) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("attributes".into(), attributes(&summary.attributes));
    object.insert("startTimeUnixNano".into(), int64(period.start));
    object.insert("timeUnixNano".into(), int64(period.end));
    object.insert("count".into(), int64(summary.count));
    object.insert("sum".into(), summary.sum.into());
    if let (Some(min), Some(max)) = (summary.min, summary.max) {
        object.insert("min".into(), min.into());
        object.insert("max".into(), max.into());
    }
    let exemplar = |exemplar: &Exemplar| {
        json!({
            "timeUnixNano": int64(exemplar.at),
            "asDouble": exemplar.value,
            "spanId": hex_64(exemplar.span_id),
            "traceId": hex_128(exemplar.trace_id),
        })
    };
    if !summary.exemplars.is_empty() {
        object.insert("exemplars".into(), summary.exemplars.iter().map(exemplar).collect());
    }
    object
}

fn int64(value: impl ToString) -> Json {
    Json::String(value.to_string())
}

fn hex_128(id: u128) -> Json {
    Json::String(format!("{id:032x}"))
}

fn hex_64(id: u64) -> Json {
    Json::String(format!("{id:016x}"))
}
