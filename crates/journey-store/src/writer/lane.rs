//! Which batch is with the store, and when is it tried again?

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use backon::ExponentialBackoff;

use super::{fate::Origin, settings::Settings};
use crate::{
    event::Event,
    store::{Answer, Batch, EventStore, Put, StoreError, StoreErrorKind},
};

/// Events that are put together until one of them turns out to be the cause of an error.
pub(super) struct Piece {
    pub(super) batch: Arc<Batch>,
    pub(super) origin: Origin,
}

/// One batch after another, of which at most one is with the store.
#[derive(Default)]
pub(super) struct Lane {
    /// What is to be put next, in order.
    pub(super) pieces: VecDeque<Piece>,
    flight: Option<Flight>,
    /// The store was away; not before this instant again.
    retry_at: Option<Instant>,
    delays: Option<ExponentialBackoff>,
    /// Retries of the first piece.
    pub(super) retries: u32,
}

struct Flight {
    answer: Answer<Vec<Put>>,
    piece: Piece,
    since: Instant,
}

impl Piece {
    pub(super) fn new(batch: Batch, origin: Origin) -> Self {
        Self { batch: Arc::new(batch), origin }
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.batch.events
    }

    /// Two halves; `None` of a single event.
    pub(super) fn halves(&self) -> Option<[Self; 2]> {
        let events = self.events();
        let half = |events: &[Event]| {
            let batch = Batch { events: events.to_vec(), account: self.batch.account.clone(), now: self.batch.now };
            Self::new(batch, self.origin)
        };
        let (first, second) = events.split_at(events.len() / 2);
        (events.len() > 1).then(|| [half(first), half(second)])
    }
}

impl Lane {
    /// Nothing of it is with the store or waits for another try.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.flight.is_none()
    }

    /// Whether a batch may be put now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.flight.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// The store did not take the last batch, or takes long.
    pub(super) fn is_slow(&self, now: Instant, patience: Duration) -> bool {
        self.retry_at.is_some() || self.flight.as_ref().is_some_and(|flight| now - flight.since >= patience)
    }

    /// Gives the first piece to the store, if it may; whether it did.
    pub(super) fn start(&mut self, store: &dyn EventStore, now: Instant) -> bool {
        if !self.is_free(now) {
            return false;
        }
        let Some(piece) = self.pieces.pop_front() else { return false };
        let batch = Arc::clone(&piece.batch);
        let answer = catch_unwind(AssertUnwindSafe(|| store.put(batch)));
        let answer = answer.unwrap_or_else(|_| Box::pin(std::future::ready(Err(panicked()))));
        self.flight = Some(Flight { answer, piece, since: now });
        true
    }

    /// What the store answered, if it did; a store that takes too long counts as away.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        now: Instant,
        timeout: Duration,
    ) -> Option<(Piece, Result<Vec<Put>, StoreError>)> {
        let flight = self.flight.as_mut()?;
        let answer = match catch_unwind(AssertUnwindSafe(|| flight.answer.as_mut().poll(context))) {
            Ok(Poll::Ready(answer)) => answer,
            Ok(Poll::Pending) if now - flight.since < timeout => return None,
            Ok(Poll::Pending) => {
                let message = format!("the store did not answer within {timeout:?}");
                Err(StoreError::new(StoreErrorKind::Unavailable, message))
            }
            Err(_) => Err(panicked()),
        };
        let Flight { piece, .. } = self.flight.take()?;
        let answer = answer.and_then(|puts| match (puts.len(), piece.events().len()) {
            (answered, asked) if answered == asked => Ok(puts),
            (answered, asked) => {
                let message = format!("the store answered for {answered} of {asked} events");
                Err(StoreError::new(StoreErrorKind::Unusable, message))
            }
        });
        Some((piece, answer))
    }

    /// The store answered: whatever it said, it is there.
    pub(super) fn answered(&mut self) {
        self.retry_at = None;
        self.delays = None;
        self.retries = 0;
    }

    /// The store is away: the next try is a while from now.
    pub(super) fn postpone(&mut self, now: Instant, settings: &Settings, seed: u64) {
        let delays = self.delays.get_or_insert_with(|| settings.delays(seed));
        self.retry_at = Some(now + delays.next().unwrap_or(settings.retry_most));
        self.retries += 1;
    }

    /// What is with the store is taken back: nobody waits for the answer any more.
    pub(super) fn take_all(&mut self) -> Vec<Piece> {
        let flight = self.flight.take().map(|flight| flight.piece);
        flight.into_iter().chain(self.pieces.drain(..)).collect()
    }

    /// When there is something to do without being woken.
    pub(super) fn next_instant(&self, timeout: Duration, patience: Duration, now: Instant) -> Option<Instant> {
        match &self.flight {
            Some(flight) if now < flight.since + patience => Some(flight.since + patience.min(timeout)),
            Some(flight) => Some(flight.since + timeout),
            // One that is past would be no sleep; what could be tried then was tried.
            None => self.retry_at.filter(|at| *at > now),
        }
    }

    /// The least number of an own event that it has.
    pub(super) fn lowest(&self, emitter: u64) -> Option<u64> {
        let pieces = self.pieces.iter().chain(self.flight.as_ref().map(|flight| &flight.piece));
        let events = pieces.filter(|piece| piece.origin == Origin::Queue).flat_map(Piece::events);
        events.filter(|event| event.emitter == emitter).map(|event| event.seq).min()
    }
}

pub(super) fn panicked() -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, "the store panicked")
}
