//! How an event is kept and found again, whatever the store is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventStatus, TraceId};

/// The most entries that one page has.
pub const MAX_PAGE: usize = 1_000;

/// What a store answers, in time. It needs no runtime of its own: any executor can wait for it.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Where events are kept. Every store passes one conformance suite.
///
/// A batch is stored whole or not at all, except for rows that are refused by themselves. The same event put again is a
/// [`Put::Duplicate`], so that whoever is in doubt puts again. What `put` answered is on disk as the store's durability
/// setting promises.
pub trait EventStore: Send + Sync + fmt::Debug {
    /// Keeps a batch; one answer per event, in order. The account is kept in the same transaction.
    fn put(&self, batch: Arc<Batch>) -> Answer<Vec<Put>>;

    /// The events of one trace by `(timestamp, emitter, seq)`, from a cursor on.
    fn trace(&self, id: TraceId, cursor: Option<String>, limit: usize) -> Answer<Page<Event>>;

    /// What is known of a trace in one line; `None` where nothing is.
    fn summary(&self, id: TraceId) -> Answer<Option<TraceSummary>>;

    /// The traces of a correlation id, the one with the newest event first: at most [`MAX_PAGE`], and said so.
    fn correlated(&self, correlation_id: String) -> Answer<Page<TraceSummary>>;

    /// Traces that fit, the one with the newest event first, from a cursor on.
    fn recent(&self, filter: EventFilter, cursor: Option<String>, limit: usize) -> Answer<Page<TraceSummary>>;

    /// Traces that name this one as their parent, the one with the oldest event first: at most [`MAX_PAGE`], and said so.
    fn children(&self, id: TraceId) -> Answer<Page<TraceSummary>>;

    /// Events of all traces in the order of `(timestamp, emitter, seq, trace_id)`, from a cursor on; only those that fit.
    fn scan(&self, filter: ScanFilter, cursor: Option<String>, limit: usize) -> Answer<Page<Event>>;

    /// Recomputes the statistics of every day that got events since they were computed, and answers those days.
    /// Nothing is ever added to a statistic: a day is replaced, so that putting twice changes nothing.
    fn recompute(&self) -> Answer<Vec<String>>;

    /// Statistics as they were recomputed last, of days from `first` to `last` (both as `2026-11-20`, both included).
    fn daily(&self, first: String, last: String) -> Answer<Vec<DailyStatistic>>;

    /// Those of these days that got events since their statistics were computed, oldest first: their statistics tell of a part.
    fn due(&self, first: String, last: String) -> Answer<Vec<String>>;

    /// What every emitter last said of itself, with the rows that are stored of it.
    fn accounts(&self) -> Answer<Vec<EmitterAccount>>;

    /// Drops the days that ended at or before `now - keep`, both nanoseconds: at most [`MAX_EXPIRED_DAYS`] at once, oldest
    /// first, and only what ended `keep` or more before the newest stored day began, so that a clock that jumps forward
    /// deletes nothing that is recent among what is stored. Everything known of those days goes with them, but accounts
    /// of emitters that have rows in other days say how many are gone.
    ///
    /// [`MAX_EXPIRED_DAYS`]: crate::MAX_EXPIRED_DAYS
    fn expire(&self, now: i64, keep: i64) -> Answer<Expired>;

    /// How long it keeps events, nanoseconds: older ones are refused, and whoever looks after it gives this to
    /// [`expire`](Self::expire). Defaults to [`DEFAULT_RETENTION`](crate::DEFAULT_RETENTION).
    fn retention(&self) -> i64 {
        crate::admit::DEFAULT_RETENTION
    }

    /// What kind of store it is, and how large.
    fn info(&self) -> Answer<StoreInfo>;
}

/// Events that are put together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The events, at most 10 000.
    pub events: Vec<Event>,
    /// What the emitter says of itself, as of this batch.
    pub account: Option<EmitterAccount>,
    /// Now, unix nanoseconds: events of before `now - retention` or more than a day ahead are refused. The day an event
    /// is kept under is that of its own timestamp and never depends on this.
    pub now: i64,
}

/// What became of one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored now.
    New,
    /// It was stored before.
    Duplicate,
    /// It cannot be stored, now or later.
    Rejected(RejectReason),
}

/// Why an event cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// Older than the retention.
    TooOld,
    /// More than a day ahead of the clock.
    TooFarAhead,
    /// Its type or numbers are not what a store can keep, or the database refused the row: why.
    Invalid(String),
}

/// What one emitter (a process start) says of itself, so that loss can be proven from the store alone:
/// `emitted = stored + sum(dropped)` once nothing is in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmitterAccount {
    /// The emitter's number.
    pub emitter: u64,
    /// `service.name` of its process.
    pub service: String,
    /// When it started, unix nanoseconds.
    pub started_at: i64,
    /// When it said this, unix nanoseconds. Of two accounts of one emitter, the one with more emitted is the newer.
    pub said_at: i64,
    /// Events emitted: the greatest number given.
    pub emitted: u64,
    /// Events that are not and will never be stored, by reason. [`EventStore::accounts`] adds those that were stored until
    /// their day was dropped, as `expired`.
    pub dropped: BTreeMap<String, u64>,
    /// Events in the store; filled in by [`EventStore::accounts`].
    #[serde(default)]
    pub stored: u64,
}

