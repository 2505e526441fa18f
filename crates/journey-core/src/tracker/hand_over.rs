//! What is told to those who want to know: events, checkpoints and finished journeys, each taken once.

use super::{Recorded, Tracker};
use crate::{
    checkpoint::Outcome,
    feed::{CheckpointEvent, FeedEvent},
    journey::Journey,
    route::StageIndex,
    routes::StageRef,
    time::{millis, rfc3339},
};

/// Journeys that came back and are kept for their memory, and the most sightings each may have room for.
const MOST_USED: usize = 64;
const MOST_ROOM_OF_USED: usize = 64;

impl Tracker {
    /// Whether the events of the next writes are wanted.
    pub fn collect_events(&mut self, wanted: bool) {
        self.events_wanted = wanted;
    }

    /// Takes the events since the last call.
    pub fn take_events(&mut self) -> Vec<FeedEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether the checkpoints of the next writes are wanted, each with its journey.
    pub fn collect_recorded(&mut self, wanted: bool) {
        self.recorded_wanted = wanted;
    }

    /// Takes the checkpoints that became part of a journey since the last call.
    pub fn take_recorded(&mut self) -> Vec<Recorded> {
        std::mem::take(&mut self.recorded)
    }

    /// Takes the journeys that were finished since the last call, each once.
    pub fn take_finished(&mut self) -> Vec<Journey> {
        std::mem::take(&mut self.finished)
    }

    /// The same for one who gives back what was taken before: then nothing is allocated for a journey. `journeys` are the
    /// used ones before and the finished ones after.
    pub fn exchange_finished(&mut self, journeys: &mut Vec<Journey>) {
        let room = MOST_USED - self.used.len();
        journeys.retain(|journey| journey.room() <= MOST_ROOM_OF_USED);
        journeys.truncate(room);
        self.used.append(journeys);
        std::mem::swap(&mut self.finished, journeys);
    }

    /// Reports a checkpoint of the journey in hand.
    pub(super) fn report_checkpoint(
        &mut self,
        place: u32,
        stage: StageIndex,
        outcome: Outcome,
        at: i64,
        service: &str,
    ) {
        let entry = self.pool.get(place);
        let texts = self.routes.stage_texts(StageRef { route: entry.route, stage });
        let declared = self.routes.get(entry.route);
        let leg = declared.legs().iter().find(|leg| leg.to == stage);
        let leg =
            leg.and_then(|leg| Some((leg.name.clone(), self.in_hand.sightings().between(leg.from, leg.to)?.nanos)));
        let event = CheckpointEvent {
            correlation_id: self.pool.id(entry).as_str().to_owned(),
            generation: entry.generation,
            route: declared.name().to_owned(),
            stage: texts.id,
            name: texts.name,
            outcome: outcome.as_str().to_owned(),
            at: rfc3339(at),
            service: service.to_owned(),
            leg_ms: leg.as_ref().map(|(_, nanos)| millis(*nanos)),
            leg: leg.map(|(name, _)| name),
        };
        self.events.push(FeedEvent::Checkpoint(event));
    }
}
