//! What is said of an event before it is one?

use std::{any::type_name, collections::BTreeMap, fmt::Display};

use journey_core::CorrelationId;
use serde_json::{Map, Value};

use super::Emitter;
use crate::{
    context::TraceContext,
    event::{Event, EventStatus, InvalidEvent, SpanId, TraceId},
    redact::shallow,
};

/// The longest route, in bytes.
const MAX_ROUTE_BYTES: usize = 128;

/// How deep data may be before it is cleaned: deep enough for every limit, shallow enough to be copied by recursion.
const MAX_DEPTH: usize = 64;

/// The most alternatives of a decision.
const MAX_ALTERNATIVES: usize = 64;

/// An event that is still being described. Emit it with [`Emitter::emit`], [`Emitter::record`] or through a [`TraceContext`].
///
/// It gets trace, route and correlation id from the context that it is emitted through or [`of`](Self::of), a span of its
/// own below that one's, and the time of the call. Without a context it is a trace of its own.
///
/// What is wrong with it shows when it is emitted: [`emit`](Emitter::emit) says so, [`record`](Emitter::record) counts it
/// as `invalid`.
#[derive(Clone, Debug)]
pub struct EventDraft {
    event_type: String,
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    parent_span_id: Option<SpanId>,
    parent_trace_id: Option<TraceId>,
    correlation_id: Option<String>,
    timestamp: Option<i64>,
    status: EventStatus,
    duration: Option<i64>,
    route: Option<String>,
    data: Map<String, Value>,
    tags: BTreeMap<String, String>,
    /// What was wrong first.
    fault: Option<InvalidEvent>,
}

impl Event {
    /// Describes an event of any type, such as `inventory:reserved`. Its status is pending until said otherwise.
    pub fn draft(event_type: impl Into<String>) -> EventDraft {
        EventDraft::new(event_type.into(), EventStatus::Pending)
    }

    /// Work has begun: `stage:process` gives the type `stage:started` with the name `process`.
    ///
    /// The part before the colon is the area of the work; without one it is `stage`.
    pub fn started(work: &str) -> EventDraft {
        EventDraft::of_work(work, "started", EventStatus::Pending)
    }

    /// Work is done: `stage:process` gives the type `stage:completed` with the name `process`.
    pub fn completed(work: &str) -> EventDraft {
        EventDraft::of_work(work, "completed", EventStatus::Success)
    }

    /// Work has failed: `stage:process` gives the type `stage:failed` with the name `process`, and the error's type and
    /// message.
    ///
    /// ```
    /// # use journey_store::Event;
    /// let error = std::io::Error::other("connection refused");
    /// let event = Event::failed("stage:process", &error).tag("region", "eu");
    /// ```
    pub fn failed<E: Display + ?Sized>(work: &str, error: &E) -> EventDraft {
        EventDraft::of_work(work, "failed", EventStatus::Failed).error(error)
    }

    /// Somebody chose: type `ai:decision`.
    ///
    /// ```
    /// # use journey_store::Event;
    /// let event = Event::decision("route")
    ///     .chosen("B")
    ///     .reasoning("the customer asked for a refund")
    ///     .confidence(0.7)
    ///     .alternatives(["A", "B"]);
    /// ```
    pub fn decision(name: &str) -> EventDraft {
        EventDraft::new("ai:decision".to_owned(), EventStatus::Success).data("decision", name)
    }
}

impl EventDraft {
    fn new(event_type: String, status: EventStatus) -> Self {
        Self {
            event_type,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            parent_trace_id: None,
            correlation_id: None,
            timestamp: None,
            status,
            duration: None,
            route: None,
            data: Map::new(),
            tags: BTreeMap::new(),
            fault: None,
        }
    }

    pub(crate) fn of_work(work: &str, what: &str, status: EventStatus) -> Self {
        let (area, name) = work.split_once(':').unwrap_or(("stage", work));
        Self::new(format!("{area}:{what}"), status).data("name", name)
    }

