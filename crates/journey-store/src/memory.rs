//! Events in memory: for tests, and as the plainest form of what a store does.

use std::{collections::BTreeMap, future, ops::Bound, sync::Arc};

use parking_lot::Mutex;

use crate::{
    admit::{DEFAULT_RETENTION, MAX_EXPIRED_DAYS, check_batch, refusal},
    cursor::{EventPlace, TracePlace, page_size},
    daily::daily_statistics,
    day::Day,
    event::{Event, TraceId},
    merge::{EXPIRED, SummaryPart, newer_account},
    store::{
        Answer, Batch, DailyStatistic, EmitterAccount, EventFilter, EventStore, Expired, MAX_PAGE, Page, Put,
        ScanFilter, StoreError, StoreInfo, TraceSummary,
    },
};

/// A store that forgets everything when it is dropped. Every question looks at all of it.
#[derive(Debug)]
pub struct MemoryStore {
    /// Nanoseconds.
    retention: i64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    days: BTreeMap<Day, DayKept>,
    accounts: BTreeMap<u64, EmitterAccount>,
    /// Events of each emitter whose day was dropped.
    expired: BTreeMap<u64, u64>,
}

/// What is known of one day, and goes with it.
#[derive(Debug, Default)]
struct DayKept {
    events: BTreeMap<EventPlace, Event>,
    traces: BTreeMap<TraceId, SummaryPart>,
    statistics: Vec<DailyStatistic>,
    /// Has events that are not in the statistics.
    is_due: bool,
}

impl MemoryStore {
    /// An empty store that refuses what is older than 90 days.
    pub fn new() -> Self {
        Self::with_retention(DEFAULT_RETENTION)
    }

    /// An empty store that refuses what is older than `retention`, nanoseconds.
    pub fn with_retention(retention: i64) -> Self {
        Self { retention, kept: Mutex::default() }
    }

    fn answer<T: Send + 'static>(&self, ask: impl FnOnce(&mut Kept) -> Result<T, StoreError>) -> Answer<T> {
        Box::pin(future::ready(ask(&mut self.kept.lock())))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl EventStore for MemoryStore {
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>> {
        self.answer(|kept| {
            check_batch(&batch)?;
            if let Some(account) = batch.account.clone() {
                let said = EmitterAccount { stored: 0, ..account };
                let newest = match kept.accounts.remove(&said.emitter) {
                    Some(known) => newer_account(known, said),
                    None => said,
                };
                kept.accounts.insert(newest.emitter, newest);
            }
            let put = |event| match refusal(event, batch.now, self.retention) {
                Some(reason) => Put::Rejected(reason),
                None => kept.put(event),
            };
            Ok(batch.events.iter().map(put).collect())
        })
    }

    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.answer(|kept| kept.events(|event| event.trace_id == id, cursor, limit))
    }

    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>> {
        self.answer(|kept| Ok(kept.summaries().into_iter().find(|trace| trace.trace_id == id)))
    }

    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>> {
        self.answer(|kept| {
            let mut found = kept.summaries();
            found.retain(|trace| trace.correlation_id.as_ref() == Some(&correlation_id));
            found.sort_by_key(|trace| std::cmp::Reverse(TracePlace::of(trace)));
            Ok(one_page(found))
        })
    }

    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>> {
        self.answer(|kept| {
            let before = cursor.as_deref().map(TracePlace::from_cursor).transpose()?;
            let mut found = kept.summaries();
            found.retain(|trace| filter.fits(trace) && before.is_none_or(|before| TracePlace::of(trace) < before));
            found.sort_by_key(|trace| std::cmp::Reverse(TracePlace::of(trace)));
            Ok(first_page(found, limit, |last| TracePlace::of(last).to_cursor()))
        })
    }

    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>> {
        self.answer(|kept| {
            let mut found = kept.summaries();
            found.retain(|trace| trace.parent_trace_id == Some(id));
            found.sort_by_key(|trace| (trace.first, trace.trace_id));
            Ok(one_page(found))
        })
    }

    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>> {
        self.answer(|kept| kept.events(|event| filter.fits(event), cursor, limit))
    }

    fn recompute(&self) -> Answer<Vec<String>> {
        self.answer(|kept| {
            let due = kept.days.iter_mut().filter(|(_, kept)| kept.is_due);
            Ok(due.map(|(day, kept)| kept.recompute(&day.to_string())).collect())
        })
    }

    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>> {
        self.answer(|kept| {
            let (first, last): (Day, Day) = (first.parse()?, last.parse()?);
            let asked = kept.days.iter().filter(|(day, _)| (first..=last).contains(day));
            Ok(asked.flat_map(|(_, kept)| kept.statistics.iter().cloned()).collect())
        })
    }

