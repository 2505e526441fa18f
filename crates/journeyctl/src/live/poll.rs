//! Fresh figures every second, and at once when something else is asked for.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender},
    time::Duration,
};

use journey_core::view::{JourneyView, ListView, SummaryView};

use crate::{
    client::Client,
    commands::{LIST_PATH, SUMMARY_PATH, journey_path},
    error::{CliError, Exit},
    live::{
        app::{Ask, Data, LIST_LIMIT},
        terminal::News,
    },
};

/// How often figures are asked for.
const EVERY: Duration = Duration::from_secs(1);

/// Asks until nobody listens. Blocks; meant for a thread of its own.
pub(crate) fn poll(client: &Client, mut ask: Ask, asks: &Receiver<Ask>, news: &SyncSender<News>) {
    loop {
        if once(client, &ask, news).is_err() {
            return;
        }
        match asks.recv_timeout(EVERY) {
            Ok(newer) => ask = asks.try_iter().last().unwrap_or(newer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Nobody listens any more.
struct Gone;

fn once(client: &Client, ask: &Ask, news: &SyncSender<News>) -> Result<(), Gone> {
    let send = |data: Data| news.send(News::Data(data)).map_err(|_| Gone);
    match summary(client, ask) {
        Ok(summary) => send(Data::Summary(summary))?,
        Err(error) if error.passing || error.exit == Exit::Unexpected => return send(Data::Failed(error.message)),
        // A refusal or a wrong route does not go away by asking again.
        Err(error) => return news.send(News::Fatal(error)).map_err(|_| Gone),
    }
    match list(client, ask) {
        Ok(journeys) => send(Data::List { stuck_only: ask.stuck_only, journeys })?,
        Err(error) if error.passing || error.exit == Exit::Unexpected => return send(Data::Failed(error.message)),
        Err(error) => return news.send(News::Fatal(error)).map_err(|_| Gone),
    }
    if let Some((id, generation)) = &ask.open {
        let result = journey(client, id, *generation).map_err(|error| error.message);
        send(Data::Journey { id: id.clone(), generation: *generation, result })?;
    }
    Ok(())
}

fn summary(client: &Client, ask: &Ask) -> Result<Box<SummaryView>, CliError> {
    let mut query = vec![("window", ask.window.as_str())];
    query.extend(ask.route.as_deref().map(|route| ("route", route)));
    client.fetch(SUMMARY_PATH, &query, "routes").map(Box::new)
}

fn list(client: &Client, ask: &Ask) -> Result<Vec<journey_core::view::ListItemView>, CliError> {
    let limit = LIST_LIMIT.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(ask.stuck_only.then_some(("stuck", "true")));
    query.extend(ask.route.as_deref().map(|route| ("route", route)));
    query.extend(ask.stage.as_deref().map(|stage| ("stage", stage)));
    client.fetch::<ListView>(LIST_PATH, &query, "journeys").map(|list| list.journeys)
}

fn journey(client: &Client, id: &str, generation: u32) -> Result<Box<JourneyView>, CliError> {
    let number = generation.to_string();
    // A journey that only an event told of may come without its number.
    let query: Vec<(&str, &str)> = if generation > 0 { vec![("generation", &number)] } else { Vec::new() };
    client.fetch(&journey_path(id), &query, "correlationId").map(Box::new)
}
