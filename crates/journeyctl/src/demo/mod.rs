//! `journey demo`: a message pipeline inside one process, and what Journey sees of it.
//!
//! The pipeline does real work: payloads as the platforms send them are parsed, events cross a bus with a dispatcher of
//! its own, SQLite writes to disk (and is sometimes busy), replies are sent again when a platform says so. Simulated are
//! the agent's thinking time, the platforms' network, and the moments at which people write.
//!
//! | module | question it answers |
//! |---|---|
//! | `channel` | what do the chat platforms send, and what do they want to be sent? |
//! | `plugin`, `gateway`, `agent`, `api` | the parts that are instrumented: what do they do with a message? |
//! | `bus`, `queue`, `event` | how do parts hand messages to each other? |
//! | `store` | where are messages kept? |
//! | `platforms`, `network` | the other side: people, platforms and the way to them |
//! | `script`, `random` | what will happen to each message? |
//! | `ledger` | what became of each message? |
//! | `pipeline` | how is it all wired together? |
//! | `observe` | how is Journey installed here? |
//! | `report` | what is said at the end? |

mod agent;
mod api;
mod bus;
mod channel;
mod event;
mod gateway;
mod ledger;
mod network;
mod observe;
mod pipeline;
mod platforms;
mod plugin;
mod queue;
mod random;
mod report;
mod script;
mod store;

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use self::{pipeline::Pipeline, report::Findings};
use crate::{
    error::{CliError, Exit},
    look::{ColorWhen, Look},
    signals::Stop,
};

/// A message that is still open when nothing else has ended for this long is lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the last checkpoints may take to the tracker, and the last exports to their receiver.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// With `--keep`, messages come this many times slower once the first are through.
const KEEP_SLOWER: u32 = 5;
/// How often a pause looks whether somebody wants to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What `journey demo` is asked to do.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// How many messages to send.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) messages: u32,
    /// Go on sending messages until stopped, with the debug endpoint open.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Seed of everything random: the same seed gives the same troubles and simulated latencies.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the debug endpoint listens. Default: JOURNEY_HTTP_ADDR, else 127.0.0.1:7117, else any free port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http_addr: Option<SocketAddr>,
    /// Stores every event in this folder (SQLite) or PostgreSQL database. Default: JOURNEY_STORE, else nothing is stored.
    #[arg(long, value_name = "PLACE")]
    pub(crate) store: Option<String>,
    /// Whether the global `--json` was given; set by the caller.
    #[arg(skip)]
    pub(crate) json: bool,
    /// How standard output looks; set by the caller, else found out here.
    #[arg(skip)]
    pub(crate) look: Option<Look>,
}

/// Runs the demo: installs Journey, sends messages, says what was seen.
///
/// [`Exit::Ok`] only when every checkpoint is accounted for and every message went as planned.
///
/// # Errors
///
/// Journey or the pipeline cannot be started, or standard output cannot be written.
pub(crate) fn run(args: DemoArgs) -> Result<Exit, CliError> {
    let failed = |problem: String| CliError::new(Exit::Unexpected, problem);
    let stop = Stop::on_signals().map_err(|error| failed(format!("cannot listen for signals: {error}")))?;
    let observed = observe::install(args.http_addr, args.store.as_deref())?;
    let journey = &observed.journey;
    let directory = tempfile::Builder::new().prefix("journey-demo-").tempdir();
    let directory = directory.map_err(|error| failed(format!("cannot make a temporary directory: {error}")))?;
    let mut pipeline = Pipeline::start(journey, directory.path(), args.seed).map_err(failed)?;
    observe::watch_health(journey, &pipeline).map_err(failed)?;

    let started = Instant::now();
    for _ in 0..args.messages {
        if paused(pipeline.send(), &stop) {
            break;
        }
    }
    pipeline.ledger.wait(PATIENCE);
    let elapsed = started.elapsed();
    journey.flush(SHUTDOWN);
    // A journey that failed half-way is counted after the grace.
    paused(observe::GRACE * 3, &stop);
    let mut findings = Findings::gather(journey, &pipeline.ledger, elapsed);
    let look = args.look.unwrap_or_else(|| Look::of_stdout(ColorWhen::Auto, &|name| std::env::var(name).ok()));
    let written = say(&if args.json { findings.json(&observed) } else { findings.text(&observed, args.keep, &look) });

    if args.keep && written.is_ok() && stop.asked().is_none() {
        while !paused(pipeline.send() * KEEP_SLOWER, &stop) {}
        pipeline.ledger.wait(PATIENCE);
        journey.flush(SHUTDOWN);
        findings = Findings::gather(journey, &pipeline.ledger, started.elapsed());
    }
    pipeline.stop();
    let report = journey.shutdown(SHUTDOWN);
    written?;
    if !args.json {
        say(&findings.ending(&report, &look))?;
    }
    Ok(if findings.problems.is_empty() { Exit::Ok } else { Exit::NotFound })
}

/// Waits; `true` as soon as somebody wants this process to end.
fn paused(gap: Duration, stop: &Stop) -> bool {
    let until = Instant::now() + gap;
    while stop.asked().is_none() {
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return false,
            left => std::thread::sleep(left.min(STOP_CHECK)),
        }
    }
    true
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
