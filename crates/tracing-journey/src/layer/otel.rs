//! What does OpenTelemetry call this span, and how does its trace learn about the journey?
//!
//! Everything here runs in `on_close`, where a context may be asked for without forcing the start of the user's span too
//! early, and where the OpenTelemetry layer, being outside of ours, has not ended the span yet.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use journey_core::{Routes, StageRef};
use opentelemetry::{Context, KeyValue, trace::TraceContextExt};
use tracing_core::{Dispatch, span};
use tracing_opentelemetry::get_otel_context;

use crate::sighting::TraceIds;

/// Spans that are asked for a context while they are open, to tell "no OpenTelemetry layer" from "wrong order".
const MAX_QUESTIONS: u64 = 1_024;

/// What we know of the OpenTelemetry layer of the same subscriber.
#[derive(Default)]
pub(crate) struct OtelLink {
    /// A span had a context when it closed: the order is right.
    found: AtomicBool,
    /// A span closed without a context: it may be the order, or there is no OpenTelemetry layer.
    doubt: AtomicBool,
    questions: AtomicU64,
    wrong_order: AtomicU64,
    /// Attribute values of the stages of declared routes, by route and stage.
    texts: OnceLock<Vec<Vec<StageAttributes>>>,
}

/// Attribute values of one stage, made once.
#[derive(Clone)]
struct StageAttributes {
    route: Arc<str>,
    stage: Arc<str>,
}

/// What OpenTelemetry calls a span.
pub(crate) struct SpanContext {
    pub(crate) ids: TraceIds,
    /// It is on its way to somebody, so that it records for certain.
    sampled: bool,
    context: Context,
}

impl OtelLink {
    /// Spans that closed without a context although an OpenTelemetry layer follows them: it is inside of ours and has
    /// already ended them.
    pub(crate) fn wrong_order(&self) -> u64 {
        self.wrong_order.load(Relaxed)
    }

    /// What OpenTelemetry calls a span that closes now.
    pub(crate) fn at_close(
        &self,
        dispatch: Option<Dispatch>,
        id: &span::Id,
        context_seen: bool,
    ) -> Option<SpanContext> {
        let Some(context) = get_otel_context(id, &dispatch?) else {
            if context_seen {
                self.wrong_order.fetch_add(1, Relaxed);
            } else if !self.found.load(Relaxed) {
                self.doubt.store(true, Relaxed);
            }
            return None;
        };
        self.found.store(true, Relaxed);
        let span = context.span();
        let named = span.span_context();
        if !named.is_valid() {
            return None;
        }
        let ids = TraceIds::new(named.trace_id().to_bytes(), named.span_id().to_bytes());
        let sampled = named.is_sampled();
        Some(SpanContext { ids, sampled, context })
    }

    /// Whether the span that is left now should be asked for a context: only while in doubt, and only so often.
    #[inline]
    pub(crate) fn in_doubt(&self) -> bool {
        self.doubt.load(Relaxed) && !self.found.load(Relaxed) && self.questions.load(Relaxed) < MAX_QUESTIONS
    }

    /// Whether a span that was entered and is left now has a context. By then the OpenTelemetry layer has started it
    /// itself, so that asking changes nothing.
    #[cold]
    pub(crate) fn has_context(&self, dispatch: Option<Dispatch>, id: &span::Id) -> bool {
        self.questions.fetch_add(1, Relaxed);
        dispatch.is_some_and(|dispatch| get_otel_context(id, &dispatch).is_some())
    }

    /// Puts the journey on the service's own span, so that a search by correlation id finds its trace.
    pub(crate) fn annotate(&self, routes: &Routes, context: &SpanContext, id: String, stage: StageRef) {
        let span = context.context.span();
        // The question takes a lock.
        if !context.sampled && !span.is_recording() {
            return;
        }
        let texts = self.texts(routes, stage);
        span.set_attributes([
            KeyValue::new("journey.id", id),
            KeyValue::new("journey.name", texts.route),
            KeyValue::new("journey.stage.name", texts.stage),
            KeyValue::new("journey.stage.index", i64::from(stage.stage.0)),
        ]);
    }

    fn texts(&self, routes: &Routes, at: StageRef) -> StageAttributes {
        let declared = self.texts.get_or_init(|| {
            let of_route = |(_, route): (_, &Arc<journey_core::Route>)| {
                let name: Arc<str> = route.name().into();
                let stages = route.stages().iter();
                stages
                    .map(|stage| StageAttributes { route: Arc::clone(&name), stage: stage.name.as_str().into() })
                    .collect()
            };
            routes.iter().map(of_route).collect()
        });
        let known = declared.get(usize::from(at.route.0)).and_then(|stages| stages.get(usize::from(at.stage.0)));
        known.cloned().unwrap_or_else(|| StageAttributes {
            // A stage that an open route learned.
            route: routes.get(at.route).name().into(),
            stage: routes.stage_texts(at).name.into(),
        })
    }
}
