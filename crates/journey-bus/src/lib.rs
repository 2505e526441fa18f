//! Journey events live: to Redis Streams or NATS and back, fire and forget, every loss counted.
//!
//! ```no_run
//! # use journey_bus::{LiveConfig, LivePublisher, LiveWatcher, Watched};
//! # use std::time::Duration;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let event: journey_store::Event = todo!();
//! let config = LiveConfig::parse("redis://:password@localhost:6379/0?keep=1h")?; // or `nats://localhost:4222`
//! let publisher = LivePublisher::start(config.clone())?;
//! publisher.publish(&event); // never waits
//!
//! let mut watch = LiveWatcher::start(config)?.watch(event.trace_id)?; // or `watch_all`
//! while let Some(told) = watch.next_within(Duration::from_secs(60)) {
//!     if let Watched::Event(event) = told {
//!         // the backlog of the last hour first, then what comes; each event once
//!     }
//! }
//! let account = publisher.shutdown(Duration::from_secs(5));
//! assert_eq!(account.offered, account.published + account.lost());
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - [`LivePublisher::publish`] never waits: without room the event is dropped. What waits is bounded in number and bytes.
//! - Every event offered is published, waiting or dropped by a reason that [`LiveAccount`] names. *Published* means that
//!   the server confirmed it: Redis answered the `XADD`, JetStream acknowledged. What has no answer is sent again over
//!   another connection, and only at the end counted as `unconfirmed`.
//! - Shutdown ends a quarter of a second after its deadline at the latest, whatever the server does.
//! - A watch gives what the server keeps, then what comes, each event once, and says where something may be missing.
//! - No id, type or other text of an event becomes a subject, a key or a header unchecked; passwords are never shown.
//! - No runtime is needed; what the clients themselves log is not seen by the application's subscriber.
//!
//! # What is not
//!
//! This is the live view, best effort; the store is the record.
//!
//! - A confirmed event is as safe as the server makes it. Redis without an append-only file forgets all at a restart; with
//!   `appendfsync everysec` up to a second at a crash. JetStream writes to disk every two minutes unless `sync_interval` is
//!   set: a killed server loses nothing, a machine without power may.
//! - Without JetStream, NATS keeps nothing: an event reaches who watches now ([`LiveState::Unkept`]), and *published*
//!   means that the server has read it.
//! - Events arrive in the order of the calls, but for those sent again. Watches recognize repeats within 65 536 events;
//!   other readers have to compare trace, instant, emitter and number.
//! - Trimming is by age, about: Redis trims whole nodes of a stream, and only when something is added. It also keeps at
//!   most about `max_events`, a stream that is made here in NATS at most `max_mib`; the oldest go first.
//! - A NATS stream that already has our subjects is used as it is. Redis Cluster is not known: give the address of the
//!   node that has the key. Of a NATS cluster the one address is used, so give a name that leads to all.
//!
//! # On the wire
//!
//! | | Redis | NATS |
//! |---|---|---|
//! | where | stream `journey:events` | subject `journey.event.<p>`, p = FNV-1a 32 of the trace id's hex digits % 64, in the stream `JOURNEY_EVENTS` |
//! | entry | field `event`: the event as JSON | the event as JSON; headers `journey-trace-id`, `correlation-id`, `Nats-Msg-Id` |
//! | kept | `MINID ~` by the server's clock with every event, `MAXLEN ~` with every batch | `max_age`, `max_bytes`, discard old |
//! | sent again | stored again, recognized by watches | recognized by the server within two minutes |
//!
//! Batches of up to 256 events, one at a time: while one is on its way the next one collects. A watch of one trace reads
//! the whole Redis stream, or one partition of 64 in NATS, and skips other traces before reading their JSON.
//!
//! | module | question it answers |
//! |---|---|
//! | `config`, `tls` | where do events go, and how? |
//! | `publisher` | what does an application call? |
//! | `message`, `queue` | what is written, what waits, what became of it? |
//! | `worker`, `link`, `state` | how does the thread keep a connection and send batch after batch? |
//! | `redis`, `nats` | how does each server take and give events? |
//! | `watch`, `seen` | how are events read, each once? |
//! | `quiet` | who does not see what the clients log? |

mod config;
mod link;
mod message;
#[cfg(feature = "nats")]
mod nats;
mod publisher;
mod queue;
mod quiet;
#[cfg(feature = "redis")]
mod redis;
mod seen;
mod state;
mod tls;
mod watch;
mod worker;

pub use self::{
    config::{ConfigError, LiveConfig},
    publisher::LivePublisher,
    queue::LiveAccount,
    state::LiveState,
    watch::{LiveWatcher, TooManyWatches, Watch, Watched},
};
