//! What is known of a trace in one line, put together from events, batches and days in any order.

use std::collections::BTreeSet;

use crate::{
    event::{Event, EventStatus},
    store::{EmitterAccount, EventFilter, ScanFilter, TraceStatus, TraceSummary},
};

/// The reason under which accounts say what was stored until its day was dropped.
pub(crate) const EXPIRED: &str = "expired";

/// The most types that a summary keeps.
pub const MAX_SUMMARY_TYPES: usize = 256;

/// The most tags that a summary keeps.
pub const MAX_SUMMARY_TAGS: usize = 64;

/// The longest `key=value` that a summary keeps, in bytes.
pub const MAX_SUMMARY_TAG_BYTES: usize = 256;

/// A newest end of a workflow: `(timestamp, emitter, seq)` of the event and its status.
pub(crate) type End = (i64, u64, u64, EventStatus);

/// What some events say of one trace: all of them, those of a batch, or those of a day.
///
/// `merge` is commutative, associative and idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SummaryPart {
    /// As if there were no other part; `status` follows from `end` and `any_failed`.
    pub(crate) summary: TraceSummary,
    /// The newest end of the workflow, if one is known.
    pub(crate) end: Option<End>,
}

impl SummaryPart {
    pub(crate) fn of(event: &Event) -> Self {
        let ends = matches!(event.event_type.as_str(), "workflow:completed" | "workflow:failed");
        let mut summary = TraceSummary {
            trace_id: event.trace_id,
            correlation_id: event.correlation_id.clone(),
            route: event.route.clone(),
            parent_trace_id: event.parent_trace_id,
            first: event.timestamp,
            last: event.timestamp,
            status: TraceStatus::Pending,
            any_failed: event.status == EventStatus::Failed,
            types: BTreeSet::from([event.event_type.clone()]),
            tags: BTreeSet::new(),
        };
        add_tags(&mut summary.tags, event);
        let end = ends.then_some((event.timestamp, event.emitter, event.seq, event.status));
        Self { summary, end }.settled()
    }

    /// Adds one more event of the trace; the same as merging `of` it, without the copies.
    pub(crate) fn add(&mut self, event: &Event) {
        let summary = &mut self.summary;
        if !summary.types.contains(&event.event_type) {
            summary.types.insert(event.event_type.clone());
            keep_least(&mut summary.types, MAX_SUMMARY_TYPES);
        }
        add_tags(&mut summary.tags, event);
        if matches!(event.event_type.as_str(), "workflow:completed" | "workflow:failed") {
            self.end = self.end.max(Some((event.timestamp, event.emitter, event.seq, event.status)));
        }
        summary.first = summary.first.min(event.timestamp);
        summary.last = summary.last.max(event.timestamp);
        summary.any_failed |= event.status == EventStatus::Failed;
        keep_lesser_text(&mut summary.correlation_id, event.correlation_id.as_ref());
        keep_lesser_text(&mut summary.route, event.route.as_ref());
        summary.parent_trace_id = lesser(summary.parent_trace_id, event.parent_trace_id);
        summary.status = TraceStatus::of(self.end.map(|end| end.3), summary.any_failed);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let (mine, theirs) = (&mut self.summary, other.summary);
        keep_lesser_text(&mut mine.correlation_id, theirs.correlation_id.as_ref());
        keep_lesser_text(&mut mine.route, theirs.route.as_ref());
        mine.parent_trace_id = lesser(mine.parent_trace_id, theirs.parent_trace_id);
        mine.first = mine.first.min(theirs.first);
        mine.last = mine.last.max(theirs.last);
        mine.any_failed |= theirs.any_failed;
        mine.types.extend(theirs.types);
        keep_least(&mut mine.types, MAX_SUMMARY_TYPES);
        mine.tags.extend(theirs.tags);
        keep_least(&mut mine.tags, MAX_SUMMARY_TAGS);
        self.end = self.end.max(other.end);
        mine.status = TraceStatus::of(self.end.map(|end| end.3), mine.any_failed);
    }

    /// With the status that follows from the rest.
    pub(crate) fn settled(mut self) -> Self {
        self.summary.status = TraceStatus::of(self.end.map(|end| end.3), self.summary.any_failed);
        self
    }
}

impl EventFilter {
    /// Whether a trace is wanted.
    pub(crate) fn fits(&self, trace: &TraceSummary) -> bool {
        self.since.is_none_or(|since| trace.last >= since)
            && self.until.is_none_or(|until| trace.first < until)
            && self.status.is_none_or(|status| trace.status == status)
            && self.event_type.as_ref().is_none_or(|wanted| trace.types.contains(wanted))
            && self.tags.iter().all(|tag| trace.tags.contains(tag))
            && self.route.as_ref().is_none_or(|route| trace.route.as_ref() == Some(route))
            && self.min_duration.is_none_or(|least| trace.last.saturating_sub(trace.first) >= least)
    }
}

impl ScanFilter {
    /// Whether an event is wanted.
    pub(crate) fn fits(&self, event: &Event) -> bool {
        let is_type = |wanted: &String| {
            event.event_type == *wanted || (wanted.ends_with(':') && event.event_type.starts_with(wanted.as_str()))
        };
        self.since.is_none_or(|since| event.timestamp >= since)
            && self.until.is_none_or(|until| event.timestamp < until)
            && self.status.is_none_or(|status| event.status == status)
            && self.event_type.as_ref().is_none_or(is_type)
            && self.route.as_ref().is_none_or(|route| event.route.as_ref() == Some(route))
    }
}

