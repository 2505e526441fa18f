//! The Layer: from spans and events to checkpoints.
//!
//! | module | question it answers |
//! |---|---|
//! | `callsites` | which callsites are our business? |
//! | `fields` | what do the fields of a span say? |
//! | `open_spans` | which spans of interest are open? |
//! | `resolve` | which journey does a span belong to? |
//! | `within` | how long did a stage wait for databases and other services? |
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
#[cfg(test)]
mod tests;
mod watched;
mod within;

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use journey_core::{
    Checkpoint, ClockKind, CorrelationId, DropReason, InstantRule, Outcome, Resolution, Routes, StageRef,
};
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
    callsites::{Callsite, Callsites},
    fields::{At, Fields, Named, Visitor},
    open_spans::{Found, OpenSpan, OpenSpans, Passage, StageOf},
    watched::{Notes, Watched},
};
pub use self::{filter::JourneyFilter, resolve::current_correlation_id};
use crate::{
    clock::ProcessClock,
    intake::{Intake, Message},
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
pub struct JourneyLayer(Arc<Inner>);

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
}

struct Inner {
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

/// What is known when a sighting is turned into a checkpoint.
struct Sighting {
    stage: StageRef,
    fields: Fields,
    opened: i64,
    passage: Passage,
}

impl JourneyLayer {
    pub(crate) fn new(parts: LayerParts) -> Self {
        Self::with_carrier(parts, None)
    }

    /// With a source of ids that come with a task rather than with a span, such as a message's headers.
    fn with_carrier(parts: LayerParts, carrier: Option<fn() -> Option<CorrelationId>>) -> Self {
        Self(Arc::new(Inner {
            callsites: Arc::new(Callsites::new(Arc::clone(&parts.routes), parts.within)),
            spans: OpenSpans::new(),
            notes: Notes::default(),
            parts,
            dispatch: OnceLock::new(),
            carrier,
            #[cfg(feature = "opentelemetry")]
            otel: otel::OtelLink::default(),
        }))
    }

    /// The per-layer filter that belongs to this Layer.
    pub(crate) fn filter(&self) -> JourneyFilter {
        JourneyFilter::new(Arc::clone(&self.0.callsites), self.0.parts.level)
    }

    /// A handle that tells what the Layer noticed, also after it has moved into a subscriber.
    pub(crate) fn watched(&self) -> Watched {
        Watched::new(Arc::clone(&self.0))
    }

    /// The subscriber that we are part of.
    fn dispatch(&self) -> Option<Dispatch> {
        if let Some(known) = self.0.dispatch.get() {
            return known.upgrade();
        }
        // `Option` and `Vec` of layers do not pass `on_register_dispatch` on. The thread's default is ours nearly
        // always; a span id means nothing to any other, so it is checked.
        let default = dispatcher::get_default(Dispatch::clone);
        let is_ours = default.downcast_ref::<Self>().is_some_and(|found| Arc::ptr_eq(&found.0, &self.0));
        is_ours.then(|| {
            let _ = self.0.dispatch.set(default.downgrade());
            default
        })
    }

    // The paths of stages are out of line, so that the hooks stay small for everybody else's spans.
    #[inline(never)]
    fn open(&self, callsite: &Callsite, attrs: &span::Attributes<'_>, id: &span::Id) {
        let inner = &*self.0;
        let mut span = OpenSpan::new(Some(callsite), inner.parts.clock.now());
        let Some(_hushed) = Hushed::unless_hushed() else { return };
        let mut visitor = Visitor::new(callsite);
        attrs.record(&mut visitor);
        span.fields = visitor.finish(&inner.parts.routes, Named::default());
        span.stage = stage_of(callsite, span.fields.named);
        if let Some(carrier) = inner.carrier
            && span.stage != StageOf::None
        {
            span.carried = carrier();
        }
        let is_stage = span.stage != StageOf::None;
        if !inner.spans.insert(id.into_u64(), span) && is_stage {
            inner.parts.intake.count_lost(DropReason::QueueFull, 1);
        }
    }

    #[inline(never)]
    fn record(&self, found: &Found<'_>, values: &span::Record<'_>) {
        let inner = &*self.0;
        let known = found.span().as_ref().and_then(|span| Some((span.callsite?, span.fields.named)));
        let Some((metadata, named)) = known else { return };
        let Some(callsite) = inner.callsites.find(metadata) else { return };
        let Some(_hushed) = Hushed::unless_hushed() else { return };
        let mut visitor = Visitor::new(callsite);
        values.record(&mut visitor);
        let newer = visitor.finish(&inner.parts.routes, named);
        if let Some(span) = found.span().as_mut() {
            span.fields.merge(newer);
            span.stage = stage_of(callsite, span.fields.named);
        }
    }

