//! What the tests of the stores share.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::{path::Path, sync::Arc};

use journey_store::{Batch, EmitterAccount, Event, EventStatus, EventStore, Page, SpanId, StoreError, TraceId, wait};

/// 2026-11-20T12:00:00Z.
pub(crate) const NOW: i64 = 1_795_176_000_000_000_000;
pub(crate) const DAY: i64 = 86_400_000_000_000;

pub(crate) fn trace_id(number: u64) -> TraceId {
    TraceId::new(u128::from(number)).unwrap()
}

pub(crate) fn event(trace: u64, seq: u64, at: i64) -> Event {
    let mut event = Event::new(trace_id(trace), SpanId::new(seq).unwrap(), "stage:completed", at);
    (event.emitter, event.seq, event.status) = (1, seq, EventStatus::Success);
    event.duration = Some(1_000_000);
    event.data.insert("text".to_owned(), "x".repeat(100).into());
    event
}

pub(crate) fn batch(events: &[Event]) -> Arc<Batch> {
    Arc::new(Batch { events: events.to_vec(), account: None, now: NOW })
}

pub(crate) fn with_account(events: &[Event], emitter: u64, emitted: u64) -> Arc<Batch> {
    let account = EmitterAccount { emitter, emitted, service: "shop".to_owned(), ..EmitterAccount::default() };
    Arc::new(Batch { events: events.to_vec(), account: Some(account), now: NOW })
}

/// All pages of a list.
pub(crate) fn all<T>(mut page: impl FnMut(Option<String>) -> Result<Page<T>, StoreError>) -> Vec<T> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let next = page(cursor).unwrap();
        items.extend(next.items);
        cursor = next.next;
        if cursor.is_none() {
            return items;
        }
    }
}

pub(crate) fn scan_all(store: &dyn EventStore) -> Vec<Event> {
    all(|cursor| wait(store.scan(Default::default(), cursor, 1_000)))
}

/// Every file of a store is sound, in the eyes of SQLite.
pub(crate) fn quick_check(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "db") {
            let file = rusqlite::Connection::open(&path).unwrap();
            let result: String = file.query_row("PRAGMA quick_check", (), |row| row.get(0)).unwrap();
            assert_eq!(result, "ok", "{}", path.display());
        }
    }
}

/// Random numbers that follow from a seed (SplitMix64, Steele, Lea, Flood 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