    /// Another type than the one it has: a decision of one's own area, such as `risk:decision`.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = event_type.into();
        self
    }

    /// Part of this trace, below its span; what was said already stays.
    #[must_use]
    pub fn of(mut self, context: &TraceContext) -> Self {
        context.complete(&mut self.place(), Some(context.span_id()));
        self
    }

    /// About the span of this context itself.
    pub(crate) fn about(mut self, context: &TraceContext) -> Self {
        context.complete(&mut self.place(), context.parent_span_id());
        self.span_id(context.span_id())
    }

    /// Part of this trace.
    #[must_use]
    pub fn trace_id(mut self, id: TraceId) -> Self {
        self.trace_id = Some(id);
        self
    }

    /// About this span; defaults to a span of its own.
    #[must_use]
    pub fn span_id(mut self, id: SpanId) -> Self {
        self.span_id = Some(id);
        self
    }

    /// Below this span.
    #[must_use]
    pub fn parent_span_id(mut self, id: SpanId) -> Self {
        self.parent_span_id = Some(id);
        self
    }

    /// The trace that started this one.
    #[must_use]
    pub fn parent_trace_id(mut self, id: TraceId) -> Self {
        self.parent_trace_id = Some(id);
        self
    }

    /// The message it is about: 1 to 128 bytes without control characters.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// The route or workflow: at most 128 bytes.
    #[must_use]
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// When it happened, unix nanoseconds; defaults to the time at which it is emitted.
    #[must_use]
    pub fn at(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// How the work stands.
    #[must_use]
    pub fn status(mut self, status: EventStatus) -> Self {
        self.status = status;
        self
    }

    /// How long the work took.
    #[must_use]
    pub fn duration(mut self, duration: std::time::Duration) -> Self {
        self.duration = Some(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
        self
    }

    pub(crate) fn duration_nanos(mut self, nanos: i64) -> Self {
        self.duration = Some(nanos);
        self
    }

    /// What else is known. Secrets are taken out when the event is emitted, and what is too large is cut.
    #[must_use]
    pub fn data(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(key.into(), shallow(value.into(), MAX_DEPTH));
        self
    }

    /// A word to find it by: at most 64 of them, keys of at most 64 bytes, values of at most 180.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Why it failed: the error's type and message.
    #[must_use]
    pub fn error<E: Display + ?Sized>(self, error: &E) -> Self {
        self.data("error", error_data(type_name::<E>(), &error.to_string()))
    }

    /// Whether this work is expected to be undone when its workflow fails; it is unless told otherwise.
    ///
    /// Work that changed nothing, such as a look-up or a check, says `compensable(false)`. Then it is not among the work
    /// that was done and never undone ([`TraceQuery::compensations`](crate::TraceQuery::compensations)), and
    /// [`why`](crate::why) does not miss its compensation.
    ///
    /// ```
    /// # use journey_store::Event;
    /// let event = Event::completed("stage:price_looked_up").compensable(false);
    /// ```
    #[must_use]
    pub fn compensable(self, is_undone: bool) -> Self {
        self.data("compensable", is_undone)
    }

    /// What a decision chose.
    #[must_use]
    pub fn chosen(self, what: impl Into<Value>) -> Self {
        self.data("chosen", what)
    }

    /// Why.
    #[must_use]
    pub fn reasoning(self, why: impl Into<String>) -> Self {
        self.data("reasoning", why.into())
    }

    /// How sure the decision is, from 0 to 1.
    #[must_use]
    pub fn confidence(mut self, confidence: f64) -> Self {
        if !(0.0..=1.0).contains(&confidence) {
            return self.fault("a confidence", &confidence.to_string(), "0.7");
        }
        self.data.insert("confidence".to_owned(), confidence.into());
        self
    }

    /// What a decision could have chosen: at most 64 things.
    #[must_use]
    pub fn alternatives<T: Into<Value>>(self, what: impl IntoIterator<Item = T>) -> Self {
        let what: Vec<Value> = what.into_iter().take(MAX_ALTERNATIVES + 1).map(Into::into).collect();
        if what.len() > MAX_ALTERNATIVES {
            let given = format!("more than {MAX_ALTERNATIVES}");
            return self.fault("a number of alternatives", &given, "3");
        }
        self.data("alternatives", what)
    }

    fn fault(mut self, what: &str, given: &str, example: &str) -> Self {
        self.fault.get_or_insert_with(|| InvalidEvent::new(what, given, example));
        self
    }

    /// What a context fills in.
    fn place(&mut self) -> Place<'_> {
        Place {
            trace_id: &mut self.trace_id,
            parent_span_id: &mut self.parent_span_id,
            parent_trace_id: &mut self.parent_trace_id,
            correlation_id: &mut self.correlation_id,
            route: &mut self.route,
            tags: &mut self.tags,
        }
    }

    /// The event as it was described, and what was wrong with the description.
    pub(super) fn into_event(self, emitter: &Emitter) -> (Event, Option<InvalidEvent>) {
        let event = Event {
            trace_id: self.trace_id.unwrap_or_else(|| emitter.random_trace_id()),
            span_id: self.span_id.unwrap_or_else(|| emitter.random_span_id()),
            parent_span_id: self.parent_span_id,
            parent_trace_id: self.parent_trace_id,
            correlation_id: self.correlation_id,
            event_type: self.event_type,
            timestamp: self.timestamp.unwrap_or_else(|| emitter.now()),
            emitter: 0,
            seq: 0,
            status: self.status,
            duration: self.duration,
            route: self.route,
            data: self.data,
            tags: self.tags,
        };
        (event, self.fault)
    }
}

