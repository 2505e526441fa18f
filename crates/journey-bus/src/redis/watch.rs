//! How are events read: what is kept first, then what comes?

use std::{collections::HashMap, fmt, time::Duration};

use redis::{RedisResult, Value, aio::MultiplexedConnection, from_redis_value, streams::StreamReadReply};
use tokio::time::{Instant, timeout};

use super::{FIELD, connect::connect, key};
use crate::{
    link::{CONNECT, Target},
    state::reason,
    watch::{Gone, Sink},
    worker::pauses,
};

/// Entries per read.
const PAGE: usize = 256;
/// How long a read waits for the next event: no answer long after that is a server that hangs.
const BLOCK: Duration = Duration::from_secs(2);
/// How long the server may take beyond that.
const ANSWER: Duration = Duration::from_secs(5);
/// A reader that took longer for a page may have been overtaken by the trimming.
const SLOW: Duration = Duration::from_secs(1);

/// Where in the stream: the id of an entry, milliseconds of the server and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Id(u64, u64);

/// What the server says of the stream; nothing but zeros where there is none. Servers before 7.0 say only the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Info {
    /// The greatest id ever given.
    newest: Id,
    /// The least id that is there.
    oldest: Id,
    /// The greatest id that was trimmed away.
    trimmed: Id,
}

/// Reads one stream for one watch.
struct Reader<'a> {
    connection: MultiplexedConnection,
    key: &'a str,
    sink: &'a mut Sink,
}

/// Why reading ended.
enum End {
    Away(String),
    Gone,
}

/// Gives everything that is kept, then everything that comes, until nobody wants it.
pub(crate) async fn watch(target: &Target, sink: &mut Sink) {
    let key = key(&target.config.name);
    let mut position = None;
    let mut between = pauses();
    loop {
        let connected = timeout(CONNECT, connect(target)).await;
        let end = match connected.unwrap_or_else(|_| Err(format!("no connection within {CONNECT:?}"))) {
            Ok(connection) => {
                between = pauses();
                let mut reader = Reader { connection, key: &key, sink };
                reader.read(target.config.keep, &mut position).await
            }
            Err(why) => End::Away(why),
        };
        let End::Away(why) = end else { return };
        if sink.away(why).await.is_err() || sink.pause(between.next().unwrap_or(SLOW)).await.is_err() {
            return;
        }
    }
}

