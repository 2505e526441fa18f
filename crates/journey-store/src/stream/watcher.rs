//! Where do live events wait for one reader?

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::Watched;
use crate::event::{Event, TraceId};

/// So many live events wait for a reader.
const MAX_EVENTS: usize = 1_024;

/// Their bytes.
const MAX_BYTES: usize = 4 << 20;

/// One reader's place in line.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// `None`: all.
    trace_id: Option<TraceId>,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(Watched, usize)>,
    bytes: usize,
    /// Left out since the last that waits.
    missed: u64,
    waker: Option<Waker>,
    is_closed: bool,
}

impl Watcher {
    pub(super) fn new(trace_id: Option<TraceId>) -> Arc<Self> {
        Arc::new(Self { trace_id, line: Mutex::default() })
    }

    pub(crate) fn wants(&self, trace_id: TraceId) -> bool {
        self.trace_id.is_none_or(|wanted| wanted == trace_id)
    }

    /// Takes a live event, or counts it; whom to wake for it.
    pub(crate) fn push(&self, event: &Arc<Event>, bytes: usize) -> Option<Waker> {
        let mut line = self.line.lock();
        if line.is_full(bytes) {
            line.missed += 1;
        } else {
            if line.missed > 0 {
                let missed = std::mem::take(&mut line.missed);
                line.waiting.push_back((Watched::Missed(missed), 0));
            }
            line.bytes += bytes;
            line.waiting.push_back((Watched::Event(Arc::clone(event)), bytes));
        }
        line.waker.take()
    }

    pub(crate) fn close(&self) {
        let mut line = self.line.lock();
        line.is_closed = true;
        let waker = line.waker.take();
        drop(line);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Watched>> {
        let mut line = self.line.lock();
        if let Some((watched, bytes)) = line.waiting.pop_front() {
            line.bytes -= bytes;
            return Poll::Ready(Some(watched));
        }
        if line.missed > 0 {
            return Poll::Ready(Some(Watched::Missed(std::mem::take(&mut line.missed))));
        }
        if line.is_closed {
            return Poll::Ready(None);
        }
        line.wake(context);
        Poll::Pending
    }

    /// Whether live events are left out or end; if not, the next one wakes the reader.
    pub(super) fn is_full_or_wakes(&self, context: &Context<'_>) -> bool {
        let mut line = self.line.lock();
        if line.missed > 0 || line.is_closed {
            return true;
        }
        line.wake(context);
        false
    }
}

impl Line {
    fn is_full(&self, bytes: usize) -> bool {
        // One event is taken however large it is, so that the reader gets on.
        self.waiting.len() >= MAX_EVENTS || (self.bytes + bytes > MAX_BYTES && !self.waiting.is_empty())
    }

    fn wake(&mut self, context: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
    }
}
