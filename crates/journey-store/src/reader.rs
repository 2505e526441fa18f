//! Questions to a store: one trace and why, recent and stuck ones, families of traces, analytics over many.

mod view;

use std::{collections::HashSet, sync::Arc};

pub use self::view::{ActiveTrace, ActiveView, FamilyMember, FamilyView};
use crate::{
    analytics::{Analytics, AnalyticsKind, AnalyticsView},
    event::{Event, TraceId},
    query::{TraceQuery, TraceView, instant, text},
    store::{EventFilter, EventStore, MAX_PAGE, Page, ScanFilter, StoreError, TraceStatus, TraceSummary},
    why::{self, Why},
};

/// The most events of one trace that are read.
pub const MAX_TRACE_EVENTS: usize = 100_000;
/// The most pending traces that are looked at for [`TraceReader::active`].
pub const MAX_ACTIVE: usize = 100_000;
/// The most traces of one family.
pub const MAX_FAMILY: usize = 1_000;
/// The most events that analytics look at, unless asked for another number.
pub const DEFAULT_ANALYTICS_EVENTS: u64 = 5_000_000;

/// Reads from a store, whatever it is. Cheap to clone; needs no runtime.
#[derive(Clone, Debug)]
pub struct TraceReader {
    store: Arc<dyn EventStore>,
}

/// The events of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceEvents {
    /// In the order of `(timestamp, emitter, seq)`.
    pub events: Vec<Event>,
    /// There are more than [`MAX_TRACE_EVENTS`]; these are the first.
    pub truncated: bool,
}

/// What is asked over many traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalyticsQuestion {
    /// Which question.
    pub kind: AnalyticsKind,
    /// Events at or after this instant, unix nanoseconds.
    pub since: Option<i64>,
    /// Events before this instant, unix nanoseconds.
    pub until: Option<i64>,
    /// Events that name this route.
    pub route: Option<String>,
    /// Failure rates by periods so long, nanoseconds; see [`Analytics::new`].
    pub period: i64,
    /// At most so many events.
    pub most_events: u64,
}

impl AnalyticsQuestion {
    /// Over everything, by the hour.
    pub fn new(kind: AnalyticsKind) -> Self {
        const HOUR: i64 = 3_600_000_000_000;
        Self { kind, since: None, until: None, route: None, period: HOUR, most_events: DEFAULT_ANALYTICS_EVENTS }
    }
}

