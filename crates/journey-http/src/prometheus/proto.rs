//! Protobuf: delimited `io.prometheus.client.MetricFamily` messages, with classic and native histograms at once.

use journey_core::{Exemplar, Histogram};
use prost::Message;

use super::{
    families::{Family, Kind, Value},
    text::{EXPONENTS, edge, exemplars_by_bucket, seconds},
};

/// Values up to here count as zero: what the official client uses. We only count 0 itself there.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// The schemas that Prometheus knows.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Writes all families.
pub(super) fn write(families: &[Family<'_>], started_at: i64) -> Vec<u8> {
    let created = timestamp(started_at);
    let mut bytes = Vec::with_capacity(64 * 1_024);
    for family in families {
        // A Vec grows, so there is always room.
        let _ = family_message(family, created).encode_length_delimited(&mut bytes);
    }
    bytes
}

fn family_message(family: &Family<'_>, created: Timestamp) -> MetricFamily {
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    let metric = family.samples.iter().map(|sample| {
        let mut metric = Metric {
            label: sample.labels.iter().map(|(name, value)| label(name, value.clone())).collect(),
            ..Metric::default()
        };
        match (&sample.value, family.kind) {
            (Value::Histogram(histogram, exemplars), _) => {
                metric.histogram = Some(histogram_message(histogram, exemplars, created));
            }
            (Value::Number(value), Kind::Counter) => {
                metric.counter = Some(Counter { value: Some(*value), created_timestamp: Some(created) });
            }
            (Value::Number(value), _) => metric.gauge = Some(Gauge { value: Some(*value) }),
        }
        metric
    });
    MetricFamily {
        name: Some(format!("{}{total}", family.name)),
        help: Some(family.help.to_owned()),
        r#type: Some(match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        } as i32),
        metric: metric.collect(),
        unit: family.unit().map(str::to_owned),
    }
}

fn histogram_message(histogram: &Histogram, exemplars: &[Exemplar], created: Timestamp) -> HistogramMessage {
    let by_bucket = exemplars_by_bucket(exemplars);
    let bucket = EXPONENTS.zip(&by_bucket).map(|(exponent, exemplar)| Bucket {
        cumulative_count: Some(histogram.count_up_to_power_of_two(exponent)),
        upper_bound: Some(edge(exponent)),
        exemplar: exemplar.map(exemplar_message),
    });
    let last = Bucket {
        cumulative_count: Some(histogram.count()),
        upper_bound: Some(f64::INFINITY),
        exemplar: by_bucket.last().copied().flatten().map(exemplar_message),
    };
    let (schema, spans, deltas) = native(histogram);
    HistogramMessage {
        sample_count: Some(histogram.count()),
        sample_sum: Some(histogram.sum_nanos() as f64 / 1e9),
        bucket: bucket.chain([last]).collect(),
        schema: Some(schema),
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(histogram.zero_count()),
        positive_span: spans,
        positive_delta: deltas,
        created_timestamp: Some(created),
        exemplars: by_bucket.iter().flatten().map(|exemplar| exemplar_message(exemplar)).collect(),
    }
}

/// Our buckets as schema, spans and deltas. Ours are numbered by their lower edge, those of Prometheus by their upper.
fn native(histogram: &Histogram) -> (i32, Vec<BucketSpan>, Vec<i64>) {
    let mut buckets = histogram.buckets();
    if let Ok(too_fine @ 1..) = u32::try_from(buckets.scale - SCHEMAS.end()) {
        buckets = buckets.downscaled(too_fine);
    }
    let (mut spans, mut deltas) = (Vec::<BucketSpan>::new(), Vec::new());
    let (mut before, mut next_index) = (0_i64, 0_i32);
    for (place, count) in buckets.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // At most a few thousand buckets between 1 ns and 584 years: far from the bounds of i32.
        let index = buckets.offset + place as i32 + 1;
        match spans.last_mut() {
            Some(span) if index == next_index => span.length = span.length.map(|length| length + 1),
            _ => spans.push(BucketSpan { offset: Some(index - next_index), length: Some(1) }),
        }
        next_index = index + 1;
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        before = count;
    }
    if spans.is_empty() {
        // A span of no length says: native, and empty so far.
        spans.push(BucketSpan { offset: Some(0), length: Some(0) });
    }
    (buckets.scale, spans, deltas)
}

fn exemplar_message(exemplar: &Exemplar) -> ExemplarMessage {
    ExemplarMessage {
        label: vec![
            label("trace_id", format!("{:032x}", exemplar.trace_id)),
            label("span_id", format!("{:016x}", exemplar.span_id)),
        ],
        value: Some(seconds(exemplar)),
        timestamp: Some(timestamp(exemplar.at)),
    }
}

fn label(name: &str, value: String) -> LabelPair {
    LabelPair { name: Some(name.to_owned()), value: Some(value) }
}

fn timestamp(nanos: i64) -> Timestamp {
    Timestamp { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as i32 }
}

/// `io.prometheus.client.MetricFamily`, as far as we write it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    help: Option<String>,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    pub(super) metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    unit: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(super) label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    pub(super) histogram: Option<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) value: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    pub(super) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(super) sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub(super) bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    pub(super) schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub(super) zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(super) positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    pub(super) positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created_timestamp: Option<Timestamp>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<ExemplarMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub(super) cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<ExemplarMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    pub(super) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) length: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarMessage {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(double, optional, tag = "2")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