    #[inline(never)]
    fn close<S>(&self, found: &Found<'_>, id: &span::Id, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let inner = &*self.0;
        let Some((span, passage)) = inner.spans.remove(id.into_u64(), found) else { return };
        let OpenSpan { callsite, opened, stage, fields, carried, call, within, context_seen } = span;
        if let Some(kind) = call {
            let nanos = u64::try_from(passage.last_exit.unwrap_or(opened).saturating_sub(opened)).unwrap_or(0);
            let counted = within::add_to_stage(&inner.spans, ctx, id, kind, nanos);
            let callsite = callsite.filter(|_| counted).and_then(|metadata| inner.callsites.find(metadata));
            if let Some(name) = callsite.and_then(|callsite| callsite.operation.clone()) {
                inner.parts.intake.offer(Message::Operation { name, nanos });
            }
        }
        let stage = match stage {
            StageOf::None => return,
            StageOf::Unknown => return inner.parts.intake.count_lost(DropReason::UnknownStage, 1),
            StageOf::Known(stage) => stage,
        };

        // An OpenTelemetry processor is code of others: spans it makes are none of ours.
        #[cfg(feature = "opentelemetry")]
        let (context, _hushed) = {
            let hushed = Hushed::new();
            (inner.otel.at_close(self.dispatch(), id, context_seen), hushed)
        };
        #[cfg(feature = "opentelemetry")]
        let trace_id = context.as_ref().map(|context| context.trace_id);
        #[cfg(not(feature = "opentelemetry"))]
        let (trace_id, _) = (None, context_seen);

        let own = fields.ids.get(stage.route).map(|id| id.cloned().ok_or(DropReason::InvalidId));
        let journey = own.unwrap_or_else(|| inner.around(ctx.span(id), stage.route, carried, trace_id));
        let journey = match journey {
            Ok(journey) => journey,
            Err(reason) => {
                if reason == DropReason::NoId {
                    inner.notes.no_id(callsite);
                }
                return inner.parts.intake.count_lost(reason, 1);
            }
        };

        #[cfg(feature = "opentelemetry")]
        if let Some(context) = &context {
            inner.otel.annotate(&inner.parts.routes, context, &journey, stage);
        }
        let Some(mut checkpoint) = inner.checkpoint(journey, Sighting { stage, fields, opened, passage }) else {
            return;
        };
        checkpoint.within = within;
        #[cfg(feature = "opentelemetry")]
        if let Some(context) = context {
            checkpoint.trace_id = context.trace_id;
            checkpoint.span_id = context.span_id;
        }
        inner.parts.intake.offer(Message::Checkpoint(checkpoint));
    }

    #[inline(never)]
    fn event<S>(&self, callsite: &Callsite, event: &Event<'_>, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let inner = &*self.0;
        let now = inner.parts.clock.now();
        let Some(_hushed) = Hushed::unless_hushed() else { return };
        let mut visitor = Visitor::new(callsite);
        event.record(&mut visitor);
        let fields = visitor.finish(&inner.parts.routes, Named::default());
        if !callsite.names_stage {
            return inner.failed_inside(event, ctx, fields);
        }
        let stage = match fields.named.stage {
            // Declared on the callsite and not given a value: nothing is said.
            None => return,
            Some(None) => return inner.parts.intake.count_lost(DropReason::UnknownStage, 1),
            Some(Some(stage)) => stage,
        };
        let own = fields.ids.get(stage.route).map(|id| id.cloned().ok_or(DropReason::InvalidId));
        let journey = own.unwrap_or_else(|| {
            let carried = inner.carrier.and_then(|carrier| carrier());
            inner.around_event(ctx.event_span(event), stage.route, carried)
        });
        match journey {
            Ok(journey) => {
                let sighting = Sighting { stage, fields, opened: now, passage: Passage::default() };
                if let Some(checkpoint) = inner.checkpoint(journey, sighting) {
                    inner.parts.intake.offer(Message::Checkpoint(checkpoint));
                }
            }
            Err(reason) => {
                if reason == DropReason::NoId {
                    inner.notes.no_id(Some(callsite.metadata));
                }
                inner.parts.intake.count_lost(reason, 1);
            }
        }
    }

