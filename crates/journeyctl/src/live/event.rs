//! One event of the stream, read by its kind.

use journey_core::{
    CheckpointEvent,
    view::{JourneyView, StuckView},
};
use serde_json::Value;

use crate::{
    look::Look,
    sse::SseEvent,
    text::{clean, column_duration, count, duration, rough_duration},
};

/// What the stream said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A checkpoint was recorded.
    Checkpoint(CheckpointEvent),
    /// A journey was finished.
    Journey(Box<JourneyView>),
    /// A journey became stuck.
    Stuck(StuckView),
    /// Events are missing; how many, where that is known.
    Lagged(Option<u64>),
    /// Events in between are gone, and why.
    Reset(String),
    /// The server is alive; nothing happened.
    Heartbeat,
    /// Of a kind this program does not know.
    Unknown(String),
}

impl Event {
    /// Reads an event. What cannot be read is [`Event::Unknown`]: a newer server may say more than we know.
    pub(crate) fn read(event: &SseEvent) -> Self {
        let data = event.data.as_str();
        let read = match event.name.as_str() {
            "checkpoint" => serde_json::from_str(data).ok().map(Self::Checkpoint),
            "journey" => serde_json::from_str(data).ok().map(|journey| Self::Journey(Box::new(journey))),
            "stuck" => serde_json::from_str(data).ok().map(Self::Stuck),
            "lagged" => Some(Self::Lagged(missed(data))),
            "reset" => Some(Self::Reset(reason(data).unwrap_or_else(|| "not said".to_owned()))),
            // The first event of a stream only carries the id to come back with.
            _ if data.is_empty() => Some(Self::Heartbeat),
            "heartbeat" => Some(Self::Heartbeat),
            _ => None,
        };
        read.unwrap_or_else(|| Self::Unknown(event.name.clone()))
    }

    /// The event as one line, without its end; `None` where it says nothing to people.
    ///
    /// `now` stands before events that carry no instant of their own.
    pub(crate) fn line(&self, now: &str, look: &Look) -> Option<String> {
        let at = |instant: &str| if instant.is_empty() { now.to_owned() } else { clean(instant, look) };
        Some(match self {
            Self::Checkpoint(seen) => {
                let leg = seen.leg_ms.map(|ms| {
                    let sign = if ms < 0.0 { "" } else { "+" };
                    format!(" {sign}{}", column_duration(ms, look))
                });
                let outcome =
                    if seen.outcome == "reached" { String::new() } else { format!(" {}", clean(&seen.outcome, look)) };
                let (id, stage, name) =
                    (clean(&seen.correlation_id, look), clean(&seen.stage, look), clean(&seen.name, look));
                format!("{} checkpoint {id} {stage} {name}{outcome}{}", at(&seen.at), leg.unwrap_or_default())
            }
            Self::Journey(journey) => {
                let id = clean(&journey.correlation_id, look);
                let total = journey.total_ms.map(|ms| format!(" {}", duration(ms, look))).unwrap_or_default();
                let worst = journey
                    .bottleneck
                    .as_ref()
                    .map(|worst| format!(" bottleneck {} {}", clean(&worst.leg, look), duration(worst.ms, look)));
                let reason = journey.reason.as_deref().map(|reason| format!(" reason {}", clean(reason, look)));
                let at = at(journey.finished_at.as_deref().unwrap_or_default());
                let (reason, worst) = (reason.unwrap_or_default(), worst.unwrap_or_default());
                format!("{at} journey {id} {}{total}{worst}{reason}", clean(&journey.status, look))
            }
            Self::Stuck(stuck) => {
                let (id, stage) = (clean(&stuck.correlation_id, look), clean(&stuck.stage, look));
                format!("{now} stuck {id} {stage} idle {}", rough_duration(stuck.idle_ms, look))
            }
            Self::Lagged(_) | Self::Reset(_) | Self::Heartbeat | Self::Unknown(_) => return None,
        })
    }

    /// What a reader of the lines has to know besides them.
    pub(crate) fn warning(&self) -> Option<String> {
        match self {
            Self::Lagged(Some(missed)) => {
                Some(format!("{} events were missed: reading was too slow or interrupted", count(*missed)))
            }
            Self::Lagged(None) => Some("some events were missed".to_owned()),
            Self::Reset(reason) => Some(format!("events in between are lost: {reason}")),
            _ => None,
        }
    }
}

fn reason(data: &str) -> Option<String> {
    Some(serde_json::from_str::<Value>(data).ok()?.get("reason")?.as_str()?.to_owned())
}

/// A number, or the first number of an object.
fn missed(data: &str) -> Option<u64> {
    match serde_json::from_str(data).ok()? {
        Value::Object(object) => object.values().find_map(Value::as_u64),
        value => value.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { width: 100, color: false, unicode: true };

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.into(), data: data.into(), id: "7".into() }
    }

    fn line(name: &str, data: &str) -> Option<String> {
        Event::read(&event(name, data)).line("NOW", &LOOK)
    }

    #[test]
    fn every_kind_of_event_is_one_line() {
        let checkpoint = r#"{"correlationId":"msg_1","stage":"T4","name":"db_stored","outcome":"reached","at":"2026-11-20T10:00:00.052Z","leg":"db_write","legMs":127.4}"#;
        assert_eq!(
            line("checkpoint", checkpoint).unwrap(),
            "2026-11-20T10:00:00.052Z checkpoint msg_1 T4 db_stored +127 ms"
        );
        let failed = r#"{"correlationId":"a\u001b[2J\nb","stage":"T4","name":"db_stored","outcome":"failed"}"#;
        assert_eq!(line("checkpoint", failed).unwrap(), "NOW checkpoint a\\u{1b}[2J\\u{a}b T4 db_stored failed");
        let journey = r#"{"correlationId":"msg_1","status":"failed","reason":"boom","totalMs":2255,"finishedAt":"2026-11-20T10:00:02.255Z","bottleneck":{"leg":"db_write","ms":127}}"#;
        assert_eq!(
            line("journey", journey).unwrap(),
            "2026-11-20T10:00:02.255Z journey msg_1 failed 2.255 s bottleneck db_write 127 ms reason boom"
        );
        let stuck = r#"{"correlationId":"msg_9","stage":"T4","idleMs":45000}"#;
        assert_eq!(line("stuck", stuck).unwrap(), "NOW stuck msg_9 T4 idle 45 s");
        for (name, data) in [("heartbeat", "{}"), ("news", "{}"), ("message", "")] {
            assert_eq!(line(name, data), None);
        }
        let reset = Event::read(&event("reset", r#"{"reason":"the process was started again"}"#));
        assert_eq!(reset.warning().unwrap(), "events in between are lost: the process was started again");
    }

    #[test]
    fn missed_events_are_told() {
        for (data, warning) in
            [(r#"{"count":1200}"#, "1 200 events were missed"), ("3", "3 events"), ("?", "some events")]
        {
            let text = Event::read(&event("lagged", data)).warning().unwrap();
            assert!(text.contains(warning), "{text}");
        }
    }
}
