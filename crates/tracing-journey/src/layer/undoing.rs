//! What does a span undo, and did it succeed? A span with a field `compensates` is a compensation.

use std::thread;

use journey_core::{CorrelationId, RouteIndex, StageError};
use tracing_core::{Subscriber, span};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use super::{Inner, fields::Failure, hushed::Hushed, slot::Slot};
use crate::events::{Undone, UndoneEnd};

/// What is known of an open compensation.
#[derive(Debug)]
pub(crate) struct Undoes {
    /// The span or the work that is undone, as given.
    original: String,
    /// When it began, and the journey that it is part of, once that was told.
    told: Option<(i64, (RouteIndex, CorrelationId))>,
    /// Its thread was unwinding already, so that this says nothing about it.
    began_in_panic: bool,
}

impl Undoes {
    pub(crate) fn new(original: &str) -> Self {
        Self { original: original.to_owned(), told: None, began_in_panic: thread::panicking() }
    }
}

impl Inner {
    /// Tells that a compensation is under way. Without a journey there is nothing yet to put it to.
    #[cold]
    #[inline(never)]
    pub(super) fn compensation_begins<S>(&self, id: &span::Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let (Some(slot), Some(recorder)) = (self.spans.find(id.into_u64()), &self.parts.recorder) else { return };
        if !slot.is_compensation(id.into_u64()) {
            return;
        }
        let _hushed = Hushed::new();
        let Some(journey) = self.journey_of_span(&slot, id, ctx) else { return };
        let opened = self.parts.clock.unix(slot.passage().opened);
        let begun = slot.change(id.into_u64(), |cold| {
            let undoes = cold.undoes.as_mut()?;
            undoes.told = Some((opened, journey.clone()));
            Some(undoes.original.clone())
        });
        if let Some(original) = begun.flatten() {
            let name = self.name_of(&slot);
            recorder.undone(Undone { journey: Some(journey), name, original, opened, end: None });
        }
    }

    /// Tells how a compensation ended, where the span that closes is one.
    pub(super) fn compensation_ends<S>(&self, slot: &Slot, id: &span::Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Some(recorder) = self.parts.recorder.as_ref().filter(|_| slot.is_compensation(id.into_u64())) else {
            return;
        };
        let _hushed = Hushed::new();
        let taken = slot.change(id.into_u64(), |cold| (cold.undoes.take(), cold.failure.clone()));
        let Some((Some(undoes), failure)) = taken else { return };
        let Undoes { original, told, began_in_panic } = undoes;
        let (clock, passage) = (&self.parts.clock, slot.passage());
        let (opened, journey) = match told {
            Some((opened, journey)) => (opened, Some(journey)),
            None => (clock.unix(passage.opened), self.journey_of_span(slot, id, ctx)),
        };
        let panicked = thread::panicking() && !began_in_panic;
        let panic = || StageError { kind: "panic".to_owned(), message: "the work panicked".to_owned() };
        let error = failure.and_then(Failure::into_error).or_else(|| panicked.then(|| Box::new(panic())));
        let end = UndoneEnd { at: clock.unix(passage.end), error };
        recorder.undone(Undone { journey, name: self.name_of(slot), original, opened, end: Some(end) });
    }

    fn name_of(&self, slot: &Slot) -> &'static str {
        slot.callsite(&self.callsites).map_or("compensation", |callsite| callsite.metadata.name())
    }

    /// The journey of an open span: that of the route it names, else of the first route for which it, or a span around it,
    /// has an id.
    fn journey_of_span<S>(
        &self,
        slot: &Slot,
        id: &span::Id,
        ctx: &Context<'_, S>,
    ) -> Option<(RouteIndex, CorrelationId)>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let carried = || self.carrier.and_then(|carrier| carrier());
        self.first_journey(slot.state().named().route, |route| self.around_event(ctx.span(id), route, carried()).ok())
    }
}
