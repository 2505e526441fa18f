//! NATS: a stream with 64 subjects, acknowledged one by one; without JetStream, whoever listens now.
//!
//! | module | question it answers |
//! |---|---|
//! | `connect` | how is a connection made, and when is it of no more use? |
//! | `stream` | in which stream are events kept, and what is it like? |
//! | `publish` | how does a batch go in, and what proves that it did? |
//! | `watch` | how are events read: what is kept first, then what comes? |

mod connect;
mod publish;
mod stream;
mod watch;

use std::{error::Error, sync::Arc};

use async_nats::jetstream::ErrorCode;
use journey_store::TraceId;

pub(crate) use self::{connect::credentials, publish::Publisher, watch::watch};
use crate::message::partition;

/// The subject of a trace's events. The partition is a number: no id and no type of an event is ever part of a subject.
fn subject(name: &str, trace: TraceId) -> String {
    format!("{name}.event.{}", partition(trace))
}

/// All subjects.
fn all_subjects(name: &str) -> String {
    format!("{name}.event.*")
}

/// What the JetStream API says, wherever in an error it stands.
fn api_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a async_nats::jetstream::Error> {
    let next = |error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> { (*error).source() };
    std::iter::successors(Some(error), next).find_map(|error| error.downcast_ref())
}

/// Whether there is no JetStream for us on this server.
fn is_without_jetstream(error: &async_nats::jetstream::Error) -> bool {
    [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT].contains(&error.error_code())
}

/// The text of a credentials file.
type Credentials = Option<Arc<str>>;
