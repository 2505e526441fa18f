//! Which events wait, and what became of the others?

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock},
    task::Waker,
    thread::Thread,
    time::Instant,
};

use futures_channel::oneshot;
use parking_lot::{Condvar, Mutex};

use super::{
    fate::{Fate, Origin, WriterStats, told_of},
    loss::{EmitError, LossReason, Losses},
    settings::Settings,
    upkeep::KeptUp,
};
use crate::{
    event::{Event, InvalidEvent},
    redact::{Cleaned, data_bytes},
    store::EmitterAccount,
    stream::Watcher,
};

/// What somebody who waits for an event is told.
pub(crate) type Reply = Result<(), EmitError>;

/// What somebody who waits for a flush is told: whether everything was settled in time.
pub(crate) type Flushed = bool;

/// What the application's threads and the writer's thread share.
pub(crate) struct Shared {
    pub(crate) emitter: u64,
    pub(super) service: String,
    pub(super) started_at: i64,
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// The writer's thread has nothing left to do.
    finished: Condvar,
    /// The writer's thread, to wake it.
    thread: OnceLock<Thread>,
}

/// Which further event must wake the writer; one that somebody waits for always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WakeOn {
    /// Any, also one that is lost: no timer runs.
    Any,
    /// Any that waits: a timer runs, but only for the account.
    Waiting,
    /// The one that completes a batch: a timer runs.
    Batch,
}

/// Somebody who waits until everything up to a number is settled.
pub(super) struct FlushRequest {
    pub(super) up_to: u64,
    pub(super) deadline: Instant,
    reply: oneshot::Sender<Flushed>,
}

pub(super) struct State {
    pub(super) emitted: u64,
    stored: u64,
    duplicate: u64,
    losses: Losses,
    replayed: u64,
    replay_lost: u64,
    pub(super) damaged: u64,
    pub(super) kept_up: KeptUp,
    cleaned: Cleaned,
    pub(super) error: Option<String>,
    /// Events that somebody waits for, in order.
    pub(super) urgent: VecDeque<Event>,
    /// The others, in order.
    pub(super) background: VecDeque<Event>,
    /// Events in memory: those two, and those that the writer has taken and not settled.
    pub(super) rows: usize,
    bytes: usize,
    /// Own events in the spill file.
    pub(super) spilled: u64,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    pub(super) flushes: Vec<FlushRequest>,
    watchers: Vec<Arc<Watcher>>,
    pub(super) wake_on: WakeOn,
    /// As many in the background are a batch now.
    pub(super) batch_rows: usize,
    /// When a shutdown wants to be done.
    pub(super) closing: Option<Instant>,
    /// The books are closed; a writer that comes back from a hanging call changes nothing any more.
    pub(super) is_ended: bool,
    /// The writer's thread has nothing left to do.
    is_finished: bool,
}

impl Shared {
    pub(crate) fn new(emitter: u64, service: String, started_at: i64, settings: Settings) -> Arc<Self> {
        let state = State {
            emitted: 0,
            stored: 0,
            duplicate: 0,
            losses: Losses::default(),
            replayed: 0,
            replay_lost: 0,
            damaged: 0,
            kept_up: KeptUp::default(),
            cleaned: Cleaned::default(),
            error: None,
            urgent: VecDeque::new(),
            background: VecDeque::new(),
            rows: 0,
            bytes: 0,
            spilled: 0,
            waiting: HashMap::new(),
            flushes: Vec::new(),
            watchers: Vec::new(),
            wake_on: WakeOn::Any,
            batch_rows: settings.batch_rows,
            closing: None,
            is_ended: false,
            is_finished: false,
        };
        let (state, finished, thread) = (Mutex::new(state), Condvar::new(), OnceLock::new());
        Arc::new(Self { emitter, service, started_at, settings, state, finished, thread })
    }

    pub(super) fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The writer's thread says who it is.
    pub(super) fn set_thread(&self, thread: Thread) {
        self.thread.get_or_init(|| thread);
    }

    /// Gives an event its number, shows it to those who watch, and lets it wait for the writer.
    ///
    /// Number, place in the queue and watchers are one step under the lock: so a watcher who comes knows by the number alone
    /// which events it gets live and which it must read from the store.
    pub(crate) fn offer(
        &self,
        event: Result<Event, InvalidEvent>,
        cleaned: Cleaned,
        reply: Option<oneshot::Sender<Reply>>,
    ) -> Result<(), EmitError> {
        let bytes = event.as_ref().map_or(0, event_bytes);
        let mut wakers = Vec::new();
        let mut told = None;
        let mut state = self.state.lock();
        state.emitted += 1;
        state.cleaned.redacted += cleaned.redacted;
        state.cleaned.cut += cleaned.cut;
        let outcome = match event {
            Ok(mut event) => {
                (event.emitter, event.seq) = (self.emitter, state.emitted);
                state.show(&event, bytes, &mut wakers);
                told = self.settings.also.as_ref().map(|also| (Arc::clone(also), event.clone()));
                state.admit(event, bytes, reply, &self.settings)
            }
            Err(error) => Err(EmitError::invalid(&error)),
        };
        let must_wake = match &outcome {
            Ok(must_wake) => *must_wake,
            Err(error) => {
                state.losses.add(error.loss().unwrap_or(LossReason::Refused), 1);
                // The account changed, and an idle writer has no other reason to look.
                state.wake_on == WakeOn::Any
            }
        };
        drop(state);
        // Wakers and listeners are other people's code: never under the lock.
        wakers.into_iter().for_each(Waker::wake);
        if let Some((also, event)) = told {
            also(&event);
        }
        if must_wake {
            self.wake_writer();
        }
        outcome.map(|_| ())
    }

