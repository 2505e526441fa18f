//! What is noted of a span while it is open?

use journey_core::{CorrelationId, DropReason};
use tracing_core::span;

use super::{
    Inner, JourneyLayer,
    fields::{Named, Visitor},
    hushed::Hushed,
    slot::{Opening, Slot},
    state::State,
};

impl JourneyLayer {
    /// Follows a span of interest; whether it may be a compensation.
    #[inline(never)]
    pub(super) fn open(&self, attrs: &span::Attributes<'_>, id: &span::Id) -> bool {
        let inner = &*self.0;
        let Some(callsite) = inner.callsites.find(attrs.metadata()) else { return false };
        let opened = inner.parts.clock.read();
        let Some(_hushed) = Hushed::unless_hushed() else { return false };
        let mut visitor = Visitor::new(callsite);
        attrs.record(&mut visitor);
        let fields = visitor.finish(&inner.parts.routes, Named::default());
        let state = match fields.plain {
            true => callsite.plain,
            false => State::of(callsite, fields.named, fields.at),
        };
        if !inner.spans.open(id.into_u64(), Opening { callsite, opened, state, fields }) {
            inner.not_followed(state);
            return false;
        }
        if let Some(carrier) = inner.carrier {
            inner.carry(id, state, carrier);
        }
        callsite.undoes
    }

    #[inline(never)]
    pub(super) fn record(&self, slot: &Slot, id: &span::Id, values: &span::Record<'_>) {
        let inner = &*self.0;
        let Some(callsite) = slot.callsite(&inner.callsites) else { return };
        let Some(_hushed) = Hushed::unless_hushed() else { return };
        let mut visitor = Visitor::new(callsite);
        values.record(&mut visitor);
        let newer = visitor.finish(&inner.parts.routes, slot.state().named());
        #[cfg(feature = "store")]
        if let Some(undoes) = newer.take_undoes() {
            // The first one stands: its start may have been told.
            slot.change(id.into_u64(), |cold| _ = cold.undoes.get_or_insert(undoes));
        }
        slot.record(id.into_u64(), callsite, newer);
    }

    #[inline(always)]
    pub(super) fn enter(&self, slot: &Slot) {
        slot.enter(|| self.0.parts.clock.read());
    }

    #[inline(always)]
    pub(super) fn exit(&self, slot: &Slot, id: &span::Id) {
        slot.exit(self.0.parts.clock.read());
        #[cfg(feature = "opentelemetry")]
        if self.0.otel.in_doubt() {
            self.ask_for_context(slot, id);
        }
        #[cfg(not(feature = "opentelemetry"))]
        let _ = id;
    }

    #[cfg(feature = "opentelemetry")]
    #[cold]
    fn ask_for_context(&self, slot: &Slot, id: &span::Id) {
        if slot.state().is_stage() && self.0.otel.has_context(self.0.dispatch(), id) {
            slot.context_was_seen();
        }
    }
}

impl Inner {
    #[cold]
    fn not_followed(&self, state: State) {
        if state.is_stage() {
            self.parts.intake.count_lost(DropReason::QueueFull, 1);
        }
    }

    #[cold]
    fn carry(&self, id: &span::Id, state: State, carrier: fn() -> Option<CorrelationId>) {
        if state.is_stage()
            && let (Some(slot), Some(carried)) = (self.spans.find(id.into_u64()), carrier())
        {
            slot.change(id.into_u64(), |cold| cold.carried = Some(carried));
        }
    }
}
