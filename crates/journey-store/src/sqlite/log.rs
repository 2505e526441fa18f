//! How does the log get into the file?
//!
//! SQLite appends what is committed to a log, and a commit that finds it long copies it into the file and waits for the
//! disk: whoever waits for that commit waits for many times its own work. So another thread copies, while the writer goes on
//! appending. A log can only begin anew when all of it is copied. Where the writer never pauses long enough for that, it
//! copies a small rest itself once the log is very long, and whatever is left before it is too long: so it stays bounded.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, DEFAULT_NAME, OpenFlags, config::DbConfig, hooks::Wal, wal::CheckpointMode};

use super::{
    catalogue::{Catalogue, DayFile},
    schema, spawn,
};
use crate::store::StoreError;

/// When a log is copied, in pages of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    /// From here on it is copied beside the writer. With more, pages that change again and again are copied less often; with
    /// less, the log is shorter after a crash.
    long: i32,
    /// From here on the writer copies a small rest of it.
    very_long: i32,
    /// What the writer copies in a few milliseconds.
    small_rest: i32,
    /// From here on the writer copies what is left of it, however much.
    longest: i32,
}

impl LogLimits {
    /// 16, 128 and 256 MiB. Measured with 20 000 events a second, each of a trace of its own: from 32 MiB on, one `emit` in a
    /// hundred met a copy of the writer (p99 28 ms); from 128 MiB on, fewer do (p99 10 ms).
    pub(super) const DEFAULT: Self = Self { long: 4_000, very_long: 32_000, small_rest: 1_000, longest: 64_000 };
}

/// The thread that copies.
#[derive(Debug)]
pub(super) struct Copier {
    limits: LogLimits,
    /// `None` once it is to end.
    requests: Option<SyncSender<Arc<DayFile>>>,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    pub(super) fn start(catalogue: Arc<Catalogue>, limits: LogLimits) -> Result<Self, StoreError> {
        let (requests, received) = mpsc::sync_channel::<Arc<DayFile>>(1);
        let thread = spawn("journey-store-copy", move || {
            for file in received {
                // What could not be copied stays in the log, where it is as safe, and is tried again.
                _ = copy_beside(&catalogue, &file);
            }
        })?;
        Ok(Self { limits, requests: Some(requests), thread: Some(thread) })
    }

    /// Whether the log of a day is to be seen to.
    pub(super) fn is_long(&self, file: &DayFile) -> bool {
        file.log_pages.load(Ordering::Relaxed) >= self.limits.long
    }

    /// Sees to it that a long log is copied; whether the writer must do it.
    pub(super) fn see_to(&self, file: &Arc<DayFile>) -> bool {
        let LogLimits { very_long, small_rest, longest, .. } = self.limits;
        let pages = file.log_pages.load(Ordering::Relaxed);
        let rest = pages - file.copied_pages.load(Ordering::Relaxed);
        let is_the_writers = pages >= longest || (pages >= very_long && rest <= small_rest);
        if self.is_long(file)
            && !is_the_writers
            && let Some(requests) = &self.requests
        {
            // One request that waits is enough.
            _ = requests.try_send(Arc::clone(file));
        }
        is_the_writers
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked copies nothing any more.
            _ = thread.join();
        }
    }
}

/// From now on, commits on this connection say how long the log is, and copy nothing by themselves.
pub(super) fn count_pages(connection: &mut Connection, file: &Arc<DayFile>) -> Result<(), rusqlite::Error> {
    let file = Arc::clone(file);
    connection.wal_hook(Some(move |_: &mut Wal, pages| {
        if pages < file.log_pages.swap(pages, Ordering::Relaxed) {
            // It began anew.
            file.copied_pages.store(0, Ordering::Relaxed);
        }
        Ok(())
    }))
}

/// Copies what of the log is committed, and waits for nobody: where the other thread copies, this copies nothing.
pub(super) fn copy(connection: &Connection) -> Result<(i32, i32), rusqlite::Error> {
    connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE)
}

