//! All statistics as OTLP metrics, from our own buckets and without loss.

use std::borrow::Cow;

use journey_core::{DropReason, MetricsSnapshot, Series};

use crate::{
    config::HistogramForm,
    model::{Attribute, Data, Exemplar, Explicit, Exponential, Metric, Number, Period, Summary, Value, unix_nanos},
};

/// The most buckets of an exponential histogram, as OpenTelemetry SDKs have it.
const MAX_BUCKETS: usize = 160;
/// Bounds of the explicit form are `2^k` seconds for these `k`: 7.6 us to 4096 s, and they never change.
const EXPONENTS: std::ops::RangeInclusive<i32> = -17..=12;
const SECONDS: f64 = 1e-9;

/// What the exporter says about one of its destinations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DestinationFigures {
    pub(crate) name: String,
    pub(crate) queued: u64,
    pub(crate) capacity: u64,
    pub(crate) exported: u64,
    /// By reason.
    pub(crate) lost: Vec<(&'static str, u64)>,
    /// `closed`, `open`, `half_open`; `None` where there is no breaker.
    pub(crate) breaker: Option<&'static str>,
}

/// When a snapshot began and was read.
pub(crate) fn period(snapshot: &MetricsSnapshot) -> Period {
    Period { start: unix_nanos(snapshot.started_at), end: unix_nanos(snapshot.at) }
}

/// Every metric that has at least one point.
pub(crate) fn metrics<'a>(
    snapshot: &'a MetricsSnapshot,
    destinations: &'a [DestinationFigures],
    form: HistogramForm,
) -> Vec<Metric<'a>> {
    let mut metrics = vec![
        histograms("journey.leg.duration", "Latency between two stages", &snapshot.legs, "journey.leg.name", form),
        histograms(
            "journey.segment.duration",
            "Latency over several legs",
            &snapshot.segments,
            "journey.segment.name",
            form,
        ),
        operations(snapshot, form),
        Metric {
            name: "journey.active",
            description: "Open journeys",
            unit: "{journey}",
            data: Data::Sum {
                monotonic: false,
                points: snapshot.active.iter().map(|(route, n)| number([("journey.name", route)], *n)).collect(),
            },
        },
        Metric {
            name: "journey.stuck",
            description: "Open journeys without progress, by the stage they reached last",
            unit: "{journey}",
            data: Data::Gauge(
                snapshot
                    .stuck
                    .iter()
                    .map(|(route, stage, n)| number([("journey.name", route), ("journey.stage.name", stage)], *n))
                    .collect(),
            ),
        },
    ];
    let completions = snapshot.completions.iter();
    metrics.push(counter(
        "journey.completions",
        "Finished journeys",
        "{journey}",
        completions.map(|(route, outcome, n)| number([("journey.name", route), ("journey.outcome", outcome)], *n)),
    ));
    let checkpoints = snapshot.checkpoints.iter();
    metrics.push(counter(
        "journey.checkpoints",
        "Recorded checkpoints",
        "{checkpoint}",
        checkpoints.map(|(route, stage, error, n)| {
            let mut point = number([("journey.name", route), ("journey.stage.name", stage)], *n);
            if !error.is_empty() {
                point.attributes.push(Attribute::new("error.type", error.as_str()));
            }
            point
        }),
    ));
    metrics.push(counter(
        "journey.skewed",
        "Negative latencies, which no histogram holds",
        "{leg}",
        snapshot.skewed.iter().map(|(route, leg, n)| number([("journey.name", route), ("journey.leg.name", leg)], *n)),
    ));
    metrics.push(counter(
        "journey.drops",
        "Checkpoints that were lost, by reason",
        "{checkpoint}",
        DropReason::ALL
            .into_iter()
            .map(|reason| number([("journey.drop.reason", reason.as_str())], snapshot.accounting.dropped(reason))),
    ));
    metrics.push(counter(
        "journey.metric.overflows",
        "Values that went into an overflow series because a limit on names was reached",
        "{value}",
        [number([], snapshot.overflowed)].into_iter(),
    ));
    metrics.extend(exporter_metrics(destinations));
    metrics.retain(|metric| !is_empty(&metric.data));
    metrics
}

