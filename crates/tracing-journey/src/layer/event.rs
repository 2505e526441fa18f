//! What does an event say: a stage, a failure inside one, something to store?

use journey_core::DropReason;
#[cfg(feature = "store")]
use journey_core::{CorrelationId, RouteIndex};
use tracing_core::{Event, Subscriber};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use super::{
    Inner, JourneyLayer,
    fields::{Failure, Named, Visitor},
    hushed::Hushed,
};
#[cfg(feature = "store")]
use super::{callsites::Callsite, fields::Fields};
#[cfg(feature = "store")]
use crate::events::Said;
use crate::sighting::{FullRecord, Passage};

impl JourneyLayer {
    #[inline(never)]
    pub(super) fn event<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let inner = &*self.0;
        let Some(callsite) = inner.callsites.find(event.metadata()) else { return };
        let now = inner.parts.clock.read();
        let Some(_hushed) = Hushed::unless_hushed() else { return };
        let mut visitor = Visitor::new(callsite);
        event.record(&mut visitor);
        let fields = visitor.finish(&inner.parts.routes, Named::default());
        #[cfg(feature = "store")]
        if let (true, Some(recorder)) = (callsite.says_event, &inner.parts.recorder) {
            let journey = inner.journey_of_event(event, ctx, callsite, fields);
            recorder.said(Said::new(event, inner.parts.clock.unix(now), journey));
            if !callsite.names_stage {
                return;
            }
        }
        if !callsite.names_stage {
            return inner.failed_inside(event, ctx, fields.take_failure());
        }
        let stage = match fields.named.stage {
            // Declared on the callsite and not given a value: nothing is said.
            None => return,
            Some(None) => return inner.parts.intake.count_lost(DropReason::UnknownStage, 1),
            Some(Some(stage)) => stage,
        };
        let own = fields.id_for(callsite, stage.route).map(|id| id.ok_or(DropReason::InvalidId));
        let journey = own.unwrap_or_else(|| {
            let carried = inner.carrier.and_then(|carrier| carrier());
            inner.around_event(ctx.event_span(event), stage.route, carried)
        });
        match journey {
            Ok(journey) => {
                let mut record = FullRecord { at: fields.at, ..FullRecord::reached(journey, stage, Passage::at(now)) };
                record.fail(fields.take_failure());
                inner.parts.intake.offer(record.into());
            }
            Err(reason) => self.count_lost(reason, Some(callsite)),
        }
    }
}

impl Inner {
    /// Which journey an event with `event_type` is part of: that of the route it names, else of the first route for which
    /// it, or a span around it, has an id.
    #[cfg(feature = "store")]
    fn journey_of_event<S>(
        &self,
        event: &Event<'_>,
        ctx: &Context<'_, S>,
        callsite: &Callsite,
        fields: &Fields,
    ) -> Option<(RouteIndex, CorrelationId)>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.first_journey(fields.named.route, |route| {
            let own = fields.id_for(callsite, route);
            let carried = || self.carrier.and_then(|carrier| carrier());
            own.unwrap_or_else(|| self.around_event(ctx.event_span(event), route, carried()).ok())
        })
    }

    /// The event that `#[instrument(err)]` emits: the attempt of the span it stands in failed, and of no other.
    fn failed_inside<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, failure: Option<Failure>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        // Not `event_span`, which skips spans that are hidden from us: a failure inside a foreign function that the
        // stage survived is not the stage's.
        let current;
        let id = match event.parent() {
            Some(parent) => parent,
            None if event.is_root() => return,
            None => {
                current = ctx.current_span();
                let Some(id) = current.id() else { return };
                id
            }
        };
        let Some(slot) = self.spans.find(id.into_u64()) else { return };
        #[cfg(feature = "store")]
        let is_compensation = slot.is_compensation(id.into_u64());
        #[cfg(not(feature = "store"))]
        let is_compensation = false;
        if slot.state().is_stage() || is_compensation {
            slot.add_failure(id.into_u64(), failure);
        }
    }
}
