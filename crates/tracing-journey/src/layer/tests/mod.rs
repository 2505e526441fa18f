//! The Layer through real subscribers. One helper knows the API; the rest says what spans do and what must come of it.

mod busy_process;
mod events;
mod failures;
mod filters;
mod futures;
mod hostile;
mod ids;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
mod roots;
mod spans;
mod stages;
mod within;

use std::{sync::Arc, time::Duration};

use journey_core::{Checkpoint, CorrelationId, DropReason, Route, Routes};
use tracing_core::LevelFilter;
use tracing_subscriber::{Registry, layer::SubscriberExt};

use super::{Inner, JourneyLayer, LayerParts};
use crate::{
    clock::ProcessClock,
    intake::{Intake, Message},
};

/// What a Layer made of what was done under it.
struct Seen {
    inner: Arc<Inner>,
    intake: Arc<Intake>,
    clock: ProcessClock,
}

impl Seen {
    fn layer(routes: Routes, within: bool, carrier: Option<fn() -> Option<CorrelationId>>) -> (JourneyLayer, Self) {
        let (intake, clock) = (Intake::new(16_384), ProcessClock::new());
        let parts = LayerParts {
            routes: Arc::new(routes),
            intake: Arc::clone(&intake),
            clock: clock.clone(),
            level: LevelFilter::INFO,
            within,
            #[cfg(feature = "store")]
            recorder: None,
        };
        let layer = JourneyLayer::with_carrier(parts, carrier);
        let seen = Self { inner: Arc::clone(&layer.0), intake, clock };
        (layer, seen)
    }

    fn of_routes(routes: Routes, work: impl FnOnce()) -> Self {
        let (layer, seen) = Self::layer(routes, false, None);
        tracing::subscriber::with_default(Registry::default().with(layer), work);
        seen
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        let mut checkpoints = Vec::new();
        while let Some(message) = self.intake.take() {
            let checkpoint = match message {
                Message::Stage(record) => record.checkpoint(&self.inner.parts.routes, &self.clock.times()),
                Message::Full(record) => record.checkpoint(&self.inner.parts.routes, &self.clock.times()),
                _ => continue,
            };
            match checkpoint {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(reason) => self.intake.count_lost(reason, 1),
            }
        }
        checkpoints
    }

    /// `T4 msg_1 reached`, in the order in which they were sent.
    fn lines(&self) -> Vec<String> {
        self.checkpoints().iter().map(|checkpoint| self.line(checkpoint)).collect()
    }

    fn line(&self, checkpoint: &Checkpoint) -> String {
        let stage = self.inner.parts.routes.stage_texts(checkpoint.stage).id;
        format!("{stage} {} {}", checkpoint.id, checkpoint.outcome.as_str())
    }

    /// Losses by reason, without those that are 0.
    fn lost(&self) -> Vec<(&'static str, u64)> {
        let counted = DropReason::ALL.into_iter().map(|reason| (reason.as_str(), self.intake.unsettled(reason)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// The one checkpoint; nothing else happened.
    fn only(&self) -> Checkpoint {
        let mut checkpoints = self.checkpoints();
        assert_eq!((checkpoints.len(), self.lost()), (1, vec![]));
        checkpoints.remove(0)
    }

    fn open_spans(&self) -> usize {
        self.inner.spans.len()
    }

    fn no_id(&self) -> Vec<(String, u64)> {
        super::Watched::new(Arc::clone(&self.inner)).facts().no_id
    }
}

/// What the built-in route makes of some work; nothing may be left open.
fn record(work: impl FnOnce()) -> Seen {
    let seen = Seen::of_routes(Routes::default(), work);
    assert_eq!(seen.open_spans(), 0, "a span is still followed");
    seen
}

/// A wait that is long enough to be seen by a clock and short enough for a test; nothing depends on its being exact.
fn pass_time() {
    std::thread::sleep(Duration::from_millis(2));
}

fn routes(routes: impl IntoIterator<Item = Route>) -> Routes {
    Routes::told_apart_by_name(routes.into_iter().collect()).unwrap()
}
