//! Questions to a store.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use journey_store::{
    AnalyticsKind, AnalyticsQuestion, Answer, Batch, DailyStatistic, EmitterAccount, Event, EventFilter, EventStore,
    Expired, MAX_FAMILY, MemoryStore, Page, Put, ScanFilter, SpanId, StoreError, StoreErrorKind, StoreInfo, TraceId,
    TraceReader, TraceStatus, TraceSummary, Verdict, fixture::Saga, wait,
};

use crate::script::{BEGIN, MILLI};

/// A store in memory that answers at once needs no executor.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a store in memory answers at once"),
    }
}

fn id(trace: u128) -> TraceId {
    TraceId::new(trace).unwrap()
}

fn put(store: &MemoryStore, events: &[Event]) {
    for events in events.chunks(10_000) {
        let batch = Batch { events: events.to_vec(), account: None, now: BEGIN };
        let put = wait(store.put(Arc::new(batch))).unwrap();
        assert!(put.iter().all(|put| *put == Put::New), "{put:?}");
    }
}

fn reader(events: &[Event]) -> TraceReader {
    let store = MemoryStore::new();
    put(&store, events);
    TraceReader::new(Arc::new(store))
}

fn saga(trace: u128, fails_at: Option<usize>) -> Vec<Event> {
    Saga { trace, fails_at, order: trace as u32, ..Saga::default() }.events()
}

/// One event of a trace that began long ago or just now.
fn begun(trace: u128, ago: i64) -> Event {
    Event::new(id(trace), SpanId::new(1).unwrap(), "workflow:started", BEGIN - ago * MILLI)
}

#[test]
fn a_trace_is_read_with_its_view_and_why_and_found_by_either_id() {
    let reader = reader(&[saga(5, Some(9)), saga(6, None)].concat());
    let view = now(reader.view(id(5), BEGIN)).unwrap().unwrap();
    assert_eq!((view.events.len(), view.status, view.truncated), (30, TraceStatus::Failed, false));
    let why = now(reader.why(id(5), BEGIN)).unwrap().unwrap();
    assert_eq!((why.verdict, why.paragraph()), (Verdict::Failed, view.why));
    assert_eq!(now(reader.why(id(6), BEGIN)).unwrap().unwrap().verdict, Verdict::Succeeded);
    for text in ["00000000000000000000000000000005", "order-5"] {
        let found = now(reader.find(text)).unwrap().items;
        assert_eq!(found.iter().map(|one| one.trace_id).collect::<Vec<_>>(), [id(5)], "{text}");
    }
    assert!(now(reader.find("nobody")).unwrap().items.is_empty());
    assert!(now(reader.view(id(7), BEGIN)).unwrap().is_none());
    assert!(now(reader.why(id(7), BEGIN)).unwrap().is_none());
}

#[test]
fn pending_traces_that_are_silent_for_too_long_are_stuck() {
    let events = [begun(1, 500), begun(2, 90_000), begun(3, 61_000), begun(4, -5_000)];
    let reader = reader(&[events.to_vec(), saga(5, None), saga(6, Some(3))].concat());
    let active = now(reader.active(EventFilter::default(), BEGIN, 60_000 * MILLI, 10)).unwrap();
    let seen: Vec<_> = active.traces.iter().map(|one| (one.trace_id, one.idle_ms, one.stuck)).collect();
    let expected = [(id(2), 90_000.0, true), (id(3), 61_000.0, true), (id(1), 500.0, false), (id(4), 0.0, false)];
    assert_eq!((seen.as_slice(), active.active, active.stuck, active.truncated), (&expected[..], 4, 2, false));
    let first = now(reader.active(EventFilter::default(), BEGIN, 60_000 * MILLI, 1)).unwrap();
    assert_eq!((first.traces.len(), first.active, first.stuck, first.truncated), (1, 4, 2, true));
    let recent = now(reader.recent(EventFilter::default(), None, 3)).unwrap();
    assert_eq!((recent.items.len(), recent.next.is_some()), (3, true));
}

#[test]
fn a_family_is_followed_across_workflows_and_a_circle_ends() {
    let child = |trace, parent| {
        let mut event = begun(trace, 100 - trace as i64);
        event.parent_trace_id = TraceId::new(parent);
        event
    };
    // 1 starts 2 and 3, 2 starts 4, and 4 claims to have started 1; 9 starts itself.
    let reader = reader(&[child(1, 4), child(2, 1), child(3, 1), child(4, 2), child(9, 9)]);
    let family = now(reader.family(id(1))).unwrap();
    let seen: Vec<_> = family.traces.iter().map(|one| (one.trace_id, one.parent_trace_id, one.depth)).collect();
    let expected = [(id(1), None, 0), (id(2), Some(id(1)), 1), (id(3), Some(id(1)), 1), (id(4), Some(id(2)), 2)];
    assert_eq!((seen.as_slice(), family.truncated), (&expected[..], false));
    assert_eq!(now(reader.family(id(9))).unwrap().traces.len(), 1);
    assert!(now(reader.family(id(77))).unwrap().traces.is_empty());
}

#[test]
fn a_family_without_end_is_cut_and_says_so() {
    let chain: Vec<Event> = (1..=MAX_FAMILY as u128 + 5)
        .map(|trace| Event { parent_trace_id: TraceId::new(trace - 1), ..begun(trace, 0) })
        .collect();
    let family = now(reader(&chain).family(id(1))).unwrap();
    assert_eq!((family.traces.len(), family.truncated), (MAX_FAMILY, true));
}

