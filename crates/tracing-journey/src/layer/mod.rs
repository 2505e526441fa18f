//! The Layer: from spans and events to checkpoints.
//!
//! | module | question it answers |
//! |---|---|
//! | `callsites` | which callsites are our business? |
//! | `fields` | what do the fields of a span say? |
//! | `text` | what text does a value format itself as? |
//! | `open_spans` | which spans of interest are open? |
//! | `slot` | what is known of one open span? |
//! | `state` | how is that packed into one word? |
//! | `resolve` | which journey does a span belong to? |
//! | `within` | how long did a stage wait for databases and other services? |
//! | `undoing` | what does a span undo, and did it succeed? |
//! | `otel` | what does OpenTelemetry call this span? |
//! | `follow` | what is noted of a span while it is open? |
//! | `close` | what is told of a span that closes? |
//! | `event` | what does an event say? |
//! | `hushed` | how do our hooks stay out of code that they call themselves? |
//! | `filter` | which callsites should exist for our sake? |
//! | `watched` | what did the Layer notice about itself? |

mod callsites;
mod close;
mod event;
mod fields;
mod filter;
mod follow;
mod hushed;
mod open_spans;
#[cfg(feature = "opentelemetry")]
mod otel;
mod resolve;
mod slot;
mod state;
#[cfg(test)]
mod tests;
mod text;
#[cfg(feature = "store")]
mod undoing;
mod watched;
mod within;

use std::sync::{Arc, OnceLock};

use journey_core::{CorrelationId, DropReason, Routes};
use tracing_core::{
    Dispatch, Event, LevelFilter, Metadata, Subscriber,
    dispatcher::{self, WeakDispatch},
    span,
    subscriber::Interest,
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use self::{
    callsites::{Callsite, Callsites, Foreign},
    open_spans::{Look, OpenSpans},
    slot::Slot,
    watched::{Notes, Watched},
};
pub(crate) use self::{fields::Failure, hushed::Hushed};
pub use self::{filter::JourneyFilter, resolve::current_correlation_id};
use crate::{clock::ProcessClock, intake::Intake};

/// A `tracing-subscriber` Layer that turns stage spans into checkpoints.
///
/// Its place is inside of an OpenTelemetry layer: `registry().with(journey).with(otel).with(fmt)`.
///
/// A span is a stage when its name is a stage's id, name, alias or timings key, or when it has a field `journey.stage`.
/// One whole record is sent when the span closes; nothing here waits, and user code runs under no lock of ours.
///
/// # What can be known about a plain span
///
/// A stage ends when its span was left for the last time. `tracing` enters the span of an `#[instrument]`ed future once
/// more when the future is dropped, finished or not, so that **a cancelled future looks like a finished one**: it
/// counts as reached, at the instant it was dropped. Where cancellation matters, `future.stage("db_stored", &id)` tells
/// the two apart. A span that is opened and never entered is a mark: reached when it was opened. An `async fn` that is
/// never polled has no span and leaves no trace.
pub struct JourneyLayer(Arc<Inner>, Company);

/// What the Layer is made of.
pub(crate) struct LayerParts {
    /// The active routes.
    pub(crate) routes: Arc<Routes>,
    /// Where checkpoints go.
    pub(crate) intake: Arc<Intake>,
    /// What time it is.
    pub(crate) clock: ProcessClock,
    /// The most verbose level that stage spans have: what we ask the subscriber to let through.
    pub(crate) level: LevelFilter,
    /// Calls inside stages are collected.
    pub(crate) within: bool,
    /// Where events with `event_type`, and spans with `compensates`, go.
    #[cfg(feature = "store")]
    pub(crate) recorder: Option<Arc<crate::events::Recorder>>,
}

/// Who else is part of the subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    /// Possibly other layers, which may want what is foreign to us.
    Others,
    /// Nobody.
    None,
}

struct Inner {
    foreign: Arc<Foreign>,
    callsites: Arc<Callsites>,
    spans: OpenSpans,
    notes: Notes,
    parts: LayerParts,
    /// The subscriber that we are part of, where it told us so.
    dispatch: OnceLock<WeakDispatch>,
    /// The correlation id that came with the current task, for spans that have none on themselves or around them.
    carrier: Option<fn() -> Option<CorrelationId>>,
    #[cfg(feature = "opentelemetry")]
    otel: otel::OtelLink,
}

impl JourneyLayer {
    pub(crate) fn new(parts: LayerParts) -> Self {
        Self::with_carrier(parts, None)
    }