    #[cfg(feature = "opentelemetry")]
    #[cold]
    fn ask_for_context(&self, found: &Found<'_>, id: &span::Id) {
        let is_stage = found.span().as_ref().is_some_and(|span| span.stage != StageOf::None);
        if is_stage
            && self.0.otel.has_context(self.dispatch(), id)
            && let Some(span) = found.span().as_mut()
        {
            span.context_seen = true;
        }
    }
}

impl Inner {
    /// One whole record; `None` where it has no instant, which is counted.
    fn checkpoint(&self, journey: CorrelationId, sighting: Sighting) -> Option<Checkpoint> {
        let Sighting { stage, fields, opened, passage } = sighting;
        let end = passage.last_exit.unwrap_or(opened);
        // A stage that an open route learned has no rule of its own: it is reached at its end.
        let rule =
            self.parts.routes.get(stage.route).stage(stage.stage).map_or(InstantRule::End, |stage| stage.instant);
        let (at, clock, resolution) = match (fields.at, rule) {
            (At::Given(at, resolution), _) => (at, ClockKind::Platform, resolution),
            (At::Absent, InstantRule::Open) => (opened, ClockKind::Process, Resolution::Fine),
            (At::Absent, InstantRule::End) => (end, ClockKind::Process, Resolution::Fine),
            (At::Unreadable, _) | (At::Absent, InstantRule::Explicit) => {
                self.parts.intake.count_lost(DropReason::NoInstant, 1);
                return None;
            }
        };
        let error = fields.into_error();
        let micros = |nanos: i64| u32::try_from(nanos.max(0) / 1_000).unwrap_or(u32::MAX);
        Some(Checkpoint {
            clock,
            resolution,
            outcome: if error.is_some() { Outcome::Failed } else { Outcome::Reached },
            busy_us: micros(passage.busy),
            idle_us: micros(end.saturating_sub(opened).saturating_sub(passage.busy)),
            error,
            ..Checkpoint::reached(journey, stage, at)
        })
    }

    /// The event that `#[instrument(err)]` emits: the attempt of the span it stands in failed, and of no other.
    fn failed_inside<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, fields: Fields)
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
        if let Some(span) = slot.span().as_mut()
            && span.stage != StageOf::None
        {
            span.fields.merge(Fields { failure: fields.failure, ..Fields::default() });
        };
    }
}

fn stage_of(callsite: &Callsite, named: Named) -> StageOf {
    match (named.stage, named.route) {
        (Some(Some(stage)), _) => return StageOf::Known(stage),
        (Some(None), _) => return StageOf::Unknown,
        (None, _) => {}
    }
    match (&callsite.stages[..], named.route) {
        ([], _) => StageOf::None,
        (stages, Some(Some(route))) => {
            stages.iter().find(|stage| stage.route == route).map_or(StageOf::Unknown, |stage| StageOf::Known(*stage))
        }
        ([stage], None) => StageOf::Known(*stage),
        // A route that is not active, or none where several claim the name.
        _ => StageOf::Unknown,
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
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.parts.level)
    }

    fn on_new_span(&self, attrs: &span::Attributes<'_>, id: &span::Id, _: Context<'_, S>) {
        if let Some(callsite) = self.0.callsites.find(attrs.metadata()) {
            self.open(callsite, attrs, id);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        if let Some(found) = self.0.spans.find(id.into_u64()) {
            self.record(&found, values);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if let Some(callsite) = self.0.callsites.find(event.metadata()) {
            self.event(callsite, event, &ctx);
        }
    }

    fn on_enter(&self, id: &span::Id, _: Context<'_, S>) {
        if let Some(found) = self.0.spans.find(id.into_u64()) {
            found.enter(|| self.0.parts.clock.now());
        }
    }

    fn on_exit(&self, id: &span::Id, _: Context<'_, S>) {
        if let Some(found) = self.0.spans.find(id.into_u64()) {
            found.exit(self.0.parts.clock.now());
            #[cfg(feature = "opentelemetry")]
            if self.0.otel.in_doubt() {
                self.ask_for_context(&found, id);
            }
        }
    }

    fn on_close(&self, id: span::Id, ctx: Context<'_, S>) {
        if let Some(found) = self.0.spans.find(id.into_u64()) {
            self.close(&found, &id, &ctx);
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
