//! The model as text for people: what `OTEL_TRACES_EXPORTER=console` and `OTEL_METRICS_EXPORTER=console` print.

use std::fmt::Write as _;

use crate::model::{Attribute, Data, Metric, Summary, Trace, Value};

const MILLI: f64 = 1e6;

/// A trace as a tree; ends with a line break.
pub(crate) fn trace(trace: &Trace<'_>) -> String {
    let mut text = format!("trace {:032x}\n", trace.trace_id);
    let start = trace.spans.first().map_or(0, |root| root.start);
    for span in &trace.spans {
        let indent = if span.parent_span_id == 0 { "" } else { "  " };
        let offset = span.start.saturating_sub(start) as f64 / MILLI;
        let width = span.end.saturating_sub(span.start) as f64 / MILLI;
        let (name, kind) = (printable(&span.name), span.kind.as_str());
        let _ = writeln!(text, "{indent}{name} [{kind}] +{offset:.3} ms, {width:.3} ms");
        if let Some(message) = &span.error {
            let _ = writeln!(text, "    ERROR {}", printable(message));
        }
        for attribute in &span.attributes {
            let _ = writeln!(text, "    {} = {}", attribute.key, value(&attribute.value));
        }
        if let Some(link) = span.link {
            let _ = writeln!(text, "    link = {:032x}/{:016x}", link.trace_id, link.span_id);
        }
    }
    text
}

/// One line per point.
pub(crate) fn metrics(metrics: &[Metric<'_>]) -> String {
    let mut text = String::new();
    for metric in metrics {
        let mut line = |attributes: &[Attribute<'_>], value: String| {
            let labels: Vec<String> =
                attributes.iter().map(|a| format!("{}={}", a.key, self::value(&a.value))).collect();
            let _ = writeln!(text, "{}{{{}}} {value}", metric.name, labels.join(","));
        };
        let histogram = |summary: &Summary<'_>| {
            let max = summary.max.map_or_else(String::new, |max| format!(" max={max}"));
            format!("count={} sum={}{max} {}", summary.count, summary.sum, metric.unit)
        };
        match &metric.data {
            Data::Gauge(points) | Data::Sum { points, .. } => {
                points.iter().for_each(|point| line(&point.attributes, point.value.to_string()));
            }
            Data::Exponential(points) => {
                points.iter().for_each(|point| line(&point.summary.attributes, histogram(&point.summary)));
            }
            Data::Explicit(points) => {
                points.iter().for_each(|point| line(&point.summary.attributes, histogram(&point.summary)));
            }
        }
    }
    text
}

fn value(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Texts(texts) => format!("{texts:?}"),
        Value::Ints(values) => format!("{values:?}"),
    }
}

/// Control characters could change what a terminal does.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}
