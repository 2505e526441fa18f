//! Which events count, and in which order, whatever order and however often they came in?

use std::cmp::Ordering;

use crate::{event::Event, query::text};

/// The events of one trace in the order of `(timestamp, emitter, seq)`, each once, and how many of other traces were
/// left out. The trace is that of the first event.
pub(super) fn put_in_order(events: &[Event]) -> (Vec<u32>, usize) {
    // More than 2^32 events do not come: the reader stops at 100 000.
    let mut order: Vec<u32> = (0..u32::try_from(events.len()).unwrap_or(u32::MAX)).collect();
    let at = |index: &u32| &events[*index as usize];
    order.sort_unstable_by(|one, other| compare(at(one), at(other)));
    let Some(trace) = order.first().map(|first| at(first).trace_id) else { return (order, 0) };
    let all = order.len();
    order.retain(|index| at(index).trace_id == trace);
    let foreign = all - order.len();
    order.dedup_by(|later, earlier| same(at(later), at(earlier)));
    (order, foreign)
}

fn same(one: &Event, other: &Event) -> bool {
    (one.timestamp, one.emitter, one.seq) == (other.timestamp, other.emitter, other.seq)
}

fn compare(one: &Event, other: &Event) -> Ordering {
    let name = |event: &Event| (event.timestamp, event.emitter, event.seq, event.trace_id);
    // Two different events of one name are bad data. Which of them stands must still not depend on which came first.
    name(one)
        .cmp(&name(other))
        .then_with(|| if std::ptr::eq(one, other) { Ordering::Equal } else { content(one, other) })
}

fn content(one: &Event, other: &Event) -> Ordering {
    let plain = |event: &Event| {
        (event.span_id, event.parent_span_id, event.parent_trace_id, event.status as u8, event.duration)
    };
    let texts = |event: &Event| (event.correlation_id.clone(), event.event_type.clone(), event.route.clone());
    let data = |event: &Event| {
        let shown = event.data.iter().map(|(key, value)| (key.clone(), text::plain(value, text::SENTENCE)));
        let mut shown: Vec<_> = shown.collect();
        shown.sort_unstable();
        (shown, event.tags.clone())
    };
    plain(one).cmp(&plain(other)).then_with(|| texts(one).cmp(&texts(other))).then_with(|| data(one).cmp(&data(other)))
}
