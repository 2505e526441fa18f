//! In which stream are events kept, and what is it like?

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{
        self, Context,
        context::{ContextBuilder, CreateStreamErrorKind, GetStreamByNameErrorKind},
        stream::{Config, DiscardPolicy, StorageType, Stream},
    },
};

use super::{all_subjects, api_error, is_without_jetstream};
use crate::{config::LiveConfig, state::reason};

/// How long an acknowledgement is waited for; ours comes before.
const ACK: Duration = Duration::from_secs(10);
/// The same event sent again within this is stored once. The server holds these ids in memory.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The JetStream of a server, and the stream of our subjects; `None` where there is no JetStream.
///
/// A stream that is there already is used as it is, whatever its name. Otherwise one is made: as `JOURNEY_EVENTS`, in
/// files, for so long and so many bytes as configured, the oldest dropped first.
pub(super) async fn stream(client: &Client, config: &LiveConfig) -> Result<Option<(Context, Stream)>, String> {
    if !client.server_info().jetstream {
        return Ok(None);
    }
    let jetstream: Context = ContextBuilder::new().timeout(ACK).build(client.clone());
    let subjects = all_subjects(&config.name);
    let name = match jetstream.stream_by_subject(subjects.as_str()).await {
        Ok(name) => name,
        Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => {
            return match jetstream.create_stream(settings(config)).await {
                Ok(stream) => Ok(Some((jetstream, stream))),
                Err(error) => match error.kind() {
                    CreateStreamErrorKind::JetStream(api) if is_without_jetstream(&api) => Ok(None),
                    _ => Err(reason(format!("a stream for `{subjects}` cannot be made: {error}"))),
                },
            };
        }
        Err(error) if api_error(&error).is_some_and(is_without_jetstream) => return Ok(None),
        Err(error) => return Err(reason(format!("the stream of `{subjects}` cannot be found: {error}"))),
    };
    let stream = jetstream.get_stream(name).await.map_err(reason)?;
    Ok(Some((jetstream, stream)))
}

fn settings(config: &LiveConfig) -> jetstream::stream::Config {
    Config {
        name: format!("{}_EVENTS", config.name.to_uppercase()),
        description: Some("journey events of the last time, for who watches".to_owned()),
        subjects: vec![all_subjects(&config.name)],
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_age: config.keep,
        max_bytes: (config.max_mib as i64) << 20,
        duplicate_window: DUPLICATE_WINDOW.min(config.keep),
        num_replicas: 1,
        ..Config::default()
    }
}
