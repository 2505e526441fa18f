//! Which trace, which span, and whose message: what travels along with the work.
//!
//! | module | question it answers |
//! |---|---|
//! | `traceparent` | how does a context travel to another process? |
//! | `work` | what is said when a piece of work begins and ends, however it ends? |

mod traceparent;
mod work;

use std::{collections::BTreeMap, fmt::Display, future::Future, sync::Arc};

use journey_core::root_span_id;

use self::work::Work;
use crate::{
    emit::{Emit, Emitter, EventDraft, Place},
    event::{Event, EventStatus, InvalidEvent, SpanId, TraceId},
};

/// A place in a trace: events that are emitted through it belong there.
///
/// It is passed on by hand: clone it into tasks, give it to functions, send [`traceparent`](Self::traceparent) to other
/// processes. Nothing is kept in a thread or a task.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use journey_store::{Emitter, Event, MemoryStore, TraceContext};
///
/// async fn refund(order: &TraceContext) -> Result<(), String> {
///     let paid = order.trace_with("stage:pay", |pay| async move { Ok::<_, String>(pay.span_id()) }).await?;
///     order.decide(Event::decision("ship").chosen("no").confidence(0.9));
///     let shipped = order.trace("stage:ship", || async { Err::<(), _>("no stock".to_owned()) }).await;
///     if shipped.is_err() {
///         order.compensate(paid, "refund", || async { Ok::<_, String>(()) }).await?;
///     }
///     shipped
/// }
///
/// let store = Arc::new(MemoryStore::default());
/// let emitter = Emitter::builder(store).start()?;
/// let order = TraceContext::start(&emitter, "order", "order_17")?;
/// # fn run<F: Future>(future: F) -> F::Output {
/// #     match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
/// #         std::task::Poll::Ready(output) => output, std::task::Poll::Pending => unreachable!("nothing here waits"),
/// #     }
/// # }
/// match run(refund(&order)) {
///     Ok(()) => order.completed(),
///     Err(error) => order.failed(&error),
/// }
/// assert_eq!(emitter.shutdown(Duration::from_secs(5)).stored, 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TraceContext {
    emitter: Emitter,
    trace_id: TraceId,
    span_id: SpanId,
    parent_span_id: Option<SpanId>,
    parent_trace_id: Option<TraceId>,
    correlation_id: Option<Arc<str>>,
    route: Option<Arc<str>>,
    tags: Arc<BTreeMap<String, String>>,
    /// Work below it says `data.compensable = false`.
    without_effect: bool,
    /// When its span began, unix nanoseconds.
    since: i64,
}

impl TraceContext {
    /// Starts the workflow of one message and emits `workflow:started`.
    ///
    /// Trace and root span are derived from route and correlation id with the emitter's key, so they are those of the
    /// message's journey, in whichever process. The same message again is the same trace: for another run, see
    /// [`start_again`](Self::start_again).
    ///
    /// # Errors
    ///
    /// Route or correlation id are empty, longer than 128 bytes, or have control characters.
    pub fn start(emitter: &Emitter, route: &str, correlation_id: &str) -> Result<Self, InvalidEvent> {
        Self::start_again(emitter, route, correlation_id, 1)
    }

