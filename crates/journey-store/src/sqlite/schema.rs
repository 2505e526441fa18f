//! What a day file looks like, and how one of an older version becomes one of this.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::error::Failure;
use crate::store::{StoreError, StoreErrorKind};

/// The version of a day file that this program writes and reads, in its `user_version`.
pub(super) const VERSION: i64 = 2;

const SCHEMA: &str = include_str!("schema.sql");

/// What makes version `index + 2` of version `index + 1`.
const MIGRATIONS: [&str; VERSION as usize - 1] = [include_str!("migrate-1.sql")];

/// The longest wait for a lock; a time that SQLite cannot hold would be a panic.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// What the log file is cut back to after it was copied.
const LOG_BYTES: i64 = 32 * 1_024 * 1_024;

/// Kibibytes of pages that the writing connection that was used last keeps; the others keep none.
const WRITER_CACHE_KIB: i64 = 16 * 1_024;

/// Kibibytes of pages that a reading connection keeps; the operating system keeps more.
const READER_CACHE_KIB: i64 = 1_024;

/// Prepared statements that a connection keeps; more than there are.
const STATEMENTS: usize = 64;

/// How files are opened for writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) busy_timeout: Duration,
    /// Every commit is on disk before it is answered, not only in the hands of the operating system.
    pub(super) survives_power_loss: bool,
    /// Pages that a file may have.
    pub(super) most_pages: Option<i64>,
}

/// Opens a day file for writing, makes it where it is missing, and brings it to this version.
pub(super) fn open_to_write(path: &Path, how: Writing) -> Result<Connection, Failure> {
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(how.busy_timeout.min(LONGEST_WAIT))?;
    // A file that is not ours must not even be switched to another journal.
    let found = version(&connection)?;
    if !(0..=VERSION).contains(&found) {
        return Err(Failure::Said(wrong_version(path, found)));
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", if how.survives_power_loss { "full" } else { "normal" })?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    if let Some(pages) = how.most_pages {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens a day file for reading only: beside a writer, or where there is none. `None` where it is only being made.
pub(super) fn open_to_read(path: &Path, busy_timeout: Duration) -> Result<Option<Connection>, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout.min(LONGEST_WAIT))?;
    let mut found = version(&connection);
    if let Err(error) = &found
        && error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
        && let Some(address) = unchanging(path)
    {
        connection = Connection::open_with_flags(address, flags | OpenFlags::SQLITE_OPEN_URI)?;
        found = version(&connection);
    }
    match found? {
        0 => return Ok(None),
        VERSION => {}
        other => return Err(Failure::Said(wrong_version(path, other))),
    }
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(Some(connection))
}

/// The address of a file where no log can be kept beside it (a folder that may not be written), if nobody writes: all
/// that it holds is in it, and it does not change.
fn unchanging(path: &Path) -> Option<String> {
    let log = format!("{}-wal", path.to_str()?);
    // What has a meaning in an address is escaped; the percent sign first.
    let escaped = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    (path.exists() && !Path::new(&log).exists()).then(|| format!("file:{escaped}?immutable=1"))
}

/// What to do about a file of another version.
fn wrong_version(path: &Path, found: i64) -> StoreError {
    let advice = if found > VERSION {
        "use a newer program"
    } else {
        "start the program that writes this store once, it brings the file to this version"
    };
    let message =
        format!("`{}` is of version {found}, this program reads version {VERSION} ({advice})", path.display());
    StoreError::new(StoreErrorKind::Unusable, message)
}

pub(super) fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// One transaction whatever the distance, so that a file is of one version at any time.
fn migrate(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        0 => {
            // Every file keeps the text of its schema, and it is read whenever one is opened.
            let plain: Vec<&str> = SCHEMA.lines().filter_map(|line| line.split("--").next()).collect();
            transaction.execute_batch(&plain.join("\n"))?;
        }
        old => {
            for step in MIGRATIONS.iter().skip(old.saturating_sub(1) as usize) {
                transaction.execute_batch(step)?;
            }
        }
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
