//! What happens now, and what happened before I began to look?
//!
//! A watcher first stands in line for what is emitted from now on, then waits until all earlier events of the process are in
//! the store, and reads them from there. Numbers are given under the same lock under which a watcher comes, so an event's
//! number tells which of the two ways it comes: none is missed and none comes twice.

mod backlog;
mod watcher;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;

use self::backlog::{Backlog, Step};
pub(crate) use self::watcher::Watcher;
use crate::{
    emit::{Emitter, block_on, block_on_until},
    event::{Event, TraceId},
    writer::Shared,
};

/// What a [`TraceStream`] gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// An event, stored or just emitted.
    Event(Arc<Event>),
    /// So many live events are left out here, because they came faster than they were taken.
    Missed(u64),
    /// Not all earlier events could be had, and why. Live ones follow.
    BacklogIncomplete(String),
}

/// Events of one trace or of all: the earlier ones in the order of `(timestamp, emitter, seq)`, then live ones in the order
/// of their numbers.
///
/// Live events come from this process, without their secrets, whether or not the store takes them; those of other processes
/// come only as far as the store had them at the beginning. Events of an earlier process that are still in the spill file
/// are not shown. Up to 1 024 live events or 4 MiB wait for a reader; what comes when it takes none is counted as
/// [`Watched::Missed`]. It ends when the emitter was shut down.
///
/// It is a [`Stream`] for any executor; on a thread use [`next_until`](Self::next_until) or [`blocking`](Self::blocking).
pub struct TraceStream {
    watcher: Arc<Watcher>,
    /// `None` in a forked process, where nothing comes.
    shared: Option<Arc<Shared>>,
    backlog: Option<Backlog>,
}

impl TraceStream {
    pub(crate) fn of_trace(emitter: &Emitter, trace_id: TraceId) -> Self {
        Self::new(emitter, Some(trace_id), Some(i64::MIN))
    }

    pub(crate) fn live_of_trace(emitter: &Emitter, trace_id: TraceId) -> Self {
        Self::new(emitter, Some(trace_id), None)
    }

    pub(crate) fn of_all(emitter: &Emitter, since: Option<i64>) -> Self {
        Self::new(emitter, None, since)
    }

    fn new(emitter: &Emitter, trace_id: Option<TraceId>, since: Option<i64>) -> Self {
        let watcher = Watcher::new(trace_id);
        let shared = emitter.shared().map(Arc::clone);
        let backlog = shared.as_ref().and_then(|shared| {
            let last_earlier = shared.watch(Arc::clone(&watcher));
            since.map(|since| Backlog::new(emitter, shared, trace_id, since, last_earlier))
        });
        if shared.is_none() {
            watcher.close();
        }
        Self { watcher, shared, backlog }
    }

    /// The next one, on this thread: `None` at the end, or if none came until `deadline`.
    pub fn next_until(&mut self, deadline: Instant) -> Option<Watched> {
        block_on_until(std::future::poll_fn(|context| self.poll(context)), Some(deadline)).flatten()
    }

    /// As [`next_until`](Self::next_until), from now on.
    pub fn next_within(&mut self, timeout: Duration) -> Option<Watched> {
        self.next_until(Instant::now() + timeout)
    }

    /// All of them, on this thread; it waits for each.
    pub fn blocking(mut self) -> impl Iterator<Item = Watched> {
        std::iter::from_fn(move || block_on(std::future::poll_fn(|context| self.poll(context))))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Watched>> {
        while let Some(backlog) = &mut self.backlog {
            match backlog.poll(context) {
                Poll::Ready(Step::Give(watched)) => return Poll::Ready(Some(watched)),
                Poll::Ready(Step::Done) => self.backlog = None,
                // A store that hangs must not cost live events: better the beginning is missing than what happens now.
                Poll::Pending if self.watcher.is_full_or_wakes(context) => {
                    self.backlog = None;
                    let why = "the store did not answer before live events had to be left out".to_owned();
                    return Poll::Ready(Some(Watched::BacklogIncomplete(why)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        self.watcher.poll(context)
    }
}

impl Stream for TraceStream {
    type Item = Watched;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Watched>> {
        self.poll(context)
    }
}

impl fmt::Debug for TraceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceStream").field("watcher", &self.watcher).finish_non_exhaustive()
    }
}

impl Drop for TraceStream {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.unwatch(&self.watcher);
        }
    }
}
