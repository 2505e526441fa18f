//! What does the writer's thread do next?

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use journey_core::Clock;

use super::{
    fate::{Fate, Origin},
    lane::{Lane, Piece},
    loss::LossReason,
    pace::Pace,
    said::Said,
    settings::RETRIES,
    state::{Shared, State, WakeOn},
    upkeep::Keeper,
};
use crate::{
    emit::Random,
    event::Event,
    spill::Spill,
    store::{Batch, EventStore, Put, StoreError},
};

/// A store that takes longer than this is not waited for: what comes meanwhile goes to the spill file.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// An account that changed without an event that could carry it is put alone after this.
const ACCOUNT_WAIT: Duration = Duration::from_secs(1);

/// The one thread between the queue, the spill file and the store. It never blocks on the store: it polls what the store
/// answers, so that it can serve the others while one batch hangs.
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) spill: Option<Spill>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    /// Events that somebody waits for.
    pub(super) urgent: Lane,
    /// The others, and what is replayed from the spill file.
    pub(super) background: Lane,
    /// Where the group that is being replayed ends in the spill file.
    pub(super) replaying: Option<u64>,
    /// The least number of an own event in the spill file since it was empty.
    pub(super) lowest_spilled: u64,
    /// The spill file was full or could not be written; not before this instant again.
    pub(super) spill_at: Option<Instant>,
    /// Replays and fresh batches take turns.
    replayed_last: bool,
    /// When the waiting events were there long enough.
    due_at: Option<Instant>,
    pub(super) said: Said,
    account_due: Option<Instant>,
    pace: Pace,
    pub(super) keeper: Option<Keeper>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        store: Arc<dyn EventStore>,
        spill: Option<Spill>,
        clock: Clock,
        random: Random,
    ) -> Self {
        let keeper = shared.settings.upkeep.map(|upkeep| Keeper::new(upkeep, (clock)()));
        Self {
            shared,
            store,
            spill,
            clock,
            random,
            urgent: Lane::default(),
            background: Lane::default(),
            replaying: None,
            lowest_spilled: u64::MAX,
            spill_at: None,
            replayed_last: false,
            due_at: None,
            said: Said::default(),
            account_due: None,
            pace: Pace::default(),
            keeper,
        }
    }

    /// Works until it is asked to end.
    pub(crate) fn run(mut self) {
        let thread = thread::current();
        let _books = CloseBooks(Arc::clone(&self.shared));
        self.shared.set_thread(thread.clone());
        let waker = Waker::from(Arc::new(Unpark(thread)));
        let mut context = Context::from_waker(&waker);
        loop {
            let now = Instant::now();
            let mut did = self.collect(&mut context, now);
            did |= self.start(now);
            self.spill_what_cannot_wait(now);
            self.answer_flushes(now);
            if self.is_over(now) {
                return self.close(&mut context);
            }
            // What was started must be polled once before anybody wakes us for it. Events come first.
            if !did && !self.keep_up(&mut context, now) {
                self.sleep(now);
            }
        }
    }

    /// Takes the store's answers.
    fn collect(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let timeout = self.shared.settings.put_timeout;
        let mut did = false;
        if let Some((piece, answer)) = self.urgent.poll(context, now, timeout) {
            did = true;
            match answer {
                Err(error) if error.is_transient() => self.urgent_failed(piece, &error, now),
                answer => judge(&self.shared, &mut self.urgent, piece, answer, &mut self.said),
            }
        }
        if let Some((piece, answer)) = self.background.poll(context, now, timeout) {
            did = true;
            match answer {
                Err(error) if error.is_transient() => self.background_failed(piece, &error, now),
                answer => judge(&self.shared, &mut self.background, piece, answer, &mut self.said),
            }
        }
        if self.background.is_empty()
            && let Some(account) = self.said.unsaid((self.clock)())
        {
            let batch = Batch { events: Vec::new(), now: account.said_at, account: Some(account) };
            self.background.pieces.push_back(Piece::new(batch, Origin::Spill));
        }
        self.release_what_was_replayed();
        did
    }

    fn urgent_failed(&mut self, piece: Piece, error: &StoreError, now: Instant) {
        self.note(&error.message);
        if self.urgent.retries < RETRIES {
            self.urgent.pieces.push_front(piece);
            return self.urgent.postpone(now, &self.shared.settings, (self.random)());
        }
        self.urgent.answered();
        let message = format!("the store was away at {} tries: {}", RETRIES + 1, error.message);
        let kept = self.append(piece.events(), &message);
        let lost = &piece.events()[kept..];
        self.shared.settle(lost, Origin::Queue, &message, |_| Fate::Lost(LossReason::RetryExhausted));
    }

    fn background_failed(&mut self, piece: Piece, error: &StoreError, now: Instant) {
        self.note(&error.message);
        let kept = if piece.origin == Origin::Queue { self.append(piece.events(), &error.message) } else { 0 };
        if kept == 0 {
            self.background.pieces.push_front(piece);
        } else if kept < piece.events().len() {
            let batch = Batch { events: piece.events()[kept..].to_vec(), account: None, now: piece.batch.now };
            self.background.pieces.push_front(Piece::new(batch, Origin::Queue));
        }
        self.background.postpone(now, &self.shared.settings, (self.random)());
    }

    /// Gives the store what is due; whether there was something.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let store = Arc::clone(&self.store);
        if self.urgent.pieces.is_empty() && self.urgent.is_free(now) {
            let batch = self.take(|state| &mut state.urgent, self.shared.settings.batch_rows);
            self.urgent.pieces.extend(batch);
        }
        if !self.urgent.is_empty() {
            self.pace.note(now);
        }
        let mut did = self.urgent.start(&*store, now);
        if self.background.pieces.is_empty() && self.background.is_free(now) {
            let piece = self.next_in_background(now);
            self.background.pieces.extend(piece);
        }
        did |= self.background.start(&*store, now);
        did
    }

    fn next_in_background(&mut self, now: Instant) -> Option<Piece> {
        let fresh_is_due = self.is_fresh_due(now);
        if !(fresh_is_due && self.replayed_last) {
            self.replayed_last = true;
            if let Some(piece) = self.next_of_spill(now) {
                return Some(piece);
            }
        }
        self.replayed_last = false;
        if fresh_is_due {
            self.due_at = None;
            let most = self.background_rows(&self.shared.lock(), now);
            return self.take(|state| &mut state.background, most);
        }
        self.account_alone(now)
    }

    /// Whether the waiting events are a batch, have waited long enough, or are wanted now.
    fn is_fresh_due(&mut self, now: Instant) -> bool {
        let settings = &self.shared.settings;
        let state = self.shared.lock();
        if state.background.is_empty() {
            self.due_at = None;
            return false;
        }
        let due_at = *self.due_at.get_or_insert(now + settings.batch_wait);
        state.background.len() >= self.background_rows(&state, now)
            || due_at <= now
            || !state.flushes.is_empty()
            || state.closing.is_some()
    }

    /// The most events of the next background batch.
    pub(super) fn background_rows(&self, state: &State, now: Instant) -> usize {
        self.pace.rows(now, state.background.len(), &self.shared.settings)
    }

    fn account_alone(&mut self, now: Instant) -> Option<Piece> {
        let state = self.shared.lock();
        if state.said() == self.said.own {
            self.account_due = None;
            return None;
        }
        // Events that are under way carry it.
        if state.rows > 0 || now < *self.account_due.get_or_insert(now + ACCOUNT_WAIT) {
            return None;
        }
        self.account_due = None;
        drop(state);
        let now = (self.clock)();
        let account = Some(self.shared.account(&self.shared.lock(), now));
        Some(Piece::new(Batch { events: Vec::new(), account, now }, Origin::Queue))
    }

    /// Takes a batch out of a queue, with what the emitter says of itself.
    fn take(&self, queue: fn(&mut State) -> &mut VecDeque<Event>, most: usize) -> Option<Piece> {
        // The clock is other people's code: never under the lock.
        let now = (self.clock)();
        let mut state = self.shared.lock();
        let queue = queue(&mut state);
        let count = queue.len().min(most);
        if count == 0 {
            return None;
        }
        let events = queue.drain(..count).collect();
        let account = Some(self.shared.account(&state, now));
        Some(Piece::new(Batch { events, account, now }, Origin::Queue))
    }

    /// Looks after the store, where that is due; whether there was something to do.
    fn keep_up(&mut self, context: &mut Context<'_>, now: Instant) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        keeper.work(&*self.store, &self.shared, ((self.clock)(), now), context)
    }

    pub(super) fn note(&self, message: &str) {
        self.shared.lock().error = Some(message.to_owned());
    }

    fn answer_flushes(&self, now: Instant) {
        let state = self.shared.lock();
        if state.flushes.is_empty() {
            return;
        }
        let emitter = self.shared.emitter;
        let lanes = [self.urgent.lowest(emitter), self.background.lowest(emitter)];
        let queues = [state.urgent.front(), state.background.front()].into_iter().flatten().map(|event| event.seq);
        let spilled = (state.spilled > 0).then_some(self.lowest_spilled);
        let lowest = queues.chain(lanes.into_iter().flatten()).chain(spilled).min();
        drop(state);
        self.shared.answer_flushes(lowest.unwrap_or(u64::MAX), now);
    }

    /// Asked to end, and either nothing is left to do or no time.
    fn is_over(&self, now: Instant) -> bool {
        let state = self.shared.lock();
        let Some(deadline) = state.closing else { return false };
        let nothing_waits = state.urgent.is_empty() && state.background.is_empty();
        let is_idle = nothing_waits && self.urgent.is_empty() && self.background.is_empty();
        let has_replay = self.spill.as_ref().is_some_and(|spill| !spill.is_empty());
        state.is_ended || deadline <= now || (is_idle && !has_replay)
    }

    /// Until somebody wakes it or something is due.
    fn sleep(&mut self, now: Instant) {
        let timeout = self.shared.settings.put_timeout;
        // The clock is other people's code: never under the lock.
        let clock = (self.clock)();
        let mut state = self.shared.lock();
        if !state.urgent.is_empty() && self.urgent.is_free(now) && self.urgent.pieces.is_empty() {
            return;
        }
        if state.rows == 0 && state.said() != self.said.own {
            self.account_due.get_or_insert(now + ACCOUNT_WAIT);
        }
        state.wake_on = match (state.background.is_empty(), self.account_due) {
            (false, _) => WakeOn::Batch,
            (true, Some(_)) => WakeOn::Waiting,
            (true, None) => WakeOn::Any,
        };
        state.batch_rows = self.background_rows(&state, now);
        let can_put = self.background.is_free(now);
        let mut due = None;
        if !state.background.is_empty() {
            let due_at = *self.due_at.get_or_insert(now + self.shared.settings.batch_wait);
            let is_batch = state.background.len() >= state.batch_rows;
            let is_wanted = !state.flushes.is_empty() || state.closing.is_some();
            if can_put && self.background.pieces.is_empty() && (is_batch || is_wanted || due_at <= now) {
                return;
            }
            // While the store is away or slow, only the spill file can take them.
            let spill = self.spill.as_ref().map(|_| self.spill_at.unwrap_or(due_at).max(due_at));
            due = if can_put { Some(due_at) } else { spill.filter(|at| *at > now) };
        }
        let instants = [
            due,
            state.flushes.iter().map(|request| request.deadline).min(),
            state.closing,
            self.account_due.filter(|_| can_put && state.rows == 0),
            self.urgent.next_instant(timeout, PATIENCE, now),
            self.background.next_instant(timeout, PATIENCE, now),
            self.keeper.as_ref().map(|keeper| now + keeper.wait(&state, clock, now)),
        ];
        drop(state);
        match instants.into_iter().flatten().min() {
            Some(at) => thread::park_timeout(at.saturating_duration_since(now)),
            None => thread::park(),
        }
    }
}

