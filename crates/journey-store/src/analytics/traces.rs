//! How did each trace end? Known only when all its events have passed, and kept in bounded memory until then.

use std::collections::{HashMap, VecDeque};

use crate::{
    event::{Event, EventStatus, TraceId},
    query::{is_workflow, status_of, text},
    store::TraceStatus,
};

/// The most that is kept of traces that may still get events: one for a trace, and one for each thing noted of it.
const MOST_KEPT: usize = 200_000;

/// What is noted of each trace while its events pass, besides how it ended.
pub(super) trait Noted: Default {
    /// How many things are noted.
    fn len(&self) -> usize;
}

/// One trace.
#[derive(Debug, Default)]
pub(super) struct Trace<N> {
    /// Its route (of several, the least).
    pub(super) route: Option<String>,
    newest_end: Option<((i64, u64, u64), EventStatus)>,
    any_failed: bool,
    /// What else is noted.
    pub(super) noted: N,
}

/// Traces whose events may still come, the oldest first.
#[derive(Debug)]
pub(super) struct Traces<N> {
    kept: HashMap<TraceId, Trace<N>>,
    order: VecDeque<TraceId>,
    weight: usize,
    most: usize,
    /// Traces that were counted before all events had passed.
    pub(super) settled_early: u64,
}

impl<N> Trace<N> {
    /// How it stands, as a store's summary says.
    pub(super) fn status(&self) -> TraceStatus {
        TraceStatus::of(self.newest_end.map(|(_, status)| status), self.any_failed)
    }
}

impl<N: Noted> Traces<N> {
    pub(super) fn new() -> Self {
        Self::of_at_most(MOST_KEPT)
    }

    fn of_at_most(most: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), weight: 0, most, settled_early: 0 }
    }

    /// Takes note of an event; answers traces that had to be counted to make room.
    pub(super) fn add(&mut self, event: &Event, note: impl FnOnce(&mut N)) -> Vec<Trace<N>> {
        let order = &mut self.order;
        let mut added = 0;
        let trace = self.kept.entry(event.trace_id).or_insert_with(|| {
            order.push_back(event.trace_id);
            added = 1;
            Trace { route: None, newest_end: None, any_failed: false, noted: N::default() }
        });
        if let Some(route) = &event.route
            && trace.route.as_ref().is_none_or(|least| route < least)
        {
            trace.route = Some(text::clean(route, text::NAME));
        }
        let status = status_of(event);
        trace.any_failed |= status == EventStatus::Failed;
        let at = (event.timestamp, event.emitter, event.seq);
        let is_end = is_workflow(&event.event_type) && status != EventStatus::Pending;
        if is_end && trace.newest_end.is_none_or(|(newest, _)| newest < at) {
            trace.newest_end = Some((at, status));
        }
        let before = trace.noted.len();
        note(&mut trace.noted);
        self.weight += added + trace.noted.len().saturating_sub(before);
        let mut settled = Vec::new();
        while self.weight > self.most {
            let Some(trace) = self.order.pop_front().and_then(|oldest| self.kept.remove(&oldest)) else { break };
            self.weight -= 1 + trace.noted.len();
            self.settled_early += 1;
            settled.push(trace);
        }
        settled
    }

    /// All that are left, the oldest first.
    pub(super) fn settle(&mut self) -> Vec<Trace<N>> {
        let Self { kept, order, .. } = self;
        order.drain(..).filter_map(|id| kept.remove(&id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Saga;

    #[derive(Debug, Default)]
    struct Nothing;

    impl Noted for Nothing {
        fn len(&self) -> usize {
            0
        }
    }

    #[test]
    fn a_flood_of_traces_settles_the_oldest_and_says_so() {
        let mut traces: Traces<Nothing> = Traces::of_at_most(10);
        let mut settled = Vec::new();
        for trace in 1..=25 {
            for event in (Saga { trace, fails_at: (trace % 2 == 0).then_some(1), ..Saga::default() }).events() {
                settled.extend(traces.add(&event, |_| ()));
            }
        }
        assert_eq!((settled.len(), traces.settled_early), (15, 15));
        settled.extend(traces.settle());
        let failed = settled.iter().filter(|trace| trace.status() == TraceStatus::Failed).count();
        assert_eq!((settled.len(), failed), (25, 12));
    }
}
