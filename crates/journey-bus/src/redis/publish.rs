//! How does a batch go in, and what is trimmed with it?

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use redis::{RedisResult, Value, aio::MultiplexedConnection};

use super::{FIELD, connect::connect, key};
use crate::{
    link::{Sent, Target},
    message::Message,
    state::reason,
};

/// A connection that publishes.
pub(crate) struct Publisher {
    connection: MultiplexedConnection,
    key: String,
    keep: Duration,
    max_events: u64,
    clock: ServerClock,
}

/// The server's clock: by our own, one process whose clock is ahead would trim away what all others publish.
struct ServerClock {
    /// Unix milliseconds of the server, as of `read_at`.
    millis: u64,
    read_at: Instant,
}

impl Publisher {
    pub(crate) async fn connect(target: &Target) -> Result<Self, String> {
        let mut connection = connect(target).await?;
        let clock = ServerClock::read(&mut connection).await?;
        let config = &target.config;
        Ok(Self { connection, key: key(&config.name), keep: config.keep, max_events: config.max_events, clock })
    }

    pub(crate) async fn check(&mut self) -> Result<(), String> {
        self.clock = ServerClock::read(&mut self.connection).await?;
        Ok(())
    }

    /// Adds a batch in one round trip. What is older than it is kept is trimmed with each event, what is more than is
    /// kept with each batch; both about, by whole nodes of the stream.
    pub(crate) async fn send(&mut self, batch: Vec<Message>, out_of_time: Pin<&mut impl Future<Output = ()>>) -> Sent {
        let oldest = self.clock.now().saturating_sub(self.keep.as_millis() as u64);
        let mut commands = redis::Pipeline::with_capacity(batch.len() + 2);
        for message in &batch {
            let add = commands.cmd("XADD").arg(&self.key).arg("MINID").arg("~").arg(oldest);
            add.arg("*").arg(FIELD).arg(&message.body[..]);
        }
        commands.cmd("XTRIM").arg(&self.key).arg("MAXLEN").arg("~").arg(self.max_events);
        commands.cmd("TIME");
        commands.ignore_errors();
        let answers: RedisResult<Vec<RedisResult<Value>>> = tokio::select! {
            answers = commands.query_async(&mut self.connection) => answers,
            () = out_of_time => return Sent::nothing(batch, "no answer in time".to_owned()),
        };
        let mut answers = match answers {
            Ok(answers) if answers.len() == batch.len() + 2 => answers,
            Ok(_) => return Sent::nothing(batch, "the number of answers is wrong".to_owned()),
            Err(error) => return Sent::nothing(batch, reason(error)),
        };
        if let Some(Ok(time)) = answers.pop()
            && let Some(clock) = ServerClock::of(&time)
        {
            self.clock = clock;
        }
        let mut sent = Sent::default();
        for (message, answer) in batch.into_iter().zip(answers) {
            match answer {
                Ok(_) => sent.published += 1,
                Err(error) if is_for_now(&error) => {
                    sent.again.push(message);
                    sent.trouble = Some(reason(error));
                }
                Err(error) => {
                    sent.refused += 1;
                    sent.refusal = Some(reason(error));
                }
            }
        }
        sent
    }
}

impl ServerClock {
    async fn read(connection: &mut MultiplexedConnection) -> Result<Self, String> {
        let time: Value = redis::cmd("TIME").query_async(connection).await.map_err(reason)?;
        Self::of(&time).ok_or_else(|| "the answer to `TIME` is no time".to_owned())
    }

    /// The answer to `TIME`: seconds and microseconds.
    fn of(time: &Value) -> Option<Self> {
        let (seconds, micros): (u64, u64) = redis::from_redis_value_ref(time).ok()?;
        Some(Self { millis: seconds.checked_mul(1_000)?.checked_add(micros / 1_000)?, read_at: Instant::now() })
    }

    /// Unix milliseconds.
    fn now(&self) -> u64 {
        self.millis + self.read_at.elapsed().as_millis() as u64
    }
}

/// Whether the server may take the same event later: it loads, is full, is no primary, or the connection is gone.
fn is_for_now(error: &redis::RedisError) -> bool {
    const CODES: &[&str] = &[
        "LOADING",
        "OOM",
        "BUSY",
        "MISCONF",
        "NOREPLICAS",
        "MASTERDOWN",
        "READONLY",
        "TRYAGAIN",
        "CLUSTERDOWN",
        "MOVED",
        "ASK",
        "NOAUTH",
    ];
    error.code().is_none_or(|code| CODES.contains(&code))
}