fn exporter_metrics(destinations: &[DestinationFigures]) -> [Metric<'_>; 5] {
    let gauge = |of: fn(&DestinationFigures) -> u64| {
        Data::Gauge(destinations.iter().map(|one| number([("journey.exporter", &*one.name)], of(one))).collect())
    };
    let breaker = destinations.iter().flat_map(|one| {
        one.breaker.into_iter().flat_map(|state| {
            ["closed", "half_open", "open"].map(|named| {
                let attributes = [("journey.exporter", &*one.name), ("journey.exporter.breaker.state", named)];
                number(attributes, u64::from(named == state))
            })
        })
    });
    let lost = destinations.iter().flat_map(|one| {
        one.lost
            .iter()
            .map(|(reason, n)| number([("journey.exporter", &*one.name), ("journey.drop.reason", *reason)], *n))
    });
    [
        Metric {
            name: "journey.exporter.queue.size",
            description: "Journeys that wait for export",
            unit: "{journey}",
            data: gauge(|one| one.queued),
        },
        Metric {
            name: "journey.exporter.queue.capacity",
            description: "Journeys that can wait for export",
            unit: "{journey}",
            data: gauge(|one| one.capacity),
        },
        Metric {
            name: "journey.exporter.breaker",
            description: "1 for the state the circuit breaker is in",
            unit: "1",
            data: Data::Gauge(breaker.collect()),
        },
        counter(
            "journey.exporter.exported",
            "Exported journeys",
            "{journey}",
            destinations.iter().map(|one| number([("journey.exporter", &*one.name)], one.exported)),
        ),
        counter("journey.exporter.lost", "Journeys chosen for export and not exported, by reason", "{journey}", lost),
    ]
}

fn is_empty(data: &Data<'_>) -> bool {
    match data {
        Data::Gauge(points) | Data::Sum { points, .. } => points.is_empty(),
        Data::Exponential(points) => points.is_empty(),
        Data::Explicit(points) => points.is_empty(),
    }
}

fn counter<'a>(
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    points: impl Iterator<Item = Number<'a>>,
) -> Metric<'a> {
    Metric { name, description, unit, data: Data::Sum { monotonic: true, points: points.collect() } }
}

fn number<'a, const N: usize>(attributes: [(&'static str, &'a str); N], value: u64) -> Number<'a> {
    Number { attributes: attributes.into_iter().map(|(key, value)| Attribute::new(key, value)).collect(), value }
}

fn histograms<'a>(
    name: &'static str,
    description: &'static str,
    series: &'a [Series],
    name_key: &'static str,
    form: HistogramForm,
) -> Metric<'a> {
    // An empty histogram says nothing that its absence does not.
    let series = series.iter().filter(|one| one.histogram.count() > 0);
    let data = match form {
        HistogramForm::Exponential => Data::Exponential(series.map(|one| exponential(one, name_key)).collect()),
        HistogramForm::Explicit => Data::Explicit(series.map(|one| explicit(one, name_key)).collect()),
    };
    Metric { name, description, unit: "s", data }
}

/// Durations of operations; the one series of all names beyond the limit is marked as OpenTelemetry asks for.
fn operations(snapshot: &MetricsSnapshot, form: HistogramForm) -> Metric<'_> {
    const KEY: &str = "journey.operation.name";
    let (name, description) = ("journey.operation.duration", "Duration of a measured operation");
    let mut metric = histograms(name, description, &snapshot.operations, KEY, form);
    let summaries: Vec<&mut Summary<'_>> = match &mut metric.data {
        Data::Exponential(points) => points.iter_mut().map(|point| &mut point.summary).collect(),
        Data::Explicit(points) => points.iter_mut().map(|point| &mut point.summary).collect(),
        Data::Gauge(_) | Data::Sum { .. } => Vec::new(),
    };
    let is_overflow = |attribute: &Attribute<'_>| attribute.key == KEY && attribute.value == Value::from("other");
    for summary in summaries {
        if snapshot.overflowed > 0 && summary.attributes.iter().any(is_overflow) {
            summary.attributes = vec![Attribute::new("otel.metric.overflow", true)];
        }
    }
    metric
}

fn exponential<'a>(series: &'a Series, name_key: &'static str) -> Exponential<'a> {
    let buckets = series.histogram.buckets().at_most(MAX_BUCKETS);
    Exponential {
        summary: summary(series, name_key),
        scale: buckets.scale,
        zero_count: series.histogram.zero_count(),
        offset: buckets.offset,
        counts: buckets.counts,
    }
}

