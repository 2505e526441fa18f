//! What the store has of a trace, looked at again and again, and what of it was sent.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use journey_store::{Event, MAX_TRACE_EVENTS, Page, TraceId, TraceReader};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{
    super::desk::{Desk, Length, Refusal},
    event, written,
};
use crate::problem::Problem;

/// Events that are read and written at once.
const PAGE: usize = 200;

/// A look at a long trace takes at most this part of the time: after it, there is rest for so many times as long.
const REST_FACTOR: u32 = 20;

/// After the store did not answer, the rest is so many times as long as else.
const AWAY_FACTOR: u32 = 5;

/// Names an event within its trace, and is its place in the order: instant, emitter and number.
type Key = (i64, u64, u64);

/// One client's looks.
pub(super) struct Looks {
    desk: Arc<Desk>,
    trace_id: TraceId,
    state: State,
    /// What was sent to this client, now or before it came back.
    sent: HashSet<Key>,
    /// The greatest place of it.
    greatest: Option<Key>,
    /// Where the client says it was; until that is checked.
    resume: Option<Resume>,
    /// The store was read to its end once, or could not be.
    has_caught_up: bool,
    /// The client was told that something is missing.
    is_incomplete: bool,
}

enum State {
    Rests(Instant),
    Reads {
        began: Instant,
        page: Pin<Box<dyn Future<Output = Result<Page<Event>, Problem>> + Send>>,
    },
    /// There are more events than can be told apart.
    Over,
}

/// What a client had before: so many events, none of them after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resume {
    count: usize,
    greatest: Key,
}

impl Looks {
    /// `last` is the id of the last event that a client had that comes back; what is wrong with it goes into `hello`.
    pub(super) fn new(desk: Arc<Desk>, trace_id: TraceId, last: Option<&str>, hello: &mut String) -> Self {
        let resume = last.map(Resume::of_id);
        if matches!(resume, Some(None)) {
            hello.push_str(&reset("the last event id is not one of this stream: all events follow"));
        }
        Self {
            desk,
            trace_id,
            state: State::Rests(Instant::now()),
            sent: HashSet::new(),
            greatest: None,
            resume: resume.flatten(),
            has_caught_up: false,
            is_incomplete: false,
        }
    }

    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// Does not rest any longer.
    pub(super) fn look_now(&mut self) {
        if let State::Rests(until) = &mut self.state {
            *until = Instant::now();
        }
    }

    /// Waits for the next thing to do, and does it: what is to be sent, possibly nothing. Dropped at any moment, it loses
    /// nothing.
    pub(super) async fn next(&mut self) -> String {
        match &mut self.state {
            State::Over => std::future::pending().await,
            State::Rests(until) => {
                sleep_until(*until).await;
                self.state = State::Reads { began: Instant::now(), page: self.page(None) };
                String::new()
            }
            State::Reads { page, began } => {
                let (page, began) = (page.await, *began);
                self.take(page, began)
            }
        }
    }

    /// Writes an event that this process emitted, unless it was sent.
    pub(super) fn write_live(&mut self, live: &Event, text: &mut String) {
        if matches!(self.state, State::Over) {
            // Live ones come once each, and are not read any more.
            text.push_str(&written(live, None));
        } else {
            self.write(live, text);
        }
    }

    fn page(&self, cursor: Option<String>) -> Pin<Box<dyn Future<Output = Result<Page<Event>, Problem>> + Send>> {
        let (desk, trace_id) = (Arc::clone(&self.desk), self.trace_id);
        let question = move |reader: TraceReader| async move {
            let page = reader.store().trace(trace_id, cursor, PAGE).await?;
            Ok::<_, Refusal>(page)
        };
        Box::pin(async move { desk.ask(Length::Quick, question).await })
    }

