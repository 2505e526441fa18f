//! The stream of events, read as `curl -N` reads it: a socket and lines.

use std::time::Duration;

use journey_core::Checkpoint;
use journey_tests::{
    http::EventStream,
    service::{Service, now},
    wait_for,
};

const STREAM: &str = "/api/v2/metrics/stream";
const KINDS: [&str; 3] = ["checkpoint", "journey", "stuck"];

fn record(service: &Service, id: &str, stages: usize) {
    let start = now() - 1_000_000_000;
    let instants: Vec<i64> = (0..stages as i64).map(|stage| start + stage * 10_000_000).collect();
    service.record(id, &instants);
}

/// Opens a stream and waits until events are made for it.
fn open(service: &Service, path: &str) -> EventStream {
    let stream = EventStream::open(service.addr(), path, None);
    wait_for("the endpoint reads the feed", || service.live.feed().wanted().then_some(()));
    stream
}

#[test]
fn every_checkpoint_and_the_finished_journey_arrive_in_order() {
    let service = Service::start();
    let mut stream = open(&service, STREAM);
    record(&service, "msg_1", 12);

    let mut stages = Vec::new();
    let journey = loop {
        let event = stream.next_of(&KINDS);
        match event.kind.as_str() {
            "checkpoint" => stages.push(event.json()["stage"].as_str().map(str::to_owned).unwrap_or_default()),
            _ => break event,
        }
    };
    let expected: Vec<String> = (0..12).map(|stage| format!("T{stage}")).collect();
    assert_eq!(stages, expected);
    assert_eq!(journey.kind, "journey");
    assert_eq!(journey.json()["correlationId"], "msg_1");
    assert_eq!(journey.json()["status"], "completed");
    assert_eq!(journey.json()["legs"].as_array().map(Vec::len), Some(11));
}

#[test]
fn a_filter_lets_only_its_journey_or_stage_through() {
    let service = Service::start();
    let mut of_one = open(&service, &format!("{STREAM}?correlationId=msg_2"));
    let mut of_stage = EventStream::open(service.addr(), &format!("{STREAM}?stage=T4"), None);
    for id in ["msg_1", "msg_2", "msg_3"] {
        record(&service, id, 12);
    }
    for _ in 0..13 {
        assert_eq!(of_one.next_of(&KINDS).json()["correlationId"], "msg_2");
    }
    for id in ["msg_1", "msg_2", "msg_3"] {
        let event = of_stage.next_of(&["checkpoint"]).json();
        assert_eq!((&event["stage"], &event["correlationId"]), (&"T4".into(), &id.into()));
    }
}

#[test]
fn a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let service = Service::start();
    // Somebody else reads all the time, so events go on being made.
    let _other = open(&service, STREAM);
    let mut stream = open(&service, STREAM);
    record(&service, "msg_1", 3);
    let first: Vec<_> = (0..2).map(|_| stream.next_of(&KINDS)).collect();
    drop(stream);
    record(&service, "msg_1", 0);
    record(&service, "msg_2", 2);

    let mut stream = EventStream::open(service.addr(), STREAM, Some(&first[1].id));
    let rest: Vec<_> = (0..3).map(|_| stream.next_of(&KINDS)).collect();
    let seen: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|event| format!("{} {}", event.json()["correlationId"], event.json()["stage"]).replace('"', ""))
        .collect();
    assert_eq!(seen, ["msg_1 T0", "msg_1 T1", "msg_1 T2", "msg_2 T0", "msg_2 T1"]);
}

#[test]
fn readers_that_stopped_reading_slow_nobody_down_and_are_told_what_they_missed() {
    let service = Service::start();
    let stopped: Vec<_> = (0..10).map(|_| open(&service, STREAM)).collect();
    let mut reading = open(&service, STREAM);

    // Far more than the ring and the socket buffers hold.
    let id = journey_core::CorrelationId::new("flood").expect("an id");
    let stage = service.live.routes().stages_named("T4")[0];
    let start = now();
    for batch in 0..100_i64 {
        service.live.write(|tracker, now| {
            for attempt in 0..500 {
                let at = start + batch * 1_000_000 + attempt * 1_000;
                let id = journey_core::CorrelationId::new(&format!("{id}_{batch}_{attempt}")).expect("an id");
                tracker.record(Checkpoint::reached(id, stage, at), now).expect("recorded");
            }
        });
    }
    record(&service, "last", 12);

    // The one that reads reaches the end, whatever it missed in between was told.
    let mut told = 0;
    loop {
        let event = reading.next_of(&["lagged", "journey"]);
        if event.kind == "journey" {
            assert_eq!(event.json()["correlationId"], "last");
            break;
        }
        told += 1;
    }
    assert!(service.live.feed().head() > 50_000);
    // Whether the reader was ever too slow depends on the machine; a stopped one always is.
    let _ = told;
    let mut late = stopped.into_iter().next().expect("ten of them");
    late.set_timeout(Duration::from_secs(30));
    let event = late.next_of(&["lagged"]);
    let missed: u64 = event.data.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a count");
    assert!(missed > 0, "{event:?}");
}