/// The parts of a draft that its context knows.
pub(crate) struct Place<'a> {
    pub(crate) trace_id: &'a mut Option<TraceId>,
    pub(crate) parent_span_id: &'a mut Option<SpanId>,
    pub(crate) parent_trace_id: &'a mut Option<TraceId>,
    pub(crate) correlation_id: &'a mut Option<String>,
    pub(crate) route: &'a mut Option<String>,
    pub(crate) tags: &'a mut BTreeMap<String, String>,
}

/// An event that was made by hand: emitter and number are given anew, the rest stays.
impl From<Event> for EventDraft {
    fn from(event: Event) -> Self {
        Self {
            event_type: event.event_type,
            trace_id: Some(event.trace_id),
            span_id: Some(event.span_id),
            parent_span_id: event.parent_span_id,
            parent_trace_id: event.parent_trace_id,
            correlation_id: event.correlation_id,
            timestamp: Some(event.timestamp),
            status: event.status,
            duration: event.duration,
            route: event.route,
            data: event.data,
            tags: event.tags,
            fault: None,
        }
    }
}

/// Whether a correlation id and a route are such.
pub(crate) fn check_names(correlation_id: Option<&str>, route: Option<&str>) -> Result<(), InvalidEvent> {
    if let Some(id) = correlation_id.filter(|id| CorrelationId::new(id).is_err()) {
        return Err(InvalidEvent::new("a correlation id of 1 to 128 bytes without control characters", id, "msg_1"));
    }
    let is_route =
        |route: &str| !route.is_empty() && route.len() <= MAX_ROUTE_BYTES && !route.contains(char::is_control);
    if let Some(route) = route.filter(|route| !is_route(route)) {
        return Err(InvalidEvent::new("a route of 1 to 128 bytes without control characters", route, "message"));
    }
    Ok(())
}

/// An error as events hold it.
pub(crate) fn error_data(kind: &str, message: &str) -> Value {
    let members = [("type", kind), ("message", message)].map(|(key, text)| (key.to_owned(), Value::from(text)));
    Value::Object(members.into_iter().collect())
}

/// Whether an event is one that may be emitted.
pub(super) fn check(event: &Event) -> Result<(), InvalidEvent> {
    event.check()?;
    check_names(event.correlation_id.as_deref(), event.route.as_deref())?;
    if event.duration.is_some_and(i64::is_negative) {
        let given = event.duration.unwrap_or_default().to_string();
        return Err(InvalidEvent::new("a duration in nanoseconds", &given, "12500000"));
    }
    Ok(())
}
