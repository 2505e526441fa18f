//! What Journey costs, beside its peers in the same run.
//!
//! | module | question it answers |
//! |---|---|
//! | `work` | what does the measured application do? |
//! | `peer` | who watches it? |
//! | `child` | how is one case run in a process of its own? |
//! | `gate` | do instructions, allocations and bytes keep their budgets? |
//! | `time` | how long does a stage take, ours and the peers' in paired rounds? |
//! | `tracker` | how fast is the tracker, and how long does anybody wait for it? |
//! | `process` | what do a collector, readers, an idle hour, a start and an end cost the process? |
//! | `outage` | how much memory does it need while the collector is away? |
//! | `collector` | where does OTLP go? |
//! | `page` | how does all this become docs/performance.md? |
//!
//! A process has one subscriber for its life, as services do, so that every case runs in a child process. The zero line
//! is a registry with a layer that does nothing: a bare registry never reuses a span's slot and is no baseline.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool answers on stdout and complains on stderr"
)]

mod child;
mod collector;
mod gate;
mod outage;
mod page;
mod peer;
mod process;
mod time;
mod tracker;
mod work;

use std::process::ExitCode;

/// What the counting allocator knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap {
    /// Allocations and reallocations so far, of all threads.
    pub allocations: u64,
    /// Bytes that are allocated now.
    pub live: i64,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Processor time of this thread: by the wall clock the longest call is the one in which another thread had the core.
pub(crate) fn processor_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

const USAGE: &str = "journey-bench <case>

  gate     instructions, allocations and bytes against crates/bench/budgets.toml; exit code 1 where one rose
  time     nanoseconds per stage, beside the peers
  tracker  the tracker alone: throughput, longest hold, waiting readers
  process  collectors, event streams, idle, shutdown, start
  outage   memory with a dead collector, twice ten minutes (--seconds <n>)
  page     docs/performance.md from the figures of the others

Options: --rounds <n> (default 7) for `time`, `process`; --only <part of a name> for `gate`, `time`, `process`.
Figures are kept in target/bench. Run from the root of the repository: `cargo run --profile measure -p journey-bench -- gate`";

/// Runs the command line; `heap` reads the allocator where it counts.
pub fn main(heap: Option<fn() -> Heap>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let case = words.next().unwrap_or("--help");
    let rest: Vec<&str> = words.collect();
    let done = match case {
        "gate" => gate::run(&rest),
        "time" => time::run(&rest).map(|()| true),
        "tracker" => tracker::run().map(|()| true),
        "process" => process::run(&rest).map(|()| true),
        "outage" => outage::run(&rest).map(|()| true),
        "page" => page::write().map(|()| true),
        "-h" | "--help" => {
            println!("{USAGE}");
            Ok(true)
        }
        child => child::main(child, &rest, heap).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("journey-bench: {case}: {error}");
            ExitCode::from(2)
        }
    }
}
