//! Events as lines: for pipes, files and terminals without a screen.

use std::{
    io::Write,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use journey_core::rfc3339;

use crate::{
    cli::LiveArgs,
    client::Client,
    error::{CliError, Exit},
    live::{
        borrowed,
        event::{Event, json_line},
        query,
    },
    look::Look,
    signals::Stop,
    sse::{Update, follow},
    text::{clean, duration},
};

/// How often a wish to stop is looked for; nobody notices a tenth of a second.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Events on their way to a slow reader. When it is full we stop reading, and the server counts what we miss.
const WAITING: usize = 256;

/// Prints events until stopped.
///
/// # Errors
///
/// Nobody answers at the start, the server refuses, or the output cannot be written.
pub(crate) fn run(
    client: Client,
    args: &LiveArgs,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
    stop: &Stop,
) -> Result<Exit, CliError> {
    let (sender, updates) = sync_channel(WAITING);
    let query = query(args);
    let base = client.base().to_owned();
    thread::spawn(move || follow(&client, &borrowed(&query), false, |update| sender.send(update).is_ok()));
    loop {
        if let Some(exit) = stop.asked() {
            return Ok(exit);
        }
        match updates.recv_timeout(LOOK_UP) {
            Ok(Update::Connected) => progress(&format!("following {base}"), look),
            Ok(Update::Event(event)) => {
                let read = Event::read(&event);
                if let Some(warning) = read.warning() {
                    progress(&warning, look);
                }
                let line = if json {
                    (read != Event::Heartbeat).then(|| json_line(&event))
                } else {
                    read.line(&rfc3339(now()), look)
                };
                if let Some(line) = line {
                    writeln!(out, "{line}")?;
                    out.flush()?;
                }
            }
            Ok(Update::Lost { why, wait }) => {
                let wait = duration(wait.as_secs_f64() * 1_000.0, look);
                progress(&format!("connection lost ({why}); trying again in {wait}"), look);
            }
            Ok(Update::Ended(Some(error))) => return Err(error),
            Ok(Update::Ended(None)) | Err(RecvTimeoutError::Disconnected) => return Ok(Exit::Ok),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Progress goes to standard error, so that it is never taken for data.
fn progress(text: &str, look: &Look) {
    let _ = writeln!(std::io::stderr(), "{}", clean(text, look));
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
