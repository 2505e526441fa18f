//! The threads that read: what they have open, and the questions about one trace and about the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, params};

use super::{
    catalogue::{Catalogue, DayFile},
    error::{Failure, is_absence},
    open_days::OpenDays,
    rows::{ACCOUNT_COLUMNS, EVENT_COLUMNS, find_part, number, read_account, read_event},
    schema,
    writer::Command,
};
use crate::{
    cursor::{EventPlace, page_size},
    day::Day,
    event::{Event, TraceId},
    merge::{EXPIRED, SummaryPart, newer_account},
    store::{DailyStatistic, EmitterAccount, Page, StoreError, StoreInfo, TraceSummary},
};

/// A question, with where its answer goes.
pub(super) type Job = Box<dyn FnOnce(&mut Reader) + Send>;

#[derive(Debug)]
pub(super) struct Reader {
    catalogue: Arc<Catalogue>,
    open: OpenDays,
    busy_timeout: Duration,
    /// Where the writer is; `None` where the store was opened for reading only, and somebody else may write.
    pub(super) writer: Option<SyncSender<Command>>,
    /// The store is being dropped.
    closing: Arc<AtomicBool>,
    /// Something that may belong to the answer could not be read.
    pub(super) has_skipped: bool,
}

impl Reader {
    pub(super) fn new(
        catalogue: Arc<Catalogue>,
        open_files: usize,
        busy_timeout: Duration,
        writer: Option<SyncSender<Command>>,
        closing: Arc<AtomicBool>,
    ) -> Self {
        Self { catalogue, open: OpenDays::new(open_files), busy_timeout, writer, closing, has_skipped: false }
    }

    /// An error once the store is being dropped, for what takes long: whoever drops it waits for its threads.
    pub(super) fn go_on(&self) -> Result<(), StoreError> {
        if self.closing.load(Ordering::Relaxed) { Err(super::closed()) } else { Ok(()) }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let next = jobs.lock().recv();
            let Ok(job) = next else { return };
            job(&mut self);
        }
    }

    /// The days as they are now, oldest first; to be called once for each question.
    pub(super) fn days(&mut self) -> Result<Vec<Arc<DayFile>>, StoreError> {
        self.has_skipped = false;
        if self.writer.is_none() {
            self.catalogue.refresh()?;
        }
        let days = self.catalogue.days();
        self.open.keep_only(&days);
        Ok(days)
    }

    /// Those from one day to another (`2026-11-20`), both included.
    pub(super) fn days_between(&mut self, first: &str, last: &str) -> Result<Vec<Arc<DayFile>>, StoreError> {
        let (first, last): (Day, Day) = (first.parse()?, last.parse()?);
        let mut days = self.days()?;
        days.retain(|file| (first..=last).contains(&file.day));
        Ok(days)
    }

    /// Asks one file; `None` where it is damaged or was dropped meanwhile.
    pub(super) fn ask<T>(
        &mut self,
        file: &Arc<DayFile>,
        question: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<Option<T>, StoreError> {
        let answer = match self.open.take(file) {
            Some(connection) => Ok(Some(connection)),
            None => schema::open_to_read(&file.path, self.busy_timeout),
        };
        let answer = answer.and_then(|connection| {
            let Some(connection) = connection else { return Ok(None) };
            let answer = question(&connection);
            self.open.give_back(file, connection);
            Ok(Some(answer?))
        });
        match answer {
            Ok(answer) => Ok(answer),
            Err(Failure::Here(error)) if is_absence(&error) && !file.path.exists() => Ok(None),
            // A damaged file or row must not make the other days unreadable.
            Err(failure) if failure.is_damage() || failure.is_of_a_row() => {
                file.note_damage(&failure.explain(&file.path));
                self.has_skipped = true;
                Ok(None)
            }
            Err(failure) => Err(failure.explain(&file.path)),
        }
    }

    pub(super) fn trace(&mut self, id: TraceId, cursor: Option<&str>, limit: usize) -> Result<Page<Event>, StoreError> {
        let after = cursor.map(EventPlace::from_cursor).transpose()?;
        let size = page_size(limit);
        let mut items: Vec<Event> = Vec::new();
        let from = after.map_or((i64::MIN, -1, -1), |it| (it.timestamp, it.emitter as i64, it.seq as i64));
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events WHERE trace_id = ?1 AND (timestamp, emitter, seq) > (?2, ?3, ?4) \
            ORDER BY timestamp, emitter, seq LIMIT ?5"
        );
        for file in self.days()? {
            if items.len() > size || file.day.end() <= from.0 || !file.may_contain(id) {
                continue;
            }
            let wanted = (size + 1 - items.len()) as i64;
            let found = self.ask(&file, |connection| {
                let mut events = connection.prepare_cached(&sql)?;
                let key = params![id.to_bytes(), from.0, from.1, from.2, wanted];
                events.query_map(key, read_event)?.collect::<Result<Vec<_>, _>>()
            })?;
            items.extend(found.unwrap_or_default());
        }
        Ok(self.page(items, size, |event| EventPlace::of(event).to_cursor()))
    }

    pub(super) fn summary(&mut self, id: TraceId) -> Result<Option<TraceSummary>, StoreError> {
        let days = self.days()?;
        Ok(self.parts(&days, id)?.1.map(|part| part.summary))
    }

    /// What the given days say of a trace, and the newest day that says something.
    pub(super) fn parts(
        &mut self,
        days: &[Arc<DayFile>],
        id: TraceId,
    ) -> Result<(Option<Day>, Option<SummaryPart>), StoreError> {
        let (mut newest, mut whole): (_, Option<SummaryPart>) = (None, None);
        for file in days {
            if !file.may_contain(id) {
                continue;
            }
            let Some(Some((part, _))) = self.ask(file, |connection| find_part(connection, id))? else { continue };
            newest = newest.max(Some(file.day));
            match &mut whole {
                Some(whole) => whole.merge(part),
                None => whole = Some(part),
            }
        }
        Ok((newest, whole))
    }

    pub(super) fn daily(&mut self, first: &str, last: &str) -> Result<Vec<DailyStatistic>, StoreError> {
        let mut statistics = Vec::new();
        for file in self.days_between(first, last)? {
            let day = file.day.to_string();
            let found = self.ask(&file, |connection| {
                let mut rows = connection.prepare_cached("SELECT * FROM statistics ORDER BY route, leg")?;
                rows.query_map((), |row| read_statistic(&day, row))?.collect::<Result<Vec<_>, _>>()
            })?;
            statistics.extend(found.unwrap_or_default());
        }
        Ok(statistics)
    }

    pub(super) fn accounts(&mut self) -> Result<Vec<EmitterAccount>, StoreError> {
        let mut accounts: BTreeMap<u64, EmitterAccount> = BTreeMap::new();
        let mut expired: BTreeMap<(Vec<u8>, u64), u64> = BTreeMap::new();
        let mut marks = BTreeSet::new();
        let unknown = |emitter| EmitterAccount { emitter, ..EmitterAccount::default() };
        for file in self.days()? {
            let Some(found) = self.ask(&file, DayAccounts::read)? else { continue };
            marks.insert(found.mark);
            for said in found.accounts {
                let known = accounts.entry(said.emitter).or_insert_with(|| unknown(said.emitter));
                let stored = known.stored;
                *known = EmitterAccount { stored, ..newer_account(said, known.clone()) };
            }
            for (emitter, stored) in found.stored {
                accounts.entry(emitter).or_insert_with(|| unknown(emitter)).stored += stored;
            }
            expired.extend(found.expired);
        }
        for ((mark, emitter), events) in expired {
            // A file that is still there was about to be dropped when something went wrong.
            if let Some(account) = accounts.get_mut(&emitter).filter(|_| !marks.contains(&mark)) {
                *account.dropped.entry(EXPIRED.to_owned()).or_default() += events;
            }
        }
        Ok(accounts.into_values().collect())
    }

    pub(super) fn info(&mut self) -> Result<StoreInfo, StoreError> {
        let days = self.days()?;
        Ok(StoreInfo {
            kind: "sqlite".to_owned(),
            place: self.catalogue.folder().display().to_string(),
            days: days.iter().map(|file| file.day.to_string()).collect(),
            bytes: Some(days.iter().map(|file| file.bytes()).sum()),
            damaged: self.catalogue.damaged(),
        })
    }

    /// The first `size` entries of what was found, and where the next page starts.
    pub(super) fn page<T>(&self, mut items: Vec<T>, size: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
        let has_more = items.len() > size;
        items.truncate(size);
        let next = items.last().filter(|_| has_more).map(cursor);
        Page { items, next, truncated: self.has_skipped }
    }
}