impl TraceReader {
    /// Reads from this store.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// The events of a trace; none where the store knows none.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn trace(&self, id: TraceId) -> Result<TraceEvents, StoreError> {
        self.trace_up_to(id, MAX_TRACE_EVENTS).await
    }

    async fn trace_up_to(&self, id: TraceId, most: usize) -> Result<TraceEvents, StoreError> {
        let mut read = TraceEvents::default();
        let mut pages = Pages::default();
        while let Some(cursor) = pages.next() {
            let room = most - read.events.len();
            if room == 0 {
                read.truncated = true;
                break;
            }
            let page = self.store.trace(id, cursor, room.min(MAX_PAGE)).await?;
            read.truncated |= pages.turn(page.next, page.truncated);
            read.events.extend(page.items);
        }
        Ok(read)
    }

    /// Everything about a trace; `None` where the store knows nothing of it. `now`, unix nanoseconds, tells how long a
    /// pending one has been silent.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn view(&self, id: TraceId, now: i64) -> Result<Option<TraceView>, StoreError> {
        let TraceEvents { events, truncated } = self.trace(id).await?;
        let query = TraceQuery::new(events);
        Ok(query.trace_id().map(|_| TraceView::of(&query, Some(now), truncated)))
    }

    /// Why a trace stands as it does; `None` where the store knows nothing of it. `now` as for [`TraceReader::view`].
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn why(&self, id: TraceId, now: i64) -> Result<Option<Why>, StoreError> {
        let TraceEvents { events, truncated } = self.trace(id).await?;
        let query = TraceQuery::new(events);
        Ok(query.trace_id().map(|_| why::look(&query, Some(now), truncated)))
    }

    /// The traces that a person means by a text: a trace id, else a correlation id. The one with the newest event first.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn find(&self, text: &str) -> Result<Page<TraceSummary>, StoreError> {
        let by_id = match text.parse::<TraceId>() {
            Ok(id) => self.store.summary(id).await?,
            Err(_) => None,
        };
        match by_id {
            Some(summary) => Ok(Page { items: vec![summary], ..Page::default() }),
            None => self.store.correlated(text.to_owned()).await,
        }
    }

    /// Traces that fit, the one with the newest event first; at most [`MAX_PAGE`] at once.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn recent(
        &self,
        filter: EventFilter,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<Page<TraceSummary>, StoreError> {
        self.store.recent(filter, cursor, limit).await
    }

    /// Pending traces among those that fit, at most `limit` of them, the one silent for longest first; those without an
    /// event for `idle` or longer are stuck. `now` and `idle` are nanoseconds.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn active(
        &self,
        filter: EventFilter,
        now: i64,
        idle: i64,
        limit: usize,
    ) -> Result<ActiveView, StoreError> {
        let filter = EventFilter { status: Some(TraceStatus::Pending), ..filter };
        let mut pending = Vec::new();
        let mut view = ActiveView::default();
        let mut pages = Pages::default();
        while let Some(cursor) = pages.next() {
            if pending.len() >= MAX_ACTIVE {
                view.truncated = true;
                break;
            }
            let page = self.store.recent(filter.clone(), cursor, MAX_PAGE).await?;
            view.truncated |= pages.turn(page.next, page.truncated);
            pending.extend(page.items);
        }
        let silent = |summary: &TraceSummary| now.saturating_sub(summary.last).max(0);
        pending.sort_by_key(|summary| (summary.last, summary.trace_id));
        view.active = pending.len() as u64;
        view.stuck = pending.iter().filter(|summary| silent(summary) >= idle).count() as u64;
        view.truncated |= pending.len() > limit;
        view.traces = pending.iter().take(limit).map(|one| ActiveTrace::of(one, silent(one), idle)).collect();
        Ok(view)
    }

    /// A trace with all that it started, directly or not. A trace that leads back to itself is named once. Empty where
    /// the store knows nothing of it.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn family(&self, id: TraceId) -> Result<FamilyView, StoreError> {
        let mut view = FamilyView::default();
        let Some(first) = self.store.summary(id).await? else { return Ok(view) };
        let mut known = HashSet::from([id]);
        view.traces.push(FamilyMember::of(&first, None, 0));
        let mut asked = 0;
        while let Some(parent) = view.traces.get(asked).map(|member| (member.trace_id, member.depth)) {
            asked += 1;
            let (parent, depth) = parent;
            let children = self.store.children(parent).await?;
            view.truncated |= children.truncated || children.next.is_some();
            for child in children.items.iter().filter(|child| known.insert(child.trace_id)) {
                if view.traces.len() >= MAX_FAMILY {
                    view.truncated = true;
                    return Ok(view);
                }
                view.traces.push(FamilyMember::of(child, Some(parent), depth + 1));
            }
        }
        Ok(view)
    }

    /// Answers a question over many traces: all events that fit pass by once, in bounded memory.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn analytics(&self, question: AnalyticsQuestion) -> Result<AnalyticsView, StoreError> {
        let AnalyticsQuestion { kind, since, until, route, period, most_events } = question;
        let filter = ScanFilter { since, until, route: route.clone(), ..ScanFilter::default() };
        let mut analytics = Analytics::new(kind, period);
        let mut left = most_events;
        let mut truncated = false;
        let mut pages = Pages::default();
        while let Some(cursor) = pages.next() {
            if left == 0 {
                truncated = true;
                break;
            }
            let page = usize::try_from(left).map_or(MAX_PAGE, |left| left.min(MAX_PAGE));
            let page = self.store.scan(filter.clone(), cursor, page).await?;
            truncated |= pages.turn(page.next, page.truncated);
            left = left.saturating_sub(page.items.len() as u64);
            page.items.iter().for_each(|event| analytics.add(event));
        }
        let mut view = analytics.report();
        view.truncated = truncated;
        if truncated {
            view.notes.insert(0, format!("There are more events than the {} that were looked at.", view.events));
        }
        view.since = since.map(instant);
        view.until = until.map(instant);
        view.route = route.map(|route| text::clean(&route, text::NAME));
        Ok(view)
    }
}

/// Turns pages until there is none, and never the same one twice: a store that repeats itself must not hang a reader.
#[derive(Default)]
struct Pages {
    begun: bool,
    at: Option<String>,
    known: HashSet<String>,
}

impl Pages {
    /// The cursor of the next page, itself absent for the first page; `None` after the last.
    fn next(&mut self) -> Option<Option<String>> {
        if !self.begun {
            self.begun = true;
            return Some(None);
        }
        self.at.take().map(Some)
    }

    /// Takes note of what a page said; answers whether there is more that cannot be read.
    fn turn(&mut self, next: Option<String>, truncated: bool) -> bool {
        let Some(next) = next else { return truncated };
        let is_new = self.known.insert(next.clone());
        self.at = is_new.then_some(next);
        truncated || !is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, fixture::Saga, store::Batch, wait};

    #[test]
    fn a_long_trace_is_read_page_by_page_cut_at_the_limit_and_says_so() {
        let sagas = (0..120).map(|order| {
            let saga = Saga { emitter: 1 + order, ..Saga::default() };
            saga.events()
        });
        let events: Vec<Event> = sagas.flatten().collect();
        let all = events.len();
        assert!(all > 3 * MAX_PAGE, "{all}");
        let (now, id) = (events[0].timestamp, events[0].trace_id);
        let store = Arc::new(MemoryStore::new());
        wait(store.put(Arc::new(Batch { events, account: None, now }))).unwrap();
        let reader = TraceReader::new(store);
        for (most, read, truncated) in
            [(all + 1, all, false), (all, all, false), (all - 1, all - 1, true), (7, 7, true)]
        {
            let trace = wait(Box::pin({
                let reader = reader.clone();
                async move { reader.trace_up_to(id, most).await }
            }))
            .unwrap();
            assert_eq!((trace.events.len(), trace.truncated), (read, truncated), "at most {most}");
            let why = why::look(&TraceQuery::of(&trace.events), None, trace.truncated).paragraph();
            assert_eq!(why.contains("There are more events than were read"), truncated, "{why}");
        }
    }
}
