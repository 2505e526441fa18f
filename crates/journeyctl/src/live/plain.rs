//! Events as lines: for pipes, files and terminals without a screen.

use std::{
    io::Write,
    sync::mpsc::sync_channel,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use journey_core::rfc3339;

use crate::{
    cli::LiveArgs,
    client::Client,
    error::{CliError, Exit},
    lines::{self, Shown, WAITING, json_line},
    live::{STREAM_PATH, borrowed, event::Event, query},
    look::Look,
    signals::Stop,
    sse::follow,
};

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
    thread::spawn(move || {
        let open = |last: Option<&str>| client.stream(STREAM_PATH, &borrowed(&query), last);
        follow(open, false, |update| sender.send(update).is_ok());
    });
    let show = |event: &_| {
        let read = Event::read(event);
        let line =
            if json { (read != Event::Heartbeat).then(|| json_line(event)) } else { read.line(&rfc3339(now()), look) };
        Shown { line, warning: read.warning() }
    };
    lines::print(&updates, &base, show, look, out, stop)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
