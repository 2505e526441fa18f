//! What an application's log says of live events: one line per change of state, and nothing of what the clients log.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use journey_bus::{LiveConfig, LivePublisher, LiveState};
use journey_tests::{PATIENCE, bus::Kind, events::numbered, wait_for};
use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
};

/// Everything that is logged anywhere in this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = format!("{} {}:", metadata.level(), metadata.target());
        event.record(&mut |field: &Field, value: &dyn Debug| {
            if field.name() == "message" {
                line.push_str(&format!(" {value:?}"));
            }
        });
        self.0.lock().unwrap().push(line);
    }
}

// One test: there is one global subscriber.
#[test]
fn an_outage_is_two_lines_however_many_events_it_costs() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines.clone())).unwrap();
    for kind in [Kind::Redis, Kind::Nats] {
        let Some(mut server) = kind.server() else { continue };
        let config = LiveConfig::parse(&server.address("", "?queue=100")).unwrap();
        let place = config.place();
        let publisher = LivePublisher::start(config).unwrap();
        wait_for("it is away", || matches!(publisher.state(), LiveState::Away(_)).then_some(()));
        numbered(7, 1..20_001).iter().for_each(|event| publisher.publish(event));
        server.start();
        assert!(publisher.flush(PATIENCE));
        server.kill();
        publisher.publish(&numbered(7, 1..2)[0]);
        wait_for("it is away again", || matches!(publisher.state(), LiveState::Away(_)).then_some(()));
        server.start();
        assert!(publisher.flush(PATIENCE));
        publisher.shutdown(PATIENCE);
        let said = std::mem::take(&mut *lines.0.lock().unwrap());
        let begins = |line: &str, with: &str| assert!(line.starts_with(with), "{line}");
        assert_eq!(said.len(), 4, "{said:#?}");
        begins(&said[0], &format!("WARN journey: live events wait, and are dropped when the queue is full: {place}: "));
        begins(&said[1], &format!("INFO journey: live events go to {place}"));
        begins(&said[2], "WARN journey: live events wait");
        begins(&said[3], "INFO journey: live events go to");
    }
}