/// How a trace stands as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TraceStatus {
    /// No end of the workflow is known and nothing failed.
    #[default]
    Pending,
    /// Its newest `workflow:completed` or `workflow:failed` says so; without one: something failed.
    Failed,
    /// Its newest end says so.
    Success,
}

/// One trace in one line.
///
/// Every part merges commutatively over batches and days: least, greatest, union, newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSummary {
    /// The trace.
    pub trace_id: TraceId,
    /// The message, where one was named (of several, the least).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The route, where one was named (of several, the least).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The trace that started this one (of several, the least).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_trace_id: Option<TraceId>,
    /// Instant of its first event, unix nanoseconds.
    pub first: i64,
    /// Instant of its last event, unix nanoseconds.
    pub last: i64,
    /// How it stands.
    pub status: TraceStatus,
    /// Something in it failed, whatever came after.
    pub any_failed: bool,
    /// The types of its events; of more than 256, the least are kept.
    pub types: BTreeSet<String>,
    /// Tags of its events as `key=value`: those of at most 256 bytes, and of more than 64 the least.
    pub tags: BTreeSet<String>,
}

/// Which traces are wanted; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// With an event at or after this instant, unix nanoseconds.
    pub since: Option<i64>,
    /// With an event before this instant, unix nanoseconds.
    pub until: Option<i64>,
    /// That stand so.
    pub status: Option<TraceStatus>,
    /// With an event of this type.
    pub event_type: Option<String>,
    /// With these tags, each `key=value`.
    pub tags: Vec<String>,
    /// Of this route.
    pub route: Option<String>,
    /// From first to last event at least so long, nanoseconds.
    pub min_duration: Option<i64>,
}

/// Which events are wanted; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter {
    /// At or after this instant, unix nanoseconds.
    pub since: Option<i64>,
    /// Before this instant, unix nanoseconds.
    pub until: Option<i64>,
    /// With this status.
    pub status: Option<EventStatus>,
    /// Of this type; one that ends in `:` means all that begin so, such as `saga:`.
    pub event_type: Option<String>,
    /// Of this route.
    pub route: Option<String>,
}

/// How long one leg took on one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DailyStatistic {
    /// The UTC day of the events, as `2026-11-20`.
    pub day: String,
    /// The route.
    pub route: String,
    /// The leg, or what else was timed.
    pub leg: String,
    /// How many.
    pub count: u64,
    /// Mean, milliseconds.
    pub mean_ms: f64,
    /// Least, milliseconds.
    pub min_ms: f64,
    /// Greatest, milliseconds.
    pub max_ms: f64,
    /// Half were at most so long, milliseconds; at most 0.54 % off, as all percentiles.
    pub p50_ms: f64,
    /// 95 % were at most so long, milliseconds.
    pub p95_ms: f64,
    /// 99 % were at most so long, milliseconds.
    pub p99_ms: f64,
    /// The histogram, so that days can be merged exactly.
    #[serde(skip)]
    pub sketch: Vec<u8>,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page starts; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// There is more than was looked at, and no way on from here: narrow the question.
    pub truncated: bool,
}

/// What an expiry did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Days dropped, as `2026-11-20`.
    pub days: Vec<String>,
    /// More days are due; ask again.
    pub more: bool,
}

/// What kind of store it is, and how large.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreInfo {
    /// `memory`, `sqlite` or `postgres`.
    pub kind: String,
    /// Where it is, without secrets.
    pub place: String,
    /// Days it holds, oldest first, as `2026-11-20`.
    pub days: Vec<String>,
    /// Bytes on disk, where the store can tell.
    pub bytes: Option<u64>,
    /// Parts that cannot be read, a sentence for each: what is asked of the rest is answered, and pages say `truncated`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// What to do about it.
    pub kind: StoreErrorKind,
    /// What happened, for people, without secrets.
    pub message: String,
}

/// What to do about an error of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Try again later: locked, full, away, restarting.
    Unavailable,
    /// The request cannot be answered as it is: a cursor or filter that is none.
    BadRequest,
    /// The store is of a newer version, is damaged, or is in use by another writer.
    Unusable,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None, truncated: false }
    }
}

impl StoreError {
    /// An error of a kind.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

impl RejectReason {
    /// The word in counters: `too_old`, `too_far_ahead`, `invalid`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl TraceStatus {
    /// The word in JSON and on the command line: `pending`, `failed`, `success`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Success => "success",
        }
    }

    /// How a trace stands with this newest end of its workflow, and whether anything failed.
    pub fn of(newest_end: Option<EventStatus>, any_failed: bool) -> Self {
        match newest_end {
            Some(EventStatus::Success) => Self::Success,
            Some(EventStatus::Failed) => Self::Failed,
            Some(EventStatus::Pending) | None if any_failed => Self::Failed,
            Some(EventStatus::Pending) | None => Self::Pending,
        }
    }
}