fn explicit<'a>(series: &'a Series, name_key: &'static str) -> Explicit<'a> {
    let mut below = 0;
    let mut counts: Vec<u64> = EXPONENTS
        .map(|exponent| {
            let up_to = series.histogram.count_up_to_power_of_two(exponent);
            let inside = up_to - below;
            below = up_to;
            inside
        })
        .collect();
    counts.push(series.histogram.count() - below);
    Explicit {
        summary: summary(series, name_key),
        bounds: EXPONENTS.map(|exponent| 2_f64.powi(exponent)).collect(),
        counts,
    }
}

fn summary<'a>(series: &'a Series, name_key: &'static str) -> Summary<'a> {
    let text = |text: &'a str| Value::Text(Cow::Borrowed(text));
    let mut attributes = Vec::with_capacity(3);
    if !series.route.is_empty() {
        attributes.push(Attribute::new("journey.name", text(&series.route)));
    }
    attributes.push(Attribute::new(name_key, text(&series.name)));
    if let Some(outcome) = &series.outcome {
        attributes.push(Attribute::new("journey.outcome", text(outcome)));
    }
    let seconds = |nanos: u64| nanos as f64 * SECONDS;
    Summary {
        attributes,
        count: series.histogram.count(),
        sum: series.histogram.sum_nanos() as f64 * SECONDS,
        min: series.histogram.min_nanos().map(seconds),
        max: series.histogram.max_nanos().map(seconds),
        exemplars: series
            .exemplars
            .iter()
            .map(|one| Exemplar {
                value: seconds(one.nanos),
                at: unix_nanos(one.at),
                trace_id: one.trace_id,
                span_id: one.span_id,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use journey_core::Histogram;
    use opentelemetry_proto::tonic::{
        collector::metrics::v1::ExportMetricsServiceRequest,
        metrics::v1::{ExponentialHistogramDataPoint, Metric as ProtoMetric, metric},
    };
    use prost::Message;

    use super::*;
    use crate::proto;

    fn snapshot(nanos: &[u64]) -> MetricsSnapshot {
        let mut histogram = Histogram::default();
        nanos.iter().for_each(|nanos| histogram.record(*nanos));
        let exemplars = vec![journey_core::Exemplar { nanos: 5_000_000, at: 7, trace_id: 0xab, span_id: 0xcd }];
        let series = |name: &str, outcome: Option<&str>| Series {
            route: "message".into(),
            name: name.into(),
            outcome: outcome.map(str::to_owned),
            histogram: histogram.clone(),
            exemplars: exemplars.clone(),
        };
        MetricsSnapshot {
            started_at: 3,
            at: 9,
            legs: vec![series("db_write", None), Series { name: "never".into(), ..Series::default() }],
            segments: vec![series("inbound", Some("completed"))],
            operations: vec![Series { route: String::new(), ..series("other", None) }],
            active: vec![("message".into(), 4)],
            stuck: vec![("message".into(), "db_stored".into(), 2)],
            completions: vec![("message".into(), "completed".into(), 10)],
            checkpoints: vec![("message".into(), "db_stored".into(), "timeout".into(), 3)],
            skewed: vec![("message".into(), "db_write".into(), 1)],
            overflowed: 5,
            ..MetricsSnapshot::default()
        }
    }

    fn decoded(snapshot: &MetricsSnapshot, form: HistogramForm) -> Vec<ProtoMetric> {
        let figures = [DestinationFigures {
            name: "collector".into(),
            queued: 1,
            capacity: 2,
            exported: 3,
            lost: vec![("queue_full", 4)],
            breaker: Some("open"),
        }];
        let bytes = proto::metrics_request(&[], &metrics(snapshot, &figures, form), period(snapshot));
        let request = ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap();
        request.resource_metrics[0].scope_metrics[0].metrics.clone()
    }

    fn exponential_point(metrics: &[ProtoMetric], name: &str) -> ExponentialHistogramDataPoint {
        let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(metric.unit, "s");
        let Some(metric::Data::ExponentialHistogram(data)) = &metric.data else { panic!("{metric:?}") };
        assert_eq!((data.aggregation_temporality, data.data_points.len()), (2, 1), "an empty series is left out");
        data.data_points[0].clone()
    }

    #[test]
    fn exponential_histograms_carry_our_own_buckets_and_exemplars() {
        let nanos = [0, 1_000, 5_000_000, 5_000_000, 3_600_000_000_000];
        let metrics = decoded(&snapshot(&nanos), HistogramForm::Exponential);
        let point = exponential_point(&metrics, "journey.leg.duration");
        let positive = point.positive.clone().unwrap();
        assert!(positive.bucket_counts.len() <= MAX_BUCKETS);
        assert_eq!((point.count, point.zero_count, positive.bucket_counts.iter().sum()), (5, 1, 4_u64));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (3, 9));
        assert_eq!((point.min, point.max), (Some(0.0), Some(3600.0)));
        assert!((point.sum.unwrap() - 3600.010001).abs() < 1e-9);
        // The value of 5 ms counts in the bucket that holds it, at whatever scale was left.
        let base = 2_f64.powf(2_f64.powi(-point.scale));
        let index = (0.005_f64.ln() / base.ln()).ceil() as i32 - 1;
        assert_eq!(positive.bucket_counts[(index - positive.offset) as usize], 2);
        let exemplar = &point.exemplars[0];
        assert_eq!(exemplar.trace_id, 0xab_u128.to_be_bytes());
        assert_eq!((exemplar.span_id.as_slice(), exemplar.time_unix_nano), (&0xcd_u64.to_be_bytes()[..], 7));
    }

    #[test]
    fn few_values_keep_the_finest_scale() {
        let metrics = decoded(&snapshot(&[5_000_000, 6_000_000]), HistogramForm::Exponential);
        assert_eq!(exponential_point(&metrics, "journey.segment.duration").scale, 6);
    }

    #[test]
    fn explicit_histograms_have_powers_of_two_as_bounds_and_exact_counts() {
        let nanos = [0, 1_000, 500_000_000, 500_000_001, 5_000_000_000_000];
        let metrics = decoded(&snapshot(&nanos), HistogramForm::Explicit);
        let metric = metrics.iter().find(|metric| metric.name == "journey.leg.duration").unwrap();
        let Some(metric::Data::Histogram(data)) = &metric.data else { panic!("{metric:?}") };
        let point = &data.data_points[0];
        assert_eq!((point.explicit_bounds.len() + 1, point.bucket_counts.len()), (31, 31));
        let of = |bound: f64| point.bucket_counts[point.explicit_bounds.iter().position(|b| *b == bound).unwrap()];
        assert_eq!((of(2_f64.powi(-17)), of(0.5), of(1.0), point.bucket_counts[30]), (2, 1, 1, 1));
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    }

    #[test]
    fn numbers_have_their_kind_and_attributes_and_never_an_id() {
        let snapshot = snapshot(&[1]);
        let figures = [];
        let listed = crate::text::metrics(&metrics(&snapshot, &figures, HistogramForm::Exponential));
        for line in [
            "journey.active{journey.name=\"message\"} 4",
            "journey.stuck{journey.name=\"message\",journey.stage.name=\"db_stored\"} 2",
            "journey.completions{journey.name=\"message\",journey.outcome=\"completed\"} 10",
            "journey.checkpoints{journey.name=\"message\",journey.stage.name=\"db_stored\",error.type=\"timeout\"} 3",
            "journey.skewed{journey.name=\"message\",journey.leg.name=\"db_write\"} 1",
            "journey.drops{journey.drop.reason=\"queue_full\"} 0",
            "journey.metric.overflows{} 5",
            "journey.operation.duration{otel.metric.overflow=true} count=1",
        ] {
            assert!(listed.contains(line), "{line} in\n{listed}");
        }
        assert!(!listed.contains("journey.id"));
        let metrics = decoded(&snapshot, HistogramForm::Exponential);
        let kind = |name: &str| match &metrics.iter().find(|metric| metric.name == name).unwrap().data {
            Some(metric::Data::Sum(sum)) => format!("sum {} {}", sum.is_monotonic, sum.aggregation_temporality),
            Some(metric::Data::Gauge(gauge)) => format!("gauge {}", gauge.data_points.len()),
            other => format!("{other:?}"),
        };
        assert_eq!(kind("journey.active"), "sum false 2");
        assert_eq!(kind("journey.completions"), "sum true 2");
        assert_eq!(kind("journey.stuck"), "gauge 1");
        assert_eq!(kind("journey.exporter.breaker"), "gauge 3");
        assert_eq!(kind("journey.exporter.lost"), "sum true 2");
    }
}
