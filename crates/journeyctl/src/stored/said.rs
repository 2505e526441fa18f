//! What does one event say in a line?

use journey_core::rfc3339;
use journey_store::{Event, EventStatus};
use serde_json::Value;

use crate::{
    look::Look,
    page::Tone,
    text::{clean, column_duration, fit},
};

/// The longest text of data in a line, in columns.
const LONGEST: usize = 300;

/// One event, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// When, RFC 3339.
    pub(crate) at: String,
    /// How it stands, as one character or two.
    pub(crate) mark: &'static str,
    pub(crate) tone: Tone,
    /// Its type.
    pub(crate) event_type: String,
    /// What it is about: name of a work, or what was decided.
    pub(crate) what: String,
    /// How long it took; empty where it does not say.
    pub(crate) took: String,
    /// The message it is about, else its trace.
    pub(crate) about: String,
    /// What went wrong, or why it was decided so.
    pub(crate) note: String,
}

impl Said {
    pub(crate) fn of(event: &Event, look: &Look) -> Self {
        let is_decision = event.event_type.ends_with(":decision");
        let (mark, tone) = mark(event.status, is_decision, look);
        let text = |key: &str| text_of(event.data.get(key)?, look);
        let arrow = look.pick("→", "->");
        let what = match (text("decision").filter(|_| is_decision), text("chosen")) {
            (Some(decision), Some(chosen)) => format!("{decision} {arrow} {chosen}"),
            (Some(decision), None) => decision,
            (None, _) => {
                let named = text("name").or_else(|| text("stage"));
                let of_workflow = event.route.as_ref().filter(|_| event.event_type.starts_with("workflow:"));
                named.or_else(|| of_workflow.map(|route| clean(route, look))).unwrap_or_default()
            }
        };
        let note = event.data.get("error").map(|error| error_text(error, look));
        let note = note.or_else(|| text("reasoning").filter(|_| is_decision)).unwrap_or_default();
        Self {
            at: rfc3339(event.timestamp),
            mark,
            tone,
            event_type: clean(&event.event_type, look),
            what,
            took: event.duration.map_or_else(String::new, |nanos| column_duration(nanos as f64 / 1e6, look)),
            about: event.correlation_id.as_ref().map_or_else(|| event.trace_id.to_string(), |id| clean(id, look)),
            note,
        }
    }

    /// All of it in one line, for those who follow events.
    pub(crate) fn line(&self) -> String {
        let Self { at, mark, event_type, what, took, about, note, .. } = self;
        let parts = [what, took, note].into_iter().filter(|part| !part.is_empty());
        let parts: Vec<&str> = parts.map(String::as_str).collect();
        format!("{at} {mark} {about} {event_type} {}", parts.join(" ")).trim_end().to_owned()
    }
}

/// How something stands.
pub(crate) fn mark(status: EventStatus, is_decision: bool, look: &Look) -> (&'static str, Tone) {
    match status {
        EventStatus::Failed => (pick(look, "✗", "x"), Tone::Bad),
        _ if is_decision => (pick(look, "◆", "*"), Tone::Warn),
        EventStatus::Success => (pick(look, "✓", "ok"), Tone::Good),
        EventStatus::Pending => (pick(look, "…", ".."), Tone::Faint),
    }
}

fn pick(look: &Look, unicode: &'static str, ascii: &'static str) -> &'static str {
    if look.unicode { unicode } else { ascii }
}

/// `PaymentTimeout: no answer from the bank`, as far as an error says so.
fn error_text(error: &Value, look: &Look) -> String {
    let part = |key: &str| text_of(error.get(key)?, look);
    match (part("type"), part("message")) {
        (Some(error_type), Some(message)) => format!("{error_type}: {message}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => text_of(error, look).unwrap_or_default(),
    }
}

/// A value in one line; nothing for what has no words.
fn text_of(value: &Value, look: &Look) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => return None,
        other => other.to_string(),
    };
    // Cut before it is cleaned, and again: it may be a megabyte, and every character of it six columns.
    let short: String = text.chars().take(LONGEST + 1).collect();
    Some(fit(&clean(&short, look), LONGEST, look)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use journey_store::{SpanId, TraceId, fixture::Saga};
    use serde_json::json;

    use super::*;

    const LOOK: Look = Look { width: Look::UNLIMITED, color: false, unicode: true };

    #[test]
    fn every_event_of_an_order_that_failed_is_a_line() {
        let events = Saga { fails_at: Some(9), ..Saga::default() }.events();
        let lines: Vec<String> = events.iter().map(|event| Said::of(event, &LOOK).line()).collect();
        insta::assert_snapshot!(lines[..8].join("\n"));
        insta::assert_snapshot!(lines[21..].join("\n"));
    }

    #[test]
    fn hostile_data_stays_one_short_line() {
        let mut event = Event::new(TraceId::new(1).unwrap(), SpanId::new(2).unwrap(), "stage:failed", 0);
        event.correlation_id = Some("a\u{1b}[2J\nb".into());
        for (error, shown) in [
            (json!({"type": "E", "message": "x\u{202e}\ny"}), "E: x\\u{202e}\\u{a}y"),
            (json!({"message": {"code": 7}}), "{\"code\":7}"),
            (json!("plain"), "plain"),
            (json!([1, 2]), "[1,2]"),
            (json!(null), ""),
        ] {
            event.data.insert("error".into(), error);
            let said = Said::of(&event, &LOOK);
            assert_eq!((said.note.as_str(), said.about.as_str()), (shown, "a\\u{1b}[2J\\u{a}b"));
        }
        event.data.insert("error".into(), json!("\u{1b}".repeat(1 << 20)));
        assert!(Said::of(&event, &LOOK).line().len() < 500);
    }
}
