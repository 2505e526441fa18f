//! How is the store asked without anybody waiting for it in vain?
//!
//! A question runs on a thread for blocking work, with everything that its answer costs: reading, looking, writing JSON. So
//! neither a store that blocks its caller nor a trace of a hundred thousand events delays another answer. A store that
//! hangs holds at most a few threads, and requests give up after a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{AbortHandle, Abortable};
use http::StatusCode;
use journey_core::{Clock, Live, rfc3339};
use journey_store::{Emitter, StoreError, StoreErrorKind, StoreInfo, TraceReader};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::StoredEvents;
use crate::{config::bounded, problem::Problem, stats::add};

/// Questions about one trace or one page that are with the store at once.
const QUICK_PLACES: usize = 4;

/// Questions over many traces that are with the store at once.
const LONG_PLACES: usize = 2;

/// When to come again.
const RETRY_AFTER_SECONDS: u64 = 5;

/// How much there is to read for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// One trace or one page.
    Quick,
    /// Up to all events of a time.
    Long,
}

/// The one place from which the store is asked.
pub(crate) struct Desk {
    reader: TraceReader,
    pub(super) emitter: Option<Emitter>,
    pub(super) poll: Duration,
    quick: Places,
    long: Places,
    pub(super) counts: Counts,
    /// What the store last answered instead of an answer, and when.
    pub(super) last_error: Mutex<Option<(String, String)>>,
    /// What the store last said of itself.
    pub(super) info: Mutex<Option<StoreInfo>>,
    clock: Clock,
}

struct Places {
    free: Arc<Semaphore>,
    all: usize,
    timeout: Duration,
}

/// Questions since start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) asked: AtomicU64,
    /// The store answered an error.
    pub(super) failed: AtomicU64,
    /// The store did not answer in time.
    pub(super) timed_out: AtomicU64,
    /// No place became free in time.
    pub(super) turned_away: AtomicU64,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Refusal {
    Store(StoreError),
    Problem(Problem),
}

impl Desk {
    pub(super) fn new(stored: &StoredEvents, live: &Arc<Live>) -> Self {
        let places = |all, timeout| Places { free: Arc::new(Semaphore::new(all)), all, timeout: bounded(timeout) };
        let of_live = Arc::downgrade(live);
        Self {
            reader: TraceReader::new(Arc::clone(&stored.store)),
            emitter: stored.emitter.clone(),
            poll: stored.poll,
            quick: places(QUICK_PLACES, stored.timeout),
            long: places(LONG_PLACES, stored.long_timeout),
            counts: Counts::default(),
            last_error: Mutex::default(),
            info: Mutex::default(),
            // The tracker holds this desk as one of its parts.
            clock: Arc::new(move || of_live.upgrade().map_or(0, |live| live.now())),
        }
    }

    pub(super) fn reader(&self) -> &TraceReader {
        &self.reader
    }

    /// Asks, and waits for the answer as long as is fit for its length.
    pub(super) async fn ask<T, A>(
        &self,
        length: Length,
        question: impl FnOnce(TraceReader) -> A + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, Refusal>>,
    {
        let places = match length {
            Length::Quick => &self.quick,
            Length::Long => &self.long,
        };
        add(&self.counts.asked, 1);
        let deadline = Instant::now() + places.timeout;
        let Ok(Ok(place)) = timeout_at(deadline, Arc::clone(&places.free).acquire_owned()).await else {
            add(&self.counts.turned_away, 1);
            return Err(later(format!(
                "{} questions of this kind are with the store of events, and none was answered within {:?}",
                places.all, places.timeout
            )));
        };
        let (abort, aborted) = AbortHandle::new_pair();
        // A client that is gone, or that was told to come later, wants no answer any more.
        let _abort = AbortOnDrop(abort);
        let (reader, runtime) = (self.reader.clone(), Handle::current());
        let asked = spawn_blocking(move || {
            let _place = place;
            runtime.block_on(Abortable::new(async move { question(reader).await }, aborted))
        });
        match timeout_at(deadline, asked).await {
            Ok(Ok(Ok(Ok(answer)))) => Ok(answer),
            Ok(Ok(Ok(Err(Refusal::Problem(problem))))) => Err(problem),
            Ok(Ok(Ok(Err(Refusal::Store(error))))) => Err(self.failed(error)),
            // Only this function aborts, and it has waited.
            Ok(Ok(Err(_)) | Err(_)) => Err(self.failed(StoreError::new(StoreErrorKind::Unusable, "it failed inside"))),
            Err(_) => {
                add(&self.counts.timed_out, 1);
                let detail = format!("the store of events did not answer within {:?}", places.timeout);
                self.note(&detail);
                Err(later(detail))
            }
        }
    }

    /// Writes down an error of the store, and says what a client can do about it.
    fn failed(&self, error: StoreError) -> Problem {
        if error.kind == StoreErrorKind::BadRequest {
            // Of what a client can say, only a cursor is the store's to judge; its successor has another name here.
            let detail = error.message.replace("`next`", "`nextCursor`");
            return Problem::bad_request(detail).with("parameter", "cursor");
        }
        add(&self.counts.failed, 1);
        self.note(&error.message);
        let detail = format!("the store of events cannot answer: {}", error.message);
        if error.is_transient() { later(detail) } else { Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// Keeps an error for those who look at the health of the process.
    pub(super) fn note(&self, error: &str) {
        *self.last_error.lock() = Some((rfc3339((self.clock)()), error.to_owned()));
    }
}

/// The days that the store has, for errors: asked then, because one that was opened a moment ago has said nothing yet.
pub(super) async fn days(reader: &TraceReader) -> String {
    let Ok(info) = reader.store().info().await else { return String::new() };
    match (info.days.first(), info.days.last()) {
        (Some(first), Some(last)) => format!("; it has events of {first} to {last}"),
        _ => "; it is empty".to_owned(),
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("reader", &self.reader).field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Counts {
    pub(super) fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// It may be better in a while.
fn later(detail: String) -> Problem {
    let detail = format!("{detail} (come again in {RETRY_AFTER_SECONDS} s)");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_AFTER_SECONDS)
}

#[cfg(test)]
mod tests;