/// What one day says of emitters.
struct DayAccounts {
    mark: Vec<u8>,
    accounts: Vec<EmitterAccount>,
    stored: Vec<(u64, u64)>,
    expired: Vec<((Vec<u8>, u64), u64)>,
}

impl DayAccounts {
    fn read(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let mark = connection.query_row("SELECT mark FROM state", (), |row| row.get(0))?;
        let mut accounts = connection.prepare(&format!("SELECT {ACCOUNT_COLUMNS} FROM accounts"))?;
        let mut stored = connection.prepare("SELECT emitter, stored FROM emitters")?;
        let mut expired = connection.prepare("SELECT mark, emitter, events FROM expired")?;
        Ok(Self {
            mark,
            accounts: accounts.query_map((), read_account)?.collect::<Result<_, _>>()?,
            stored: stored.query_map((), |row| Ok((number(row, 0)?, number(row, 1)?)))?.collect::<Result<_, _>>()?,
            expired: expired
                .query_map((), |row| Ok(((row.get(0)?, number(row, 1)?), number(row, 2)?)))?
                .collect::<Result<_, _>>()?,
        })
    }
}

fn read_statistic(day: &str, row: &rusqlite::Row<'_>) -> Result<DailyStatistic, rusqlite::Error> {
    Ok(DailyStatistic {
        day: day.to_owned(),
        route: row.get(0)?,
        leg: row.get(1)?,
        count: number(row, 2)?,
        mean_ms: row.get(3)?,
        min_ms: row.get(4)?,
        max_ms: row.get(5)?,
        p50_ms: row.get(6)?,
        p95_ms: row.get(7)?,
        p99_ms: row.get(8)?,
        sketch: row.get(9)?,
    })
}