    /// Gives numbers to events that were lost before they came here.
    pub(crate) fn count_lost(&self, count: u64, reason: LossReason) {
        let mut state = self.state.lock();
        state.emitted += count;
        state.losses.add(reason, count);
        let must_wake = state.wake_on == WakeOn::Any;
        drop(state);
        if must_wake {
            self.wake_writer();
        }
    }

    pub(crate) fn wake_writer(&self) {
        // Before the thread has said who it is, it has not looked yet either.
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Writes down what became of events, and tells those who wait for them. The losses of earlier processes are returned:
    /// they are not of this account.
    pub(super) fn settle(
        &self,
        events: &[Event],
        origin: Origin,
        message: &str,
        fate: impl Fn(usize) -> Fate,
    ) -> Vec<(u64, LossReason)> {
        let mut others_losses = Vec::new();
        let own = events.iter().filter(|event| origin == Origin::Queue && event.emitter == self.emitter);
        let bytes: usize = own.map(event_bytes).sum();
        let mut told = Vec::new();
        let mut state = self.state.lock();
        if state.is_ended {
            return others_losses;
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        for (index, event) in events.iter().enumerate() {
            let fate = fate(index);
            if event.emitter != self.emitter {
                match fate {
                    Fate::Lost(reason) => others_losses.push((event.emitter, reason)),
                    Fate::Stored | Fate::Duplicate | Fate::Spilled => state.replayed += 1,
                }
                continue;
            }
            state.settle_own(origin, fate);
            if !state.waiting.is_empty()
                && let Some(reply) = state.waiting.remove(&event.seq)
            {
                told.push((reply, told_of(fate, message)));
            }
        }
        state.replay_lost += others_losses.len() as u64;
        drop(state);
        for (reply, outcome) in told {
            // Whoever does not wait any more does not want to know.
            let _ = reply.send(outcome);
        }
        others_losses
    }

    /// What the emitter says of itself now.
    pub(super) fn account(&self, state: &State, now: i64) -> EmitterAccount {
        EmitterAccount {
            emitter: self.emitter,
            service: self.service.clone(),
            started_at: self.started_at,
            said_at: now,
            emitted: state.emitted,
            dropped: state.losses.by_reason(),
            stored: 0,
        }
    }

    pub(crate) fn stats(&self) -> WriterStats {
        let state = self.state.lock();
        WriterStats {
            emitter: self.emitter,
            emitted: state.emitted,
            stored: state.stored,
            duplicate: state.duplicate,
            dropped: state.losses.by_reason(),
            queued: state.rows as u64,
            spilled: state.spilled,
            replayed: state.replayed,
            replay_lost: state.replay_lost,
            damaged: state.damaged,
            recomputed: state.kept_up.recomputed,
            expired_days: state.kept_up.expired_days,
            upkeep_failed: state.kept_up.failed,
            upkeep_error: state.kept_up.error.clone(),
            redacted: state.cleaned.redacted,
            cut: state.cleaned.cut,
            error: state.error.clone(),
        }
    }

    /// Asks to be told when all that was emitted so far is settled and nothing of it is in the spill file.
    pub(crate) fn flush(&self, deadline: Instant) -> oneshot::Receiver<Flushed> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state.lock();
        if !state.is_ended {
            let up_to = state.emitted;
            state.flushes.push(FlushRequest { up_to, deadline, reply });
        }
        drop(state);
        self.wake_writer();
        answer
    }

    /// Answers flushes. Everything below `lowest` is settled.
    pub(super) fn answer_flushes(&self, lowest: u64, now: Instant) {
        let mut state = self.state.lock();
        if state.flushes.is_empty() {
            return;
        }
        let requests = std::mem::take(&mut state.flushes);
        let (due, waiting) =
            requests.into_iter().partition::<Vec<_>, _>(|request| request.up_to < lowest || request.deadline <= now);
        state.flushes = waiting;
        drop(state);
        for request in due {
            let _ = request.reply.send(request.up_to < lowest);
        }
    }

    /// Somebody watches from now on: the number of the last event that it does not get.
    pub(crate) fn watch(&self, watcher: Arc<Watcher>) -> u64 {
        let mut state = self.state.lock();
        if state.is_ended {
            watcher.close();
        } else {
            state.watchers.push(watcher);
        }
        state.emitted
    }

    pub(crate) fn unwatch(&self, watcher: &Arc<Watcher>) {
        self.state.lock().watchers.retain(|one| !Arc::ptr_eq(one, watcher));
    }

    /// Asks the writer to end by this instant. Of several, the first counts.
    pub(crate) fn close(&self, deadline: Instant) -> Instant {
        let deadline = *self.state.lock().closing.get_or_insert(deadline);
        self.wake_writer();
        deadline
    }

    /// Waits until the writer has ended; after `deadline` the books are closed over its head.
    pub(crate) fn wait_for_end(&self, deadline: Instant) {
        let mut state = self.state.lock();
        while !state.is_finished {
            if self.finished.wait_until(&mut state, deadline).timed_out() && !state.is_finished {
                drop(state);
                return self.end("the writer hangs in a call to the store or the spill file");
            }
        }
    }

    /// The writer's thread has nothing left to do.
    pub(super) fn finish(&self) {
        self.state.lock().is_finished = true;
        self.finished.notify_all();
    }

    /// Closes the books: what is still in memory is lost.
    pub(super) fn end(&self, message: &str) {
        let mut state = self.state.lock();
        if state.is_ended {
            return;
        }
        state.is_ended = true;
        let left = std::mem::take(&mut state.rows) as u64;
        state.bytes = 0;
        state.losses.add(LossReason::Shutdown, left);
        let waiting = std::mem::take(&mut state.waiting);
        let flushes = std::mem::take(&mut state.flushes);
        let watchers = std::mem::take(&mut state.watchers);
        let queues = (std::mem::take(&mut state.urgent), std::mem::take(&mut state.background));
        drop(state);
        drop(queues);
        for reply in waiting.into_values() {
            let _ = reply.send(Err(EmitError::lost(LossReason::Shutdown, message)));
        }
        for request in flushes {
            let _ = request.reply.send(false);
        }
        watchers.iter().for_each(|watcher| watcher.close());
    }
}

impl State {
    /// Whether the writer must be woken for it.
    fn admit(
        &mut self,
        event: Event,
        bytes: usize,
        reply: Option<oneshot::Sender<Reply>>,
        settings: &Settings,
    ) -> Result<bool, EmitError> {
        if self.closing.is_some() || self.is_ended {
            return Err(EmitError::lost(LossReason::Shutdown, "the emitter was shut down"));
        }
        if self.rows >= settings.queue_rows || self.bytes + bytes > settings.queue_bytes {
            let message = format!("{} events in {} bytes wait, and no more may", self.rows, self.bytes);
            return Err(EmitError::lost(LossReason::QueueFull, message));
        }
        self.rows += 1;
        self.bytes += bytes;
        if let Some(reply) = reply {
            self.waiting.insert(event.seq, reply);
            self.urgent.push_back(event);
            return Ok(true);
        }
        self.background.push_back(event);
        let is_first = std::mem::replace(&mut self.wake_on, WakeOn::Batch) != WakeOn::Batch;
        Ok(is_first || self.background.len() == self.batch_rows || self.rows == settings.crowded())
    }

