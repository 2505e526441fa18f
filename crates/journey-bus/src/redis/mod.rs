//! Redis Streams: one stream of all events, trimmed by age and by number.
//!
//! | module | question it answers |
//! |---|---|
//! | `connect` | how is a connection made, with TLS and password? |
//! | `publish` | how does a batch go in, and what is trimmed with it? |
//! | `watch` | how are events read: what is kept first, then what comes? |

mod connect;
mod publish;
mod watch;

pub(crate) use self::{publish::Publisher, watch::watch};

/// The key of the stream of all events.
fn key(name: &str) -> String {
    format!("{name}:events")
}

/// The one field of an entry: the event as JSON.
const FIELD: &str = "event";
