//! What is followed, line by line, until somebody wants to stop.

use std::{
    io::Write,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use serde_json::Value;

use crate::{
    error::{CliError, Exit},
    look::Look,
    signals::Stop,
    sse::{SseEvent, Update},
    text::{clean, clean_json, duration},
};

/// How often a wish to stop is looked for; nobody notices a tenth of a second.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Events on their way to a slow reader. When it is full we stop reading, and the server counts what we miss.
pub(crate) const WAITING: usize = 256;

/// How one event reads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its line, without the end; `None` where it says nothing to people.
    pub(crate) line: Option<String>,
    /// What a reader of the lines has to know besides them.
    pub(crate) warning: Option<String>,
}

/// Prints until stopped, or until there is nothing more. `base` is what is followed, for people.
///
/// # Errors
///
/// What ended the stream, or the output cannot be written.
pub(crate) fn print(
    updates: &Receiver<Update>,
    base: &str,
    mut show: impl FnMut(&SseEvent) -> Shown,
    look: &Look,
    out: &mut dyn Write,
    stop: &Stop,
) -> Result<Exit, CliError> {
    loop {
        if let Some(exit) = stop.asked() {
            return Ok(exit);
        }
        match updates.recv_timeout(LOOK_UP) {
            Ok(Update::Connected) => progress(&format!("following {base}"), look),
            Ok(Update::Event(event)) => {
                let Shown { line, warning } = show(&event);
                if let Some(warning) = warning {
                    progress(&warning, look);
                }
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

/// The event as one JSON line: its payload stays as it was written.
pub(crate) fn json_line(event: &SseEvent) -> String {
    let data = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
    let id = Some(event.id.as_str()).filter(|id| !id.is_empty());
    clean_json(&serde_json::json!({ "event": event.name, "id": id, "data": data }).to_string())
}

/// Progress goes to standard error, so that it is never taken for data.
pub(crate) fn progress(text: &str, look: &Look) {
    let _ = writeln!(std::io::stderr(), "{}", clean(text, look));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_keeps_the_payload_and_stays_one_line() {
        let event = |data: &str| SseEvent { name: "x".into(), data: data.into(), id: "7".into() };
        assert_eq!(
            json_line(&event("{\"b\": 1,\n\"a\": \"\u{202e}\"}")),
            r#"{"event":"x","id":"7","data":{"b":1,"a":"\u202e"}}"#
        );
        assert_eq!(json_line(&event("no json")), r#"{"event":"x","id":"7","data":"no json"}"#);
    }
}
