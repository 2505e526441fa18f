//! How are events read: what is kept first, then what comes?

use std::{
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_nats::{
    Client, datetime,
    jetstream::{
        consumer::{DeliverPolicy, pull::OrderedConfig},
        stream::Stream,
    },
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{
    all_subjects,
    connect::{Health, connect},
    stream::stream,
    subject,
};
use crate::{
    config::LiveConfig,
    link::{CONNECT, Target},
    state::reason,
    watch::{Gone, Sink},
    worker::pauses,
};

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Without an event for so long, the stream is asked whether it still is the same.
const QUIET: Duration = Duration::from_secs(5);
/// The pause where no other is due.
const PAUSE: Duration = Duration::from_secs(1);

/// Where in which stream.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Position {
    /// When the stream was made: its numbers begin with it.
    made: datetime::DateTime,
    /// The last message that was read, or skipped on purpose.
    last: u64,
}

/// Why reading ended.
enum End {
    Away(String),
    Gone,
}

/// Gives everything that is kept, then everything that comes, until nobody wants it.
pub(crate) async fn watch(target: &Target, sink: &mut Sink) {
    let mut position = None;
    let mut between = pauses();
    loop {
        let end = match timeout(CONNECT, connect(target)).await {
            Ok(Ok((client, health))) => {
                between = pauses();
                read(client, health, &target.config, sink, &mut position).await
            }
            Ok(Err(why)) => End::Away(why),
            Err(_) => End::Away(format!("no connection within {CONNECT:?}")),
        };
        let End::Away(why) = end else { return };
        if sink.away(why).await.is_err() || sink.pause(between.next().unwrap_or(PAUSE)).await.is_err() {
            return;
        }
    }
}

async fn read(
    client: Client,
    mut health: Health,
    config: &LiveConfig,
    sink: &mut Sink,
    position: &mut Option<Position>,
) -> End {
    let filter = sink.wanted().map_or_else(|| all_subjects(&config.name), |trace| subject(&config.name, trace));
    let found = match timeout(ANSWER, stream(&client, config)).await {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => return End::Away(why),
        Err(_) => return End::Away("no answer in time".to_owned()),
    };
    let read = match found {
        Some((_, stream)) => read_stream(stream, health, filter, config, sink, position).await,
        None => listen(&client, &mut health, filter, sink).await,
    };
    let Err(end) = read;
    end
}

/// Reads a stream in its order from where the reading ended, or from as long ago as events are kept.
async fn read_stream(
    mut stream: Stream,
    mut health: Health,
    filter: String,
    config: &LiveConfig,
    sink: &mut Sink,
    position: &mut Option<Position>,
) -> Result<std::convert::Infallible, End> {
    let info = stream.cached_info();
    let made = info.created;
    let is_all_ours = info.config.subjects == [all_subjects(&config.name)];
    let was = position.filter(|was| was.made == made && was.last <= info.state.last_sequence);
    if position.is_some() && was.is_none() {
        missed(sink, "the server lost events that it had")?;
    }
    if was.is_some_and(|was| was.last + 1 < info.state.first_sequence) {
        missed(sink, "older events were trimmed away before they were read")?;
    }
    let deliver_policy = match was {
        Some(was) => DeliverPolicy::ByStartSequence { start_sequence: was.last + 1 },
        None if position.is_some() || info.config.max_age <= config.keep => DeliverPolicy::All,
        None => DeliverPolicy::ByStartTime { start_time: ago(config.keep)? },
    };
    *position = was;
    let is_everything = sink.wanted().is_none() && is_all_ours;
    let ordered = OrderedConfig { filter_subject: filter, deliver_policy, ..OrderedConfig::default() };
    let consumer = answer(stream.create_consumer(ordered)).await?;
    let is_empty = consumer.cached_info().num_pending == 0;
    let mut reading = Some(answer(consumer.messages()).await?);
    if is_empty {
        given(sink.live(), &mut health, &mut reading).await?;
    }
    loop {
        let Some(messages) = &mut reading else { return Err(End::Away(health.broken().await)) };
        let message = tokio::select! {
            message = timeout(QUIET, messages.next()) => message,
            why = health.broken() => return Err(End::Away(why)),
            () = sink.closed() => return Err(End::Gone),
        };
        let message = match message {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Err(away(error)),
            Ok(None) => return Err(End::Away("the reading ended".to_owned())),
            Err(_) if answer(stream.info()).await?.created == made => continue,
            Err(_) => return Err(End::Away("the stream was made anew".to_owned())),
        };
        let info = message.info().map_err(away)?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        if is_everything && position.is_some_and(|was| was.last + 1 < sequence) {
            missed(sink, "older events were trimmed away before they were read")?;
        }
        given(sink.event(&message.payload), &mut health, &mut reading).await?;
        *position = Some(Position { made, last: sequence });
        if pending == 0 {
            given(sink.live(), &mut health, &mut reading).await?;
        }
    }
}

/// Waits until something is given on to whoever watches, who may take long. If the connection breaks meanwhile, the reading
/// ends at once: the client goes on asking on a connection that is gone, without a pause, as long as it is told to read.
async fn given<R>(
    giving: impl Future<Output = Result<(), Gone>>,
    health: &mut Health,
    reading: &mut Option<R>,
) -> Result<(), End> {
    let mut giving = pin!(giving);
    let given = tokio::select! {
        biased;
        given = &mut giving => given,
        _ = health.broken() => {
            *reading = None;
            giving.await
        }
    };
    given.map_err(|Gone| End::Gone)
}

/// Gives what comes, from a server that keeps nothing.
async fn listen(
    client: &Client,
    health: &mut Health,
    filter: String,
    sink: &mut Sink,
) -> Result<std::convert::Infallible, End> {
    let mut messages = answer(client.subscribe(filter)).await?;
    // What comes back from the server says that it knows the subscription before it.
    let inbox = client.new_inbox();
    let mut echoes = answer(client.subscribe(inbox.clone())).await?;
    answer(client.publish(inbox, "".into())).await?;
    answer(async { echoes.next().await.ok_or("the connection broke") }).await?;
    drop(echoes);
    missed(sink, "this server has no JetStream: only what is published while it is watched is seen")?;
    live(sink).await?;
    let mut dropped = 0;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            why = health.broken() => return Err(End::Away(why)),
            () = sink.closed() => return Err(End::Gone),
        };
        let Some(message) = message else { return Err(End::Away("the reading ended".to_owned())) };
        if health.dropped() > dropped {
            dropped = health.dropped();
            missed(sink, "events came faster than they were read")?;
        }
        sink.event(&message.payload).await.map_err(|Gone| End::Gone)?;
    }
}

/// By our own clock: only a stream that somebody else made keeps longer than is asked for.
fn ago(keep: Duration) -> Result<datetime::DateTime, End> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    datetime::from_nanos(now.saturating_sub(keep).as_nanos() as i128).map_err(away)
}

async fn answer<T, E: std::fmt::Display>(asking: impl Future<Output = Result<T, E>>) -> Result<T, End> {
    match timeout(ANSWER, asking).await {
        Ok(answer) => answer.map_err(away),
        Err(_) => Err(End::Away("no answer in time".to_owned())),
    }
}

async fn live(sink: &mut Sink) -> Result<(), End> {
    sink.live().await.map_err(|Gone| End::Gone)
}

fn missed(sink: &mut Sink, why: &str) -> Result<(), End> {
    sink.missed(why).map_err(|Gone| End::Gone)
}

fn away(error: impl std::fmt::Display) -> End {
    End::Away(reason(error))
}
