//! A real PostgreSQL with a data folder of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::{process::free_port, suite, wait_for};

/// The password of [`Postgres::url`]; characters that a URL has to escape included.
pub const PASSWORD: &str = "s3cret/p@ss word";

/// How often it is started again because somebody took its port in between.
const STARTS: usize = 3;

/// A running PostgreSQL, with a user `journey`. Dropping it ends exactly this server.
#[derive(Debug)]
pub struct Postgres {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are closed, and everything is written.
    Orderly,
    /// At once, as in a crash: the next start recovers.
    Crash,
}

/// A connection of a test's own, for what the store does not do.
#[derive(Debug)]
pub struct Session {
    runtime: Runtime,
    client: Client,
}

/// A server that the tests of this process share: it ends with the last of them. `None` after `skipped: ...` was said.
pub fn shared() -> Option<Arc<Postgres>> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let program = suite::POSTGRES.program()?;
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return Some(running);
    }
    let started = Arc::new(Postgres::start(&program, &[]));
    *shared = Arc::downgrade(&started);
    Some(started)
}

impl Postgres {
    /// Makes a data folder and starts a server on it, with more settings (`name=value`) than what it needs.
    ///
    /// # Panics
    ///
    /// There is no data folder to be made, or the server does not start; the message holds the end of what it said.
    pub fn start(program: &Path, settings: &[&str]) -> Self {
        let folder = TempDir::with_prefix("journey-postgres-").expect("a temporary folder");
        let mut server = Self { program: program.to_owned(), folder, port: 0, child: None };
        server.give_to_somebody(server.folder.path());
        server.make_data();
        let configuration = server.folder.path().join("data/postgresql.conf");
        let mut text = fs::read_to_string(&configuration).expect("a configuration file");
        for setting in settings {
            let (name, value) = setting.split_once('=').expect("`name=value`");
            text.push_str(&format!("\n{name} = '{value}'"));
        }
        fs::write(&configuration, text).expect("the configuration file can be changed");
        for _ in 0..STARTS {
            server.port = free_port();
            if server.run() {
                return server;
            }
        }
        panic!("PostgreSQL ended {STARTS} times before it was ready:\n{}", server.log_tail());
    }

    /// Ends it; [`Postgres::start_again`] starts it on the same port with the same data.
    pub fn stop(&mut self, how: Stop) {
        let Some(mut child) = self.child.take() else { return };
        let signal = if how == Stop::Orderly { "INT" } else { "QUIT" };
        // By its id: nobody else's server is touched.
        let _ = Command::new("sh").args(["-c", &format!("kill -s {signal} {}", child.id())]).status();
        let ended = wait_for_end(&mut child);
        assert!(ended, "PostgreSQL does not end:\n{}", self.log_tail());
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Panics
    ///
    /// It does not start; the message holds the end of what it said.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        assert!(self.run(), "PostgreSQL does not start again:\n{}", self.log_tail());
    }

    /// A new, empty database: its URL.
    pub fn database(&self) -> String {
        self.database_with("").unwrap_or_else(|error| panic!("no database: {error}"))
    }

