//! One connection to one server, whichever it is.

use std::{pin::Pin, sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::time::timeout;

use crate::{
    config::{ConfigError, LiveConfig},
    message::Message,
    state::LiveState,
    tls,
};

/// How long a server may take for a connection, names, TLS and password included.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Where to connect to, with everything read that is needed for it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) config: LiveConfig,
    pub(crate) tls: Arc<ClientConfig>,
    #[cfg(feature = "nats")]
    pub(crate) credentials: Option<Arc<str>>,
}

/// A connection that publishes. Broken ones are thrown away: the clients' own reconnecting loses what they had buffered.
pub(crate) enum Link {
    #[cfg(feature = "redis")]
    Redis(crate::redis::Publisher),
    #[cfg(feature = "nats")]
    Nats(Box<crate::nats::Publisher>),
}

/// What became of a batch: `published + refused + again` are all of it.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Confirmed by the server.
    pub(crate) published: u64,
    /// Refused for good, and why the last one was.
    pub(crate) refused: u64,
    pub(crate) refusal: Option<String>,
    /// To be sent again, over another connection.
    pub(crate) again: Vec<Message>,
    /// Why this connection is of no more use.
    pub(crate) trouble: Option<String>,
}

impl Target {
    pub(crate) fn of(config: LiveConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            tls: tls::client_config(config.tls.as_ref())?,
            #[cfg(feature = "nats")]
            credentials: crate::nats::credentials(&config)?,
            config,
        })
    }
}

impl Link {
    /// Connects; the reason where that fails.
    pub(crate) async fn connect(target: &Target) -> Result<Self, String> {
        let connecting = async {
            match target.config.server {
                #[cfg(feature = "redis")]
                crate::config::Server::Redis => crate::redis::Publisher::connect(target).await.map(Self::Redis),
                #[cfg(feature = "nats")]
                crate::config::Server::Nats => {
                    crate::nats::Publisher::connect(target).await.map(|link| Self::Nats(Box::new(link)))
                }
                #[cfg(not(all(feature = "redis", feature = "nats")))]
                _ => Err("this program was built without it".to_owned()),
            }
        };
        timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(format!("no connection within {CONNECT:?}")))
    }

    /// How it stands while all is well.
    pub(crate) fn up(&self) -> LiveState {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(link) if !link.keeps() => LiveState::Unkept,
            _ => LiveState::Up,
        }
    }

    /// Sends a batch and waits for what the server says, until it is out of time.
    pub(crate) async fn send(&mut self, batch: Vec<Message>, out_of_time: Pin<&mut impl Future<Output = ()>>) -> Sent {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(link) => link.send(batch, out_of_time).await,
            #[cfg(feature = "nats")]
            Self::Nats(link) => link.send(batch, out_of_time).await,
            #[cfg(not(any(feature = "redis", feature = "nats")))]
            _ => {
                out_of_time.await;
                Sent::nothing(batch, String::new())
            }
        }
    }

    /// Whether the server still answers; the reason where it does not.
    pub(crate) async fn check(&mut self, limit: Duration) -> Result<(), String> {
        let checking = async {
            match self {
                #[cfg(feature = "redis")]
                Self::Redis(link) => link.check().await,
                #[cfg(feature = "nats")]
                Self::Nats(link) => link.check().await,
                #[cfg(not(any(feature = "redis", feature = "nats")))]
                _ => Ok(()),
            }
        };
        timeout(limit, checking).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    }
}

impl Sent {
    /// Nothing of the batch was confirmed.
    pub(crate) fn nothing(batch: Vec<Message>, why: String) -> Self {
        Self { again: batch, trouble: Some(why), ..Self::default() }
    }
}
