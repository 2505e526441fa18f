//! Where are messages kept? SQLite on disk: one thread writes, everybody reads.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use super::{event::Inbound, queue::Queue};

/// The writer waits this long for somebody else's transaction, then says so.
const BUSY_TIMEOUT: Duration = Duration::from_millis(35);
/// How long the report works inside its transaction, and so keeps the writer out.
const REPORT_WORK: Duration = Duration::from_millis(80);

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE messages (id TEXT PRIMARY KEY, channel TEXT NOT NULL, chat TEXT NOT NULL, sender TEXT NOT NULL, text TEXT NOT NULL);
    CREATE INDEX messages_by_chat ON messages (channel, chat);
    CREATE TABLE words (word TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (word, message)) WITHOUT ROWID;
    CREATE TABLE report (word TEXT NOT NULL, channel TEXT NOT NULL, messages INTEGER NOT NULL);
";

/// A handle to the database; a clone is the same database.
#[derive(Clone, Debug)]
pub(super) struct Store {
    path: PathBuf,
    writes: Arc<Queue<Write>>,
    reports: Arc<Queue<()>>,
}

/// Why a message was not stored.
#[derive(Debug)]
pub(super) enum StoreError {
    /// Somebody else holds the database: worth another try.
    Busy,
    /// Anything else.
    Broken(String),
}

#[derive(Debug)]
struct Write {
    message: Inbound,
    done: mpsc::SyncSender<Result<(), StoreError>>,
}

impl Store {
    /// Makes the database and starts the threads that write. They end after [`Store::close`].
    pub(super) fn start(directory: &Path) -> Result<(Self, Vec<JoinHandle<()>>), String> {
        let failed = |error: &dyn fmt::Display| format!("cannot set up SQLite in {}: {error}", directory.display());
        let path = directory.join("messages.db");
        let mut writer = Connection::open(&path).map_err(|error| failed(&error))?;
        writer.execute_batch(SCHEMA).map_err(|error| failed(&error))?;
        writer.busy_timeout(BUSY_TIMEOUT).map_err(|error| failed(&error))?;
        let mut reporter = Connection::open(&path).map_err(|error| failed(&error))?;

        let store = Self { path: path.clone(), writes: Queue::unbounded(), reports: Queue::unbounded() };
        let (writes, reports) = (Arc::clone(&store.writes), Arc::clone(&store.reports));
        let write = move || {
            while let Some(Write { message, done }) = writes.take() {
                // Whoever asked may have given up.
                let _ = done.send(insert(&mut writer, &message).map_err(StoreError::from));
            }
        };
        let report = move || {
            while reports.take().is_some() {
                // A report that meets the writer waits five seconds for it, rusqlite's default; it can be done without.
                let _ = write_report(&mut reporter);
            }
        };
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = vec![
            spawn("demo-db-writer").spawn(write).map_err(|error| failed(&error))?,
            spawn("demo-db-report").spawn(report).map_err(|error| failed(&error))?,
        ];
        Ok((store, threads))
    }

    /// Stores a message and waits until it is committed.
    pub(super) fn insert(&self, message: &Inbound) -> Result<(), StoreError> {
        let (done, answer) = mpsc::sync_channel(1);
        self.writes.push(Write { message: message.clone(), done });
        answer.recv().unwrap_or_else(|_| Err(StoreError::Broken("the writer is gone".to_owned())))
    }

    /// Lets the report run now. It is one large transaction, and nobody else writes meanwhile.
    pub(super) fn start_report(&self) {
        self.reports.push(());
    }

    /// A connection of one's own that only reads.
    pub(super) fn reader(&self) -> Result<Reader, String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| error.to_string())?;
        Ok(Reader(connection))
    }

    pub(super) fn close(&self) {
        self.writes.close();
        self.reports.close();
    }
}

/// Reads what was stored.
#[derive(Debug)]
pub(super) struct Reader(Connection);

impl Reader {
    /// The newest messages of a chat, newest first.
    pub(super) fn history(&self, message: &Inbound) -> Result<Vec<String>, String> {
        let query = "SELECT text FROM messages WHERE channel = ?1 AND chat = ?2 ORDER BY rowid DESC LIMIT 10";
        let read = || {
            let mut statement = self.0.prepare_cached(query)?;
            let texts = statement.query_map(params![message.channel.as_str(), message.chat], |row| row.get(0))?;
            texts.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(|error| format!("cannot read the history of chat {}: {error}", message.chat))
    }

    /// Whether the database answers, for the health page.
    pub(super) fn check(&self) -> Result<String, String> {
        let count = self.0.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0));
        count.map(|count| format!("{count} messages")).map_err(|error| error.to_string())
    }
}

fn insert(connection: &mut Connection, message: &Inbound) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Inbound { id, channel, chat, sender, text } = message;
    transaction
        .prepare_cached("INSERT INTO messages (id, channel, chat, sender, text) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![id, channel.as_str(), chat, sender, text])?;
    let mut word_insert = transaction.prepare_cached("INSERT OR IGNORE INTO words (word, message) VALUES (?1, ?2)")?;
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        word_insert.execute(params![word.to_lowercase(), id])?;
    }
    drop(word_insert);
    transaction.commit()
}

/// Counts words by channel, again and again until the time is over: how much work that is depends on the machine, how
/// long the writer is kept out does not.
fn write_report(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let started = Instant::now();
    while started.elapsed() < REPORT_WORK {
        transaction.execute("DELETE FROM report", [])?;
        transaction.execute(
            "INSERT INTO report SELECT word, channel, count(*) FROM words JOIN messages ON message = id GROUP BY word, channel",
            [],
        )?;
    }
    transaction.commit()
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => write!(f, "the database was busy for {} ms", BUSY_TIMEOUT.as_millis()),
            Self::Broken(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::channel::Channel, *};

    fn message(id: &str) -> Inbound {
        let [chat, sender, text] = ["7", "Ada", "is it done, or not done?"].map(str::to_owned);
        Inbound { id: id.to_owned(), channel: Channel::Discord, chat, sender, text }
    }

    #[test]
    fn what_is_stored_can_be_read_and_a_busy_database_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let (store, threads) = Store::start(directory.path()).unwrap();
        store.insert(&message("a")).unwrap();
        let reader = store.reader().unwrap();
        assert_eq!(reader.history(&message("a")).unwrap(), [message("a").text]);
        assert_eq!(reader.check(), Ok("1 messages".to_owned()));

        let mut other = Connection::open(directory.path().join("messages.db")).unwrap();
        let held = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        assert!(matches!(store.insert(&message("b")), Err(StoreError::Busy)));
        drop(held);
        store.insert(&message("b")).unwrap();
        assert!(matches!(store.insert(&message("b")), Err(StoreError::Broken(_))));

        store.close();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
