//! A real Redis or NATS that a test kills, stops and starts again.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{process::free_port, suite, wait_for};

/// How often it is started again because somebody took its port in between.
const STARTS: usize = 3;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Redis that writes every event to disk before it answers.
    Redis,
    /// NATS with JetStream.
    Nats,
    /// NATS without.
    NatsWithoutJetStream,
}

/// A server with a folder and a port of its own, which stay when it is killed and started again. Dropping it ends exactly
/// this process.
#[derive(Debug)]
pub struct BusServer {
    kind: Kind,
    program: PathBuf,
    options: Vec<String>,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Kind {
    /// The server of this kind, not yet running; or `None` after `skipped: ...` was said.
    pub fn server(self) -> Option<BusServer> {
        let suite = if self == Self::Redis { suite::REDIS } else { suite::NATS };
        let folder = TempDir::with_prefix("journey-bus-").expect("a temporary folder");
        let program = suite.program()?;
        Some(BusServer { kind: self, program, options: Vec::new(), folder, port: free_port(), child: None })
    }

    /// A running server of this kind; or `None` after `skipped: ...` was said.
    pub fn started(self) -> Option<BusServer> {
        self.server().map(|mut server| {
            server.start();
            server
        })
    }
}

impl BusServer {
    /// Adds options of its command line.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Writes a file into its folder: its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("a file in a temporary folder");
        file.display().to_string()
    }

    /// Starts it, or starts it again with the data that it had, and waits until it answers.
    ///
    /// # Panics
    ///
    /// It does not start; the message holds the end of what it said.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        for _ in 0..STARTS {
            let child = self.command().spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.kind));
            // Kept before it is waited for: whatever goes wrong then, it is ended.
            self.child = Some(child);
            let up = wait_for(&format!("{:?} is ready", self.kind), || {
                if self.answers() {
                    return Some(true);
                }
                let child = self.child.as_mut().expect("kept above");
                child.try_wait().expect("the state of a child").map(|_| false)
            });
            if up {
                return;
            }
            self.child = None;
        }
        panic!("{:?} ended {STARTS} times before it was ready:\n{}", self.kind, self.log_tail());
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        // By handle, never by name: nobody else's server is touched.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets it hang: connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Its address, with this before the host (`user:password@`) and this behind the port (`?keep=1h`).
    pub fn address(&self, login: &str, options: &str) -> String {
        let scheme = if self.kind == Kind::Redis { "redis" } else { "nats" };
        format!("{scheme}://{login}127.0.0.1:{}{options}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends raw text and gives back all that is answered up to a line with `last`.
    ///
    /// # Panics
    ///
    /// The connection breaks, or no such line comes within ten seconds.
    pub fn raw(&self, text: &str, last: &str) -> Vec<String> {
        let mut stream = self.connect().expect("a connection");
        stream.write_all(text.as_bytes()).expect("the request is sent");
        let mut lines = Vec::new();
        for line in BufReader::new(stream).split(b'\n') {
            let line = String::from_utf8_lossy(&line.expect("an answer in time")).trim_end().to_owned();
            let is_last = line.contains(last);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
        panic!("the connection ended before `{last}`: {lines:?}");
    }

    /// The last lines of what it wrote.
    pub fn log_tail(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn command(&self) -> Command {
        let folder = self.folder.path();
        let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
        let mut command = Command::new(&self.program);
        let port = self.port.to_string();
        match self.kind {
            Kind::Redis => {
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
                command.args(["--appendonly", "yes", "--appendfsync", "always"]);
            }
            Kind::Nats => {
                command.args(["--port", &port, "--addr", "127.0.0.1", "--jetstream", "--store_dir"]).arg(folder);
            }
            Kind::NatsWithoutJetStream => {
                command.args(["--port", &port, "--addr", "127.0.0.1"]);
            }
        }
        command.args(&self.options);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log file twice")).stderr(log);
        command
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Whether it takes connections: NATS speaks first, Redis once it is asked, and not while it loads.
    fn answers(&self) -> bool {
        let Ok(mut stream) = self.connect() else { return false };
        let mut answer = [0; 5];
        if self.kind != Kind::Redis {
            return stream.read_exact(&mut answer).is_ok() && answer == *b"INFO ";
        }
        let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read(&mut answer));
        // With TLS it ends the connection; with a password it asks for that.
        asked.is_ok_and(|_| !answer.starts_with(b"-LOAD")) || self.options.iter().any(|option| option == "--tls-port")
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("a running server").id();
        let status = Command::new("sh").args(["-c", &format!("kill -s {name} {id}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "no {name} to {id}");
    }
}

impl Drop for BusServer {
    fn drop(&mut self) {
        self.kill();
    }
}
