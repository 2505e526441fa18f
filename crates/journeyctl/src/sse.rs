//! Server-sent events: read line by line, and followed across lost connections.

use std::{thread, time::Duration};

use crate::{
    client::{Stream, read_line},
    error::CliError,
};

/// A finished journey of a long route takes some ten thousand bytes.
const MAX_LINE: u64 = 4 << 20;
/// An event may have several lines.
const MAX_EVENT: usize = 8 << 20;
/// Wait before the first new attempt, unless the server asks for another.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// A server that asks for no wait at all is not asked in a loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// Waits double up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Its kind; `message` where none was given.
    pub(crate) name: String,
    /// Its payload.
    pub(crate) data: String,
    /// The last id known when it came; empty before the first.
    pub(crate) id: String,
}

/// What happens on a followed stream.
#[derive(Debug)]
pub(crate) enum Update {
    /// The stream is open.
    Connected,
    /// Something was said.
    Event(SseEvent),
    /// The connection is gone; the next attempt follows after `wait`.
    Lost {
        /// Why, for people.
        why: String,
        /// Until the next attempt.
        wait: Duration,
    },
    /// There will be nothing more.
    Ended(Option<CliError>),
}

/// Puts lines together to events, as WHATWG HTML 9.2.6 says.
#[derive(Debug, Default)]
struct Parser {
    name: String,
    data: String,
    has_data: bool,
    /// The id of the event that is being read.
    id: String,
    /// The id of the last whole event: what a new connection asks from.
    last_id: String,
    retry: Option<Duration>,
}

impl Parser {
    /// Takes one line without its end; gives an event where the line completes one.
    fn line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            self.last_id.clone_from(&self.id);
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            if !std::mem::take(&mut self.has_data) {
                return None;
            }
            let name = if name.is_empty() { "message".to_owned() } else { name };
            return Some(SseEvent { name, data, id: self.last_id.clone() });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                if self.data.len() + value.len() <= MAX_EVENT {
                    self.data.push_str(value);
                }
            }
            // It goes back in a header, where other characters have no place.
            "id" if value.chars().all(|c| c.is_ascii_graphic()) => value.clone_into(&mut self.id),
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
            _ => {}
        }
        None
    }

    /// Forgets an event whose end never came: it comes again after the last id.
    fn forget_half(&mut self) {
        self.name.clear();
        self.data.clear();
        self.has_data = false;
        self.id.clone_from(&self.last_id);
    }
}

/// Follows the stream until the server ends it or `send` returns `false`. Blocks; meant for a thread of its own.
///
/// `open` opens it after the event of an id; it gives `None` where there is nothing more to say. A loss is reported and mended, and the events in between are asked for by the last id. Unless `patient`, the first
/// connection has to succeed.
pub(crate) fn follow(
    mut open: impl FnMut(Option<&str>) -> Result<Option<Stream>, CliError>,
    patient: bool,
    mut send: impl FnMut(Update) -> bool,
) {
    let mut parser = Parser::default();
    let mut mends = patient;
    let mut wait = FIRST_WAIT;
    loop {
        let last_id = Some(parser.last_id.as_str()).filter(|id| !id.is_empty());
        let why = match open(last_id) {
            Ok(None) => {
                send(Update::Ended(None));
                return;
            }
            Ok(Some(stream)) => {
                mends = true;
                wait = FIRST_WAIT;
                if !send(Update::Connected) {
                    return;
                }
                match read_events(stream, &mut parser, &mut send) {
                    Some(why) => why,
                    None => return,
                }
            }
            Err(error) if !mends || !error.passing => {
                send(Update::Ended(Some(error)));
                return;
            }
            Err(error) => error.message,
        };
        let pause = parser.retry.unwrap_or(wait).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        if !send(Update::Lost { why, wait: pause }) {
            return;
        }
        thread::sleep(pause);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Reads until the connection is gone, and says why; `None` where nobody listens any more.
fn read_events(mut stream: Stream, parser: &mut Parser, send: &mut impl FnMut(Update) -> bool) -> Option<String> {
    let mut first = true;
    loop {
        match read_line(&mut stream, MAX_LINE) {
            Ok(Some(line)) => {
                let line =
                    if std::mem::take(&mut first) { line.strip_prefix('\u{feff}').unwrap_or(&line) } else { &line };
                if let Some(event) = parser.line(line)
                    && !send(Update::Event(event))
                {
                    return None;
                }
            }
            gone => {
                parser.forget_half();
                return Some(
                    gone.map_or_else(|error| error.to_string(), |_| "the server closed the stream".to_owned()),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<SseEvent>, Parser) {
        let mut parser = Parser::default();
        let events = text.lines().filter_map(|line| parser.line(line)).collect();
        (events, parser)
    }

    fn event(name: &str, data: &str, id: &str) -> SseEvent {
        SseEvent { name: name.into(), data: data.into(), id: id.into() }
    }

    #[test]
    fn lines_become_events_as_the_standard_says() {
        let (events, parser) = parse(
            ": comment\nretry: 2500\nevent: checkpoint\nid: 7\ndata: {\"a\":\ndata:1}\n\nevent: heartbeat\n\ndata\n\nid\ndata:  x\n\ndata: half",
        );
        assert_eq!(
            events,
            [event("checkpoint", "{\"a\":\n1}", "7"), event("message", "", "7"), event("message", " x", "")]
        );
        assert_eq!(parser.retry, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn an_id_that_has_no_place_in_a_header_is_ignored() {
        let (_, parser) = parse("id: 7\nid: a\u{0}b\nid: x\r\nretry: soon");
        // `lines` takes the carriage return away, as the stream does.
        assert_eq!((parser.id.as_str(), parser.retry), ("x", None));
    }

    #[test]
    fn a_half_event_is_asked_for_again() {
        let (events, mut parser) = parse("id: 7\ndata: a\n\nid: 8\ndata: b");
        parser.forget_half();
        assert_eq!((events.len(), parser.line("")), (1, None));
        assert_eq!(parser.last_id, "7");
    }
}