    /// A new, empty database made with more options of `CREATE DATABASE`: its URL.
    ///
    /// # Errors
    ///
    /// What the server says where it was built without what the options ask for.
    pub fn database_with(&self, options: &str) -> Result<String, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // One at a time: the template may not be in use meanwhile.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Session::open(&self.url("postgres")).try_run(&format!("CREATE DATABASE {name} {options}"))?;
        Ok(self.url(&name))
    }

    /// The URL of a database, with user and password.
    pub fn url(&self, database: &str) -> String {
        self.url_with(database, "s3cret%2Fp%40ss%20word")
    }

    /// The URL of a database, with this password, escaped.
    pub fn url_with(&self, database: &str, password: &str) -> String {
        format!("postgresql://journey:{password}@localhost:{}/{database}", self.port)
    }

    /// The URL of a database over the server's unix socket, without a password.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("host={folder} port={} user=journey dbname={database}", self.port)
    }

    /// The folder of this server, removed with it. Files of the server have to belong to it: see [`Postgres::own`].
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder that only the server may read.
    pub fn own(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        write_private(&file, text);
        self.give_to_somebody(&file);
        file
    }

    /// Takes encrypted connections from now on, with this certificate and key (PEM).
    ///
    /// # Errors
    ///
    /// What the server says where it was built without encryption.
    pub fn encrypt(&mut self, certificate: &str, key: &str) -> Result<(), String> {
        self.own("data/server.crt", certificate);
        self.own("data/server.key", key);
        Session::open(&self.url("postgres")).try_run("ALTER SYSTEM SET ssl = on")?;
        self.stop(Stop::Orderly);
        self.start_again();
        Ok(())
    }

    /// The last lines of what it wrote.
    pub fn log_tail(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn make_data(&self) {
        let password = self.own("password", PASSWORD);
        let initdb = self.program.with_file_name("initdb");
        let mut command = Command::new(&initdb);
        command.arg("-D").arg(self.folder.path().join("data")).arg("--pwfile").arg(&password);
        command.args(["-U", "journey", "-E", "UTF8", "--locale=C", "--no-sync"]);
        command.args(["--auth-host=scram-sha-256", "--auth-local=trust"]);
        self.as_somebody(&mut command);
        let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", initdb.display()));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "initdb makes no data folder:\n{said}");
    }

    /// Starts the server; whether it is ready.
    fn run(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log file");
        let mut command = Command::new(&self.program);
        command.arg("-D").arg(self.folder.path().join("data")).args(["-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=localhost", "-c", "max_connections=60"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", self.folder.path().display()));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log file twice")).stderr(log);
        self.as_somebody(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("PostgreSQL cannot be started: {error}"));
        let url = self.url("postgres");
        let up = wait_for("PostgreSQL is ready", || {
            if Session::try_open(&url).is_ok() {
                return Some(true);
            }
            child.try_wait().expect("the state of a child").map(|_| false)
        });
        if up {
            self.child = Some(child);
        }
        up
    }

    /// PostgreSQL refuses to run as root: there, it runs as nobody.
    #[cfg(unix)]
    fn as_somebody(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(self.folder.path());
    }

    #[cfg(unix)]
    fn give_to_somebody(&self, path: &Path) {
        if is_root() {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
        }
    }

    #[cfg(not(unix))]
    fn as_somebody(&self, _: &mut Command) {}

    #[cfg(not(unix))]
    fn give_to_somebody(&self, _: &Path) {}
}

/// The user without rights, by convention of all systems where tests run as root.
#[cfg(unix)]
const NOBODY: u32 = 65_534;

/// Whether this process runs as root: whether what it makes belongs to root.
#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    let made = tempfile::tempfile().expect("a temporary file");
    made.metadata().expect("its owner").uid() == 0
}

#[cfg(unix)]
fn write_private(file: &Path, text: &str) {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let opened = File::options().create(true).write(true).truncate(true).mode(0o600).open(file);
    opened.and_then(|mut opened| opened.write_all(text.as_bytes())).expect("a file of the server");
}

#[cfg(not(unix))]
fn write_private(file: &Path, text: &str) {
    fs::write(file, text).expect("a file of the server");
}

fn wait_for_end(child: &mut Child) -> bool {
    wait_for("PostgreSQL ends", || child.try_wait().expect("the state of a child").map(|_| true))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nothing here may panic again. Without its parent, every process of a server ends by itself.
            if let Some(mut child) = self.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        } else {
            self.stop(Stop::Crash);
        }
    }
}

impl Session {
    /// Connects.
    ///
    /// # Panics
    ///
    /// It cannot.
    pub fn open(url: &str) -> Self {
        Self::try_open(url).unwrap_or_else(|error| panic!("no connection of a test: {error}"))
    }

    fn try_open(url: &str) -> Result<Self, tokio_postgres::Error> {
        let config: Config = url.parse()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for a connection");
        let (client, connection) = runtime.block_on(config.connect(NoTls))?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    /// Runs statements: the rows of all of them, as text; NULL is empty.
    ///
    /// # Panics
    ///
    /// The server refuses one.
    pub fn run(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn try_run(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let messages = self.runtime.block_on(self.client.simple_query(sql));
        let said = |error: tokio_postgres::Error| error.as_db_error().map_or(error.to_string(), ToString::to_string);
        let messages = messages.map_err(said)?;
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }

    /// The only value of the only row.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.run(sql);
        assert!(rows.len() == 1 && rows[0].len() == 1, "{sql}: {rows:?}");
        rows[0][0].clone()
    }
}