    /// With a source of ids that come with a task rather than with a span, such as a message's headers.
    fn with_carrier(parts: LayerParts, carrier: Option<fn() -> Option<CorrelationId>>) -> Self {
        #[cfg(feature = "store")]
        let said = parts.recorder.is_some();
        #[cfg(not(feature = "store"))]
        let said = false;
        let callsites = Arc::new(Callsites::new(Arc::clone(&parts.routes), parts.within, said));
        let inner = Arc::new(Inner {
            foreign: callsites.foreign(),
            callsites,
            spans: OpenSpans::new(),
            notes: Notes::default(),
            parts,
            dispatch: OnceLock::new(),
            carrier,
            #[cfg(feature = "opentelemetry")]
            otel: otel::OtelLink::default(),
        });
        Self(inner, Company::Others)
    }

    /// For a subscriber that has no other layer: callsites that are no business of ours are switched off, which costs
    /// less than a per-layer filter does.
    pub(crate) fn alone(self) -> Self {
        Self(self.0, Company::None)
    }

    /// The per-layer filter that belongs to this Layer.
    pub(crate) fn filter(&self) -> JourneyFilter {
        JourneyFilter::new(Arc::clone(&self.0.callsites), self.0.parts.level)
    }

    /// A handle that tells what the Layer noticed, also after it has moved into a subscriber.
    pub(crate) fn watched(&self) -> Watched {
        Watched::new(Arc::clone(&self.0))
    }

    /// What a hook does with a span of interest that is not in its home slot.
    #[cold]
    #[inline(never)]
    fn displaced(&self, id: &span::Id, work: impl FnOnce(&Slot)) {
        if let Some(found) = self.0.spans.displaced(id.into_u64()) {
            work(&found);
        }
    }

    fn count_lost(&self, reason: DropReason, callsite: Option<&Callsite>) {
        if reason == DropReason::NoId {
            self.0.notes.no_id(callsite.map(|callsite| callsite.metadata));
        }
        self.0.parts.intake.count_lost(reason, 1);
    }
}

impl Inner {
    /// The subscriber that we are part of.
    fn dispatch(self: &Arc<Self>) -> Option<Dispatch> {
        if let Some(known) = self.dispatch.get() {
            return known.upgrade();
        }
        // `Option` and `Vec` of layers do not pass `on_register_dispatch` on. The thread's default is ours nearly
        // always; a span id means nothing to any other, so it is checked.
        let default = dispatcher::get_default(Dispatch::clone);
        let is_ours = default.downcast_ref::<JourneyLayer>().is_some_and(|found| Arc::ptr_eq(&found.0, self));
        is_ours.then(|| {
            let _ = self.dispatch.set(default.downgrade());
            default
        })
    }
}

// The paths of stages are out of line, in other modules, so that the hooks stay small for everybody else's spans.
impl<S> Layer<S> for JourneyLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // One Layer is part of one subscriber.
        let _ = self.0.dispatch.set(dispatch.downgrade());
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.callsites.find(metadata);
        // A plain layer that says `never` switches the callsite off for everybody.
        if self.1 == Company::Others || self.0.callsites.wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.parts.level)
    }

    #[inline]
    #[cfg_attr(not(feature = "store"), expect(unused_variables, reason = "compensations are for the store"))]
    fn on_new_span(&self, attrs: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        if !self.0.foreign.has(attrs.metadata()) && self.open(attrs, id) {
            #[cfg(feature = "store")]
            self.0.compensation_begins(id, &ctx);
        }
    }

    #[inline]
    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        match self.0.spans.look(id.into_u64()) {
            Look::Here(slot) => self.record(slot, id, values),
            Look::Nowhere => {}
            Look::Elsewhere => self.displaced(id, |slot| self.record(slot, id, values)),
        }
    }

    #[inline]
    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if !self.0.foreign.has(event.metadata()) {
            self.event(event, &ctx);
        }
    }

    #[inline]
    fn on_enter(&self, id: &span::Id, _: Context<'_, S>) {
        match self.0.spans.look(id.into_u64()) {
            Look::Here(slot) => self.enter(slot),
            Look::Nowhere => {}
            Look::Elsewhere => self.displaced(id, |slot| self.enter(slot)),
        }
    }

    #[inline]
    fn on_exit(&self, id: &span::Id, _: Context<'_, S>) {
        match self.0.spans.look(id.into_u64()) {
            Look::Here(slot) => self.exit(slot, id),
            Look::Nowhere => {}
            Look::Elsewhere => self.displaced(id, |slot| self.exit(slot, id)),
        }
    }

    #[inline]
    fn on_close(&self, id: span::Id, ctx: Context<'_, S>) {
        match self.0.spans.look(id.into_u64()) {
            Look::Here(slot) => self.close(slot, &id, &ctx),
            Look::Nowhere => {}
            Look::Elsewhere => self.displaced(&id, |slot| self.close(slot, &id, &ctx)),
        }
    }
}

impl std::fmt::Debug for JourneyLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JourneyLayer").field("callsites", &self.0.callsites).finish_non_exhaustive()
    }
}
