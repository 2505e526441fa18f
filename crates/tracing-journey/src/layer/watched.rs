//! What did the Layer notice about itself? Read by the self-check.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use journey_core::{OpenStage, OpenStages};
use parking_lot::Mutex;
use tracing_core::{Dispatch, Metadata};
use tracing_subscriber::Registry;

use super::Inner;
use crate::self_check::LayerFacts;

/// Callsites without an id that are told apart; the rest are counted together.
const MAX_NO_ID_CALLSITES: usize = 64;

/// Reads what a Layer noticed, also after it has moved into a subscriber.
#[derive(Clone)]
pub(crate) struct Watched(Arc<Inner>);

/// Notes of the hooks; only what goes wrong is written here.
#[derive(Default)]
pub(super) struct Notes {
    no_id: Mutex<Vec<(&'static Metadata<'static>, u64)>>,
    no_id_elsewhere: AtomicU64,
    /// Held while the one generated id of a root span is looked for and made.
    pub(super) roots: Mutex<()>,
}

impl Watched {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// The subscriber that the Layer is part of; `None` before it is, and after it is gone.
    pub(crate) fn dispatch(&self) -> Option<Dispatch> {
        self.0.dispatch()
    }

    /// What was noticed since the Layer was made.
    pub(crate) fn facts(&self) -> LayerFacts {
        let inner = &*self.0;
        // The lock is let go before any text is made: a hook may wait for it.
        let callsites = inner.notes.no_id.lock().clone();
        let mut no_id: Vec<(String, u64)> =
            callsites.into_iter().map(|(metadata, count)| (place(metadata), count)).collect();
        let elsewhere = inner.notes.no_id_elsewhere.load(Relaxed);
        if elsewhere > 0 {
            no_id.push(("other callsites".to_owned(), elsewhere));
        }
        LayerFacts {
            no_id,
            #[cfg(feature = "opentelemetry")]
            otel_out_of_order: inner.otel.wrong_order() > 0,
            #[cfg(not(feature = "opentelemetry"))]
            otel_out_of_order: false,
        }
    }
}

impl OpenStages for Watched {
    fn open_stages(&self) -> Vec<OpenStage> {
        let dispatch = self.dispatch();
        let registry = dispatch.as_ref().and_then(|dispatch| dispatch.downcast_ref::<Registry>());
        let open = self.0.spans.stages().into_iter();
        open.filter_map(|(span, stage, since)| {
            let id = self.0.known_id(span, stage.route, registry)?;
            Some(OpenStage { id, stage, since: self.0.parts.clock.unix(since) })
        })
        .collect()
    }
}

/// `db_stored (src/store.rs:12)`.
fn place(metadata: &Metadata<'_>) -> String {
    match (metadata.file(), metadata.line()) {
        // An event's name says its place already.
        (Some(file), Some(line)) if metadata.is_span() => format!("{} ({file}:{line})", metadata.name()),
        _ => format!("{} ({})", metadata.name(), metadata.target()),
    }
}

impl Notes {
    /// Notes a sighting that has no correlation id.
    #[cold]
    pub(super) fn no_id(&self, callsite: Option<&'static Metadata<'static>>) {
        let Some(metadata) = callsite else { return };
        let mut callsites = self.no_id.lock();
        if let Some((_, count)) = callsites.iter_mut().find(|(known, _)| std::ptr::eq(*known, metadata)) {
            *count += 1;
        } else if callsites.len() < MAX_NO_ID_CALLSITES {
            callsites.push((metadata, 1));
        } else {
            self.no_id_elsewhere.fetch_add(1, Relaxed);
        }
    }
}
