//! The `journey` binary as a process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod commands;
#[cfg(unix)]
mod live;
#[cfg(unix)]
mod stored;
mod support;