/// The newer of two accounts of one emitter: the one with more emitted, then the one that was said later.
pub(crate) fn newer_account(one: EmitterAccount, other: EmitterAccount) -> EmitterAccount {
    let age = |it: &EmitterAccount| (it.emitted, it.said_at);
    // Where even that is the same, anything that does not depend on the order will do.
    let other_is_newer = age(&other).cmp(&age(&one)).then_with(|| other.dropped.cmp(&one.dropped)).is_gt();
    if other_is_newer { other } else { one }
}

fn add_tags(tags: &mut BTreeSet<String>, event: &Event) {
    let findable = event.tags.iter().filter(|(key, value)| key.len() + 1 + value.len() <= MAX_SUMMARY_TAG_BYTES);
    for (key, value) in findable {
        let tag = format!("{key}={value}");
        if tags.insert(tag) {
            keep_least(tags, MAX_SUMMARY_TAGS);
        }
    }
}

/// The least stay: what is kept of a union does not depend on the order in which it came together.
fn keep_least(texts: &mut BTreeSet<String>, most: usize) {
    while texts.len() > most {
        texts.pop_last();
    }
}

/// The lesser of what is known.
fn lesser<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (known, None) | (None, known) => known,
    }
}

fn keep_lesser_text(mine: &mut Option<String>, theirs: Option<&String>) {
    if let Some(text) = theirs
        && mine.as_ref().is_none_or(|known| text < known)
    {
        *mine = Some(text.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{SpanId, TraceId};

    /// Few different values of everything, so that they meet.
    fn any_event() -> impl Strategy<Value = Event> {
        let kinds = prop::sample::select(vec!["workflow:started", "workflow:completed", "workflow:failed", "stage:a"]);
        let status = prop::sample::select(vec![EventStatus::Success, EventStatus::Failed, EventStatus::Pending]);
        let texts = || prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
        let tags = prop::collection::btree_map("[a-z]{1,2}", "[a-z]{1,300}", 0..9);
        let key = (0_i64..5, 0_u64..3, 0_u64..3);
        (kinds, status, key, texts(), texts(), prop::option::of(1_u128..4), tags).prop_map(
            |(kind, status, (timestamp, emitter, seq), correlation_id, route, parent, tags)| {
                let span = SpanId::new(1).unwrap();
                let mut event = Event::new(TraceId::new(1).unwrap(), span, kind, timestamp);
                (event.emitter, event.seq, event.status, event.tags) = (emitter, seq, status, tags);
                event.correlation_id = correlation_id.map(str::to_owned);
                (event.route, event.parent_trace_id) = (route.map(str::to_owned), parent.and_then(TraceId::new));
                event
            },
        )
    }

    fn part(events: &[Event]) -> Option<SummaryPart> {
        events.iter().map(SummaryPart::of).reduce(merged)
    }

    fn merged(mut one: SummaryPart, other: SummaryPart) -> SummaryPart {
        one.merge(other);
        one
    }

    proptest! {
        #[test]
        fn parts_merge_in_any_order_and_grouping_and_twice(
            events in prop::collection::vec(any_event(), 3..30),
            cuts in (0.0..1.0, 0.0..1.0),
        ) {
            let place = |share: f64| 1 + (share * (events.len() - 2) as f64) as usize;
            let (first, second) = (place(cuts.0).min(place(cuts.1)), place(cuts.0).max(place(cuts.1)));
            let parts = [&events[..first], &events[first..second], &events[second..]].map(part);
            let whole = part(&events).unwrap();
            let [a, b, c] = parts.map(|part| part.unwrap_or_else(|| whole.clone()));
            prop_assert_eq!(&merged(merged(a.clone(), b.clone()), c.clone()), &whole);
            prop_assert_eq!(&merged(a.clone(), merged(b.clone(), c.clone())), &whole);
            prop_assert_eq!(&merged(c, merged(b, a)), &whole);
            prop_assert_eq!(&merged(whole.clone(), whole.clone()), &whole);
            let mut added = SummaryPart::of(&events[0]);
            events[1..].iter().for_each(|event| added.add(event));
            prop_assert_eq!(&added, &whole);
            prop_assert!(whole.summary.tags.len() <= MAX_SUMMARY_TAGS);
        }
    }

    #[test]
    fn of_two_accounts_the_newer_stays_in_any_order() {
        let account = |emitted, said_at, dropped: u64| EmitterAccount {
            emitted,
            said_at,
            dropped: [("queue_full".to_owned(), dropped)].into(),
            ..EmitterAccount::default()
        };
        let by_age = [account(1, 9, 0), account(2, 1, 0), account(2, 2, 0), account(2, 2, 1)];
        for (number, newer) in by_age.iter().enumerate() {
            for older in &by_age[..=number] {
                assert_eq!(&newer_account(older.clone(), newer.clone()), newer);
                assert_eq!(&newer_account(newer.clone(), older.clone()), newer);
            }
        }
    }
}
