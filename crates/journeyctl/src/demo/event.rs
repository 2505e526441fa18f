//! What travels on the bus: JSON payloads under subjects.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    bus::Event,
    channel::{Channel, Incoming},
};

/// Subjects of messages of people, one a channel.
pub(super) const INBOUND: &str = "messages.inbound.*";

/// `messages.inbound.{channel}`: a message of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Inbound {
    pub(super) id: String,
    pub(super) channel: Channel,
    pub(super) chat: String,
    pub(super) sender: String,
    pub(super) text: String,
}

/// `messages.outbound.{channel}`: a reply on its way back; also what the agent sends to the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Outbound {
    pub(super) id: String,
    pub(super) channel: Channel,
    pub(super) chat: String,
    pub(super) text: String,
}

/// Subjects of the replies that go to one channel.
pub(super) fn outbound(channel: Channel) -> &'static str {
    match channel {
        Channel::WhatsApp => "messages.outbound.whatsapp",
        Channel::Discord => "messages.outbound.discord",
        Channel::Telegram => "messages.outbound.telegram",
    }
}

pub(super) fn inbound(channel: Channel) -> String {
    format!("messages.inbound.{}", channel.as_str())
}

impl From<Incoming> for Inbound {
    fn from(incoming: Incoming) -> Self {
        let Incoming { id, channel, chat, sender, text, .. } = incoming;
        Self { id, channel, chat, sender, text }
    }
}

pub(super) fn write(correlation_id: &str, payload: &impl Serialize) -> Result<Event, String> {
    let payload = serde_json::to_vec(payload).map_err(|error| format!("the event cannot be written: {error}"))?;
    Ok(Event { correlation_id: correlation_id.to_owned(), payload: Arc::from(payload) })
}

pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| format!("the event cannot be read: {error}"))
}
