//! Between bus and agent: takes a message from the bus, stores it, tells the agent.

use std::sync::Arc;

use tracing::instrument;
use tracing_journey::JourneyHandle;

use super::{
    agent::Inbox,
    bus::Event,
    event::{self, Inbound},
    ledger::{End, Ledger},
    queue::{Place, Queue},
    store::{Store, StoreError},
};

/// How often a busy database is tried: far longer than any report takes.
const MAX_WRITES: u32 = 50;

/// Consumes messages of people.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) store: Store,
    pub(super) agent: Arc<Inbox>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) journey: JourneyHandle,
}

impl Gateway {
    /// Consumes until the bus closes.
    pub(super) fn run(&self, events: &Queue<Event>) {
        while let Some(event) = events.take() {
            if let Err(reason) = self.handle(&event) {
                self.journey.fail(&event.correlation_id, &reason);
                self.ledger.ended(&event.correlation_id, End::Failed);
            }
        }
    }

    fn handle(&self, event: &Event) -> Result<(), String> {
        let message = self.consume(event)?;
        self.store_with_retries(&message)?;
        let place = self.notify(&message)?;
        place.send(message);
        Ok(())
    }

    #[instrument(name = "event_consumed", skip_all, fields(correlation_id = %event.correlation_id), err)]
    fn consume(&self, event: &Event) -> Result<Inbound, String> {
        event::read(&event.payload)
    }

    fn store_with_retries(&self, message: &Inbound) -> Result<(), String> {
        for _ in 1..MAX_WRITES {
            match self.store(message) {
                Err(StoreError::Busy) => {}
                other => return other.map_err(|error| error.to_string()),
            }
        }
        self.store(message).map_err(|error| error.to_string())
    }

    #[instrument(name = "db_stored", skip_all, fields(correlation_id = %message.id), err)]
    fn store(&self, message: &Inbound) -> Result<(), StoreError> {
        self.store.insert(message)
    }

    /// The agent has a place for the message, which is filled after this stage.
    #[instrument(name = "agent_notified", skip_all, fields(correlation_id = %message.id), err)]
    fn notify(&self, message: &Inbound) -> Result<Place<Inbound>, String> {
        self.agent.reserve().ok_or_else(|| "the agent is gone".to_owned())
    }
}
