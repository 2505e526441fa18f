//! What the tests of the public surface share.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tracing::field::{Field, Visit};
use tracing_journey::{Builder, JourneyHandle};
use tracing_subscriber::{Layer, layer::Context};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A builder that reads nothing from the environment and opens no port.
pub(crate) fn builder() -> Builder {
    tracing_journey::builder().environment([]).service("test").no_http()
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen within {SOON:?}");
        std::thread::yield_now();
    }
}

/// Waits until everything recorded so far can be read.
pub(crate) fn settle(journey: &JourneyHandle) {
    assert!(journey.flush(SOON), "the tracker did not take everything within {SOON:?}");
}

/// One event as a layer saw it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeenEvent {
    pub(crate) level: tracing::Level,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl SeenEvent {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A layer that keeps every event.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<SeenEvent>>>);

impl Events {
    pub(crate) fn all(&self) -> Vec<SeenEvent> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn with_message(&self, part: &str) -> Vec<SeenEvent> {
        self.all().into_iter().filter(|event| event.field("message").is_some_and(|text| text.contains(part))).collect()
    }
}

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target().to_owned());
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(SeenEvent {
            level,
            target,
            fields: fields.0,
        });
    }
}

struct Fields(Vec<(String, String)>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name().to_owned(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name().to_owned(), value.to_owned()));
    }
}
