//! How a kept journey is unpacked, changed and packed again, and how it becomes a [`Journey`].

use super::{Entry, Pool, kept_mut};
use crate::{
    checkpoint::Checkpoint,
    id::CorrelationId,
    journey::{Journey, Merged, Sightings, packed},
    route::Route,
    tracker::index::NONE,
};

/// The sightings of the journey that was worked on last, unpacked: often the next checkpoint is of the same.
#[derive(Debug, Default)]
pub(in crate::tracker) struct InHand {
    /// Place and number of the journey; number 0 is of none.
    of: (u32, u64),
    sightings: Sightings,
    /// Its bytes as they are in the pool.
    bytes: Vec<u8>,
    /// Where each sighting starts among them.
    starts: Vec<usize>,
}

impl Pool {
    /// Unpacks the sightings of a journey, unless they are in hand already.
    pub(in crate::tracker) fn unpack(&self, place: u32, in_hand: &mut InHand) {
        let entry = self.get(place);
        if in_hand.of != (place, entry.number) {
            in_hand.of = (place, entry.number);
            self.unpack_entry(entry, in_hand);
        }
    }

    /// The same by its entry, and in any case.
    fn unpack_entry(&self, entry: &Entry, in_hand: &mut InHand) {
        self.blocks.read(entry.bytes, &mut in_hand.bytes);
        in_hand.sightings.clear();
        in_hand.starts.clear();
        let (front, mut rest) = in_hand.bytes.split_at(entry.front());
        let common = entry.common(front);
        loop {
            let start = in_hand.bytes.len() - rest.len();
            let Some(sighting) = packed::read(&mut rest, common) else { return };
            in_hand.starts.push(start);
            in_hand.sightings.push(sighting);
        }
    }

    /// The sightings of a journey, for readers.
    pub(in crate::tracker) fn sightings<'a>(&self, entry: &Entry, in_hand: &'a mut InHand) -> &'a Sightings {
        in_hand.of = (NONE, 0);
        self.unpack_entry(entry, in_hand);
        &in_hand.sightings
    }

    /// Adds a checkpoint to a journey, whose sightings are in hand before and after.
    pub(in crate::tracker) fn merge(
        &mut self,
        place: u32,
        in_hand: &mut InHand,
        checkpoint: Checkpoint,
        route: &Route,
    ) -> Merged {
        self.unpack(place, in_hand);
        let entry = kept_mut(&mut self.slots, place);
        let detailed = checkpoint.error.is_some() || checkpoint.within.is_some();
        if let Some(rare) = &mut entry.rare {
            in_hand.sightings.swap_details(&mut rare.details);
        }
        let trace_id = checkpoint.trace_id;
        let (merged, mut from) = in_hand.sightings.merge(checkpoint, route);
        if detailed || entry.rare.is_some() {
            in_hand.sightings.swap_details(&mut entry.rare_mut().details);
        }

        let bytes = &mut in_hand.bytes;
        if trace_id != 0 && !entry.has_trace_id {
            // From now on it stands in front, so everything is written again.
            bytes.truncate(entry.key.text_in_front());
            bytes.extend_from_slice(&trace_id.to_le_bytes());
            entry.has_trace_id = true;
            from = 0;
        }
        let common = entry.common(&bytes[..entry.front()]);
        let start = if from == 0 { Some(entry.front()) } else { in_hand.starts.get(from).copied() };
        bytes.truncate(start.unwrap_or(bytes.len()));
        let same = bytes.len();
        in_hand.starts.truncate(from);
        for sighting in &in_hand.sightings.all()[from..] {
            in_hand.starts.push(bytes.len());
            packed::write(sighting, common, bytes);
        }
        // The front may be new where all are.
        self.blocks.write(&mut entry.bytes, bytes, if from == 0 { 0 } else { same });
        merged
    }

    /// Lets somebody look at the sightings of a journey with their details.
    pub(in crate::tracker) fn with_details<R>(
        &mut self,
        place: u32,
        in_hand: &mut InHand,
        look: impl FnOnce(&Sightings) -> R,
    ) -> R {
        self.unpack(place, in_hand);
        match &mut self.get_mut(place).rare {
            Some(rare) => {
                in_hand.sightings.swap_details(&mut rare.details);
                let seen = look(&in_hand.sightings);
                in_hand.sightings.swap_details(&mut rare.details);
                seen
            }
            None => look(&in_hand.sightings),
        }
    }

    /// A kept journey as a whole.
    pub(in crate::tracker) fn journey(&self, entry: &Entry) -> Journey {
        let mut in_hand = InHand::default();
        self.unpack_entry(entry, &mut in_hand);
        let mut journey = Journey::new(entry.key.id(&in_hand.bytes), entry.route, entry.generation);
        fill(&mut journey, entry, &in_hand);
        journey
    }

    /// A journey whose sightings are in hand as a whole, in the memory of another where there is one.
    pub(in crate::tracker) fn copy_of(&self, place: u32, in_hand: &InHand, used: Option<Journey>) -> Journey {
        let entry = self.get(place);
        debug_assert_eq!(in_hand.of, (place, entry.number));
        let id = entry.key.id(&in_hand.bytes);
        let mut journey = match used {
            Some(mut used) => {
                (used.id, used.route, used.generation) = (id, entry.route, entry.generation);
                used
            }
            None => Journey::new(id, entry.route, entry.generation),
        };
        fill(&mut journey, entry, in_hand);
        journey
    }

    /// The id of a kept journey.
    pub(in crate::tracker) fn id(&self, entry: &Entry) -> CorrelationId {
        let mut front = Vec::new();
        if entry.key.text_in_front() > 0 {
            self.blocks.read(entry.bytes, &mut front);
        }
        entry.key.id(&front)
    }
}