    fn show(&self, event: &Event, bytes: usize, wakers: &mut Vec<Waker>) {
        let mut shown: Option<Arc<Event>> = None;
        for watcher in self.watchers.iter().filter(|watcher| watcher.wants(event.trace_id)) {
            let event = shown.get_or_insert_with(|| Arc::new(event.clone()));
            wakers.extend(watcher.push(event, bytes));
        }
    }

    fn settle_own(&mut self, origin: Origin, fate: Fate) {
        match origin {
            Origin::Queue => self.rows = self.rows.saturating_sub(1),
            Origin::Spill => self.spilled = self.spilled.saturating_sub(1),
        }
        match fate {
            Fate::Stored => self.stored += 1,
            Fate::Duplicate => {
                self.stored += 1;
                self.duplicate += 1;
            }
            Fate::Spilled => self.spilled += 1,
            Fate::Lost(reason) => self.losses.add(reason, 1),
        }
    }

    /// Events that were put into the store so far, whosever.
    pub(super) fn put(&self) -> u64 {
        self.stored + self.replayed
    }

    /// What an account says: a newer one has more of either.
    pub(super) fn said(&self) -> (u64, u64) {
        (self.emitted, self.losses.total())
    }

    /// Own events of the spill file that can no longer be found in it.
    pub(super) fn lose_spilled(&mut self) {
        let lost = std::mem::take(&mut self.spilled);
        self.losses.add(LossReason::SpillDamaged, lost);
    }
}

/// About how many bytes of memory an event takes, itself included.
fn event_bytes(event: &Event) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let tags: usize = event.tags.iter().map(|(key, value)| 64 + key.len() + value.len()).sum();
    size_of::<Event>()
        + event.event_type.len()
        + text(&event.correlation_id)
        + text(&event.route)
        + tags
        + data_bytes(&event.data)
}
