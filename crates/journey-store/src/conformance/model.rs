//! Events to try, and what would be right about them, computed plainly from all of them.

use std::{collections::BTreeSet, sync::Arc};

use super::{Broken, must_equal};
use crate::{
    event::{Event, EventStatus, SpanId, TraceId},
    store::{
        Batch, EmitterAccount, EventFilter, EventStore, Page, Put, ScanFilter, StoreError, TraceStatus, TraceSummary,
    },
    wait,
};

/// 2026-11-20T12:00:00Z: the clock of every property.
pub(super) const NOW: i64 = 1_795_176_000_000_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const HOUR: i64 = 3_600 * SECOND;
pub(super) const DAY: i64 = 24 * HOUR;
/// What [`super::Make`] promises.
pub(super) const RETENTION: i64 = 90 * DAY;
/// 2026-11-20T00:00:00Z.
pub(super) const MIDNIGHT: i64 = NOW - 12 * HOUR;

/// Random numbers that follow from a seed (SplitMix64, Steele, Lea, Flood 2014).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

pub(super) fn trace_id(number: u64) -> Result<TraceId, Broken> {
    // Spread over all sixteen bytes, and not in the order of the numbers.
    let spread = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    TraceId::new(spread).ok_or_else(|| Broken("number 0 is no trace".to_owned()))
}

/// An event of trace `number`, with nothing else known.
pub(super) fn event(number: u64, seq: u64, kind: &str, timestamp: i64) -> Result<Event, Broken> {
    let span = SpanId::new(seq.max(1)).ok_or_else(|| Broken("0 is no span".to_owned()))?;
    let mut event = Event::new(trace_id(number)?, span, kind, timestamp);
    event.emitter = 1;
    event.seq = seq;
    Ok(event)
}

/// Random events of few traces, of three days with days between them, each with its own number.
pub(super) fn random_events(dice: &mut Dice, count: u64, traces: u64) -> Result<Vec<Event>, Broken> {
    let kinds = [
        "workflow:started",
        "workflow:completed",
        "workflow:failed",
        "stage:completed",
        "stage:failed",
        "saga:compensated",
        "own.kind_a",
    ];
    let mut events = Vec::new();
    for seq in 1..=count {
        let number = 1 + dice.below(traces);
        // Most traces live within one day, every third on three days.
        let day = if number.is_multiple_of(3) { dice.one_of(&[0, 1, 5]) } else { (number % 3) as i64 };
        let at = MIDNIGHT - day * DAY + dice.below(12 * HOUR as u64) as i64;
        let kind = dice.one_of(&kinds);
        let mut event = event(number, seq, kind, at)?;
        event.emitter = 1 + dice.below(3);
        event.status = match kind {
            "workflow:started" => EventStatus::Pending,
            "workflow:completed" | "saga:compensated" => EventStatus::Success,
            "workflow:failed" | "stage:failed" => EventStatus::Failed,
            _ => dice.one_of(&[EventStatus::Success, EventStatus::Success, EventStatus::Pending]),
        };
        if dice.below(2) == 0 {
            event.duration = Some(dice.below(5 * SECOND as u64) as i64);
            event.data.insert("name".to_owned(), dice.one_of(&["read", "write"]).into());
        }
        if kind == "workflow:completed" {
            let legs = serde_json::json!({"db_write": dice.below(SECOND as u64), "fan_out": dice.below(9)});
            event.data.insert("legs".to_owned(), legs);
        }
        event.route = dice.one_of(&[None, Some("message".to_owned()), Some("order".to_owned())]);
        event.correlation_id = (dice.below(4) == 0).then(|| format!("msg_{}", number % 7));
        event.parent_trace_id = if dice.below(4) == 0 { Some(trace_id(number % 5 + 1)?) } else { None };
        for key in ["tenant", "region"] {
            if dice.below(3) == 0 {
                event.tags.insert(key.to_owned(), dice.one_of(&["a", "b"]).to_owned());
            }
        }
        events.push(event);
    }
    Ok(events)
}

pub(super) fn batch(events: &[Event]) -> Arc<Batch> {
    Arc::new(Batch { events: events.to_vec(), account: None, now: NOW })
}

/// Puts events, all of which are new.
pub(super) fn put_new(store: &dyn EventStore, events: &[Event]) -> Result<(), Broken> {
    for part in events.chunks(1_000) {
        let answers = wait(store.put(batch(part)))?;
        must_equal!(answers, vec![Put::New; part.len()], "what became of new events");
    }
    Ok(())
}

