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
//! | `filter` | which callsites should exist for our sake? |
//! | `watched` | what did the Layer notice about itself? |

mod callsites;
mod fields;
mod filter;
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

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

#[cfg(feature = "opentelemetry")]
use journey_core::IdWords;
#[cfg(feature = "store")]
use journey_core::RouteIndex;
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

pub(crate) use self::fields::Failure;
use self::{
    callsites::{Callsite, Callsites, Foreign},
    fields::{Named, Visitor},
    open_spans::{Look, OpenSpans},
    slot::{Opening, Slot},
    state::{StageOf, State},
    watched::{Notes, Watched},
};
pub use self::{filter::JourneyFilter, resolve::current_correlation_id};
#[cfg(feature = "store")]
use crate::events::Said;
use crate::{
    clock::ProcessClock,
    intake::{Intake, Message},
    sighting::{FullRecord, Passage, StageRecord},
};

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

/// While this lives, our hooks on this thread do not look at new spans and events.
pub(crate) struct Hushed {
    before: bool,
    /// Of this thread, and stays here.
    here: PhantomData<*const ()>,
}

thread_local! {
    static HUSHED: Cell<bool> = const { Cell::new(false) };
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

    // The paths of stages are out of line, so that the hooks stay small for everybody else's spans.
    /// Follows a span of interest; whether it may be a compensation.
    #[inline(never)]
    fn open(&self, attrs: &span::Attributes<'_>, id: &span::Id) -> bool {
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

    /// What a hook does with a span of interest that is not in its home slot.
    #[cold]
    #[inline(never)]
    fn displaced(&self, id: &span::Id, work: impl FnOnce(&Slot)) {
        if let Some(found) = self.0.spans.displaced(id.into_u64()) {
            work(&found);
        }
    }

    #[inline(never)]
    fn record(&self, slot: &Slot, id: &span::Id, values: &span::Record<'_>) {
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
    fn enter(&self, slot: &Slot) {
        slot.enter(|| self.0.parts.clock.read());
    }

    #[inline(always)]
    fn exit(&self, slot: &Slot, id: &span::Id) {
        slot.exit(self.0.parts.clock.read());
        #[cfg(feature = "opentelemetry")]
        if self.0.otel.in_doubt() {
            self.ask_for_context(slot, id);
        }
        #[cfg(not(feature = "opentelemetry"))]
        let _ = id;
    }

    #[inline(never)]
    fn close<S>(&self, slot: &Slot, id: &span::Id, ctx: &Context<'_, S>)
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

    #[inline(never)]
    fn event<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>)
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

    fn count_lost(&self, reason: DropReason, callsite: Option<&Callsite>) {
        if reason == DropReason::NoId {
            self.0.notes.no_id(callsite.map(|callsite| callsite.metadata));
        }
        self.0.parts.intake.count_lost(reason, 1);
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
    /// Which journey an event with `event_type` is part of: that of the route it names, else of the first route for which
    /// it, or a span around it, has an id.
    #[cfg(feature = "store")]
    fn journey_of_event<S>(
        &self,
        event: &Event<'_>,
        ctx: &Context<'_, S>,
        callsite: &Callsite,
        fields: &fields::Fields,
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

    /// The journey of the route that was named, else of the first one for which there is an id.
    #[cfg(feature = "store")]
    fn first_journey(
        &self,
        named: Option<Option<RouteIndex>>,
        id_of: impl Fn(RouteIndex) -> Option<CorrelationId>,
    ) -> Option<(RouteIndex, CorrelationId)> {
        let of = |route| id_of(route).map(|id| (route, id));
        match named {
            Some(route) => of(route?),
            None => self.parts.routes.iter().find_map(|(route, _)| of(route)),
        }
    }

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

impl Hushed {
    /// Hushes this thread until dropped.
    pub(crate) fn new() -> Self {
        Self { before: HUSHED.replace(true), here: PhantomData }
    }

    /// The same, unless it is hushed already: then a hook was called from inside a hook.
    fn unless_hushed() -> Option<Self> {
        (!HUSHED.get()).then(Self::new)
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        HUSHED.set(self.before);
    }
}
