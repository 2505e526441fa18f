//! What happened before I began to look?

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_channel::oneshot;

use super::Watched;
use crate::{
    emit::Emitter,
    event::{Event, TraceId},
    store::{Answer, EventStore, MAX_PAGE, Page, ScanFilter, StoreError},
    writer::{Flushed, Shared},
};

/// Earlier events that are not in the store by then are reported as missing.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads earlier events from the store, page by page.
pub(super) struct Backlog {
    store: Arc<dyn EventStore>,
    trace_id: Option<TraceId>,
    since: i64,
    /// Own events with a greater number come live.
    emitter: u64,
    last_earlier: u64,
    /// First, all earlier events must be in the store.
    flush: Option<oneshot::Receiver<Flushed>>,
    /// Then its pages are asked for.
    asked: Option<Answer<Page<Event>>>,
    /// And given, one event after another.
    given: VecDeque<Watched>,
}

/// What reading got.
pub(super) enum Step {
    Give(Watched),
    Done,
}

impl Backlog {
    pub(super) fn new(
        emitter: &Emitter,
        shared: &Shared,
        trace_id: Option<TraceId>,
        since: i64,
        last_earlier: u64,
    ) -> Self {
        Self {
            store: Arc::clone(emitter.store()),
            trace_id,
            since,
            emitter: shared.emitter,
            last_earlier,
            flush: Some(shared.flush(Instant::now() + FLUSH_TIMEOUT)),
            asked: None,
            given: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Some(flush) = &mut self.flush {
            let Poll::Ready(flushed) = Pin::new(flush).poll(context) else { return Poll::Pending };
            self.flush = None;
            self.asked = Some(self.page(None));
            if flushed != Ok(true) {
                let why = "events that were emitted before are not in the store yet".to_owned();
                return Poll::Ready(Step::Give(Watched::BacklogIncomplete(why)));
            }
        }
        loop {
            if let Some(watched) = self.given.pop_front() {
                return Poll::Ready(Step::Give(watched));
            }
            let Some(asked) = &mut self.asked else { return Poll::Ready(Step::Done) };
            let Poll::Ready(page) = asked.as_mut().poll(context) else { return Poll::Pending };
            self.asked = None;
            self.take(page);
        }
    }

    fn page(&self, cursor: Option<String>) -> Answer<Page<Event>> {
        match self.trace_id {
            Some(id) => self.store.trace(id, cursor, MAX_PAGE),
            None => {
                let filter = ScanFilter { since: Some(self.since), ..ScanFilter::default() };
                self.store.scan(filter, cursor, MAX_PAGE)
            }
        }
    }

    fn take(&mut self, page: Result<Page<Event>, StoreError>) {
        let page = match page {
            Ok(page) => page,
            Err(error) => return self.given.push_back(Watched::BacklogIncomplete(error.message)),
        };
        let comes_live = |event: &Event| event.emitter == self.emitter && event.seq > self.last_earlier;
        let events = page.items.into_iter().filter(|event| !comes_live(event));
        self.given.extend(events.map(|event| Watched::Event(Arc::new(event))));
        if page.truncated {
            let why = "the store does not give more than so many events".to_owned();
            self.given.push_back(Watched::BacklogIncomplete(why));
        }
        self.asked = page.next.map(|cursor| self.page(Some(cursor)));
    }
}
