//! How does an application say what happened, and how does it know that it is kept?
//!
//! | module | question it answers |
//! |---|---|
//! | `builder` | where do events go, and within which bounds? |
//! | `draft` | what is said of an event before it is one? |
//! | `process` | which process is this, what time is it, and where do random numbers come from? |
//! | `report` | what does the process say of what became of its events? |
//! | `waiting` | how does one wait for an answer, with or without an executor? |

mod builder;
mod draft;
mod process;
mod report;
mod waiting;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use journey_core::{Clock, TraceIdKey};

use self::process::{Forked, Process};
pub use self::{
    builder::{EmitterBuilder, StartError},
    draft::EventDraft,
    process::Random,
    waiting::{Emit, Flush},
};
pub(crate) use self::{
    draft::{Place, check_names, error_data},
    waiting::{block_on, block_on_until},
};
use crate::{
    event::{Event, InvalidEvent, SpanId, TraceId},
    redact::{Cleaned, Redaction},
    store::EventStore,
    stream::TraceStream,
    writer::{LONGEST_GRACE, LossReason, Reply, Shared, WriterStats},
};

/// Emits events: numbers them, takes secrets out, and hands them to a thread that puts them into a store.
///
/// Clones are one emitter. One per process start and store is enough; all that it emits is accounted for under one number:
/// `emitted = stored + sum(dropped) + queued + spilled`, see [`WriterStats`].
///
/// Neither call waits, locks for long, does I/O or panics: what cannot be taken is counted by reason. No executor is needed.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use journey_store::{Emitter, Event, MemoryStore};
///
/// let emitter = Emitter::builder(Arc::new(MemoryStore::default())).service("support").start()?;
/// emitter.record(Event::completed("stage:process"));
/// let decision = Event::decision("route")
///     .chosen("B")
///     .reasoning("the customer asked for a refund")
///     .confidence(0.7)
///     .alternatives(["A", "B"]);
/// emitter.emit(decision).wait()?; // in async code: `emitter.emit(decision).await?`
/// let stats = emitter.shutdown(Duration::from_secs(5));
/// assert_eq!((stats.emitted, stats.stored), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// After a `fork`, the child must make its own emitter: writer thread and store stay with the parent. Through the old one it
/// takes no number of the parent's, touches none of its locks, and counts what it emits as `forked`.
#[derive(Clone)]
pub struct Emitter {
    handle: Arc<Handle>,
}

/// What the clones share; the last one closes it.
struct Handle {
    shared: Arc<Shared>,
    store: Arc<dyn EventStore>,
    process: Process,
    redaction: Redaction,
    clock: Clock,
    random: Random,
    key: TraceIdKey,
}

/// An emitter that nobody has any more goes on so long without being waited for.
const ABANDONED_FOR: Duration = Duration::from_secs(5);

impl Emitter {
    /// Begins an emitter that puts events into this store.
    pub fn builder(store: Arc<dyn EventStore>) -> EmitterBuilder {
        EmitterBuilder::new(store)
    }

    /// Emits an event and does not ask what becomes of it: a batch with it is put within about 50 ms.
    pub fn record(&self, event: impl Into<EventDraft>) {
        // A loss is counted; whoever wants to know uses `emit`.
        let _ = self.offer(event.into(), None);
    }

    /// Emits an event at once, and says when the store has it.
    ///
    /// The event is on its way when this returns: `.await` the answer, [`wait`](Emit::wait) for it on a thread, or drop it. A
    /// store that is away is tried 3 more times, with exponentially growing delays from 50 ms on.
    ///
    /// # Errors
    ///
    /// The answer is an [`EmitError`](crate::EmitError) if the event is not in the store: why, and whether the spill file
    /// has it.
    pub fn emit(&self, event: impl Into<EventDraft>) -> Emit {
        let (reply, answer) = oneshot::channel();
        match self.offer(event.into(), Some(reply)) {
            Ok(()) => Emit::waiting(answer),
            Err(error) => Emit::failed(error),
        }
    }

