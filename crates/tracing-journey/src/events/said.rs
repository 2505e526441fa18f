//! How does a `tracing` event with `event_type` read as an event of a store?
//!
//! ```text
//! tracing::info!(event_type = "ai:decision", decision = "route", chosen = "B", confidence = 0.7, "the queue is short");
//! ```
//!
//! | field | becomes |
//! |---|---|
//! | `event_type` | the type |
//! | `status` | the status: `success`, `failed` or `pending`; without it what the type says, see [`status_of`] |
//! | `duration_ms` | the duration |
//! | `trace_id`, `span_id`, `parent_span_id`, `parent_trace_id` | these ids, as hex digits |
//! | `tag.NAME` | a tag |
//! | `error` | `data.error` |
//! | everything else | `data`, under its name |

use std::{fmt::Debug, str::FromStr, sync::Weak};

use journey_core::{CorrelationId, Live, RouteIndex};
use journey_store::{Event, EventDraft, EventStatus};
use serde_json::{Value, json};
use tracing_core::{Field, Level, field::Visit};

use super::convert::Converter;

/// The field that makes a `tracing` event one of ours.
pub(crate) const EVENT_TYPE: &str = "event_type";

/// More of one text is not even copied; how much of it is stored, the limits of the redaction say.
const MAX_TEXT: usize = 64 << 10;

/// An event as the application said it.
#[derive(Debug)]
pub(crate) struct Said {
    /// Unix nanoseconds.
    at: i64,
    /// The journey around it, where there is one.
    journey: Option<(RouteIndex, CorrelationId)>,
    is_error: bool,
    fields: SaidFields,
}

/// What its fields say.
#[derive(Debug, Default)]
struct SaidFields(Vec<(&'static str, Value)>);

impl Said {
    /// Takes an event with its fields. User code (`Debug`, `Display`) runs inside.
    pub(crate) fn new(event: &tracing_core::Event<'_>, at: i64, journey: Option<(RouteIndex, CorrelationId)>) -> Self {
        let mut fields = SaidFields::default();
        event.record(&mut fields);
        Self { at, journey, is_error: *event.metadata().level() == Level::ERROR, fields }
    }

    /// The event to emit. Its journey's generation is looked up here, where nobody waits for it.
    pub(super) fn draft(self, live: &Weak<Live>, converter: &Converter) -> EventDraft {
        let Self { at, journey, is_error, fields } = self;
        let event_type = fields.text(EVENT_TYPE);
        let mut draft = Event::draft(event_type).at(at).status(status_of(event_type, is_error));
        if let Some(journey) = &journey {
            (draft, _) = converter.placed(draft, live, journey);
        }
        for (name, value) in fields.0 {
            draft = put(draft, name, value);
        }
        draft
    }
}

/// What a type says of how the work stands: `..failed` and `..cancelled` failed, `..started` and `..compensating` are
/// pending, and everything else is a success. An event of level `ERROR` is a failure, unless it says a status.
fn status_of(event_type: &str, is_error: bool) -> EventStatus {
    let what = event_type.rsplit(':').next().unwrap_or_default();
    match what {
        _ if is_error => EventStatus::Failed,
        "started" | "compensating" => EventStatus::Pending,
        _ if what.ends_with("failed") || what == "cancelled" => EventStatus::Failed,
        _ => EventStatus::Success,
    }
}

fn put(draft: EventDraft, name: &'static str, value: Value) -> EventDraft {
    let text = value.as_str();
    match name {
        EVENT_TYPE => draft,
        "status" => match text {
            Some("success") => draft.status(EventStatus::Success),
            Some("failed") => draft.status(EventStatus::Failed),
            Some("pending") => draft.status(EventStatus::Pending),
            // A field of that name with another meaning.
            _ => draft.data(name, value),
        },
        "duration_ms" => match value.as_f64().filter(|ms| (0.0..1e12).contains(ms)) {
            Some(ms) => draft.duration(std::time::Duration::from_secs_f64(ms / 1e3)),
            None => draft.data(name, value),
        },
        "trace_id" => put_id(draft, name, value, EventDraft::trace_id),
        "parent_trace_id" => put_id(draft, name, value, EventDraft::parent_trace_id),
        "span_id" => put_id(draft, name, value, EventDraft::span_id),
        "parent_span_id" => put_id(draft, name, value, EventDraft::parent_span_id),
        "error" => match text {
            Some(text) => draft.data(name, json!({ "type": "error", "message": text })),
            None => draft.data(name, value),
        },
        _ => match name.strip_prefix("tag.") {
            Some(tag) if !tag.is_empty() => {
                let word = text.map_or_else(|| value.to_string(), str::to_owned);
                draft.tag(tag, word)
            }
            _ => draft.data(name, value),
        },
    }
}

/// An id where the text is one; else a field of that name with another meaning.
fn put_id<I: FromStr>(
    draft: EventDraft,
    name: &'static str,
    value: Value,
    put: impl FnOnce(EventDraft, I) -> EventDraft,
) -> EventDraft {
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(id) => put(draft, id),
        None => draft.data(name, value),
    }
}

impl SaidFields {
    fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }

    fn put(&mut self, field: &Field, value: Value) {
        // `record` of one field twice: the last one counts.
        self.0.retain(|(name, _)| *name != field.name());
        self.0.push((field.name(), value));
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

impl Visit for SaidFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // What JSON has no number for is still told.
        let number = serde_json::Number::from_f64(value);
        self.put(field, number.map_or_else(|| Value::from(value.to_string()), Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, value.to_string().into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, value.to_string().into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, cut(&value.to_string()).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Bounded(String::new());
        // A value whose `Debug` reports an error is taken as far as it got.
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{value:?}"));
        self.put(field, text.0.into());
    }
}

/// A text that takes no more than [`MAX_TEXT`] bytes, however much is written.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = MAX_TEXT - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_says_how_the_work_stands() {
        let of = |text| status_of(text, false);
        assert_eq!(of("saga:compensating"), EventStatus::Pending);
        assert_eq!(of("stage:started"), EventStatus::Pending);
        assert_eq!(of("saga:compensation_failed"), EventStatus::Failed);
        assert_eq!(of("stage:cancelled"), EventStatus::Failed);
        assert_eq!(of("ai:decision"), EventStatus::Success);
        assert_eq!(status_of("ai:decision", true), EventStatus::Failed);
    }

    #[test]
    fn a_text_without_an_end_is_cut_at_a_character() {
        let mut text = Bounded(String::new());
        for _ in 0..100_000 {
            std::fmt::Write::write_str(&mut text, "€").unwrap();
        }
        assert!(text.0.len() <= MAX_TEXT && text.0.len() > MAX_TEXT - 3);
    }
}
