//! Programs of this workspace, run by tests: an application that uses Journey, and the `journey` command.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
    thread::JoinHandle,
};

use serde_json::{Value, json};

use crate::repository;

/// A running `journey-test-host`. Dropping it ends exactly this process.
#[derive(Debug)]
pub struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    log: Option<JoinHandle<String>>,
    /// Its first answer: `{"listening": ...}` or `{"error": ...}`.
    pub first: Value,
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Host {
    /// Starts `program` (`env!("CARGO_BIN_EXE_journey-test-host")`) set up as `how`, in an environment without any
    /// `JOURNEY_`, `OTEL_` or `RUST_LOG` variable but the given ones.
    pub fn start(program: &str, how: &str, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        clean_environment(&mut command);
        command.arg(how).envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the host application starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        // Read all the time: a full pipe would stop the application.
        let log = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut host = Self { child, stdin, stdout, log: Some(log), first: Value::Null };
        host.first = host.answer();
        host
    }

    /// Where its endpoint listens.
    pub fn addr(&self) -> SocketAddr {
        let listening = self.first["listening"].as_str().unwrap_or_else(|| panic!("does not listen: {}", self.first));
        listening.parse().expect("an address")
    }

    /// Its endpoint as a URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Sends one message through all stages and waits until it is in the tracker.
    pub fn message(&mut self, id: &str) {
        self.command(&json!({ "do": "message", "id": id }));
    }

    /// Lets one message fail with this error and waits until that is in the tracker.
    pub fn fail(&mut self, id: &str, kind: &str, message: &str) {
        self.command(&json!({ "do": "fail", "id": id, "kind": kind, "message": message }));
    }

    /// Enters one stage span that has no correlation id.
    pub fn without_id(&mut self) {
        self.command(&json!({ "do": "without-id" }));
    }

    /// Shuts it down and returns its report and its log.
    pub fn end(mut self) -> (Value, String) {
        drop(self.stdin.take());
        let report = self.answer();
        let status = self.child.wait().expect("the host application ends");
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        assert!(status.success(), "{status}: {log}");
        (report, log)
    }

    fn command(&mut self, command: &Value) {
        let stdin = self.stdin.as_mut().expect("a running host");
        writeln!(stdin, "{command}").expect("the host reads");
        let answer = self.answer();
        assert_eq!(answer, json!({ "flushed": true }), "after {command}");
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the host writes");
        if line.is_empty() {
            let _ = self.child.wait();
            let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
            panic!("the host application ended: {log}");
        }
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("no answer ({error}): {line}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the `journey` command against an endpoint.
pub fn journey(url: &str, args: &[&str]) -> Ended {
    let mut command = Command::new(journey_program());
    clean_environment(&mut command);
    command.env("JOURNEY_URL", url).args(args);
    // A fixed width and a UTF-8 locale, whatever terminal the tests run in.
    command.env("COLUMNS", "100").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
    let output = command.stdin(Stdio::null()).output().expect("the journey command starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The `journey` command of this workspace, built once per test process.
fn journey_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program("journey"))
}

/// A program of this workspace by the name of its binary, built with what changed.
///
/// After `cargo test --workspace --all-features` nothing but the link is left to do: the same crates and features are
/// selected. The test `docs` is among them for its dev-dependencies' sake, whose features cargo adds only where a test
/// is built; without it every dependency they touch would be compiled a second time.
pub fn program(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(repository()).args(["build", "--quiet", "--workspace", "--all-features"]);
    build.args(["--bin", name, "--test", "docs", "--message-format=json"]);
    let output = build.stderr(Stdio::inherit()).output().expect("cargo starts");
    assert!(output.status.success(), "the program `{name}` cannot be built");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message["executable"].as_str()?;
        (message["target"]["name"] == name).then(|| PathBuf::from(executable))
    });
    built.unwrap_or_else(|| panic!("cargo names no program `{name}`"))
}

fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("JOURNEY_") || text.starts_with("OTEL_") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
}
