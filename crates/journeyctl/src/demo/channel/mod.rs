//! What do the chat platforms send, and what do they want to be sent? One module a platform knows its JSON.
//!
//! Everything behind these modules speaks [`Incoming`], [`Receipt`] and [`Reply`].

mod discord;
mod telegram;
mod whatsapp;

use std::time::SystemTime;

use journey_core::PlatformTime;

/// A chat platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Channel {
    /// WhatsApp Cloud API webhooks.
    WhatsApp,
    /// Discord gateway dispatches.
    Discord,
    /// Telegram Bot API updates.
    Telegram,
}

/// What a platform tells a plugin.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Update {
    /// A person wrote.
    Message(Incoming),
    /// A reply of ours has reached the person.
    Delivered(Receipt),
}

/// A message of a person, as all platforms have it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Incoming {
    /// Correlation id: the platform's own id of the message with a prefix.
    pub(super) id: String,
    pub(super) channel: Channel,
    /// When the platform received it, by its own clock.
    pub(super) received_at: PlatformTime,
    /// Where the reply goes.
    pub(super) chat: String,
    pub(super) sender: String,
    pub(super) text: String,
}

/// A platform's word that a reply was delivered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Receipt {
    /// The message that was replied to.
    pub(super) id: String,
    /// When it was delivered by the platform's clock, where that is finer than the way to us is long.
    pub(super) delivered_at: Option<PlatformTime>,
}

/// A reply on its way to a platform.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    /// The message that is replied to.
    pub(super) id: String,
    pub(super) chat: String,
    pub(super) text: String,
}

/// What a simulated platform needs to write a payload.
#[derive(Clone, Debug)]
pub(super) struct Saying<'a> {
    /// Counts all messages, so that ids are unique.
    pub(super) number: u64,
    /// Something that ids are mixed with.
    pub(super) salt: u64,
    pub(super) person: &'a str,
    pub(super) text: &'a str,
    pub(super) at: SystemTime,
}

impl Channel {
    pub(super) const ALL: [Self; 3] = [Self::WhatsApp, Self::Discord, Self::Telegram];