impl InHand {
    /// The sightings in hand.
    pub(in crate::tracker) fn sightings(&self) -> &Sightings {
        &self.sightings
    }
}

fn fill(journey: &mut Journey, entry: &Entry, in_hand: &InHand) {
    let rare = entry.rare.as_deref();
    journey.status = entry.status;
    journey.reason = rare.and_then(|rare| rare.reason.clone());
    journey.late.clear();
    journey.late.extend_from_slice(rare.map_or(&[], |rare| &rare.late));
    journey.sightings.copy(&in_hand.sightings, rare.map_or(&[], |rare| &rare.details));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        checkpoint::{ClockKind, Outcome, Resolution, SourceIndex, StageError, Within, WithinKind},
        route::{Presence, StageIndex},
        routes::{RouteIndex, StageRef},
    };

    /// Any checkpoint of stages 0 to 3, now and then the same sighting as before with other details.
    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let at = prop_oneof![0_i64..5, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
        let outcome =
            prop::sample::select(vec![Outcome::Reached, Outcome::Reached, Outcome::Failed, Outcome::Cancelled]);
        let clock = prop::sample::select(vec![ClockKind::Process, ClockKind::Platform, ClockKind::Carried]);
        let resolution = prop::sample::select(vec![Resolution::Fine, Resolution::Millisecond, Resolution::Second]);
        let trace = prop_oneof![4 => Just(0_u128), 2 => Just(7), 1 => any::<u128>()];
        let span = prop_oneof![4 => Just(0_u64), 2 => 0_u64..3, 1 => any::<u64>()];
        let time = || prop_oneof![Just(0_u32), 0_u32..300, Just(u32::MAX)];
        let source = prop_oneof![2 => Just(0_u16), 1 => any::<u16>()];
        let rare = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
        (0_u16..4, at, (outcome, clock, resolution), (trace, span), (time(), time()), source, rare).prop_map(
            |(stage, at, (outcome, clock, resolution), (trace_id, span_id), (busy_us, idle_us), source, rare)| {
                let (carried, failed, within) = rare;
                let stage = StageRef { route: RouteIndex(0), stage: StageIndex(stage) };
                Checkpoint {
                    clock,
                    resolution,
                    source: SourceIndex(source),
                    outcome,
                    carried,
                    busy_us,
                    idle_us,
                    trace_id,
                    span_id,
                    error: failed.then(|| Box::new(StageError::new("io", &busy_us.to_string()))),
                    within: within.then(|| Box::new(vec![Within { kind: WithinKind::Db, count: 1, nanos: at as u64 }])),
                    ..Checkpoint::reached(CorrelationId::new("x").unwrap(), stage, at)
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_packed_journey_is_the_same_as_a_plain_one(
            steps in prop::collection::vec((0_usize..3, checkpoint(), any::<bool>()), 1..200),
            route in prop::sample::select(vec![Presence::Required, Presence::Repeatable(200)]),
        ) {
            let route = Route::builder("r")
                .stage("A", "a", |s| s)
                .stage("B", "b", |s| s.presence(route))
                .stage("C", "c", |s| s)
                .stage("D", "d", |s| s)
                .terminal("d")
                .build()
                .unwrap();
            // A UUID, a short text and a long one, whose bytes come before the sightings.
            let ids = ["01234567-89ab-cdef-0123-456789abcdef".to_owned(), "m".to_owned(), "long ".repeat(20)];
            let ids = ids.map(|id| CorrelationId::new(&id).unwrap());
            let mut pool = Pool::new(1);
            let mut in_hand = InHand::default();
            let mut plain: [Sightings; 3] = Default::default();
            for (at, checkpoint, look_elsewhere) in steps {
                let wanted = pool.wanted(RouteIndex(0), &ids[at]);
                let place = pool.find(wanted).unwrap_or_else(|| pool.insert(wanted, 1, checkpoint.at, 0));
                let (expected, _) = plain[at].merge(checkpoint.clone(), &route);
                prop_assert_eq!(pool.merge(place, &mut in_hand, checkpoint, &route), expected);
                prop_assert_eq!(in_hand.sightings().all(), plain[at].all());
                if look_elsewhere {
                    in_hand = InHand::default();
                }
                for (id, plain) in ids.iter().zip(&plain) {
                    let Some(place) = pool.find(pool.wanted(RouteIndex(0), id)) else { continue };
                    let journey = pool.journey(pool.get(place));
                    prop_assert_eq!(journey.id(), id);
                    prop_assert_eq!(journey.sightings.all(), plain.all());
                    prop_assert_eq!(journey.sightings.details(), plain.details());
                }
            }
            for id in &ids {
                if let Some(place) = pool.find(pool.wanted(RouteIndex(0), id)) {
                    pool.remove(place);
                    prop_assert_eq!(pool.find(pool.wanted(RouteIndex(0), id)), None);
                }
            }
            prop_assert_eq!(pool.iter().count(), 0);
        }
    }
}