    /// Counts events that could not even be given to it, as lost for this reason: they have numbers, and are missing from
    /// the store with a cause.
    pub fn count_lost(&self, count: u64, reason: LossReason) {
        if count == 0 {
            return;
        }
        match self.forked() {
            Some(forked) => (0..count).for_each(|_| drop(forked.refuse())),
            None => self.handle.shared.count_lost(count, reason),
        }
    }

    /// Waits until all that was emitted before is stored or lost, and nothing of it is in the spill file.
    ///
    /// The answer is `false` if that was not so within `timeout`. Await it, or [`wait`](Flush::wait) for it on a thread.
    pub fn flush(&self, timeout: Duration) -> Flush {
        match self.forked() {
            Some(_) => Flush::never(),
            None => Flush::waiting(self.handle.shared.flush(Instant::now() + timeout)),
        }
    }

    /// Puts what waits and ends, within `deadline` and half a second, whatever hangs. Blocks until then.
    ///
    /// What is not stored by the deadline goes to the spill file, or is lost as `shutdown`; so is what is emitted
    /// afterwards. The store gets a last account that says so. Of several calls, the first one's deadline counts.
    pub fn shutdown(&self, deadline: Duration) -> WriterStats {
        if self.forked().is_none() {
            let deadline = self.handle.shared.close(Instant::now() + deadline);
            self.handle.shared.wait_for_end(deadline + LONGEST_GRACE);
        }
        self.stats()
    }

    /// What became of the events so far.
    pub fn stats(&self) -> WriterStats {
        match self.forked() {
            Some(forked) => forked.stats(),
            None => self.handle.shared.stats(),
        }
    }

    /// Its number: random, below 2^63, another one at every process start.
    pub fn number(&self) -> u64 {
        self.forked().map_or(self.handle.shared.emitter, |forked| forked.emitter)
    }

    /// The events of one trace: those that the store has first, then as they are emitted in this process.
    pub fn watch(&self, trace_id: TraceId) -> TraceStream {
        TraceStream::of_trace(self, trace_id)
    }

    /// The events of one trace as they are emitted in this process from now on, and none of before.
    pub fn watch_live(&self, trace_id: TraceId) -> TraceStream {
        TraceStream::live_of_trace(self, trace_id)
    }

    /// The events of all traces as they are emitted in this process; before that, those that the store has from `since`
    /// (unix nanoseconds) on, or none.
    pub fn watch_all(&self, since: Option<i64>) -> TraceStream {
        TraceStream::of_all(self, since)
    }

    /// Now, unix nanoseconds, by the emitter's clock.
    pub(crate) fn now(&self) -> i64 {
        (self.handle.clock)()
    }

    pub(crate) fn random_span_id(&self) -> SpanId {
        self.handle.process.random_span_id(&self.handle.random)
    }

    pub(crate) fn random_trace_id(&self) -> TraceId {
        self.handle.process.random_trace_id(&self.handle.random)
    }

    pub(crate) fn key(&self) -> &TraceIdKey {
        &self.handle.key
    }

    pub(crate) fn store(&self) -> &Arc<dyn EventStore> {
        &self.handle.store
    }

    /// What it shares with its writer; `None` in a forked child, whose locks may be held for ever.
    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        self.forked().is_none().then_some(&self.handle.shared)
    }

    fn forked(&self) -> Option<&Forked> {
        self.handle.process.forked(&self.handle.random)
    }

    fn offer(&self, draft: EventDraft, reply: Option<oneshot::Sender<Reply>>) -> Result<(), crate::EmitError> {
        let (event, cleaned) = self.finished(draft);
        match self.forked() {
            Some(forked) => Err(forked.refuse()),
            None => self.handle.shared.offer(event, cleaned, reply),
        }
    }

    /// The event of a draft, without secrets.
    fn finished(&self, draft: EventDraft) -> (Result<Event, InvalidEvent>, Cleaned) {
        let (mut event, fault) = draft.into_event(self);
        let cleaned = self.handle.redaction.clean_event(&mut event);
        let checked = fault.map_or(Ok(()), Err).and_then(|()| draft::check(&event));
        (checked.map(|()| event), cleaned)
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("number", &self.number()).field("store", &self.handle.store).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process.forked(&self.random).is_none() {
            self.shared.close(Instant::now() + ABANDONED_FOR);
        }
    }
}