    fn due(&self, first: String, last: String) -> Answer<Vec<String>> {
        self.answer(|kept| {
            let (first, last): (Day, Day) = (first.parse()?, last.parse()?);
            let due = kept.days.iter().filter(|(day, kept)| (first..=last).contains(day) && kept.is_due);
            Ok(due.map(|(day, _)| day.to_string()).collect())
        })
    }

    fn accounts(&self) -> Answer<Vec<EmitterAccount>> {
        self.answer(|kept| Ok(kept.accounts()))
    }

    fn expire(&self, now: i64, keep: i64) -> Answer<Expired> {
        self.answer(|kept| Ok(kept.expire(now, keep)))
    }

    fn retention(&self) -> i64 {
        self.retention
    }

    fn info(&self) -> Answer<StoreInfo> {
        self.answer(|kept| {
            let days = kept.days.keys().map(Day::to_string).collect();
            let (kind, place) = ("memory".to_owned(), "this process".to_owned());
            Ok(StoreInfo { kind, place, days, ..StoreInfo::default() })
        })
    }
}

impl Kept {
    fn put(&mut self, event: &Event) -> Put {
        let day = self.days.entry(Day::of(event.timestamp)).or_default();
        let place = EventPlace::of(event);
        if day.events.contains_key(&place) {
            return Put::Duplicate;
        }
        day.events.insert(place, event.clone());
        day.traces.entry(event.trace_id).and_modify(|part| part.add(event)).or_insert_with(|| SummaryPart::of(event));
        day.is_due = true;
        Put::New
    }

    fn events(
        &self,
        fits: impl Fn(&Event) -> bool,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<Page<Event>, StoreError> {
        let after = cursor.as_deref().map(EventPlace::from_cursor).transpose()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        // One more than the page has tells whether there is a next one.
        let found = self.days.values().flat_map(|day| day.events.range((from, Bound::Unbounded)));
        let found = found.map(|(_, event)| event).filter(|event| fits(event)).take(page_size(limit) + 1);
        Ok(first_page(found.cloned().collect(), limit, |last| EventPlace::of(last).to_cursor()))
    }

    fn summaries(&self) -> Vec<TraceSummary> {
        let mut traces: BTreeMap<TraceId, SummaryPart> = BTreeMap::new();
        for part in self.days.values().flat_map(|day| day.traces.values()) {
            traces
                .entry(part.summary.trace_id)
                .and_modify(|known| known.merge(part.clone()))
                .or_insert_with(|| part.clone());
        }
        traces.into_values().map(|part| part.summary).collect()
    }

    fn accounts(&self) -> Vec<EmitterAccount> {
        let mut accounts = self.accounts.clone();
        for event in self.days.values().flat_map(|day| day.events.values()) {
            let unknown = || EmitterAccount { emitter: event.emitter, ..EmitterAccount::default() };
            accounts.entry(event.emitter).or_insert_with(unknown).stored += 1;
        }
        for (emitter, count) in &self.expired {
            if let Some(account) = accounts.get_mut(emitter) {
                *account.dropped.entry(EXPIRED.to_owned()).or_default() += count;
            }
        }
        accounts.into_values().collect()
    }

    fn expire(&mut self, now: i64, keep: i64) -> Expired {
        let Some(newest) = self.days.keys().next_back() else { return Expired::default() };
        // A clock that jumps forward may not take away what is recent among what is stored.
        let keep_from = now.min(newest.start()).saturating_sub(keep.max(0));
        let mut due: Vec<Day> = self.days.keys().copied().filter(|day| day.end() <= keep_from).collect();
        let more = due.len() > MAX_EXPIRED_DAYS;
        due.truncate(MAX_EXPIRED_DAYS);
        for day in &due {
            let Some(dropped) = self.days.remove(day) else { continue };
            for event in dropped.events.values() {
                *self.expired.entry(event.emitter).or_default() += 1;
            }
        }
        Expired { days: due.iter().map(Day::to_string).collect(), more }
    }
}

impl DayKept {
    fn recompute(&mut self, day: &str) -> String {
        self.statistics = daily_statistics(day, self.events.values());
        self.is_due = false;
        day.to_owned()
    }
}

/// The first page of what was found, and where the next one starts.
fn first_page<T>(mut found: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let size = page_size(limit);
    let has_more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| has_more).map(cursor);
    Page { items: found, next, truncated: false }
}

/// What was found, as the only page.
fn one_page<T>(mut found: Vec<T>) -> Page<T> {
    let truncated = found.len() > MAX_PAGE;
    found.truncate(MAX_PAGE);
    Page { items: found, next: None, truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_store_conforms() {
        let seed = 20_261_120;
        let report = crate::conformance::run("memory", seed, &|| Arc::new(MemoryStore::new()) as Arc<dyn EventStore>);
        println!("{report}");
        assert!(report.holds(), "{report}");
    }
}