impl Reader<'_> {
    async fn read(&mut self, keep: Duration, position: &mut Option<Id>) -> End {
        let mut last = match *position {
            Some(last) => last,
            None => match self.oldest(keep).await {
                Ok(oldest) => oldest,
                Err(end) => return end,
            },
        };
        // What was read before the connection broke is compared with what is there now.
        let mut is_resumed = position.is_some();
        // Behind: what comes next may have been trimmed away before it was read.
        let mut is_behind = true;
        loop {
            let page = if is_behind { self.page(&mut last, is_resumed).await } else { self.next_page(last).await };
            let page = match page {
                Ok(page) => page,
                Err(end) => return end,
            };
            (is_resumed, is_behind) = (false, page.len() == PAGE);
            let started = Instant::now();
            for (id, body) in page {
                if self.sink.event(&body).await.is_err() {
                    return End::Gone;
                }
                last = id;
                *position = Some(last);
            }
            if !is_behind && self.sink.live().await.is_err() {
                return End::Gone;
            }
            is_behind |= started.elapsed() > SLOW;
        }
    }

    /// Where the events that are kept begin, by the server's clock. What is older waits to be trimmed.
    async fn oldest(&mut self, keep: Duration) -> Result<Id, End> {
        let command = redis::cmd("TIME");
        let (seconds, micros): (u64, u64) = answer(ANSWER, command.query_async(&mut self.connection)).await?;
        let now = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        Ok(Id(now.saturating_sub(keep.as_millis() as u64), 0))
    }

    /// What follows `last` now, and whether all of what followed is still there: both at one instant of the server.
    async fn page(&mut self, last: &mut Id, is_resumed: bool) -> Result<Vec<(Id, Vec<u8>)>, End> {
        let mut both = redis::pipe();
        both.atomic().cmd("XINFO").arg("STREAM").arg(self.key);
        both.cmd("XRANGE").arg(self.key).arg(format!("({last}")).arg("+").arg("COUNT").arg(PAGE).ignore_errors();
        let answers: Vec<RedisResult<Value>> = answer(ANSWER, both.query_async(&mut self.connection)).await?;
        let Ok([info, page]) = <[_; 2]>::try_from(answers) else {
            return Err(End::Away("the number of answers is wrong".to_owned()));
        };
        let info = info.ok().map(Info::of).unwrap_or_default();
        if is_resumed && !info.knows(*last) {
            self.missed("the server lost events that it had")?;
            // It is another stream now, read from its beginning; what repeats is recognized.
            *last = Id::default();
            return Box::pin(self.page(last, false)).await;
        }
        if info.trimmed > *last {
            self.missed("older events were trimmed away before they were read")?;
        }
        let entries: Vec<(String, Vec<Vec<u8>>)> = page.and_then(|page| Ok(from_redis_value(page)?)).map_err(away)?;
        entries.into_iter().map(|(id, fields)| Ok((Id::read(&id)?, body(fields)))).collect()
    }

    /// What comes after `last`, perhaps nothing for a while.
    async fn next_page(&mut self, last: Id) -> Result<Vec<(Id, Vec<u8>)>, End> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(PAGE).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(self.key).arg(last.to_string());
        let reading = answer(BLOCK + ANSWER, read.query_async::<Option<StreamReadReply>>(&mut self.connection));
        let reply = tokio::select! {
            reply = reading => reply?,
            () = self.sink.closed() => return Err(End::Gone),
        };
        let entries = reply.unwrap_or_default().keys.into_iter().flat_map(|key| key.ids);
        let read = |mut entry: redis::streams::StreamId| {
            let body = entry.map.remove(FIELD).and_then(|value| from_redis_value(value).ok());
            Ok((Id::read(&entry.id)?, body.unwrap_or_default()))
        };
        entries.map(read).collect()
    }

    fn missed(&mut self, why: &str) -> Result<(), End> {
        self.sink.missed(why).map_err(|Gone| End::Gone)
    }
}

impl Id {
    fn read(text: &str) -> Result<Self, End> {
        let parts = text.split_once('-').and_then(|(millis, n)| Some(Self(millis.parse().ok()?, n.parse().ok()?)));
        parts.ok_or_else(|| End::Away(format!("`{}` is no id of an entry", reason(text))))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl Info {
    fn of(value: Value) -> Self {
        let fields: HashMap<String, Value> = from_redis_value(value).unwrap_or_default();
        let id = |name: &str| {
            let text = fields.get(name).and_then(|value| redis::from_redis_value_ref::<String>(value).ok());
            text.and_then(|text| Id::read(&text).ok()).unwrap_or_default()
        };
        Self {
            newest: id("last-generated-id"),
            oldest: id("recorded-first-entry-id"),
            trimmed: id("max-deleted-entry-id"),
        }
    }

    /// Whether this is the stream that an entry was read from: the entry is there, or was trimmed away.
    fn knows(&self, read: Id) -> bool {
        read <= self.newest && (self.oldest <= read || read <= self.trimmed)
    }
}

/// The event among the fields of an entry; nothing where somebody else wrote the entry.
fn body(fields: Vec<Vec<u8>>) -> Vec<u8> {
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if name == FIELD.as_bytes() {
            return value;
        }
    }
    Vec::new()
}

async fn answer<T>(limit: Duration, asking: impl Future<Output = RedisResult<T>>) -> Result<T, End> {
    match timeout(limit, asking).await {
        Ok(answer) => answer.map_err(away),
        Err(_) => Err(End::Away("no answer in time".to_owned())),
    }
}

fn away(error: impl fmt::Display) -> End {
    End::Away(reason(error))
}
