//! When are statistics recomputed and old days dropped?

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::Duration,
};

use super::{
    lane::panicked,
    settings::Upkeep,
    state::{Shared, State},
};
use crate::store::{Answer, EventStore, Expired, StoreError, StoreErrorKind};

/// A store that has not answered by then is not waited for any longer, nanoseconds.
const LONGEST: i64 = 900_000_000_000;

/// Recomputing takes at most one part in so many of the time: a day with many events takes longer, and is read less often.
const SHARE: i64 = 100;

/// What came of looking after the store.
#[derive(Default)]
pub(super) struct KeptUp {
    pub(super) recomputed: u64,
    pub(super) expired_days: u64,
    pub(super) failed: u64,
    pub(super) error: Option<String>,
}

/// Looks after the store, at most one question of each kind at a time. It never waits: the writer's thread polls it.
pub(super) struct Keeper {
    recompute: Chore<Vec<String>>,
    expire: Chore<Expired>,
    /// After a failure, both are tried again so much later, nanoseconds.
    retry: i64,
    /// Events that the store had been given when it was last asked to recompute.
    seen: u64,
    /// The store was asked to recompute since then, and did. An earlier process may have left days that are due.
    is_fresh: bool,
}

/// Something that is due again and again.
struct Chore<T> {
    /// Nanoseconds.
    every: i64,
    /// Not before this instant of the clock.
    due_at: i64,
    asked: Option<Asked<T>>,
}

struct Asked<T> {
    answer: Answer<T>,
    since: i64,
}

impl Keeper {
    /// Everything is due once at the beginning.
    pub(super) fn new(upkeep: Upkeep, clock: i64) -> Self {
        let retry = nanos(upkeep.recompute.min(upkeep.expire));
        let (recompute, expire) = (Chore::new(upkeep.recompute, clock), Chore::new(upkeep.expire, clock));
        Self { recompute, expire, retry, seen: 0, is_fresh: false }
    }

    /// Asks the store for what is due, and takes its answers; whether there was something to do.
    pub(super) fn work(
        &mut self,
        store: &dyn EventStore,
        shared: &Shared,
        clock: i64,
        context: &mut Context<'_>,
    ) -> bool {
        let put = shared.lock().put();
        let mut did = false;
        if self.expire.is_due(clock) {
            self.expire.ask(clock, || store.expire(clock, store.retention()));
            did = true;
        }
        if self.recompute.is_due(clock) && self.has_new(put) {
            (self.seen, self.is_fresh) = (put, true);
            self.recompute.ask(clock, || store.recompute());
            did = true;
        }
        if let Some((answer, _)) = self.expire.poll(clock, context) {
            did = true;
            let mut state = shared.lock();
            match answer {
                Ok(expired) => {
                    state.kept_up.expired_days += expired.days.len() as u64;
                    state.kept_up.error = None;
                    self.expire.due_at = if expired.more { clock } else { clock.saturating_add(self.expire.every) };
                }
                Err(error) => {
                    state.kept_up.failed(error);
                    self.expire.due_at = clock.saturating_add(self.retry);
                }
            }
        }
        if let Some((answer, took)) = self.recompute.poll(clock, context) {
            did = true;
            let mut state = shared.lock();
            match answer {
                Ok(_) => {
                    state.kept_up.recomputed += 1;
                    state.kept_up.error = None;
                    let pause = self.recompute.every.max(took.saturating_mul(SHARE));
                    self.recompute.due_at = clock.saturating_add(pause);
                }
                Err(error) => {
                    state.kept_up.failed(error);
                    self.is_fresh = false;
                    self.recompute.due_at = clock.saturating_add(self.retry);
                }
            }
        }
        did
    }

    /// How long there is nothing to do, unless the store answers or events come.
    pub(super) fn wait(&self, state: &State, clock: i64) -> Duration {
        let recompute = self.recompute.wait(clock, self.has_new(state.put()));
        recompute.min(self.expire.wait(clock, true))
    }

    fn has_new(&self, put: u64) -> bool {
        !self.is_fresh || put != self.seen
    }
}

impl KeptUp {
    fn failed(&mut self, error: StoreError) {
        self.failed += 1;
        self.error = Some(error.message);
    }
}

impl<T> Chore<T> {
    fn new(every: Duration, clock: i64) -> Self {
        Self { every: nanos(every), due_at: clock, asked: None }
    }

    fn is_due(&self, clock: i64) -> bool {
        self.asked.is_none() && self.due_at <= clock
    }

    fn ask(&mut self, clock: i64, question: impl FnOnce() -> Answer<T>)
    where
        T: Send + 'static,
    {
        let answer = catch_unwind(AssertUnwindSafe(question));
        let answer = answer.unwrap_or_else(|_| Box::pin(std::future::ready(Err(panicked()))));
        self.asked = Some(Asked { answer, since: clock });
    }

    /// What the store answered, and how long that took, nanoseconds.
    fn poll(&mut self, clock: i64, context: &mut Context<'_>) -> Option<(Result<T, StoreError>, i64)> {
        let asked = self.asked.as_mut()?;
        let took = clock.saturating_sub(asked.since);
        let answer = match catch_unwind(AssertUnwindSafe(|| asked.answer.as_mut().poll(context))) {
            Ok(Poll::Ready(answer)) => answer,
            Ok(Poll::Pending) if took < LONGEST => return None,
            Ok(Poll::Pending) => {
                let message = format!("the store did not answer within {:?}", Duration::from_nanos(LONGEST as u64));
                Err(StoreError::new(StoreErrorKind::Unavailable, message))
            }
            Err(_) => Err(panicked()),
        };
        self.asked = None;
        Some((answer, took))
    }

    fn wait(&self, clock: i64, is_wanted: bool) -> Duration {
        let at = match &self.asked {
            Some(asked) => asked.since.saturating_add(LONGEST),
            None if is_wanted => self.due_at,
            // New events wake the writer.
            None => return NEVER,
        };
        // One that is past would be no sleep; what could be asked then was asked.
        Duration::from_nanos(at.saturating_sub(clock).max(1_000_000).unsigned_abs()).min(NEVER)
    }
}

/// Long enough to cost nothing, and short enough for every instant to be one.
const NEVER: Duration = Duration::from_secs(86_400);

fn nanos(duration: Duration) -> i64 {
    // A clock that stands still, in a test, may not make it ask for ever.
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).max(1)
}
