//! A channel plugin: takes what its platform sends, and sends what comes back.

use std::{fmt, sync::Arc, time::Duration};

use tracing::instrument;
use tracing_journey::{JourneyHandle, checkpoint};

use super::{
    bus::{Bus, Event, Published},
    channel::{Channel, Incoming, Receipt, Reply, Update},
    event::{self, Inbound, Outbound},
    ledger::{End, Ledger},
    platforms::{Answer, Platforms},
    queue::Queue,
};

/// How often a reply is sent before it is given up.
const MAX_SENDS: u32 = 4;
/// Pause before the second send; doubled before each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);

/// One channel's plugin.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) channel: Channel,
    pub(super) platforms: Arc<Platforms>,
    pub(super) bus: Bus,
    pub(super) ledger: Arc<Ledger>,
    pub(super) journey: JourneyHandle,
}

/// Why a reply was not sent.
#[derive(Debug)]
enum SendError {
    /// The platform is busy: worth another try.
    Busy(Answer),
    /// The platform will never take it.
    Refused(Answer),
    /// It could not be written.
    Unwritable(String),
}

impl Plugin {
    /// Takes messages and receipts until the platform goes away.
    pub(super) fn listen(&self, arrivals: &Queue<String>) {
        while let Some(payload) = arrivals.take() {
            for update in self.channel.read(&payload).unwrap_or_default() {
                match update {
                    Update::Message(incoming) => {
                        let id = incoming.id.clone();
                        // The bus delivers when this is dropped: after the stages above it have ended.
                        let published = self.receive(incoming);
                        if let Err(reason) = published {
                            self.give_up(&id, &reason);
                        }
                    }
                    Update::Delivered(receipt) => self.delivered(&receipt),
                }
            }
        }
    }

    /// Sends replies until the bus closes.
    pub(super) fn speak(&self, replies: &Queue<Event>) {
        while let Some(event) = replies.take() {
            let sent = event::read::<Outbound>(&event.payload).and_then(|reply| self.send_with_retries(&reply.into()));
            match sent {
                Ok(answer) => match self.channel.receipt(&answer.body) {
                    Ok(receipt) => receipt.iter().for_each(|receipt| self.delivered(receipt)),
                    Err(reason) => self.give_up(&event.correlation_id, &reason),
                },
                Err(reason) => self.give_up(&event.correlation_id, &reason),
            }
        }
    }

    #[instrument(name = "plugin_received", skip_all, fields(correlation_id = %incoming.id))]
    fn receive(&self, incoming: Incoming) -> Result<Published, String> {
        // The platform's own word for when it had the message.
        self.journey.checkpoint("platform_received", &incoming.id).at(incoming.received_at).record();
        self.publish(&incoming.into())
    }

    #[instrument(name = "event_published", skip_all, fields(correlation_id = %message.id), err)]
    fn publish(&self, message: &Inbound) -> Result<Published, String> {
        self.bus.publish(event::inbound(message.channel), event::write(&message.id, message)?)
    }

    fn send_with_retries(&self, reply: &Reply) -> Result<Answer, String> {
        let mut backoff = FIRST_BACKOFF;
        for _ in 1..MAX_SENDS {
            match self.send(reply) {
                Err(SendError::Busy(_)) => std::thread::sleep(backoff),
                other => return other.map_err(|error| error.to_string()),
            }
            backoff *= 2;
        }
        self.send(reply).map_err(|error| error.to_string())
    }

    #[instrument(name = "plugin_sent", skip_all, fields(correlation_id = %reply.id), err)]
    fn send(&self, reply: &Reply) -> Result<Answer, SendError> {
        let request = self.channel.request(reply).map_err(SendError::Unwritable)?;
        let answer = self.platforms.post(self.channel, &request);
        match answer.status {
            200 => Ok(answer),
            429 | 500.. => Err(SendError::Busy(answer)),
            _ => Err(SendError::Refused(answer)),
        }
    }

    fn delivered(&self, receipt: &Receipt) {
        match receipt.delivered_at {
            Some(at) => self.journey.checkpoint("platform_delivered", &receipt.id).at(at).record(),
            None => checkpoint!("platform_delivered", &receipt.id),
        }
        self.ledger.ended(&receipt.id, End::Delivered);
    }

    fn give_up(&self, id: &str, reason: &str) {
        self.journey.fail(id, reason);
        self.ledger.ended(id, End::Failed);
    }
}

impl From<Outbound> for Reply {
    fn from(Outbound { id, chat, text, .. }: Outbound) -> Self {
        Self { id, chat, text }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(answer) => write!(f, "the platform answered {}: {}", answer.status, answer.body),
            Self::Refused(answer) => write!(f, "the platform refused with {}: {}", answer.status, answer.body),
            Self::Unwritable(reason) => f.write_str(reason),
        }
    }
}
