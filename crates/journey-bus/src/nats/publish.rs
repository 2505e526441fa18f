//! How does a batch go in, and what proves that it did?

use std::{pin::Pin, str::FromStr};

use async_nats::{
    Client, HeaderMap, HeaderValue, Subscriber,
    jetstream::{
        Context,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use futures_util::{FutureExt, StreamExt};

use super::{
    api_error,
    connect::{Health, connect},
    stream::stream,
    subject,
};
use crate::{
    link::{Sent, Target},
    message::Message,
    state::reason,
};

/// The header with the trace's id, 32 hex digits.
const TRACE_ID: &str = "journey-trace-id";
/// The header with the message's id, where it can stand in one.
const CORRELATION_ID: &str = "correlation-id";

/// A connection that publishes.
pub(crate) struct Publisher {
    client: Client,
    health: Health,
    name: String,
    proof: Proof,
}

/// What proves that a batch arrived.
enum Proof {
    /// Every message is acknowledged once it is stored.
    Acks(Context),
    /// Nothing is stored. A message to ourselves that comes back over the same connection says that the server has read
    /// all before it.
    Echo { inbox: String, echoes: Subscriber, sent: u64 },
}

impl Publisher {
    pub(crate) async fn connect(target: &Target) -> Result<Self, String> {
        let (client, health) = connect(target).await?;
        let proof = match stream(&client, &target.config).await? {
            Some((jetstream, _)) => Proof::Acks(jetstream),
            None => {
                let inbox = client.new_inbox();
                Proof::Echo { echoes: client.subscribe(inbox.clone()).await.map_err(reason)?, inbox, sent: 0 }
            }
        };
        Ok(Self { client, health, name: target.config.name.clone(), proof })
    }

    /// Whether the server keeps what is published.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self.proof, Proof::Acks(_))
    }

    /// The client itself asks the server every few seconds.
    pub(crate) async fn check(&mut self) -> Result<(), String> {
        self.health.check()
    }

    pub(crate) async fn send(&mut self, batch: Vec<Message>, out_of_time: Pin<&mut impl Future<Output = ()>>) -> Sent {
        let Self { client, health, name, proof } = self;
        match proof {
            Proof::Acks(jetstream) => send_acked(jetstream, health, name, batch, out_of_time).await,
            Proof::Echo { inbox, echoes, sent } => {
                *sent += 1;
                let sending = send_echoed(client, name, &batch, (inbox, echoes, *sent));
                let outcome = tokio::select! {
                    outcome = sending => outcome,
                    why = health.broken() => Err(why),
                    () = out_of_time => Err("no answer in time".to_owned()),
                };
                // After a break the echo may have come over another connection than the batch.
                match outcome.and_then(|refused| health.check().map(|()| refused)) {
                    Ok(refused) => {
                        let (refused, refusal) = refused.map_or((0, None), |(count, why)| (count, Some(why)));
                        Sent { published: batch.len() as u64 - refused, refused, refusal, ..Sent::default() }
                    }
                    Err(why) => Sent::nothing(batch, why),
                }
            }
        }
    }
}

/// Sends all, then waits for all acknowledgements. What is not acknowledged is sent again, with the same id: within two
/// minutes the server recognizes it.
async fn send_acked(
    jetstream: &Context,
    health: &mut Health,
    name: &str,
    batch: Vec<Message>,
    mut out_of_time: Pin<&mut impl Future<Output = ()>>,
) -> Sent {
    let mut sent = Sent::default();
    let mut acks: Vec<(Message, PublishAckFuture)> = Vec::with_capacity(batch.len());
    for message in batch {
        if sent.trouble.is_some() {
            sent.again.push(message);
            continue;
        }
        let identity = message.identity;
        let outgoing = PublishMessage::build()
            .payload(message.body.clone())
            .headers(headers(&message))
            .message_id(identity.to_string());
        let publishing = jetstream.send_publish(subject(name, identity.trace_id()), outgoing);
        let outcome = tokio::select! {
            outcome = publishing => outcome.map_err(|error| sort(&error)),
            why = health.broken() => Err(Failure::Again(why)),
            () = &mut out_of_time => Err(Failure::Again(health.complaint_or("no answer in time"))),
        };
        match outcome {
            Ok(ack) => acks.push((message, ack)),
            Err(failure) => sent.failed(message, failure),
        }
    }
    for (message, ack) in acks {
        let mut ack = ack.into_future();
        let outcome = if sent.trouble.is_some() {
            // What is here already counts; nothing more is waited for.
            ack.now_or_never().unwrap_or_else(|| Err(PublishErrorKind::TimedOut.into())).map_err(|error| sort(&error))
        } else {
            tokio::select! {
                biased;
                outcome = &mut ack => outcome.map_err(|error| sort(&error)),
                why = health.broken() => Err(Failure::Again(why)),
                () = &mut out_of_time => Err(Failure::Again(health.complaint_or("no answer in time"))),
            }
        };
        match outcome {
            Ok(_) => sent.published += 1,
            Err(failure) => sent.failed(message, failure),
        }
    }
    sent
}

/// Publishes a batch to whoever listens; how many the client refused, and why.
async fn send_echoed(
    client: &Client,
    name: &str,
    batch: &[Message],
    (inbox, echoes, number): (&str, &mut Subscriber, u64),
) -> Result<Option<(u64, String)>, String> {
    let mut refused = None;
    for message in batch {
        let subject = subject(name, message.identity.trace_id());
        let publishing = client.publish_with_headers(subject, headers(message), message.body.clone());
        if let Err(error) = publishing.await {
            match error.kind() {
                async_nats::PublishErrorKind::MaxPayloadExceeded => {
                    refused.get_or_insert_with(|| (0, reason(error))).0 += 1;
                }
                _ => return Err(reason(error)),
            }
        }
    }
    let number = number.to_string();
    client.publish(inbox.to_owned(), number.clone().into()).await.map_err(reason)?;
    while let Some(echo) = echoes.next().await {
        if echo.payload == number.as_bytes() {
            return Ok(refused);
        }
    }
    Err("the connection broke".to_owned())
}

/// Ids for who routes and filters. The values are checked: the client's own conversion panics on a line break.
fn headers(message: &Message) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let trace = message.identity.trace_id().to_string();
    let ids = [(TRACE_ID, Some(trace.as_str())), (CORRELATION_ID, message.correlation_id.as_deref())];
    for (name, id) in ids {
        if let Some(Ok(value)) = id.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Why a message was not acknowledged.
enum Failure {
    /// Later it may be.
    Again(String),
    /// It never will be.
    Refused(String),
}

fn sort(error: &PublishError) -> Failure {
    let is_refused = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => true,
        // 4xx: the request is wrong; 5xx: the server or the stream cannot take it now.
        _ => api_error(error).is_some_and(|api| (400..500).contains(&api.code())),
    };
    if is_refused { Failure::Refused(reason(error)) } else { Failure::Again(reason(error)) }
}

impl Sent {
    fn failed(&mut self, message: Message, failure: Failure) {
        match failure {
            Failure::Again(why) => {
                self.again.push(message);
                self.trouble.get_or_insert(why);
            }
            Failure::Refused(why) => {
                self.refused += 1;
                self.refusal = Some(why);
            }
        }
    }
}
