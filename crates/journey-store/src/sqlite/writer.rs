//! The one thread that writes.

use std::sync::{
    Arc,
    mpsc::{Receiver, TryRecvError},
};

use futures_channel::oneshot;
use rusqlite::Connection;

use super::{
    catalogue::{Catalogue, DayFile},
    error::{Failure, explain, explain_io},
    expire,
    log::{self, Copier},
    open_days::OpenDays,
    put,
    schema::{self, Writing},
};
use crate::{
    admit::MAX_BATCH,
    day::Day,
    event::TraceId,
    store::{Batch, DailyStatistic, Expired, Put, StoreError},
};

/// All that makes the writer do something.
#[derive(Debug)]
pub(super) enum Command {
    Put(PutCommand),
    /// Replaces the statistics of a day by those of its events as of `changes`.
    Replace {
        file: Arc<DayFile>,
        changes: i64,
        statistics: Vec<DailyStatistic>,
        reply: Reply<()>,
    },
    Expire {
        now: i64,
        keep: i64,
        reply: Reply<Expired>,
    },
}

#[derive(Debug)]
pub(super) struct PutCommand {
    pub(super) batch: Arc<Batch>,
    pub(super) reply: Reply<Vec<Put>>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) catalogue: Arc<Catalogue>,
    /// Nanoseconds.
    pub(super) retention: i64,
    pub(super) how: Writing,
    /// Before the open files: it ends first, so that they are closed as the last ones.
    copier: Copier,
    open: OpenDays,
    /// Files whose traces are not in a filter yet.
    unread: Vec<Arc<DayFile>>,
    /// Files whose log is long.
    long: Vec<Arc<DayFile>>,
}

impl Writer {
    pub(super) fn new(
        catalogue: Arc<Catalogue>,
        copier: Copier,
        retention: i64,
        how: Writing,
        open_files: usize,
    ) -> Self {
        let unread = catalogue.days();
        Self { catalogue, retention, how, copier, open: OpenDays::new(open_files), unread, long: Vec::new() }
    }

    /// Works until nobody can ask any more, then closes all files.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut waiting: Option<Command> = None;
        loop {
            let next = match waiting.take() {
                Some(command) => Ok(command),
                None if self.unread.is_empty() => commands.recv().map_err(|_| TryRecvError::Disconnected),
                None => commands.try_recv(),
            };
            match next {
                Ok(Command::Put(first)) => waiting = self.put(first, commands),
                Ok(Command::Replace { file, changes, statistics, reply }) => {
                    _ = reply.send(self.replace(&file, changes, &statistics));
                }
                Ok(Command::Expire { now, keep, reply }) => _ = reply.send(expire::expire(&mut self, now, keep)),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            self.keep_logs_short();
            // One after each command, so that neither waits for all of the other.
            self.read_a_filter();
        }
    }

    /// Puts one batch and those that wait behind it, in one transaction per day. Answers the command that came after.
    fn put(&mut self, first: PutCommand, commands: &Receiver<Command>) -> Option<Command> {
        let mut events = first.batch.events.len();
        let (mut group, mut waiting) = (vec![first], None);
        while events < MAX_BATCH && waiting.is_none() {
            match commands.try_recv() {
                Ok(Command::Put(next)) if events + next.batch.events.len() <= MAX_BATCH => {
                    events += next.batch.events.len();
                    group.push(next);
                }
                Ok(other) => waiting = Some(other),
                Err(_) => break,
            }
        }
        let batches: Vec<Arc<Batch>> = group.iter().map(|command| command.batch.clone()).collect();
        let answers = put::put(self, &batches);
        drop(batches);
        for (PutCommand { batch, reply }, answer) in group.into_iter().zip(answers) {
            // Before the answer, so that whoever holds the batch until then is the one who drops it: what is nested very deep
            // takes more stack to drop than this thread has.
            drop(batch);
            // Nobody may wait any more; what is stored is stored.
            _ = reply.send(answer);
        }
        waiting
    }

    fn replace(&mut self, file: &Arc<DayFile>, changes: i64, statistics: &[DailyStatistic]) -> Result<(), StoreError> {
        // Dropped while it was computed: there is nothing to replace.
        if !self.is_current(file) {
            return Ok(());
        }
        let mut connection = self.take(file).map_err(|failure| failure.explain(&file.path))?;
        let written = put::replace_statistics(&mut connection, changes, statistics);
        self.give_back(file, connection);
        written.map_err(|error| explain(&file.path, &error))
    }

    /// After the answers: whoever put something does not wait for it.
    fn keep_logs_short(&mut self) {
        for file in std::mem::take(&mut self.long) {
            if !self.copier.see_to(&file) || !self.is_current(&file) {
                continue;
            }
            if let Some(connection) = self.open.take(&file) {
                // What could not be copied stays in the log, where it is as safe, and is tried again after the next commit.
                _ = log::copy(&connection);
                self.open.give_back(&file, connection);
            }
        }
    }

    /// Reads the traces of one file, newest first, so that looking for a trace need not look into it.
    fn read_a_filter(&mut self) {
        let Some(file) = self.unread.pop() else { return };
        if !self.is_current(&file) || file.filter.read().is_some() {
            return;
        }
        let Ok(connection) = self.take(&file) else { return };
        // Without a filter every look goes into the file: slower and as right.
        if let Ok(filter) = put::read_filter(&connection) {
            *file.filter.write() = Some(filter);
        }
        self.give_back(&file, connection);
    }

    /// The connection to a file, made if need be.
    pub(super) fn take(&mut self, file: &Arc<DayFile>) -> Result<Connection, Failure> {
        if let Some(connection) = self.open.take(file) {
            return Ok(connection);
        }
        if !file.path.exists() {
            let leftover = |error| Failure::Said(explain_io(&file.path, "has a log that could not be removed", &error));
            file.remove_leftovers().map_err(leftover)?;
        }
        let mut connection = schema::open_to_write(&file.path, self.how)?;
        log::count_pages(&mut connection, file)?;
        Ok(connection)
    }

    /// Forgets a day whose file could not even be made.
    pub(super) fn forget_if_absent(&self, file: &Arc<DayFile>) {
        if !file.path.exists() && self.is_current(file) {
            self.catalogue.remove(file.day);
        }
    }

    pub(super) fn give_back(&mut self, file: &Arc<DayFile>, connection: Connection) {
        if self.copier.is_long(file) && !self.long.iter().any(|long| Arc::ptr_eq(long, file)) {
            self.long.push(Arc::clone(file));
        }
        self.open.give_back(file, connection);
    }

    pub(super) fn close(&mut self, file: &Arc<DayFile>) {
        drop(self.open.take(file));
    }

    pub(super) fn is_current(&self, file: &Arc<DayFile>) -> bool {
        self.catalogue.is_current(file)
    }

    /// Whether other days have something of a trace; they are told that there is more of it elsewhere.
    pub(super) fn is_in_other_days(&mut self, id: TraceId, day: Day) -> Result<bool, StoreError> {
        let mut is_there = false;
        for other in self.catalogue.days() {
            if other.day == day || !other.may_contain(id) {
                continue;
            }
            let marked = self.take(&other).and_then(|connection| {
                let marked = put::mark_other_days(&connection, id);
                self.give_back(&other, connection);
                Ok(marked?)
            });
            is_there |= match marked {
                Ok(is_there) => is_there,
                // It may have been there. That it is looked for again with every question is all that this costs.
                Err(failure) if failure.is_damage() => true,
                Err(failure) => return Err(failure.explain(&other.path)),
            };
        }
        Ok(is_there)
    }
}
