//! What happened: one row, one JSON form.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// The longest event type, in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 64;

/// An OpenTelemetry trace id, never zero: 32 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

/// An OpenTelemetry span id, never zero: 16 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(u64);

/// What an event says about the work it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It worked.
    Success,
    /// It failed.
    Failed,
    /// It has begun, or nothing is known yet.
    #[default]
    Pending,
}

/// One thing that happened on the way of a message or in a workflow. A checkpoint is an event of type `stage:*`.
///
/// `(trace_id, timestamp, emitter, seq)` names an event: the same four are the same event, however often it arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The trace it is part of.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// The span it is about: `started` and `completed` of one piece of work share it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// The span around that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_span_id: Option<SpanId>,
    /// The trace that started this one, where it is a child workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_trace_id: Option<TraceId>,
    /// The message it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What happened: `area:what`, such as `workflow:started`, `stage:completed`, `saga:compensating`, `ai:decision`.
    pub event_type: String,
    /// When, unix nanoseconds; RFC 3339 with nine digits in JSON.
    #[serde(with = "instant")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub timestamp: i64,
    /// Who emitted it: a random number of one process start, below 2^63.
    pub emitter: u64,
    /// Its number among the emitter's events: counted from 1 without gaps at the call, before any queue, below 2^63.
    pub seq: u64,
    /// How the work stands.
    pub status: EventStatus,
    /// How long the work took, nanoseconds; `durationMs` in JSON.
    #[serde(rename = "durationMs", default, with = "duration", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>))]
    pub duration: Option<i64>,
    /// The route or workflow it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What else is known, after redaction.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: Map<String, Value>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Why something is not an event, an id or a type. What was given is named with at most 64 characters, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEvent(String);

impl TraceId {
    /// An id by its number; `None` for 0.
    pub fn new(id: u128) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The number.
    pub fn get(self) -> u128 {
        self.0
    }

    /// The sixteen bytes, most significant first, as stores keep it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id of sixteen bytes; `None` where there are not sixteen or all are zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::new(u128::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl SpanId {
    /// An id by its number; `None` for 0.
    pub fn new(id: u64) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The eight bytes, most significant first, as stores keep it.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The id of eight bytes; `None` where there are not eight or all are zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::new(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl EventStatus {
    /// The word in JSON and on the command line: `success`, `failed`, `pending`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

impl Event {
    /// An event with nothing else known. Emitter and number are given to it by whoever emits it.
    pub fn new(trace_id: TraceId, span_id: SpanId, event_type: &str, timestamp: i64) -> Self {
        Self {
            trace_id,
            span_id,
            parent_span_id: None,
            parent_trace_id: None,
            correlation_id: None,
            event_type: event_type.to_owned(),
            timestamp,
            emitter: 0,
            seq: 0,
            status: EventStatus::Pending,
            duration: None,
            route: None,
            data: Map::new(),
            tags: BTreeMap::new(),
        }
    }

    /// Whether its type and numbers are what a store can keep.
    ///
    /// # Errors
    ///
    /// The type is empty, longer than 64 bytes or has other characters than `a-z A-Z 0-9 _ . : -`; emitter or number
    /// are 2^63 or more.
    pub fn check(&self) -> Result<(), InvalidEvent> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        let named = &self.event_type;
        if named.is_empty() || named.len() > MAX_EVENT_TYPE_BYTES || !named.chars().all(allowed) {
            return Err(InvalidEvent::new("an event type", named, "stage:completed"));
        }
        for (what, number) in [("an emitter", self.emitter), ("an event number", self.seq)] {
            if i64::try_from(number).is_err() {
                return Err(InvalidEvent::new(what, &number.to_string(), "17"));
            }
        }
        Ok(())
    }
}

impl InvalidEvent {
    pub(crate) fn new(what: &str, given: &str, example: &str) -> Self {
        let shown: String = given.chars().take(64).collect();
        Self(format!("`{}` is not {what} (try `{example}`)", shown.escape_debug()))
    }
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidEvent {}

/// Text form of an id: hex digits of fixed width, read and written, in JSON too.
macro_rules! hex_id {
    ($id:ty, $number:ty, $digits:literal, $what:literal, $example:literal) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $id {
            type Err = InvalidEvent;

            fn from_str(text: &str) -> Result<Self, InvalidEvent> {
                let is_hex = text.len() == $digits && text.bytes().all(|digit| digit.is_ascii_hexdigit());
                let number = <$number>::from_str_radix(text, 16).ok().filter(|_| is_hex);
                number.and_then(Self::new).ok_or_else(|| InvalidEvent::new($what, text, $example))
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(TraceId, u128, 32, "a trace id", "4bf92f3577b34da6a3ce929d0e0e4736");
hex_id!(SpanId, u64, 16, "a span id", "00f067aa0ba902b7");

/// An instant in JSON: RFC 3339 with all nine digits, so that nothing is lost.
mod instant {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(nanos: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        match Timestamp::from_nanosecond(i128::from(*nanos)) {
            Ok(at) => serializer.collect_str(&format_args!("{at:.9}")),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        journey_core::parse_instant(&text).map_err(D::Error::custom)
    }
}

/// A duration in JSON: milliseconds. Nanoseconds of up to 104 days come back exactly.
mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(nanos: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        match nanos {
            Some(nanos) => serializer.serialize_f64(*nanos as f64 / 1e6),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        let Some(millis) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
        let nanos = (millis * 1e6).round();
        // Beyond this an `i64` ends; `as` would go to its end in silence.
        if nanos.abs() < 9.2e18 {
            Ok(Some(nanos as i64))
        } else {
            Err(D::Error::custom(format_args!("`{millis}` is not a duration in milliseconds (try `12.5`)")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_back_from_json_to_the_nanosecond() {
        let trace: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
        let mut event = Event::new(trace, SpanId::new(7).unwrap(), "stage:completed", 1_790_000_000_123_456_789);
        event.duration = Some(61_000_000_007);
        event.parent_span_id = SpanId::new(1);
        event.tags.insert("tenant".to_owned(), "a".to_owned());
        event.data.insert("attempt".to_owned(), 2.into());
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.contains(r#""timestamp":"2026-09-21T14:13:20.123456789Z""#), "{text}");
        assert!(text.contains(r#""durationMs":61000.000007"#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn ids_and_types_that_are_none_are_named() {
        for text in ["", "0", "00000000000000000000000000000000", "4bf92f3577b34da6a3ce929d0e0e47+6"] {
            let error = text.parse::<TraceId>().unwrap_err().to_string();
            assert!(error.contains("is not a trace id (try `4bf92f"), "{error}");
        }
        let mut event = Event::new(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), "a b", 0);
        assert_eq!(event.check().unwrap_err().to_string(), "`a b` is not an event type (try `stage:completed`)");
        event.event_type = "stage:completed".to_owned();
        assert_eq!(event.check(), Ok(()));
        event.seq = 1 << 63;
        assert!(event.check().is_err());
    }
}
