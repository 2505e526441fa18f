//! When do events go to the spill file, and how do they come back?

use std::time::{Duration, Instant};

use super::{
    fate::{Fate, Origin},
    lane::Piece,
    work::{PATIENCE, Writer},
};
use crate::{event::Event, store::Batch};

/// A spill file that was full or could not be written is tried again after this.
const SPILL_WAIT: Duration = Duration::from_secs(1);

impl Writer {
    /// Moves what waits to the spill file, if the store is away or slow or too much waits.
    pub(super) fn spill_what_cannot_wait(&mut self, now: Instant) {
        while self.may_spill(now) {
            let mut state = self.shared.lock();
            let is_crowded = state.rows >= self.shared.settings.crowded();
            if state.background.is_empty() || !(is_crowded || self.background.is_slow(now, PATIENCE)) {
                return;
            }
            let count = state.background.len().min(self.shared.settings.batch_rows);
            let events: Vec<Event> = state.background.drain(..count).collect();
            drop(state);
            let kept = self.append(&events, "the store is away or slow");
            let mut state = self.shared.lock();
            if !state.is_ended {
                events.into_iter().skip(kept).rev().for_each(|event| state.background.push_front(event));
            }
        }
    }

    fn may_spill(&self, now: Instant) -> bool {
        self.spill.is_some() && self.spill_at.is_none_or(|at| at <= now)
    }

    /// Writes own events to the spill file: how many of them, from the first on.
    pub(super) fn append(&mut self, events: &[Event], message: &str) -> usize {
        let Some(spill) = &mut self.spill else { return 0 };
        let now = (self.clock)();
        let account = self.shared.account(&self.shared.lock(), now);
        let kept = match spill.append(events, &account) {
            Ok(kept) => kept,
            Err(error) => {
                self.note(&format!("the spill file cannot be written: {error}"));
                0
            }
        };
        self.spill_at = (kept < events.len()).then(|| Instant::now() + SPILL_WAIT);
        let lowest = events[..kept].iter().map(|event| event.seq).min();
        self.lowest_spilled = self.lowest_spilled.min(lowest.unwrap_or(u64::MAX));
        self.shared.settle(&events[..kept], Origin::Queue, message, |_| Fate::Spilled);
        kept
    }

    /// All that could be read was put: own events that are still missing were in records that could not.
    fn spill_is_empty(&mut self) {
        self.lowest_spilled = u64::MAX;
        let mut state = self.shared.lock();
        if !state.is_ended {
            state.lose_spilled();
        }
    }

    /// The next group of the spill file, to be put.
    pub(super) fn next_of_spill(&mut self, now: Instant) -> Option<Piece> {
        let most = self.background_rows(&self.shared.lock(), now);
        let group = match self.spill.as_mut()?.next_group(most) {
            Ok(group) => group?,
            Err(error) => {
                self.note(&format!("the spill file cannot be read: {error}"));
                self.background.postpone(now, &self.shared.settings, (self.random)());
                return None;
            }
        };
        self.replaying = Some(group.end);
        // Of itself the emitter says what holds now; of an earlier process, what that one said last.
        let now = (self.clock)();
        let mut state = self.shared.lock();
        state.damaged += group.damaged;
        let account = match group.account {
            Some(account) if account.emitter != self.shared.emitter => self.said.found(account),
            _ => self.shared.account(&state, now),
        };
        drop(state);
        Some(Piece::new(Batch { events: group.events, account: Some(account), now }, Origin::Spill))
    }

    /// What was read last from the spill file is settled: its place is free.
    pub(super) fn release_what_was_replayed(&mut self) {
        if self.background.is_empty()
            && let (Some(end), Some(spill)) = (self.replaying.take(), &mut self.spill)
            && spill.release(end)
        {
            self.spill_is_empty();
        }
    }
}