    /// Starts a further run of the workflow of one message: `generation` counts them from 1.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_again(
        emitter: &Emitter,
        route: &str,
        correlation_id: &str,
        generation: u32,
    ) -> Result<Self, InvalidEvent> {
        let derived = emitter.key().trace_id(route, correlation_id, generation);
        let context = Self::root(emitter, route, Some(correlation_id), TraceId::new(derived), None);
        context.check_names()?;
        context.record_here(Event::draft("workflow:started"));
        Ok(context)
    }

    /// Starts a workflow that no message names, under a random trace id, and emits `workflow:started`.
    ///
    /// # Errors
    ///
    /// The route is empty, longer than 128 bytes, or has control characters.
    pub fn start_unnamed(emitter: &Emitter, route: &str) -> Result<Self, InvalidEvent> {
        let context = Self::root(emitter, route, None, None, None);
        context.check_names()?;
        context.record_here(Event::draft("workflow:started"));
        Ok(context)
    }

    /// Goes on in a trace that another process or library began: events come below its span. Emits nothing.
    pub fn resume(emitter: &Emitter, trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            emitter: emitter.clone(),
            trace_id,
            span_id,
            parent_span_id: None,
            parent_trace_id: None,
            correlation_id: None,
            route: None,
            tags: Arc::default(),
            without_effect: false,
            since: emitter.now(),
        }
    }

    /// Goes on where a `traceparent` header (W3C Trace Context) says. Route and correlation id travel in headers of their
    /// own; give them with [`named`](Self::named). Emits nothing.
    ///
    /// # Errors
    ///
    /// The text is not such a header.
    pub fn from_traceparent(emitter: &Emitter, header: &str) -> Result<Self, InvalidEvent> {
        let (trace_id, span_id) = traceparent::read(header)?;
        Ok(Self::resume(emitter, trace_id, span_id))
    }

    /// The place as a `traceparent` header (W3C Trace Context), for other processes.
    pub fn traceparent(&self) -> String {
        traceparent::write(self.trace_id, self.span_id)
    }

    /// Says which route and message the work belongs to.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn named(mut self, route: &str, correlation_id: &str) -> Result<Self, InvalidEvent> {
        (self.route, self.correlation_id) = (Some(route.into()), Some(correlation_id.into()));
        self.check_names()?;
        Ok(self)
    }

    /// Puts a tag on all that is emitted through it and through contexts made from it.
    #[must_use]
    pub fn tagged(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.tags).insert(key.into(), value.into());
        self
    }

    /// The same place, for work that changes nothing: what is traced through it says `data.compensable = false`, so that
    /// nobody asks why it was not undone when the workflow fails.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use journey_store::{Emitter, EventStore, MemoryStore, TraceContext, TraceQuery, wait};
    /// # let store = Arc::new(MemoryStore::default());
    /// # let emitter = Emitter::builder(store.clone()).start()?;
    /// # fn run<F: Future>(future: F) -> F::Output {
    /// #     match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
    /// #         std::task::Poll::Ready(output) => output, std::task::Poll::Pending => unreachable!("nothing here waits"),
    /// #     }
    /// # }
    /// let order = TraceContext::start(&emitter, "order", "order_18")?;
    /// run(order.without_effect().trace("stage:look", || async { Ok::<_, String>(()) }))?;
    /// run(order.trace("stage:keep", || async { Ok::<_, String>(()) }))?;
    /// let paid = run(order.trace_with("stage:pay", |pay| async move { Ok::<_, String>(pay.span_id()) }))?;
    /// run(order.compensate(paid, "refund", || async { Ok::<_, String>(()) }))?;
    /// order.failed("no stock");
    /// emitter.shutdown(Duration::from_secs(5));
    /// let query = TraceQuery::new(wait(store.trace(order.trace_id(), None, 100))?.items);
    /// let left: Vec<_> = query.compensations().never_undone.iter().map(|node| node.label.as_str()).collect();
    /// assert_eq!(left, ["keep"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn without_effect(&self) -> Self {
        Self { without_effect: true, ..self.clone() }
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span that events come below.
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// A place below: the same trace, a span of its own. Emits nothing.
    #[must_use]
    pub fn child(&self) -> Self {
        let span_id = self.emitter.random_span_id();
        Self { span_id, parent_span_id: Some(self.span_id), since: self.emitter.now(), ..self.clone() }
    }

    /// Starts a workflow of its own that this one caused: another trace, which names this one as its parent. Emits
    /// `workflow:started` there.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn child_workflow(&self, route: &str, correlation_id: &str) -> Result<Self, InvalidEvent> {
        let derived = TraceId::new(self.emitter.key().trace_id(route, correlation_id, 1));
        // A workflow that starts itself for the same message would become one trace with its parent.
        let derived = derived.filter(|id| *id != self.trace_id);
        let mut context = Self::root(&self.emitter, route, Some(correlation_id), derived, Some(self.trace_id));
        context.tags = Arc::clone(&self.tags);
        context.check_names()?;
        context.record_here(Event::draft("workflow:started"));
        Ok(context)
    }

    /// Says that the workflow is done: `workflow:completed`, with the time since it started.
    pub fn completed(&self) {
        self.end(Event::draft("workflow:completed").status(EventStatus::Success));
    }

    /// Says that the workflow failed: `workflow:failed`, with the error and the time since it started.
    pub fn failed<E: Display + ?Sized>(&self, error: &E) {
        self.end(Event::draft("workflow:failed").status(EventStatus::Failed).error(error));
    }

    /// Emits an event below this place, without asking what becomes of it.
    pub fn record(&self, event: impl Into<EventDraft>) {
        self.emitter.record(event.into().of(self));
    }

    /// Emits an event below this place; the answer says when it is stored, see [`Emitter::emit`].
    pub fn emit(&self, event: impl Into<EventDraft>) -> Emit {
        self.emitter.emit(event.into().of(self))
    }

    /// Emits a decision below this place, such as `Event::decision("route").chosen("B")`, and says which span it is.
    pub fn decide(&self, decision: EventDraft) -> SpanId {
        let span_id = self.emitter.random_span_id();
        self.record(decision.span_id(span_id));
        span_id
    }

    /// Runs a piece of work and emits how it begins and ends.
    ///
    /// `stage:process` gives `stage:started`, then `stage:completed` or `stage:failed` with the error, in a span of its own
    /// and with the time it took. If the future is dropped before its end it is `stage:cancelled`, if it panics
    /// `stage:failed`. The result is passed on as it is; nothing is emitted before the first poll.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub async fn trace<T, E, W, F>(&self, work: &str, run: W) -> Result<T, E>
    where
        E: Display,
        W: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
    {
        self.trace_with(work, |_| run()).await
    }

    /// As [`trace`](Self::trace), for work that emits events of its own: it gets the place inside its span.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub async fn trace_with<T, E, W, F>(&self, work: &str, run: W) -> Result<T, E>
    where
        E: Display,
        W: FnOnce(TraceContext) -> F,
        F: Future<Output = Result<T, E>>,
    {
        let inside = self.child();
        let open = Work::begin(&inside, work);
        let result = run(inside).await;
        open.end(&result);
        result
    }

    /// Runs what undoes an earlier span, and emits `saga:compensating`, then `saga:compensated` or
    /// `saga:compensation_failed`; each names the span in `compensates`.
    ///
    /// If the future is dropped or panics, the compensation has failed.
    ///
    /// # Errors
    ///
    /// Those of the compensation.
    pub async fn compensate<T, E, W, F>(&self, original: SpanId, name: &str, run: W) -> Result<T, E>
    where
        E: Display,
        W: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
    {
        let open = Work::compensation(&self.child(), original, name);
        let result = run().await;
        open.end(&result);
        result
    }

    pub(crate) fn parent_span_id(&self) -> Option<SpanId> {
        self.parent_span_id
    }

    /// Fills in what a draft does not say.
    pub(crate) fn complete(&self, place: &mut Place<'_>, parent_span_id: Option<SpanId>) {
        let same_trace = *place.trace_id.get_or_insert(self.trace_id) == self.trace_id;
        if same_trace && place.parent_span_id.is_none() {
            *place.parent_span_id = parent_span_id;
        }
        if same_trace && place.parent_trace_id.is_none() {
            *place.parent_trace_id = self.parent_trace_id;
        }
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        if place.correlation_id.is_none() {
            *place.correlation_id = text(&self.correlation_id);
        }
        if place.route.is_none() {
            *place.route = text(&self.route);
        }
        for (key, value) in &*self.tags {
            place.tags.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }

    fn root(
        emitter: &Emitter,
        route: &str,
        correlation_id: Option<&str>,
        trace_id: Option<TraceId>,
        parent_trace_id: Option<TraceId>,
    ) -> Self {
        let trace_id = trace_id.unwrap_or_else(|| emitter.random_trace_id());
        // Never zero, as the function promises.
        let span_id = SpanId::new(root_span_id(trace_id.get())).unwrap_or_else(|| emitter.random_span_id());
        let (correlation_id, route) = (correlation_id.map(Into::into), Some(route.into()));
        Self { parent_trace_id, correlation_id, route, ..Self::resume(emitter, trace_id, span_id) }
    }

    fn end(&self, event: EventDraft) {
        self.record_here(event.duration_nanos(self.emitter.now().saturating_sub(self.since).max(0)));
    }

    /// Emits an event about the span of this place itself.
    fn record_here(&self, event: EventDraft) {
        self.emitter.record(event.about(self));
    }

    fn check_names(&self) -> Result<(), InvalidEvent> {
        crate::emit::check_names(self.correlation_id.as_deref(), self.route.as_deref())
    }
}