/// All pages of `limit` entries, until there is no next one.
pub(super) fn all_pages<T>(
    limit: usize,
    mut page: impl FnMut(Option<String>, usize) -> Result<Page<T>, StoreError>,
) -> Result<Vec<T>, Broken> {
    let (mut items, mut cursor) = (Vec::new(), None);
    for _ in 0..100_000 {
        let next = page(cursor, limit)?;
        super::must!(next.items.len() <= limit, "a page of {limit} has {} entries", next.items.len());
        super::must!(!next.truncated, "a list with a next page was truncated");
        items.extend(next.items);
        cursor = next.next;
        if cursor.is_none() {
            return Ok(items);
        }
    }
    Err(Broken("there is always a next page".to_owned()))
}

pub(super) fn trace_events(store: &dyn EventStore, id: TraceId, limit: usize) -> Result<Vec<Event>, Broken> {
    all_pages(limit, |cursor, limit| wait(store.trace(id, cursor, limit)))
}

pub(super) fn recent_traces(
    store: &dyn EventStore,
    filter: &EventFilter,
    limit: usize,
) -> Result<Vec<TraceSummary>, Broken> {
    all_pages(limit, |cursor, limit| wait(store.recent(filter.clone(), cursor, limit)))
}

pub(super) fn scanned(store: &dyn EventStore, filter: &ScanFilter, limit: usize) -> Result<Vec<Event>, Broken> {
    all_pages(limit, |cursor, limit| wait(store.scan(filter.clone(), cursor, limit)))
}

/// All that a store holds, to compare two of them.
#[derive(Debug, PartialEq)]
pub(super) struct Content {
    events: Vec<Event>,
    traces: Vec<TraceSummary>,
    accounts: Vec<EmitterAccount>,
    days: Vec<String>,
    daily: Vec<crate::store::DailyStatistic>,
}

pub(super) fn content(store: &dyn EventStore) -> Result<Content, Broken> {
    wait(store.recompute())?;
    Ok(Content {
        events: scanned(store, &ScanFilter::default(), 700)?,
        traces: recent_traces(store, &EventFilter::default(), 70)?,
        accounts: wait(store.accounts())?,
        days: wait(store.info())?.days,
        daily: wait(store.daily("2026-01-01".to_owned(), "2026-12-31".to_owned()))?,
    })
}

/// Events in the order of a trace and of a scan.
pub(super) fn in_order(events: &[Event]) -> Vec<Event> {
    let mut sorted = events.to_vec();
    sorted.sort_by_key(|event| (event.timestamp, event.emitter, event.seq, event.trace_id));
    sorted
}

/// The summaries of all traces, newest first, each straight from its events.
pub(super) fn summaries(events: &[Event]) -> Vec<TraceSummary> {
    let traces: BTreeSet<TraceId> = events.iter().map(|event| event.trace_id).collect();
    let mut all: Vec<TraceSummary> = traces.into_iter().filter_map(|id| summary(events, id)).collect();
    all.sort_by_key(|trace| std::cmp::Reverse((trace.last, trace.trace_id)));
    all
}

/// What the specification says of one trace, without merging anything.
fn summary(events: &[Event], trace_id: TraceId) -> Option<TraceSummary> {
    let own = in_order(&events.iter().filter(|event| event.trace_id == trace_id).cloned().collect::<Vec<_>>());
    let any_failed = own.iter().any(|event| event.status == EventStatus::Failed);
    let ends = ["workflow:completed", "workflow:failed"];
    let end = own.iter().rfind(|event| ends.contains(&event.event_type.as_str())).map(|event| event.status);
    let tags = own.iter().flat_map(|event| event.tags.iter().map(|(key, value)| format!("{key}={value}")));
    let short: BTreeSet<String> = tags.filter(|tag| tag.len() <= crate::merge::MAX_SUMMARY_TAG_BYTES).collect();
    let types: BTreeSet<String> = own.iter().map(|event| event.event_type.clone()).collect();
    Some(TraceSummary {
        trace_id,
        correlation_id: own.iter().filter_map(|event| event.correlation_id.clone()).min(),
        route: own.iter().filter_map(|event| event.route.clone()).min(),
        parent_trace_id: own.iter().filter_map(|event| event.parent_trace_id).min(),
        first: own.first()?.timestamp,
        last: own.last()?.timestamp,
        status: match end {
            Some(EventStatus::Success) => TraceStatus::Success,
            Some(EventStatus::Failed) => TraceStatus::Failed,
            _ if any_failed => TraceStatus::Failed,
            _ => TraceStatus::Pending,
        },
        any_failed,
        types: types.into_iter().take(crate::merge::MAX_SUMMARY_TYPES).collect(),
        tags: short.into_iter().take(crate::merge::MAX_SUMMARY_TAGS).collect(),
    })
}