/// As [`copy`], through a connection of its own.
fn copy_beside(catalogue: &Catalogue, file: &Arc<DayFile>) -> Result<(i32, i32), rusqlite::Error> {
    // Until the end no file of that name may go or come: the log of one must not be copied into the other.
    let _stays = file.stays.lock();
    if !catalogue.is_current(file) {
        return Ok((0, 0));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&file.path, flags)?;
    // The log is the writer's to close.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Only reading something opens the log.
    schema::version(&connection)?;
    let (pages, copied) = copy(&connection)?;
    // Where the log began anew meanwhile, this is more than is copied of it: then a rest seems small once that is not.
    file.copied_pages.store(copied, Ordering::Relaxed);
    Ok((pages, copied))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use std::{path::Path, time::Duration};

    use super::*;
    use crate::sqlite::schema::Writing;

    const LIMITS: LogLimits = LogLimits { long: 1_000, very_long: 2_000, small_rest: 500, longest: 4_000 };

    /// A day file with a log of at least so many pages, and who writes it.
    fn day_with_log(folder: &Path, pages: i32) -> (Arc<Catalogue>, Arc<DayFile>, Connection) {
        let catalogue = Arc::new(Catalogue::read(folder).unwrap());
        let file = catalogue.get_or_add("2026-11-20".parse().unwrap());
        let how = Writing { busy_timeout: Duration::from_secs(5), survives_power_loss: false, most_pages: None };
        let mut connection = schema::open_to_write(&file.path, how).unwrap();
        count_pages(&mut connection, &file).unwrap();
        connection.execute_batch("CREATE TABLE filler (bytes BLOB)").unwrap();
        while file.log_pages.load(Ordering::Relaxed) < pages {
            connection.execute("INSERT INTO filler VALUES (zeroblob(1000000))", ()).unwrap();
        }
        (catalogue, file, connection)
    }

    #[test]
    fn a_long_log_is_copied_beside_the_writer_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (catalogue, file, connection) = day_with_log(folder.path(), LIMITS.long);
        let copier = Copier::start(catalogue, LIMITS).unwrap();
        assert!(!copier.see_to(&file), "the other thread does it");
        // Waits for it.
        drop(copier);
        connection.execute("INSERT INTO filler VALUES ('a')", ()).unwrap();
        assert!(file.log_pages.load(Ordering::Relaxed) < 10, "the log did not begin anew");
    }

    #[test]
    fn a_log_that_is_too_long_is_the_writers_to_copy_and_a_short_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (catalogue, file, connection) = day_with_log(folder.path(), LIMITS.longest);
        let copier = Copier::start(catalogue, LIMITS).unwrap();
        assert!(copier.see_to(&file), "however much is left");
        let (pages, copied) = copy(&connection).unwrap();
        assert!(pages >= LIMITS.longest && copied == pages, "{copied} of {pages}");
        connection.execute("INSERT INTO filler VALUES ('a')", ()).unwrap();
        assert!(file.log_pages.load(Ordering::Relaxed) < 10);
        assert!(!copier.see_to(&file));
    }

    #[test]
    fn of_a_very_long_log_the_writer_copies_only_a_small_rest() {
        let folder = tempfile::tempdir().unwrap();
        let (catalogue, file, connection) = day_with_log(folder.path(), LIMITS.very_long);
        // Somebody reads in the log, so that it does not begin anew when all is copied.
        let reader = Connection::open(&file.path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM filler").unwrap();
        let copier = Copier::start(catalogue, LIMITS).unwrap();
        assert!(!copier.see_to(&file), "all of it is left, so the other thread does it");
        drop(copier);
        connection.execute("INSERT INTO filler VALUES ('a')", ()).unwrap();
        let copier = Copier { limits: LIMITS, requests: None, thread: None };
        assert!(file.log_pages.load(Ordering::Relaxed) > LIMITS.very_long, "the log began anew");
        assert!(copier.see_to(&file), "the other thread left a few pages");
    }

    #[test]
    fn the_log_of_a_file_that_was_dropped_is_not_copied_into_the_one_that_came_after() {
        let folder = tempfile::tempdir().unwrap();
        let (catalogue, file, connection) = day_with_log(folder.path(), LIMITS.long);
        assert!(copy_beside(&catalogue, &file).unwrap().1 >= LIMITS.long);
        drop(connection);
        catalogue.remove(file.day);
        file.delete().unwrap();
        let (_, next, _connection) = day_with_log(folder.path(), 10);
        catalogue.get_or_add(next.day);
        assert_eq!(copy_beside(&catalogue, &file).unwrap(), (0, 0));
    }
}
