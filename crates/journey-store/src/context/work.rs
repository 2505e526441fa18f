//! What is said when a piece of work begins and ends, however it ends?

use std::{any::type_name, fmt::Display, thread};

use serde_json::{Map, Value};

use super::TraceContext;
use crate::{
    emit::{EventDraft, error_data},
    event::{Event, EventStatus, SpanId},
};

/// A piece of work that has begun. Dropped before its end, it says that too.
pub(super) struct Work {
    /// The place inside.
    inside: TraceContext,
    types: Types,
    /// What all its events say.
    data: Map<String, Value>,
    has_ended: bool,
}

/// How its ends are called.
struct Types {
    completed: String,
    failed: String,
    cancelled: String,
}

impl Work {
    /// Work of an area: `stage:process`.
    pub(super) fn begin(inside: &TraceContext, work: &str) -> Self {
        let (area, name) = work.split_once(':').unwrap_or(("stage", work));
        let of = |what: &str| format!("{area}:{what}");
        let types = Types { completed: of("completed"), failed: of("failed"), cancelled: of("cancelled") };
        let mut data = data([("name", name.to_owned())]);
        if inside.without_effect {
            data.insert("compensable".to_owned(), Value::Bool(false));
        }
        Self::begun(inside, of("started"), types, data)
    }

    /// What undoes an earlier span.
    pub(super) fn compensation(inside: &TraceContext, original: SpanId, name: &str) -> Self {
        let failed = "saga:compensation_failed".to_owned();
        let types = Types { completed: "saga:compensated".to_owned(), cancelled: failed.clone(), failed };
        let data = data([("name", name.to_owned()), ("compensates", original.to_string())]);
        Self::begun(inside, "saga:compensating".to_owned(), types, data)
    }

    fn begun(inside: &TraceContext, started: String, types: Types, data: Map<String, Value>) -> Self {
        let work = Self { inside: inside.clone(), types, data, has_ended: false };
        work.inside.record_here(work.event(started, EventStatus::Pending));
        work
    }

    pub(super) fn end<T, E: Display>(mut self, result: &Result<T, E>) {
        self.has_ended = true;
        match result {
            Ok(_) => self.inside.end(self.event(self.types.completed.clone(), EventStatus::Success)),
            Err(error) => {
                // Its `Display` is not ours and may panic; then the work has not ended yet.
                self.has_ended = false;
                let message = error.to_string();
                self.has_ended = true;
                self.failed(self.types.failed.clone(), type_name::<E>(), &message);
            }
        }
    }

    fn failed(&self, event_type: String, kind: &str, message: &str) {
        self.inside.end(self.event(event_type, EventStatus::Failed).data("error", error_data(kind, message)));
    }

    fn event(&self, event_type: String, status: EventStatus) -> EventDraft {
        let event = Event::draft(event_type).status(status);
        self.data.iter().fold(event, |event, (key, value)| event.data(key, value.clone()))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.has_ended {
        } else if thread::panicking() {
            self.failed(self.types.failed.clone(), "panic", "the work panicked");
        } else {
            self.failed(self.types.cancelled.clone(), "cancelled", "the work was dropped before it ended");
        }
    }
}

fn data<const N: usize>(members: [(&str, String); N]) -> Map<String, Value> {
    members.into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect()
}
