//! Discord: `MESSAGE_CREATE` of the gateway in, `POST /channels/{id}/messages` out.

use std::time::SystemTime;

use journey_core::PlatformTime;
use serde::Deserialize;
use serde_json::json;

use super::{Channel, Incoming, Receipt, Reply, Saying, Update, millis, not_readable, parsed};

/// Snowflakes count milliseconds from the first second of 2015.
const EPOCH_MS: u64 = 1_420_070_400_000;
/// Our own user, so that we know our replies when the gateway tells of them.
const BOT: &str = "80351110224678912";

#[derive(Deserialize)]
struct Dispatch {
    t: Option<String>,
    d: serde_json::Value,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    channel_id: String,
    author: Author,
    content: String,
    timestamp: String,
    nonce: Option<String>,
}

#[derive(Deserialize)]
struct Author {
    id: String,
    username: String,
}

pub(super) fn read(payload: &str) -> Result<Vec<Update>, String> {
    let dispatch: Dispatch = serde_json::from_str(payload).map_err(|error| not_readable("Discord", &error))?;
    if dispatch.t.as_deref() != Some("MESSAGE_CREATE") {
        return Ok(Vec::new());
    }
    let message: Message = serde_json::from_value(dispatch.d).map_err(|error| not_readable("Discord", &error))?;
    let at = PlatformTime::discord(&message.timestamp).map_err(|error| error.to_string())?;
    if message.author.id == BOT {
        // The nonce of our request comes back with the message that it made.
        let receipt = message.nonce.map(|id| Receipt { id, delivered_at: Some(at) });
        return Ok(receipt.map(Update::Delivered).into_iter().collect());
    }
    Ok(vec![Update::Message(Incoming {
        id: format!("dc_{}", message.id),
        channel: Channel::Discord,
        received_at: at,
        chat: message.channel_id,
        sender: message.author.username,
        text: message.content,
    })])
}

pub(super) fn request(reply: &Reply) -> Result<String, String> {
    let snowflake = reply.id.strip_prefix("dc_").ok_or_else(|| format!("`{}` is not from Discord", reply.id))?;
    Ok(json!({
        "content": reply.text,
        // At most 25 characters: `dc_` and a snowflake fit.
        "nonce": reply.id,
        "enforce_nonce": true,
        "message_reference": { "message_id": snowflake, "channel_id": reply.chat },
    })
    .to_string())
}

pub(super) fn say(saying: &Saying<'_>) -> (String, String) {
    let Saying { number, salt, person, text, at } = saying;
    let id = snowflake(*at, *number);
    let payload = dispatch(json!({
        "id": id,
        "type": 0,
        "channel_id": format!("4169{:014}", salt % 50),
        "guild_id": "290926798626357999",
        "author": { "id": format!("5390{:014}", salt % 10_000), "username": person, "discriminator": "0", "avatar": null },
        "content": text,
        "timestamp": timestamp(*at),
        "edited_timestamp": null,
        "tts": false,
        "mention_everyone": false,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": false,
    }));
    (format!("dc_{id}"), payload)
}

pub(super) fn replied_to(request: &str) -> Option<String> {
    parsed(request)["nonce"].as_str().map(str::to_owned)
}

/// The message that a request makes.
pub(super) fn message(request: &str, at: SystemTime) -> serde_json::Value {
    let request = parsed(request);
    json!({
        "id": snowflake(at, 1),
        "type": 19,
        "channel_id": request["message_reference"]["channel_id"],
        "author": { "id": BOT, "username": "journey-demo", "discriminator": "0", "avatar": null, "bot": true },
        "content": request["content"],
        "timestamp": timestamp(at),
        "nonce": request["nonce"],
        "message_reference": request["message_reference"],
    })
}

pub(super) fn delivered(request: &str, at: SystemTime) -> String {
    dispatch(message(request, at))
}

fn dispatch(message: serde_json::Value) -> String {
    json!({ "op": 0, "s": 1, "t": "MESSAGE_CREATE", "d": message }).to_string()
}

/// 42 bits of milliseconds, then worker, process and a counter of 12 bits.
fn snowflake(at: SystemTime, number: u64) -> String {
    (((millis(at).saturating_sub(EPOCH_MS)) << 22) | (number & 0xFFF)).to_string()
}

/// `2026-11-20T10:00:00.052000+00:00`, as Discord writes it.
fn timestamp(at: SystemTime) -> String {
    let nanos = i64::try_from(millis(at)).unwrap_or(0).saturating_mul(1_000_000);
    journey_core::rfc3339(nanos).replace('Z', "000+00:00")
}