    /// The word in subjects and in the database.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp",
            Self::Discord => "discord",
            Self::Telegram => "telegram",
        }
    }

    /// The plugin's side: reads what the platform sent.
    pub(super) fn read(self, payload: &str) -> Result<Vec<Update>, String> {
        match self {
            Self::WhatsApp => whatsapp::read(payload),
            Self::Discord => discord::read(payload),
            Self::Telegram => telegram::read(payload),
        }
    }

    /// The plugin's side: writes the request that sends a reply.
    pub(super) fn request(self, reply: &Reply) -> Result<String, String> {
        match self {
            Self::WhatsApp => whatsapp::request(reply),
            Self::Discord => discord::request(reply),
            Self::Telegram => telegram::request(reply),
        }
    }

    /// The plugin's side: reads the platform's answer to a request, where that is the receipt.
    pub(super) fn receipt(self, answer: &str) -> Result<Option<Receipt>, String> {
        match self {
            // Both tell of it later, by an update.
            Self::WhatsApp | Self::Discord => Ok(None),
            Self::Telegram => telegram::receipt(answer).map(Some),
        }
    }

    /// The platform's side: writes what it sends when a person writes. Returns the correlation id with it.
    pub(super) fn say(self, saying: &Saying<'_>) -> (String, String) {
        match self {
            Self::WhatsApp => whatsapp::say(saying),
            Self::Discord => discord::say(saying),
            Self::Telegram => telegram::say(saying),
        }
    }

    /// The platform's side: which message a request replies to.
    pub(super) fn replied_to(self, request: &str) -> Option<String> {
        match self {
            Self::WhatsApp => whatsapp::replied_to(request),
            Self::Discord => discord::replied_to(request),
            Self::Telegram => telegram::replied_to(request),
        }
    }

    /// The platform's side: what it answers to a request at once.
    pub(super) fn answer(self, request: &str, at: SystemTime) -> String {
        match self {
            Self::WhatsApp => whatsapp::answer(request),
            Self::Discord => discord::message(request, at).to_string(),
            Self::Telegram => telegram::answer(request, at),
        }
    }

    /// The platform's side: what it sends when a reply reached the person; `None` where it does not tell.
    pub(super) fn delivered(self, request: &str, at: SystemTime) -> Option<String> {
        match self {
            Self::WhatsApp => Some(whatsapp::delivered(request, at)),
            Self::Discord => Some(discord::delivered(request, at)),
            Self::Telegram => None,
        }
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A request that the simulated platforms can read is one that a plugin of ours wrote.
fn parsed(request: &str) -> serde_json::Value {
    serde_json::from_str(request).unwrap_or_default()
}

fn not_readable(platform: &str, error: &serde_json::Error) -> String {
    format!("the {platform} payload cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_632_800_052)
    }

    fn spoken(channel: Channel) -> Incoming {
        let saying = Saying { number: 7, salt: 99, person: "Ada \"L\"", text: "is it done? <b>\u{1F680}", at: at() };
        let (id, payload) = channel.say(&saying);
        match &channel.read(&payload).unwrap()[..] {
            [Update::Message(incoming)] => {
                assert_eq!(incoming.id, id);
                incoming.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_person_writes_arrives_as_it_was_written() {
        for channel in Channel::ALL {
            let incoming = spoken(channel);
            assert_eq!((incoming.channel, incoming.sender.as_str()), (channel, "Ada \"L\""));
            assert_eq!(incoming.text, "is it done? <b>\u{1F680}");
        }
    }

    #[test]
    fn each_platform_gives_its_own_resolution() {
        let received_at = |channel| spoken(channel).received_at;
        assert_eq!(received_at(Channel::WhatsApp), PlatformTime::whatsapp("1763632800").unwrap());
        assert_eq!(received_at(Channel::Telegram), PlatformTime::telegram(1_763_632_800).unwrap());
        assert_eq!(received_at(Channel::Discord), PlatformTime::discord("2025-11-20T10:00:00.052Z").unwrap());
    }

    #[test]
    fn a_receipt_names_the_message_that_was_replied_to() {
        for channel in Channel::ALL {
            let Incoming { id, chat, .. } = spoken(channel);
            let request = channel.request(&Reply { id: id.clone(), chat, text: "yes".to_owned() }).unwrap();
            assert_eq!(channel.replied_to(&request).as_deref(), Some(id.as_str()));
            let receipt = match channel.delivered(&request, at()) {
                Some(payload) => match &channel.read(&payload).unwrap()[..] {
                    [Update::Delivered(receipt)] => receipt.clone(),
                    other => panic!("{other:?}"),
                },
                None => channel.receipt(&channel.answer(&request, at())).unwrap().unwrap(),
            };
            assert_eq!(receipt.id, id);
            let expected =
                (channel == Channel::Discord).then(|| PlatformTime::discord("2025-11-20T10:00:00.052Z").unwrap());
            assert_eq!(receipt.delivered_at, expected);
        }
    }

    #[test]
    fn ids_are_short_plain_and_start_with_their_channel() {
        for (channel, prefix) in Channel::ALL.into_iter().zip(["wa_", "dc_", "tg_"]) {
            let id = spoken(channel).id;
            assert!(id.starts_with(prefix) && id.len() <= 32, "{id}");
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
        }
    }

    #[test]
    fn what_is_not_a_payload_is_an_error_and_other_updates_are_nothing() {
        for channel in Channel::ALL {
            assert!(channel.read("{").unwrap_err().contains("cannot be read"));
        }
        assert_eq!(Channel::WhatsApp.read(r#"{"object":"whatsapp_business_account","entry":[]}"#), Ok(vec![]));
        assert_eq!(Channel::Discord.read(r#"{"op":11,"t":null,"d":null}"#), Ok(vec![]));
        assert_eq!(Channel::Telegram.read(r#"{"update_id":1,"poll":{}}"#), Ok(vec![]));
    }
}
