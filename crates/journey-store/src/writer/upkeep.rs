//! When are statistics recomputed and old days dropped?

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use super::{
    lane::panicked,
    settings::Upkeep,
    state::{Shared, State},
};
use crate::store::{Answer, EventStore, Expired, StoreError, StoreErrorKind};

/// A store that has not answered by then is not waited for any longer. By the machine's own time: a clock that jumps is no
/// store that hangs.
const LONGEST: Duration = Duration::from_secs(900);

/// Recomputing takes at most one part in so many of the time: a day with many events takes longer, and is read less often.
const SHARE: u32 = 100;

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
    /// How long that took, the last time.
    took: Duration,
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
    since: Instant,
}

impl Keeper {
    /// Everything is due once at the beginning.
    pub(super) fn new(upkeep: Upkeep, clock: i64) -> Self {
        let retry = nanos(upkeep.recompute.min(upkeep.expire));
        let (recompute, expire) = (Chore::new(upkeep.recompute, clock), Chore::new(upkeep.expire, clock));
        Self { recompute, expire, retry, seen: 0, is_fresh: false, took: Duration::ZERO }
    }

    /// Asks the store for what is due, and takes its answers; whether there was something to do.
    pub(super) fn work(
        &mut self,
        store: &dyn EventStore,
        shared: &Shared,
        (clock, now): (i64, Instant),
        context: &mut Context<'_>,
    ) -> bool {
        let put = shared.lock().put();
        let mut did = false;
        if self.expire.is_due(clock) {
            self.expire.ask(now, || store.expire(clock, store.retention()));
            did = true;
        }
        if self.recompute.is_due(clock) && self.has_new(put) {
            (self.seen, self.is_fresh) = (put, true);
            self.recompute.ask(now, || store.recompute());
            did = true;
        }
        if let Some((answer, _)) = self.expire.poll(now, context) {
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
        if let Some((answer, took)) = self.recompute.poll(now, context) {
            did = true;
            let mut state = shared.lock();
            match answer {
                Ok(_) => {
                    self.took = took;
                    state.kept_up.recomputed();
                    let pause = self.recompute.every.max(nanos(took.saturating_mul(SHARE)));
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

    /// Recomputes a last time where events came since, so that the statistics tell of all of them; not where that lately took
    /// longer than there is time for. What was asked before is given up.
    pub(super) fn finish(mut self, store: &dyn EventStore, shared: &Shared, until: Instant, context: &mut Context<'_>) {
        let now = Instant::now();
        if !self.has_new(shared.lock().put()) || self.took > until.saturating_duration_since(now) {
            return;
        }
        self.recompute.ask(now, || store.recompute());
        loop {
            let now = Instant::now();
            match self.recompute.poll(now, context) {
                Some((Ok(_), _)) => return shared.lock().kept_up.recomputed(),
                Some((Err(error), _)) => return shared.lock().kept_up.failed(error),
                // The next start does it.
                None if until <= now => return,
                None => thread::park_timeout(until - now),
            }
        }
    }

    /// How long there is nothing to do, unless the store answers or events come.
    pub(super) fn wait(&self, state: &State, clock: i64, now: Instant) -> Duration {
        let recompute = self.recompute.wait(clock, now, self.has_new(state.put()));
        recompute.min(self.expire.wait(clock, now, true))
    }

    fn has_new(&self, put: u64) -> bool {
        !self.is_fresh || put != self.seen
    }
}

impl KeptUp {
    fn recomputed(&mut self) {
        self.recomputed += 1;
        self.error = None;
    }

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

    fn ask(&mut self, now: Instant, question: impl FnOnce() -> Answer<T>)
    where
        T: Send + 'static,
    {
        let answer = catch_unwind(AssertUnwindSafe(question));
        let answer = answer.unwrap_or_else(|_| Box::pin(std::future::ready(Err(panicked()))));
        self.asked = Some(Asked { answer, since: now });
    }

    /// What the store answered, and how long that took.
    fn poll(&mut self, now: Instant, context: &mut Context<'_>) -> Option<(Result<T, StoreError>, Duration)> {
        let asked = self.asked.as_mut()?;
        let took = now.saturating_duration_since(asked.since);
        let answer = match catch_unwind(AssertUnwindSafe(|| asked.answer.as_mut().poll(context))) {
            Ok(Poll::Ready(answer)) => answer,
            Ok(Poll::Pending) if took < LONGEST => return None,
            Ok(Poll::Pending) => {
                let message = format!("the store did not answer within {LONGEST:?}");
                Err(StoreError::new(StoreErrorKind::Unavailable, message))
            }
            Err(_) => Err(panicked()),
        };
        self.asked = None;
        Some((answer, took))
    }

    fn wait(&self, clock: i64, now: Instant, is_wanted: bool) -> Duration {
        let left = match &self.asked {
            Some(asked) => (asked.since + LONGEST).saturating_duration_since(now),
            None if is_wanted => Duration::from_nanos(self.due_at.saturating_sub(clock).max(0).unsigned_abs()),
            // New events wake the writer.
            None => NEVER,
        };
        // One that is past would be no sleep; what could be asked then was asked.
        left.clamp(Duration::from_millis(1), NEVER)
    }
}

/// Long enough to cost nothing, and short enough for every instant to be one.
const NEVER: Duration = Duration::from_secs(86_400);

fn nanos(duration: Duration) -> i64 {
    // A clock that stands still, in a test, may not make it ask for ever.
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_store_that_does_not_answer_is_given_up_and_one_that_panics_is_an_error() {
        let (now, mut context) = (Instant::now(), Context::from_waker(Waker::noop()));
        let mut chore = Chore::<()>::new(Duration::from_secs(60), 0);
        chore.ask(now, || Box::pin(std::future::pending()));
        assert!(!chore.is_due(i64::MAX) && chore.poll(now, &mut context).is_none());
        assert_eq!(chore.wait(i64::MAX, now, true), LONGEST);
        assert!(chore.poll(now + LONGEST - Duration::from_nanos(1), &mut context).is_none());
        let (answer, took) = chore.poll(now + LONGEST, &mut context).unwrap();
        assert_eq!((answer.unwrap_err().message.as_str(), took), ("the store did not answer within 900s", LONGEST));
        assert!(chore.is_due(0));
        chore.ask(now, || std::panic::resume_unwind(Box::new("a store that panics")));
        assert_eq!(chore.poll(now, &mut context).unwrap().0.unwrap_err().message, "the store panicked");
        chore.ask(now, || Box::pin(std::future::ready(Ok(()))));
        assert_eq!(chore.poll(now, &mut context).unwrap(), (Ok(()), Duration::ZERO));
    }

    #[test]
    fn there_is_always_a_pause_and_never_an_endless_one() {
        let now = Instant::now();
        let chore = Chore::<()>::new(Duration::from_secs(60), 5);
        assert_eq!(chore.wait(i64::MIN, now, true), NEVER);
        assert_eq!(chore.wait(i64::MAX, now, true), Duration::from_millis(1));
        assert_eq!(chore.wait(5 - 7_000_000_000, now, true), Duration::from_secs(7));
        assert_eq!(chore.wait(5, now, false), NEVER);
    }
}
