//! What is exported, as plain data: [`crate::proto`], [`crate::json`] and [`crate::text`] write it, nothing else knows
//! how.

use std::borrow::Cow;

/// A finished journey as spans: the root first, then its legs in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace<'a> {
    pub(crate) trace_id: u128,
    pub(crate) spans: Vec<Span<'a>>,
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span<'a> {
    pub(crate) span_id: u64,
    /// 0 for the root.
    pub(crate) parent_span_id: u64,
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: SpanKind,
    /// Unix nanoseconds.
    pub(crate) start: u64,
    /// Unix nanoseconds.
    pub(crate) end: u64,
    pub(crate) attributes: Vec<Attribute<'a>>,
    pub(crate) link: Option<Link>,
    /// The message of an ERROR status; without one the status is unset.
    pub(crate) error: Option<String>,
}

/// Kind of a span; the number is the one of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanKind {
    Internal = 1,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// A span elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Value<'a>,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Texts(&'a [String]),
    Ints(Vec<i64>),
}

/// One metric with all its points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric<'a> {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) data: Data<'a>,
}

/// Points of one metric; sums and histograms are cumulative.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data<'a> {
    Gauge(Vec<Number<'a>>),
    Sum { monotonic: bool, points: Vec<Number<'a>> },
    Exponential(Vec<Exponential<'a>>),
    Explicit(Vec<Explicit<'a>>),
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number<'a> {
    pub(crate) attributes: Vec<Attribute<'a>>,
    pub(crate) value: u64,
}

/// What both forms of a histogram say; values are seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary<'a> {
    pub(crate) attributes: Vec<Attribute<'a>>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) exemplars: Vec<Exemplar>,
}

/// A base-2 exponential histogram.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exponential<'a> {
    pub(crate) summary: Summary<'a>,
    pub(crate) scale: i32,
    pub(crate) zero_count: u64,
    pub(crate) offset: i32,
    pub(crate) counts: Vec<u64>,
}

/// A histogram with bounds of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Explicit<'a> {
    pub(crate) summary: Summary<'a>,
    /// Upper bounds, inclusive, ascending.
    pub(crate) bounds: Vec<f64>,
    /// One more than there are bounds.
    pub(crate) counts: Vec<u64>,
}

/// A value that can be looked up as a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// Seconds.
    pub(crate) value: f64,
    /// Unix nanoseconds.
    pub(crate) at: u64,
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
}

/// When all points of an export began and were read, unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl<'a> Attribute<'a> {
    pub(crate) fn new(key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl<'a> From<&'a [String]> for Value<'a> {
    fn from(texts: &'a [String]) -> Self {
        Self::Texts(texts)
    }
}

impl From<Vec<i64>> for Value<'_> {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Ints(numbers)
    }
}

impl SpanKind {
    /// The word in texts for people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// An instant as OTLP writes it; it has no time before 1970.
pub(crate) fn unix_nanos(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}
