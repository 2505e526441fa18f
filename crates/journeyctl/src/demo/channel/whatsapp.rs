//! WhatsApp Cloud API: webhooks in, `POST /{phone-number-id}/messages` out.

use std::time::SystemTime;

use journey_core::PlatformTime;
use serde::Deserialize;
use serde_json::json;

use super::{Channel, Incoming, Receipt, Reply, Saying, Update, not_readable, parsed, seconds};

/// Our phone number at the platform.
const PHONE_NUMBER_ID: &str = "106540352242922";

#[derive(Deserialize)]
struct Webhook {
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    value: Value,
}

#[derive(Deserialize)]
struct Value {
    #[serde(default)]
    contacts: Vec<Contact>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    statuses: Vec<Status>,
}

#[derive(Deserialize)]
struct Contact {
    profile: Profile,
    wa_id: String,
}

#[derive(Deserialize)]
struct Profile {
    name: String,
}

#[derive(Deserialize)]
struct Message {
    from: String,
    id: String,
    timestamp: String,
    text: Option<Text>,
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    biz_opaque_callback_data: Option<String>,
}

pub(super) fn read(payload: &str) -> Result<Vec<Update>, String> {
    let webhook: Webhook = serde_json::from_str(payload).map_err(|error| not_readable("WhatsApp", &error))?;
    let values = webhook.entry.into_iter().flat_map(|entry| entry.changes).map(|change| change.value);
    let mut updates = Vec::new();
    for Value { contacts, messages, statuses } in values {
        for message in messages {
            updates.push(Update::Message(incoming(message, &contacts)?));
        }
        for status in statuses.into_iter().filter(|status| status.status == "delivered") {
            // A status has whole seconds, coarser than the delivery itself: the moment it arrives here says more.
            let receipt = status.biz_opaque_callback_data.map(|id| Receipt { id, delivered_at: None });
            updates.extend(receipt.map(Update::Delivered));
        }
    }
    Ok(updates)
}

fn incoming(message: Message, contacts: &[Contact]) -> Result<Incoming, String> {
    let sender = contacts.iter().find(|contact| contact.wa_id == message.from);
    Ok(Incoming {
        id: format!("wa_{}", message.id.strip_prefix("wamid.").unwrap_or(&message.id)),
        channel: Channel::WhatsApp,
        received_at: PlatformTime::whatsapp(&message.timestamp).map_err(|error| error.to_string())?,
        sender: sender.map_or_else(String::new, |contact| contact.profile.name.clone()),
        chat: message.from,
        text: message.text.map_or_else(String::new, |text| text.body),
    })
}

pub(super) fn request(reply: &Reply) -> Result<String, String> {
    Ok(json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": reply.chat,
        "type": "text",
        "text": { "preview_url": false, "body": reply.text },
        // Comes back with every status of this message.
        "biz_opaque_callback_data": reply.id,
    })
    .to_string())
}

pub(super) fn say(saying: &Saying<'_>) -> (String, String) {
    let Saying { number, salt, person, text, at } = saying;
    let wamid = format!("HBgL{:06X}{:06X}", salt & 0xFF_FFFF, number & 0xFF_FFFF);
    let phone = format!("1650555{:04}", salt % 10_000);
    let payload = webhook(json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID },
        "contacts": [{ "profile": { "name": person }, "wa_id": phone }],
        "messages": [{
            "from": phone,
            "id": format!("wamid.{wamid}"),
            "timestamp": seconds(*at).to_string(),
            "type": "text",
            "text": { "body": text },
        }],
    }));
    (format!("wa_{wamid}"), payload)
}

pub(super) fn replied_to(request: &str) -> Option<String> {
    parsed(request)["biz_opaque_callback_data"].as_str().map(str::to_owned)
}

pub(super) fn answer(request: &str) -> String {
    let request = parsed(request);
    json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": request["to"], "wa_id": request["to"] }],
        "messages": [{ "id": reply_id(&request) }],
    })
    .to_string()
}

pub(super) fn delivered(request: &str, at: SystemTime) -> String {
    let request = parsed(request);
    webhook(json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID },
        "statuses": [{
            "id": reply_id(&request),
            "status": "delivered",
            "timestamp": seconds(at).to_string(),
            "recipient_id": request["to"],
            "biz_opaque_callback_data": request["biz_opaque_callback_data"],
        }],
    }))
}

fn reply_id(request: &serde_json::Value) -> String {
    format!("wamid.R{}", request["biz_opaque_callback_data"].as_str().unwrap_or_default())
}

fn webhook(value: serde_json::Value) -> String {
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "changes": [{ "value": value, "field": "messages" }] }],
    })
    .to_string()
}