    fn take(&mut self, page: Result<Page<Event>, Problem>, began: Instant) -> String {
        let mut text = String::new();
        let page = match page {
            Ok(page) => page,
            Err(problem) => {
                self.say_incomplete(problem.detail(), &mut text);
                self.has_caught_up = true;
                self.state = State::Rests(Instant::now() + self.desk.poll * AWAY_FACTOR);
                return text;
            }
        };
        for stored in &page.items {
            if let Some(resume) = self.resume {
                let key = key(stored);
                if key <= resume.greatest {
                    self.sent.insert(key);
                    // As many as that differ already, however many more there are.
                    if self.sent.len() <= resume.count {
                        continue;
                    }
                }
                if !self.check(resume, &mut text) {
                    return text;
                }
            }
            self.write(stored, &mut text);
            if matches!(self.state, State::Over) {
                self.has_caught_up = true;
                return text;
            }
        }
        if page.truncated {
            self.say_incomplete("the store does not give more events of this trace", &mut text);
        }
        if let Some(cursor) = page.next {
            self.state = State::Reads { began, page: self.page(Some(cursor)) };
            return text;
        }
        if let Some(resume) = self.resume
            && !self.check(resume, &mut text)
        {
            return text;
        }
        self.has_caught_up = true;
        self.is_incomplete &= page.truncated;
        self.state = State::Rests(Instant::now() + self.desk.poll.max(began.elapsed() * REST_FACTOR));
        text
    }

    /// Whether the client had all that the store has up to where it was. If not, it begins anew and is told so: events of
    /// other processes can come to the store after later ones.
    fn check(&mut self, resume: Resume, text: &mut String) -> bool {
        self.resume = None;
        if self.sent.len() == resume.count {
            self.greatest = Some(resume.greatest);
            return true;
        }
        (self.sent, self.greatest) = (HashSet::new(), None);
        text.push_str(&reset("the store has not the same events as were sent before: all events follow"));
        self.state = State::Rests(Instant::now());
        false
    }

    fn write(&mut self, event: &Event, text: &mut String) {
        let key = key(event);
        if self.sent.contains(&key) {
            return;
        }
        if self.sent.len() >= MAX_TRACE_EVENTS {
            self.say_incomplete(&format!("of more than {MAX_TRACE_EVENTS} events only live ones follow"), text);
            self.state = State::Over;
            self.sent = HashSet::new();
            return;
        }
        self.sent.insert(key);
        let greatest = self.greatest.max(Some(key)).unwrap_or(key);
        self.greatest = Some(greatest);
        let resume = Resume { count: self.sent.len(), greatest };
        text.push_str(&written(event, Some(&resume.to_id())));
    }

    fn say_incomplete(&mut self, reason: &str, text: &mut String) {
        if !std::mem::replace(&mut self.is_incomplete, true) {
            text.push_str(&event("incomplete", &json!({ "reason": reason })));
        }
    }
}

impl Resume {
    fn to_id(self) -> String {
        let (instant, emitter, seq) = self.greatest;
        format!("{}.{instant}.{emitter}.{seq}", self.count)
    }

    fn of_id(id: &str) -> Option<Self> {
        let mut parts = id.split('.');
        let count = parts.next()?.parse().ok().filter(|count| *count <= MAX_TRACE_EVENTS)?;
        let greatest = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { count, greatest })
    }
}

fn key(event: &Event) -> Key {
    (event.timestamp, event.emitter, event.seq)
}

fn reset(reason: &str) -> String {
    event("reset", &json!({ "reason": reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_and_nothing_else_is_one() {
        let resume = Resume { count: 17, greatest: (-5, u64::MAX >> 1, 3) };
        assert_eq!(Resume::of_id(&resume.to_id()), Some(resume));
        for id in
            ["", "1", "1.2.3", "1.2.3.4.5", "x.2.3.4", "-1.2.3.4", "1.2.-3.4", "1.2.3.4 ", "100001.2.3.4", "4f1c9e02-1"]
        {
            assert_eq!(Resume::of_id(id), None, "{id}");
        }
    }
}
