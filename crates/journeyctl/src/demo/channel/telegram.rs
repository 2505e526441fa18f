//! Telegram Bot API: `Update` in, `sendMessage` out.

use std::time::SystemTime;

use journey_core::PlatformTime;
use serde::Deserialize;
use serde_json::json;

use super::{Channel, Incoming, Receipt, Reply, Saying, Update as ChannelUpdate, not_readable, parsed, seconds};

#[derive(Deserialize)]
struct Update {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    message_id: i64,
    from: Option<User>,
    chat: Chat,
    date: i64,
    text: Option<String>,
    reply_to_message: Option<Box<Message>>,
}

#[derive(Deserialize)]
struct User {
    first_name: String,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
}

#[derive(Deserialize)]
struct Answer {
    result: Message,
}

pub(super) fn read(payload: &str) -> Result<Vec<ChannelUpdate>, String> {
    let update: Update = serde_json::from_str(payload).map_err(|error| not_readable("Telegram", &error))?;
    let Some(message) = update.message else { return Ok(Vec::new()) };
    Ok(vec![ChannelUpdate::Message(Incoming {
        id: message.correlation_id(),
        channel: Channel::Telegram,
        received_at: PlatformTime::telegram(message.date).map_err(|error| error.to_string())?,
        chat: message.chat.id.to_string(),
        sender: message.from.map_or_else(String::new, |user| user.first_name),
        text: message.text.unwrap_or_default(),
    })])
}

pub(super) fn request(reply: &Reply) -> Result<String, String> {
    let wrong = || format!("`{}` is not from Telegram", reply.id);
    let (chat, message) = reply.id.strip_prefix("tg_").and_then(|id| id.split_once('_')).ok_or_else(wrong)?;
    let chat: i64 = chat.parse().map_err(|_| wrong())?;
    let message: i64 = message.parse().map_err(|_| wrong())?;
    Ok(json!({ "chat_id": chat, "text": reply.text, "reply_parameters": { "message_id": message } }).to_string())
}

/// Telegram sends no receipts: its answer to `sendMessage` is the last that is heard of a reply.
pub(super) fn receipt(answer: &str) -> Result<Receipt, String> {
    let answer: Answer = serde_json::from_str(answer).map_err(|error| not_readable("Telegram", &error))?;
    let replied = answer.result.reply_to_message.ok_or_else(|| "the Telegram answer names no message".to_owned())?;
    // Its `date` has whole seconds and would lie before the request: the moment of the answer says more.
    Ok(Receipt { id: replied.correlation_id(), delivered_at: None })
}

pub(super) fn say(saying: &Saying<'_>) -> (String, String) {
    let Saying { number, salt, person, text, at } = saying;
    // Message ids count within a chat only, so the correlation id needs both.
    let message = message(1_200_000 + (salt % 9_000) as i64, *number as i64, *at, Some(person), text);
    let id = format!("tg_{}_{}", message["chat"]["id"], message["message_id"]);
    (id, json!({ "update_id": 680_000_000 + number, "message": message }).to_string())
}

pub(super) fn replied_to(request: &str) -> Option<String> {
    let request = parsed(request);
    let (chat, message) = (request["chat_id"].as_i64()?, request["reply_parameters"]["message_id"].as_i64()?);
    Some(format!("tg_{chat}_{message}"))
}

pub(super) fn answer(request: &str, at: SystemTime) -> String {
    let request = parsed(request);
    let number = |value: &serde_json::Value| value.as_i64().unwrap_or_default();
    let (chat, replied) = (number(&request["chat_id"]), number(&request["reply_parameters"]["message_id"]));
    let mut result = message(chat, replied + 1, at, None, request["text"].as_str().unwrap_or_default());
    result["reply_to_message"] = message(chat, replied, at, None, "");
    json!({ "ok": true, "result": result }).to_string()
}

fn message(chat: i64, message: i64, at: SystemTime, person: Option<&str>, text: &str) -> serde_json::Value {
    json!({
        "message_id": message,
        "from": { "id": chat, "is_bot": person.is_none(), "first_name": person.unwrap_or("journey_demo") },
        "chat": { "id": chat, "type": "private", "first_name": person },
        "date": seconds(at),
        "text": text,
    })
}

impl Message {
    fn correlation_id(&self) -> String {
        format!("tg_{}_{}", self.chat.id, self.message_id)
    }
}
