//! The API that the agent sends its answers to.

use std::sync::{Arc, mpsc};

use tracing::instrument;

use super::{
    bus::{Bus, Published},
    event::{self, Outbound},
    queue::Queue,
};

/// The longest text that every platform takes, in characters.
const MAX_TEXT: usize = 2_000;

/// The way to the API; a clone is the same API.
#[derive(Clone, Debug)]
pub(super) struct Api {
    requests: Arc<Queue<Request>>,
    bus: Bus,
}

/// A request as it comes in: who asks, and bytes that may be anything.
#[derive(Debug)]
struct Request {
    correlation_id: String,
    body: Vec<u8>,
    answer: mpsc::SyncSender<Result<(), String>>,
}

impl Api {
    pub(super) fn new(bus: Bus) -> Self {
        Self { requests: Queue::unbounded(), bus }
    }

    /// The agent's side: sends an answer and waits until the API has taken it.
    pub(super) fn post(&self, reply: &Outbound) -> Result<(), String> {
        let body = serde_json::to_vec(reply).map_err(|error| format!("the answer cannot be written: {error}"))?;
        let (answer, answered) = mpsc::sync_channel(1);
        self.requests.push(Request { correlation_id: reply.id.clone(), body, answer });
        answered.recv().unwrap_or_else(|_| Err("the API is gone".to_owned()))
    }

    /// Handles requests until the API closes.
    pub(super) fn run(&self) {
        while let Some(request) = self.requests.take() {
            // Answered before the bus delivers: a reply must not overtake the answer to whoever sent it.
            let (published, result) = match self.receive(&request) {
                Ok(published) => (Some(published), Ok(())),
                Err(reason) => (None, Err(reason)),
            };
            let _ = request.answer.send(result);
            drop(published);
        }
    }

    pub(super) fn close(&self) {
        self.requests.close();
    }

    #[instrument(name = "api_received", skip_all, fields(correlation_id = %request.correlation_id), err)]
    fn receive(&self, request: &Request) -> Result<Published, String> {
        let reply: Outbound = event::read(&request.body)?;
        let length = reply.text.chars().count();
        if length == 0 || length > MAX_TEXT {
            return Err(format!("the text has {length} characters, 1 to {MAX_TEXT} can be sent"));
        }
        self.publish(&reply)
    }

    #[instrument(name = "outbound_event_published", skip_all, fields(correlation_id = %reply.id), err)]
    fn publish(&self, reply: &Outbound) -> Result<Published, String> {
        self.bus.publish(event::outbound(reply.channel).to_owned(), event::write(&reply.id, reply)?)
    }
}
