//! How is a connection made, and when is it of no more use?

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use super::Credentials;
use crate::{
    config::{ConfigError, LiveConfig},
    link::Target,
    state::reason,
};

/// How long the server may take to answer a request.
const ANSWER: Duration = Duration::from_secs(5);
/// Two that are not answered, and the connection is broken.
const PING: Duration = Duration::from_secs(3);
/// Messages that the client holds: no more than a batch, so that what waits, waits in our own queue.
const CLIENT_QUEUE: usize = 256;

/// What the client tells of its connection.
#[derive(Clone, Debug)]
pub(super) struct Health(watch::Receiver<Told>);

#[derive(Clone, Debug, Default)]
struct Told {
    is_broken: bool,
    /// What the server or the client complained of last.
    complaint: Option<String>,
    /// Messages that were dropped here because they were not read in time.
    dropped: u64,
}

/// Reads the credentials file that the address names.
pub(crate) fn credentials(config: &LiveConfig) -> Result<Credentials, ConfigError> {
    let Some(file) = &config.credentials else { return Ok(None) };
    let cannot = |error: &dyn std::fmt::Display| {
        let file = file.display();
        ConfigError::new(format!(
            "`credentials` of the live address is `{file}`, which cannot be used: {error} (give a file of `nsc` or `nats auth`)"
        ))
    };
    let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
    // The error might quote a secret.
    ConnectOptions::with_credentials(&text).map_err(|_| cannot(&"it holds no credentials"))?;
    Ok(Some(text.into()))
}

/// Connects and logs in. The client's own reconnecting ends after one attempt: it throws away what was written and not
/// sent, and says nothing.
pub(super) async fn connect(target: &Target) -> Result<(Client, Health), String> {
    let config = &target.config;
    let options = match (&target.credentials, &config.user, &config.password) {
        (Some(text), ..) => ConnectOptions::with_credentials(text).map_err(|_| "the credentials cannot be used")?,
        (None, Some(token), None) => ConnectOptions::with_token(token.clone()),
        (None, user, Some(password)) => {
            ConnectOptions::with_user_and_password(user.clone().unwrap_or_default(), password.clone())
        }
        (None, None, None) => ConnectOptions::new(),
    };
    let (tell, told) = watch::channel(Told::default());
    let options = options
        .name("journey")
        .tls_client_config((*target.tls).clone())
        .require_tls(config.tls.is_some())
        .max_reconnects(1)
        .connection_timeout(ANSWER)
        .request_timeout(Some(ANSWER))
        .ping_interval(PING)
        .client_capacity(CLIENT_QUEUE)
        .event_callback(move |event| {
            tell.send_modify(|told| told.note(event));
            std::future::ready(())
        });
    let client = options.connect(config.place()).await.map_err(reason)?;
    Ok((client, Health(told)))
}

impl Health {
    /// The reason, once the connection is of no more use.
    pub(super) fn check(&self) -> Result<(), String> {
        let told = self.0.borrow();
        if told.is_broken || self.0.has_changed().is_err() { Err(told.why()) } else { Ok(()) }
    }

    /// Waits until the connection is of no more use.
    pub(super) async fn broken(&mut self) -> String {
        match self.0.wait_for(|told| told.is_broken).await {
            Ok(told) => told.why(),
            Err(_) => Told::default().why(),
        }
    }

    /// What the server complained of, or else this.
    pub(super) fn complaint_or(&self, otherwise: &str) -> String {
        self.0.borrow().complaint.clone().unwrap_or_else(|| otherwise.to_owned())
    }

    /// Messages that were dropped here because they were not read in time.
    pub(super) fn dropped(&self) -> u64 {
        self.0.borrow().dropped
    }
}

impl Told {
    fn note(&mut self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.is_broken = true,
            Event::SlowConsumer(_) => self.dropped += 1,
            Event::ServerError(error) => self.complaint = Some(reason(error)),
            Event::ClientError(error) => {
                self.is_broken = true;
                self.complaint.get_or_insert_with(|| reason(error));
            }
            Event::Connected | Event::LameDuckMode | Event::Draining => {}
        }
    }

    fn why(&self) -> String {
        self.complaint.clone().unwrap_or_else(|| "the connection broke".to_owned())
    }
}