#[test]
fn analytics_page_through_the_store_within_time_route_and_limit() {
    let mut events: Vec<Event> = (1..=100).flat_map(|trace| saga(trace, (trace % 4 == 0).then_some(9))).collect();
    events.extend(saga(999, Some(1)).into_iter().map(|event| Event { route: Some("other".to_owned()), ..event }));
    let reader = reader(&events);
    let mut question =
        AnalyticsQuestion { route: Some("order".to_owned()), ..AnalyticsQuestion::new(AnalyticsKind::Failures) };
    let view = now(reader.analytics(question.clone())).unwrap();
    let rates: Vec<_> = view.failure_rates.iter().map(|one| (one.route.as_str(), one.ended, one.failed)).collect();
    assert_eq!((rates.as_slice(), view.truncated), (&[("order", 100, 25)][..], false));
    assert_eq!(view.events, events.len() as u64 - 4);
    question.most_events = 1_500;
    let cut = now(reader.analytics(question.clone())).unwrap();
    assert_eq!((cut.events, cut.truncated), (1_500, true));
    assert_eq!(cut.notes, ["There are more events than the 1500 that were looked at."]);
    question.until = Some(BEGIN);
    let none = now(reader.analytics(question)).unwrap();
    assert_eq!((none.events, none.until.as_deref()), (0, Some("2026-11-20T10:00:00.000Z")));
}

/// A store that answers every page with the same cursor, as a broken one might, or with nothing but errors.
#[derive(Debug)]
struct Broken {
    error: Option<StoreError>,
}

impl Broken {
    fn answer<T: Send + 'static>(&self, good: T) -> Answer<T> {
        Box::pin(std::future::ready(self.error.clone().map_or(Ok(good), Err)))
    }

    fn page<T: Send + 'static>(&self, entry: T) -> Answer<Page<T>> {
        self.answer(Page { items: vec![entry], next: Some("again".to_owned()), truncated: false })
    }
}

fn summary(trace: u128) -> TraceSummary {
    TraceSummary {
        trace_id: id(trace),
        correlation_id: None,
        route: None,
        parent_trace_id: None,
        first: i64::MIN,
        last: i64::MAX,
        status: TraceStatus::Pending,
        any_failed: false,
        types: Default::default(),
        tags: Default::default(),
    }
}

impl EventStore for Broken {
    fn put(&self, _: Arc<Batch>) -> Answer<Vec<Put>> {
        self.answer(Vec::new())
    }
    fn trace(&self, _: TraceId, _: Option<String>, _: usize) -> Answer<Page<Event>> {
        self.page(begun(1, 0))
    }
    fn summary(&self, _: TraceId) -> Answer<Option<TraceSummary>> {
        self.answer(Some(summary(1)))
    }
    fn correlated(&self, _: String) -> Answer<Page<TraceSummary>> {
        self.page(summary(1))
    }
    fn recent(&self, _: EventFilter, _: Option<String>, _: usize) -> Answer<Page<TraceSummary>> {
        self.page(summary(1))
    }
    fn children(&self, _: TraceId) -> Answer<Page<TraceSummary>> {
        self.page(summary(1))
    }
    fn scan(&self, _: ScanFilter, _: Option<String>, _: usize) -> Answer<Page<Event>> {
        self.page(begun(1, 0))
    }
    fn recompute(&self) -> Answer<Vec<String>> {
        self.answer(Vec::new())
    }
    fn daily(&self, _: String, _: String) -> Answer<Vec<DailyStatistic>> {
        self.answer(Vec::new())
    }
    fn due(&self, _: String, _: String) -> Answer<Vec<String>> {
        self.answer(Vec::new())
    }
    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.answer(Vec::new())
    }
    fn expire(&self, _: i64, _: i64) -> Answer<Expired> {
        self.answer(Expired::default())
    }
    fn info(&self) -> Answer<StoreInfo> {
        self.answer(StoreInfo::default())
    }
}

#[test]
fn a_store_that_repeats_itself_does_not_hang_a_reader() {
    let reader = TraceReader::new(Arc::new(Broken { error: None }));
    let trace = now(reader.trace(id(1))).unwrap();
    assert_eq!((trace.events.len(), trace.truncated), (2, true));
    let active = now(reader.active(EventFilter::default(), BEGIN, 1, 10)).unwrap();
    assert_eq!((active.active, active.truncated), (2, true));
    let view = now(reader.analytics(AnalyticsQuestion::new(AnalyticsKind::Stages))).unwrap();
    assert_eq!((view.events, view.truncated), (2, true));
    let family = now(reader.family(id(1))).unwrap();
    assert_eq!((family.traces.len(), family.truncated), (1, true));
}

#[test]
fn an_error_of_the_store_reaches_whoever_asked() {
    let error = StoreError::new(StoreErrorKind::Unavailable, "locked");
    let reader = TraceReader::new(Arc::new(Broken { error: Some(error.clone()) }));
    assert_eq!(now(reader.trace(id(1))).unwrap_err(), error);
    assert_eq!(now(reader.view(id(1), 0)).unwrap_err(), error);
    assert_eq!(now(reader.family(id(1))).unwrap_err(), error);
    assert_eq!(now(reader.find("x")).unwrap_err(), error);
    assert_eq!(now(reader.active(EventFilter::default(), 0, 0, 1)).unwrap_err(), error);
    assert_eq!(now(reader.analytics(AnalyticsQuestion::new(AnalyticsKind::Decisions))).unwrap_err(), error);
}
