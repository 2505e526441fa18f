//! Server processes: started on free loopback ports, waited for, ended on drop.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use tempfile::TempDir;

use crate::wait_for;

/// How often a server is started again because somebody took its port in between.
const STARTS: usize = 3;

/// A running server with a folder of its own. Dropping it ends exactly this process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    log: PathBuf,
}

impl Server {
    /// Starts a server and waits until `ready`.
    ///
    /// `command` gets the server's own empty folder and makes the command line; it is asked again with another port
    /// where the server ended at once. `ready` gets what `command` returned beside the command.
    ///
    /// # Panics
    ///
    /// It ended or was not ready in time; the message holds the end of its log.
    pub fn start<P>(name: &str, command: impl Fn(&Path) -> (Command, P), ready: impl Fn(&P) -> bool) -> (Self, P) {
        let mut last_log = String::new();
        for _ in 0..STARTS {
            let folder = TempDir::with_prefix("journey-test-").expect("a temporary folder");
            let log = folder.path().join("log");
            let file = File::create(&log).expect("a log file");
            let (mut command, place) = command(folder.path());
            command.stdin(Stdio::null()).stdout(file.try_clone().expect("the log file twice")).stderr(file);
            let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
            let mut server = Self { child, folder, log };
            let up = wait_for(&format!("{name} is ready"), || {
                if ready(&place) {
                    return Some(true);
                }
                server.child.try_wait().expect("the state of a child").map(|_| false)
            });
            if up {
                return (server, place);
            }
            last_log = server.log_tail();
        }
        panic!("{name} ended {STARTS} times before it was ready:\n{last_log}");
    }

    /// The folder of this server, removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines of what it wrote.
    pub fn log_tail(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // By handle, never by name: nobody else's server is touched. It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program on `input`: whether it was satisfied, and all it said.
///
/// # Panics
///
/// It cannot be started, or ends before it has read everything.
pub fn run_with_input(command: &mut Command, input: &str) -> (bool, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    // On a thread of its own: the program may complain before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends").expect("the program reads everything");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A loopback port that was free a moment ago and that no other caller in this process gets.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if given.get_or_insert_default().insert(port) {
            return port;
        }
    }
}
