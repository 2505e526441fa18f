//! `journey live`: what is happening now, on a full screen or as lines.
//!
//! | module | question it answers |
//! |---|---|
//! | `event` | what does one event of the stream say? |
//! | `plain` | how do events read as lines? |
//! | `app` | what does the full screen know, and what does a key change? |
//! | `draw` | how does it look? |
//! | `poll` | how do fresh figures come in? |
//! | `terminal` | how is the terminal taken and given back? |

mod app;
mod draw;
mod event;
mod plain;
mod poll;
mod terminal;

#[cfg(test)]
pub(crate) use self::app::KEYS;

use std::io::{IsTerminal as _, Write};

use crate::{
    cli::LiveArgs,
    client::Client,
    error::{CliError, Exit},
    look::Look,
    signals::Stop,
};

/// Path of the stream.
const STREAM_PATH: &str = "/api/v2/metrics/stream";

/// Watches until stopped.
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
) -> Result<Exit, CliError> {
    let stop = Stop::on_signals()?;
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !json && !dumb;
    if screen { terminal::run(client, args, look, &stop) } else { plain::run(client, args, json, look, out, &stop) }
}

/// The filter as the stream and the list understand it.
fn query(args: &LiveArgs) -> Vec<(&'static str, String)> {
    let stage = args.stage.clone().map(|stage| ("stage", stage));
    let route = args.route.clone().map(|route| ("route", route));
    stage.into_iter().chain(route).collect()
}

/// A query as the client takes it.
fn borrowed<'a>(query: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