/// Settles a batch that the store answered for. One that it refused as a whole is tried in halves, until the events are
/// found that it refuses alone.
fn judge(shared: &Shared, lane: &mut Lane, piece: Piece, answer: Result<Vec<Put>, StoreError>, said: &mut Said) {
    lane.answered();
    match answer {
        Ok(puts) => {
            shared.lock().error = None;
            if let Some(account) = &piece.batch.account {
                said.stored(account, shared.emitter);
            }
            let message = "the store refused the event for good";
            let losses = shared.settle(piece.events(), piece.origin, message, |index| match &puts[index] {
                Put::New => Fate::Stored,
                Put::Duplicate => Fate::Duplicate,
                Put::Rejected(reason) => Fate::Lost(reason.into()),
            });
            said.lost(losses);
        }
        Err(error) => match piece.halves() {
            Some([first, second]) => {
                lane.pieces.push_front(second);
                lane.pieces.push_front(first);
            }
            None => {
                shared.lock().error = Some(error.message.clone());
                let lost = Fate::Lost(LossReason::Refused);
                said.lost(shared.settle(piece.events(), piece.origin, &error.message, |_| lost));
            }
        },
    }
}

/// Closes the books also where the writer's thread panics: nobody waits for ever, and no event is lost unsaid.
struct CloseBooks(Arc<Shared>);

impl Drop for CloseBooks {
    fn drop(&mut self) {
        self.0.end("the writer ended");
        self.0.finish();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
