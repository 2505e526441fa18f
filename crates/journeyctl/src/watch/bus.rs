//! What is published to Redis or NATS?

use std::{sync::mpsc::SyncSender, thread, time::Duration};

use journey_bus::{LiveConfig, LiveWatcher, Watched};
use journey_store::{Event, EventStatus, TraceId};
use serde_json::json;

use super::{EVENT, INCOMPLETE};
use crate::{
    cli::WatchArgs,
    client::plain,
    error::{CliError, Exit},
    sse::{SseEvent, Update},
};

/// The name of an event that says that the server is not reached.
pub(super) const AWAY: &str = "away";

/// How long nothing may come before it is looked whether somebody still listens.
const QUIET: Duration = Duration::from_secs(1);

/// Begins to watch; gives where, without user and password.
///
/// # Errors
///
/// The address is none.
pub(super) fn start(address: &str, args: &WatchArgs, sender: SyncSender<Update>) -> Result<String, CliError> {
    let wrong = |why: String| CliError::new(Exit::Usage, plain(&why));
    let config = LiveConfig::parse(address).map_err(|error| wrong(error.to_string()))?;
    let place = config.place();
    let watcher = LiveWatcher::start(config).map_err(|error| wrong(error.to_string()))?;
    let trace: Option<TraceId> = args.id.as_deref().and_then(|id| id.parse().ok());
    let watch = match trace {
        Some(trace) => watcher.watch(trace),
        None => watcher.watch_all(),
    };
    let mut watch = watch.map_err(|error| CliError::new(Exit::Unexpected, error.to_string()))?;
    let args = args.clone();
    thread::spawn(move || {
        let mut is_open = false;
        loop {
            let told = match watch.next_within(QUIET) {
                None => continue,
                Some(Watched::Event(event)) if !wants(&args, trace, &event) => continue,
                Some(Watched::Event(event)) => serde_json::to_string(&event).ok().map(|data| (EVENT, data)),
                Some(Watched::Missed(reason)) => Some((INCOMPLETE, json!({ "reason": reason }).to_string())),
                Some(Watched::Away(reason)) => Some((AWAY, json!({ "reason": reason }).to_string())),
                Some(_) => None,
            };
            // Whatever is told first says whether the server is there.
            let is_away = told.as_ref().is_some_and(|(name, _)| *name == AWAY);
            let opens = !is_away && !std::mem::replace(&mut is_open, !is_away);
            let event =
                told.map(|(name, data)| Update::Event(SseEvent { name: name.to_owned(), data, id: String::new() }));
            for update in opens.then_some(Update::Connected).into_iter().chain(event) {
                if sender.send(update).is_err() {
                    return;
                }
            }
        }
    });
    Ok(place)
}

/// Whether an event is what was asked for; a server publishes all.
fn wants(args: &WatchArgs, trace: Option<TraceId>, event: &Event) -> bool {
    let filter = &args.filter;
    let is_type = |wanted: &String| {
        event.event_type == *wanted || (wanted.ends_with(':') && event.event_type.starts_with(wanted.as_str()))
    };
    let has_tag = |tag: &String| {
        tag.split_once('=').is_some_and(|(key, value)| event.tags.get(key).is_some_and(|known| known == value))
    };
    // Of a trace id, others do not even come here.
    let is_of = |id: &String| trace.is_some() || event.correlation_id.as_ref() == Some(id);
    args.id.as_ref().is_none_or(is_of)
        && (!filter.failed || event.status == EventStatus::Failed)
        && filter.event_type.as_ref().is_none_or(is_type)
        && filter.route.as_ref().is_none_or(|route| event.route.as_ref() == Some(route))
        && filter.tags.iter().all(has_tag)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use journey_store::fixture::Saga;

    use super::*;
    use crate::cli::{Cli, Command};

    fn wanted(args: &[&str]) -> usize {
        let Command::Watch(args) = Cli::try_parse_from([&["journey", "watch"], args].concat()).unwrap().command else {
            panic!("not a watch");
        };
        let trace = args.id.as_deref().and_then(|id| id.parse().ok());
        let events = Saga { fails_at: Some(9), ..Saga::default() }.events();
        events.iter().filter(|event| wants(&args, trace, event)).count()
    }

    #[test]
    fn events_are_chosen_as_an_endpoint_chooses_them() {
        assert_eq!(wanted(&[]), 30);
        assert_eq!(wanted(&["order-1042"]), 30);
        assert_eq!(wanted(&["order-1043"]), 0);
        assert_eq!(wanted(&["4bf92f3577b34da6a3ce929d0e0e4736"]), 30);
        assert_eq!(wanted(&["--failed"]), 3);
        assert_eq!(wanted(&["--type", "saga:"]), 8);
        assert_eq!(wanted(&["--type", "saga:compensated"]), 3);
        assert_eq!(wanted(&["--tag", "tenant=acme", "--route", "order"]), 30);
        assert_eq!(wanted(&["--tag", "tenant=other"]), 0);
        assert_eq!(wanted(&["--route", "message"]), 0);
    }
}
