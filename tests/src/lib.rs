//! Helpers for the tests beside this folder: real servers, a service inside the test, a host application as a process
//! of its own, and hostile texts.
//!
//! | module | question it answers |
//! |---|---|
//! | `suite` | which real server is there, and who is told when it is not? |
//! | `process` | how is a server started on a free port, found ready, and ended for certain? |
//! | `prometheus`, `jaeger`, `postgres`, `bus` | how is that server configured and asked? |
//! | `events` | which events does a test put into a store? |
//! | `service` | how does a test record journeys with known latencies behind a real endpoint? |
//! | `host` | how does a test run and talk to an application that uses Journey? |
//! | `http` | how is a JSON document fetched, and a stream of events read? |
//! | `hostile` | which texts try to break out of every output? |
//!
//! Everything here panics with a sentence when something is wrong: it is only ever used by tests.

pub mod bus;
pub mod events;
pub mod host;
pub mod hostile;
pub mod http;
pub mod jaeger;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod service;
pub mod suite;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Longest time anything here may take to become true: generous, because a loaded machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).expect("the crate lies inside the repository")
}

/// Waits until `done` gives a value.
///
/// # Panics
///
/// It gave none within [`PATIENCE`]; the message names `what`.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        // Asking another process again and again: a pause between two questions, not a guess how long it takes.
        std::thread::sleep(Duration::from_millis(20));
    }
}
