//! An event as it travels: written once, bounded, and named by what makes it the same event wherever it arrives.

use std::io::{self, Write};

use bytes::Bytes;
use journey_store::{Event, TraceId};
use serde_json::Value;

use crate::queue::Loss;

/// The longest written event. NATS takes 1 MiB with headers unless told otherwise.
pub(crate) const MAX_EVENT_BYTES: usize = 512 << 10;
/// The deepest nesting of an event's data: readers of JSON give up at 128.
const MAX_DEPTH: usize = 100;
/// The longest correlation id, as everywhere in Journey.
const MAX_CORRELATION_ID_BYTES: usize = 128;
/// Partitions of the events: a subject per trace would cost a server memory without end.
pub(crate) const PARTITIONS: u32 = 64;

/// What makes two events the same one: trace, instant, emitter and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(TraceId, i64, u64, u64);

/// An event ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) identity: Identity,
    /// Where it can stand in a header: at most 128 bytes without control characters.
    pub(crate) correlation_id: Option<Box<str>>,
    /// The event as JSON.
    pub(crate) body: Bytes,
}

impl Identity {
    pub(crate) fn of(event: &Event) -> Self {
        Self(event.trace_id, event.timestamp, event.emitter, event.seq)
    }

    pub(crate) fn trace_id(&self) -> TraceId {
        self.0
    }
}

/// Letters, digits and `:` only, whatever the event holds.
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(trace, timestamp, emitter, seq) = self;
        write!(f, "{trace}:{timestamp:x}:{emitter:x}:{seq:x}")
    }
}

impl Message {
    /// Writes an event; the reason where nobody could read it back.
    pub(crate) fn of(event: &Event) -> Result<Self, Loss> {
        event.check().map_err(|_| Loss::Invalid)?;
        // The duration that JSON cannot carry back, see `Event`.
        if event.duration.is_some_and(|nanos| nanos.unsigned_abs() > 9_000_000_000_000_000_000) {
            return Err(Loss::Invalid);
        }
        if event.data.values().any(|value| !is_shallow(value)) {
            return Err(Loss::Invalid);
        }
        let mut body = Bounded { bytes: Vec::with_capacity(512), is_full: false };
        match serde_json::to_writer(&mut body, event) {
            Ok(()) => {}
            Err(_) if body.is_full => return Err(Loss::TooLarge),
            Err(_) => return Err(Loss::Invalid),
        }
        let correlation_id = event
            .correlation_id
            .as_deref()
            .filter(|id| !id.is_empty() && id.len() <= MAX_CORRELATION_ID_BYTES && !id.chars().any(char::is_control));
        let correlation_id = correlation_id.map(Into::into);
        Ok(Self { identity: Identity::of(event), correlation_id, body: body.bytes.into() })
    }

    /// What it takes of the queue's bytes.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + size_of::<Self>() + self.correlation_id.as_ref().map_or(0, |id| id.len())
    }
}

/// The partition of a trace: FNV-1a (32 bit) of its 32 hex digits, modulo 64. NATS servers compute the same for a
/// token of a subject, with `partition(64, ..)`.
pub(crate) fn partition(trace: TraceId) -> u32 {
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    trace.to_string().bytes().fold(0x811c_9dc5, hash) % PARTITIONS
}

/// Whether a value nests no deeper than [`MAX_DEPTH`]. Not recursive: what is too deep to write is too deep to walk.
fn is_shallow(value: &Value) -> bool {
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return false;
        }
        match value {
            Value::Array(values) => open.extend(values.iter().filter(|v| is_nested(v)).map(|v| (v, depth + 1))),
            Value::Object(values) => open.extend(values.values().filter(|v| is_nested(v)).map(|v| (v, depth + 1))),
            _ => {}
        }
    }
    true
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

/// Takes bytes up to [`MAX_EVENT_BYTES`], so that a huge event costs no huge memory.
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_EVENT_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use journey_store::SpanId;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event() -> Event {
        Event::new(TraceId::new(0xabc).unwrap(), SpanId::new(1).unwrap(), "stage:completed", 7)
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn what_is_taken_can_be_read_back() {
        let mut event = event();
        event.data.insert("deep".to_owned(), nested(MAX_DEPTH));
        event.correlation_id = Some("id".to_owned());
        let message = Message::of(&event).unwrap();
        assert_eq!(serde_json::from_slice::<Event>(&message.body).unwrap(), event);
        assert_eq!(message.identity.to_string(), "00000000000000000000000000000abc:7:0:0");
    }

    #[test]
    fn what_nobody_could_read_is_refused_with_its_reason() {
        let refusal = |change: &dyn Fn(&mut Event)| {
            let mut event = event();
            change(&mut event);
            let refusal = Message::of(&event).unwrap_err();
            // Dropping a value takes as deep a stack as it nests.
            std::mem::forget(event);
            refusal
        };
        assert_eq!(
            refusal(&|e| {
                e.data.insert("a".to_owned(), nested(MAX_DEPTH + 1));
            }),
            Loss::Invalid
        );
        assert_eq!(
            refusal(&|e| {
                e.data.insert("a".to_owned(), nested(100_000));
            }),
            Loss::Invalid
        );
        assert_eq!(
            refusal(&|e| {
                e.data.insert("a".to_owned(), "x".repeat(MAX_EVENT_BYTES).into());
            }),
            Loss::TooLarge
        );
        assert_eq!(refusal(&|e| e.event_type = "a\r\nb".to_owned()), Loss::Invalid);
        assert_eq!(refusal(&|e| e.duration = Some(i64::MIN)), Loss::Invalid);
        assert_eq!(refusal(&|e| e.seq = u64::MAX), Loss::Invalid);
    }

    #[test]
    fn a_partition_is_what_a_nats_server_computes() {
        // FNV-1a of 32 zeros but for the last digit, from the reference implementation.
        let of = |id| partition(TraceId::new(id).unwrap());
        let by_hand = |text: &str| {
            text.bytes().fold(2_166_136_261_u64, |h, b| ((h ^ u64::from(b)) * 16_777_619) % (1 << 32)) % 64
        };
        for id in [1, 2, 0xabc, u128::MAX] {
            assert_eq!(u64::from(of(id)), by_hand(&format!("{id:032x}")));
        }
    }

    proptest! {
        #[test]
        fn only_safe_characters_reach_an_identity_or_a_header(id in ".{0,200}", timestamp: i64, emitter: u64, seq: u64) {
            let mut event = event();
            event.correlation_id = Some(id);
            (event.timestamp, event.emitter, event.seq) = (timestamp, emitter >> 1, seq >> 1);
            let message = Message::of(&event).unwrap();
            prop_assert!(message.identity.to_string().bytes().all(|b| b.is_ascii_alphanumeric() || b == b':'));
            if let Some(id) = message.correlation_id {
                prop_assert!(id.len() <= 128 && !id.contains(['\r', '\n', '\0']));
            }
            prop_assert_eq!(serde_json::from_slice::<Event>(&message.body).unwrap(), event);
        }
    }
}
