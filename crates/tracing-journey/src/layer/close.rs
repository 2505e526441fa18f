//! What is told of a span that closes?

use journey_core::DropReason;
#[cfg(feature = "opentelemetry")]
use journey_core::IdWords;
use tracing_core::{Subscriber, span};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

#[cfg(feature = "opentelemetry")]
use super::hushed::Hushed;
use super::{JourneyLayer, slot::Slot, state::StageOf, within};
use crate::{
    intake::Message,
    sighting::{FullRecord, StageRecord},
};

impl JourneyLayer {
    #[inline(never)]
    pub(super) fn close<S>(&self, slot: &Slot, id: &span::Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let inner = &*self.0;
        let state = slot.state();
        if !state.is_plain() {
            return self.close_other(slot, id, ctx);
        }
        let (short, passage, stage) = (slot.short_id(), slot.passage(), state.stage_ref());
        inner.spans.close(id.into_u64(), slot);
        // An OpenTelemetry processor is code of others: spans it makes are none of ours.
        #[cfg(feature = "opentelemetry")]
        let (trace, _hushed) = {
            let hushed = Hushed::new();
            let context = inner.otel.at_close(self.0.dispatch(), id, state.context_seen());
            if let Some(context) = &context
                && let Some(journey) = short.and_then(IdWords::text)
            {
                inner.otel.annotate(&inner.parts.routes, context, journey, stage);
            }
            (context.map(|context| context.ids).unwrap_or_default(), hushed)
        };
        #[cfg(not(feature = "opentelemetry"))]
        let trace = crate::sighting::TraceIds::default();
        match short {
            Some(id) => inner.parts.intake.offer(Message::Stage(StageRecord { id, passage, trace, stage })),
            None => inner.parts.intake.count_lost(DropReason::Internal, 1),
        }
    }

    /// The close of a span that is no stage, or one of which more is to be told.
    #[inline(never)]
    fn close_other<S>(&self, slot: &Slot, id: &span::Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let (inner, span) = (&*self.0, id.into_u64());
        let (state, passage, at, callsite) = (slot.state(), slot.passage(), slot.at(), slot.callsite(&inner.callsites));
        let own = match state.stage() {
            StageOf::Known(stage) => slot.id_for(span, stage.route, &inner.callsites),
            StageOf::None | StageOf::Unknown => None,
        };
        #[cfg(feature = "store")]
        inner.compensation_ends(slot, id, ctx);
        let cold = slot.take_cold(span).map(|cold| *cold).unwrap_or_default();
        inner.spans.close(span, slot);
        if let Some(kind) = state.call() {
            let nanos = inner.parts.clock.between(passage.opened, passage.end);
            let counted = within::add_to_stage(&inner.spans, ctx, id, kind, nanos);
            let callsite = callsite.filter(|_| counted);
            if let Some(name) = callsite.and_then(|callsite| callsite.operation.clone()) {
                inner.parts.intake.offer(Message::Operation { name, nanos });
            }
        }
        let stage = match state.stage() {
            StageOf::None => return,
            StageOf::Unknown => return inner.parts.intake.count_lost(DropReason::UnknownStage, 1),
            StageOf::Known(stage) => stage,
        };

        #[cfg(feature = "opentelemetry")]
        let (context, _hushed) = {
            let hushed = Hushed::new();
            (inner.otel.at_close(self.0.dispatch(), id, state.context_seen()), hushed)
        };
        #[cfg(feature = "opentelemetry")]
        let trace = context.as_ref().map(|context| context.ids).unwrap_or_default();
        #[cfg(not(feature = "opentelemetry"))]
        let trace = crate::sighting::TraceIds::default();

        let own = own.map(|id| id.ok_or(DropReason::InvalidId));
        let journey = own.unwrap_or_else(|| inner.around(ctx.span(id), stage.route, cold.carried, trace));
        let journey = match journey {
            Ok(journey) => journey,
            Err(reason) => return self.count_lost(reason, callsite),
        };
        #[cfg(feature = "opentelemetry")]
        if let Some(context) = &context {
            inner.otel.annotate(&inner.parts.routes, context, journey.as_str().to_owned(), stage);
        }
        let mut record = FullRecord { trace, at, within: cold.within, ..FullRecord::reached(journey, stage, passage) };
        record.fail(cold.failure);
        inner.parts.intake.offer(record.into());
    }
}
