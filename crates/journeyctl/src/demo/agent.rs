//! The agent: takes messages from its inbox, thinks, and sends its answer to the API.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tracing::instrument;
use tracing_journey::JourneyHandle;

use super::{
    api::Api,
    event::{Inbound, Outbound},
    ledger::{End, Ledger},
    queue::Queue,
    script::{Fate, Plan},
    store::Reader,
};

/// Messages that may wait for the agent; beyond, whoever notifies it waits.
pub(super) const INBOX: usize = 256;
/// How many messages the agent thinks about at a time.
pub(super) const WORKERS: usize = 48;

/// Messages that wait for the agent.
pub(super) type Inbox = Queue<Inbound>;

/// One worker of the agent.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) inbox: Arc<Inbox>,
    pub(super) api: Api,
    pub(super) ledger: Arc<Ledger>,
    pub(super) journey: JourneyHandle,
    /// Workers that think now.
    pub(super) busy: Arc<AtomicUsize>,
}

impl Agent {
    /// Answers until the inbox closes.
    pub(super) fn run(&self, reader: &Reader) {
        while let Some(message) = self.inbox.take() {
            self.busy.fetch_add(1, Ordering::Relaxed);
            self.handle(reader, &message);
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn handle(&self, reader: &Reader, message: &Inbound) {
        let started = self.start(reader, message);
        let plan = self.ledger.plan(&message.id);
        let answer = started.and_then(|history| {
            let plan = plan.ok_or_else(|| "nobody sent this message".to_owned())?;
            if plan.fate == Fate::AgentSilent {
                return Ok(None);
            }
            self.think(message, &history, plan).map(Some)
        });
        let sent = match answer {
            Ok(Some(answer)) => self.api.post(&answer),
            // Nobody will ever hear of this message again: it is stuck, and only the journey knows where.
            Ok(None) => return self.ledger.ended(&message.id, End::Unanswered),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = sent {
            self.journey.fail(&message.id, &reason);
            self.ledger.ended(&message.id, End::Failed);
        }
    }

    #[instrument(name = "agent_started", skip_all, fields(correlation_id = %message.id), err)]
    fn start(&self, reader: &Reader, message: &Inbound) -> Result<Vec<String>, String> {
        reader.history(message)
    }

    #[instrument(name = "agent_completed", skip_all, fields(correlation_id = %message.id), err)]
    fn think(&self, message: &Inbound, history: &[String], plan: Plan) -> Result<Outbound, String> {
        // The simulated part: what a language model would take.
        std::thread::sleep(plan.thinking);
        if plan.fate == Fate::AgentFails {
            return Err("the model is overloaded".to_owned());
        }
        let Inbound { id, channel, chat, sender, text } = message.clone();
        let before = history.len().saturating_sub(1);
        let follows = before > 0;
        tracing::info!(
            event_type = "ai:decision",
            correlation_id = %id,
            decision = "reply",
            chosen = if follows { "follow_up" } else { "first_answer" },
            before,
            "how many messages of this chat came before"
        );
        if !follows {
            let text = format!("Welcome, {sender}. You asked: \u{201c}{text}\u{201d}. We are on it.");
            return Ok(Outbound { id, channel, chat, text });
        }
        let text = format!("{sender}, you asked: \u{201c}{text}\u{201d} ({before} messages before). We are on it.");
        Ok(Outbound { id, channel, chat, text })
    }
}
