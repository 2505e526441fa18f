//! Any order and any duplication of the same events gives the same answers, and nothing breaks on any events.

use std::collections::HashSet;

use journey_store::{Event, EventStatus, SpanId, TraceId, TraceQuery, TraceView, fixture::Saga, why};
use proptest::prelude::*;
use serde_json::json;

/// A small generator: what fails is told by its seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn shuffle<T>(&mut self, entries: &mut [T]) {
        for index in (1..entries.len()).rev() {
            entries.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

const TYPES: [&str; 14] = [
    "workflow:started",
    "workflow:completed",
    "workflow:failed",
    "stage:started",
    "stage:completed",
    "stage:failed",
    "saga:compensating",
    "saga:compensated",
    "saga:compensation_failed",
    "ai:decision",
    "cache:miss",
    "stage:resize:started",
    "",
    ":",
];

/// Hostile but small: few spans, so that parents are missing, circular and shared.
fn hostile(random: &mut Random) -> Vec<Event> {
    let count = random.below(40);
    (0..count)
        .map(|_| {
            let trace = if random.below(20) == 0 { 2 } else { 1 };
            let span = SpanId::new(1 + random.below(8)).unwrap();
            let kind = TYPES[random.below(TYPES.len() as u64) as usize];
            let mut event = Event::new(TraceId::new(trace).unwrap(), span, kind, random.below(12) as i64 * 1_000_000);
            event.parent_span_id = SpanId::new(random.below(10));
            // Few numbers, so that two different events share a name now and then.
            event.emitter = random.below(2);
            event.seq = random.below(30);
            event.status = [EventStatus::Success, EventStatus::Failed, EventStatus::Pending][random.below(3) as usize];
            event.duration = (random.below(2) == 0).then(|| random.below(20) as i64 * 1_000_000 - 2_000_000);
            event.correlation_id = (random.below(3) == 0).then(|| format!("c{}", random.below(2)));
            event.data = match random.below(5) {
                0 => json!({"name": format!("n{}", random.below(3))}),
                1 => json!({"compensates": format!("{:016x}", random.below(10)), "name": "undo"}),
                2 => json!({"error": {"type": format!("E{}", random.below(2))}, "stage": "T4", "order_id": random.below(3)}),
                3 => json!({"decision": "d", "chosen": random.below(2), "compensable": false}),
                _ => json!({}),
            }
            .as_object()
            .cloned()
            .unwrap();
            event
        })
        .collect()
}

/// Everything that can be asked.
fn answers(events: Vec<Event>) -> String {
    let query = TraceQuery::new(events);
    let view = serde_json::to_string(&TraceView::of(&query, Some(5_000_000_000), false)).unwrap();
    let why = serde_json::to_string(&why(&query)).unwrap();
    let decisions = query.decisions();
    format!("{view}\n{why}\n{:?}\n{decisions:?}", query.nodes())
}

fn check_shape(events: &[Event]) -> Result<(), TestCaseError> {
    let query = TraceQuery::of(events);
    let told: usize = query.nodes().iter().map(|node| query.events_of(node).count()).sum();
    prop_assert_eq!(told, query.events().len(), "each event is in one node");
    let tree = query.tree();
    prop_assert_eq!(tree.nodes.len(), query.nodes().len(), "each node is in the tree");
    for (place, node) in tree.nodes.iter().enumerate() {
        let around = node.parent.map(|parent| &tree.nodes[parent as usize]);
        prop_assert!(
            node.parent.is_none_or(|parent| (parent as usize) < place),
            "a node comes after what is around it"
        );
        prop_assert_eq!(node.depth, around.map_or(0, |around| around.depth + 1));
    }
    for node in query.nodes() {
        let path = query.path(node);
        let known: HashSet<usize> = path.iter().map(|node| node.index).collect();
        prop_assert_eq!(known.len(), path.len(), "no path meets itself");
        prop_assert!(query.parent(path[0]).is_none());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn hostile_events_give_the_same_answers_in_any_order(seed in any::<u64>()) {
        let mut random = Random(seed);
        let events = hostile(&mut random);
        check_shape(&events)?;
        let mut others = events.clone();
        if !events.is_empty() {
            others.extend((0..random.below(20)).map(|_| events[random.below(events.len() as u64) as usize].clone()));
        }
        random.shuffle(&mut others);
        // Events of other traces are counted, and a copy of one counts again.
        let one_trace = |events: Vec<Event>| {
            let trace = TraceQuery::of(&events).trace_id();
            events.into_iter().filter(|event| Some(event.trace_id) == trace).collect::<Vec<_>>()
        };
        prop_assert_eq!(answers(one_trace(events)), answers(one_trace(others)), "seed {}", seed);
    }

    #[test]
    fn a_saga_tells_the_same_in_any_order(seed in any::<u64>()) {
        let mut random = Random(seed);
        let fails_at = 1 + random.below(12) as usize;
        let saga = Saga { fails_at: Some(fails_at), not_undone: vec![random.below(12) as usize], ..Saga::default() };
        let events = saga.events();
        let mut others = [events.clone(), events.clone()].concat();
        random.shuffle(&mut others);
        check_shape(&others)?;
        prop_assert_eq!(answers(events), answers(others), "seed {}", seed);
    }
}

#[test]
fn events_of_another_trace_are_left_out_and_said() {
    let mut events = Saga::default().events();
    let stranger = Saga { trace: 2, begin: events[5].timestamp, ..Saga::default() }.events();
    let alone = TraceQuery::of(&events).tree();
    events.extend(stranger);
    let query = TraceQuery::of(&events);
    assert_eq!((query.foreign_events(), query.tree()), (28, alone));
    assert!(why(&query).paragraph().ends_with("28 events of other traces were left out."));
}
