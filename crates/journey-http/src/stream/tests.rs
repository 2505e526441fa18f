use std::time::Duration;

use axum::body::Body;
use http::Request;
use journey_core::Live;
use serde_json::Value;

use crate::{
    HttpConfig,
    testing::{Endpoint, Reader, SentEvent as Event, WHOLE, live, record, run},
};

impl Reader {
    async fn open(endpoint: &Endpoint, query: &str, last_event_id: Option<&str>) -> Self {
        Self::open_path(endpoint, &format!("/api/v2/metrics/stream{query}"), last_event_id).await
    }
}

fn json(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

fn seq(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn stages(live: &Live, number: u32) {
    record(live, &format!("msg_{number}"), &[("T0", i64::from(number)), ("T1", i64::from(number) + 5)]);
}

#[test]
fn events_come_in_order_with_ids_after_an_id_without_data() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut reader = Reader::open(&endpoint, "", None).await;
        assert_eq!(reader.block().await.unwrap().lines().next(), Some("retry: 3000"));
        record(&live, "msg_1", &WHOLE[..11]);
        record(&live, "msg_1", &WHOLE[11..]);
        let mut seen = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..13 {
            let event = reader.next().await;
            let data = json(&event);
            assert_eq!(data["correlationId"], "msg_1");
            seen.push(format!("{} {}", event.kind, data["stage"].as_str().unwrap_or("-")));
            ids.push(seq(&event.id.unwrap()));
        }
        let expected: Vec<_> = WHOLE.iter().map(|(stage, _)| format!("checkpoint {stage}")).collect();
        assert_eq!((&seen[..12], seen[12].as_str()), (&expected[..], "journey -"));
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    });
}

#[test]
fn filters_let_through_what_was_asked_for() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut by_stage = Reader::open(&endpoint, "?stage=plugin_received", None).await;
        let mut by_id = Reader::open(&endpoint, "?correlationId=msg_2&route=message", None).await;
        by_stage.hello().await;
        by_id.hello().await;
        stages(&live, 1);
        stages(&live, 2);
        assert_eq!(json(&by_stage.next().await)["correlationId"], "msg_1");
        assert_eq!(json(&by_stage.next().await)["stage"], "T1");
        let seen = [json(&by_id.next().await), json(&by_id.next().await)];
        assert!(seen.iter().all(|event| event["correlationId"] == "msg_2"), "{seen:?}");
    });
    for (query, detail) in [
        ("?route=nope", "`message`"),
        ("?stage=nope", "`T4` or `db_stored`"),
        ("?correlationId=", "empty"),
        ("?correlation=x", "is not a parameter"),
    ] {
        let answer = endpoint.get(&format!("/api/v2/metrics/stream{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{}", answer.text());
    }
}

#[test]
fn a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut first = Reader::open(&endpoint, "", None).await;
        first.hello().await;
        stages(&live, 1);
        let last = first.next().await.id.unwrap();
        drop(first);
        // Nobody is connected now, and still nothing of this is lost.
        stages(&live, 2);
        let mut second = Reader::open(&endpoint, "", Some(&last)).await;
        assert_eq!(second.hello().await, last);
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(seq(&second.next().await.id.unwrap()));
        }
        assert_eq!(got, [seq(&last) + 1, seq(&last) + 2, seq(&last) + 3]);
    });
}

#[test]
fn a_client_that_cannot_go_on_where_it_was_is_told_so() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut reader = Reader::open(&endpoint, "", None).await;
        let id = reader.hello().await;
        let nonce = id.split_once('-').unwrap().0.to_owned();
        // More than the ring holds.
        for number in 0..2_200 {
            stages(&live, number);
        }
        let future = format!("{nonce}-99999999");
        for (last, reason) in [
            (id.as_str(), "too old"),
            ("0123456789abcdef-7", "earlier process"),
            (future.as_str(), "not one of this endpoint"),
            ("nonsense", "not one of this endpoint"),
            ("", "not one of this endpoint"),
            ("a-b-c", "not one of this endpoint"),
        ] {
            let mut back = Reader::open(&endpoint, "", Some(last)).await;
            let hello = back.hello().await;
            assert_eq!(seq(&hello), live.feed().head(), "{last}");
            let reset = back.next().await;
            assert_eq!((reset.kind.as_str(), reset.id.as_ref()), ("reset", None), "{last}");
            assert!(json(&reset)["reason"].as_str().unwrap().contains(reason), "{last}: {}", reset.data);
        }
    });
}

#[test]
fn a_slow_client_is_told_how_many_events_it_missed() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut reader = Reader::open(&endpoint, "", None).await;
        let start = seq(&reader.hello().await);
        for number in 0..2_500 {
            stages(&live, number);
        }
        let head = live.feed().head();
        let lagged = reader.next().await;
        assert_eq!(lagged.kind, "lagged");
        let missed = json(&lagged)["count"].as_u64().unwrap();
        let first = seq(&reader.next().await.id.unwrap());
        assert_eq!(first, start + missed + 1);
        let mut last = first;
        while last < head {
            let event = reader.next().await;
            assert_eq!(seq(event.id.as_ref().unwrap()), last + 1, "{event:?}");
            last += 1;
        }
    });
    let view = endpoint.get("/api/v2/metrics/self").json();
    assert!(view["parts"]["http"]["eventsLagged"].as_u64().unwrap() > 0);
}

#[test]
fn a_quiet_stream_says_that_it_is_alive_and_keeps_its_place() {
    let live = live();
    let endpoint = Endpoint::with(&live, HttpConfig { heartbeat: Duration::from_millis(20), ..HttpConfig::default() });
    run(async {
        let mut reader = Reader::open(&endpoint, "?correlationId=never", None).await;
        let hello = reader.hello().await;
        stages(&live, 1);
        // The filter lets nothing through, but the id moves on.
        let moved = loop {
            let block = reader.block().await.unwrap();
            if let Some(id) = block.strip_suffix("\n: heartbeat").or_else(|| block.strip_prefix(": heartbeat\n")) {
                let id = id.trim().strip_prefix("id: ").unwrap().to_owned();
                if id != hello {
                    break id;
                }
            }
        };
        assert_eq!(seq(&moved), live.feed().head());
        let beat = loop {
            let event = reader.event().await.unwrap();
            if event.kind == "heartbeat" {
                break event;
            }
        };
        assert_eq!(beat.id, None);
        assert!(json(&beat)["at"].as_str().unwrap().ends_with('Z'));
    });
}

#[test]
fn hostile_ids_cannot_break_out_of_an_event() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut reader = Reader::open(&endpoint, "", None).await;
        reader.hello().await;
        let id = "x\u{2028}event: reset data: <script>\"\\";
        record(&live, id, &[("T0", 0)]);
        let event = reader.next().await;
        assert_eq!(event.kind, "checkpoint");
        assert!(!event.data.contains('<'));
        assert_eq!(json(&event)["correlationId"], id);
    });
}

#[test]
fn there_are_only_so_many_places_and_each_is_given_back() {
    let live = live();
    let endpoint = Endpoint::with(&live, HttpConfig { max_streams: 2, ..HttpConfig::default() });
    run(async {
        let first = Reader::open(&endpoint, "", None).await;
        let _second = Reader::open(&endpoint, "", None).await;
        let request =
            || Request::get("/api/v2/metrics/stream").header("host", "localhost").body(Body::empty()).unwrap();
        let refused = endpoint.send(request()).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        drop(first);
        assert_eq!(endpoint.send(request()).await.status(), 200);
    });
}

#[test]
fn nobody_pays_for_a_stream_that_nobody_follows() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    assert_eq!(endpoint.ask("HEAD", "/api/v2/metrics/stream", &[]).status, 200);
    assert!(!live.feed().wanted());
    let before = live.feed().head();
    stages(&live, 1);
    assert_eq!(live.feed().head(), before);
}

#[test]
fn many_readers_of_one_event_share_its_text() {
    let live = live();
    let endpoint = Endpoint::new(&live);
    run(async {
        let mut readers = Vec::new();
        for _ in 0..100 {
            readers.push(Reader::open(&endpoint, "", None).await);
        }
        for reader in &mut readers {
            reader.hello().await;
        }
        stages(&live, 1);
        let mut seen = Vec::new();
        for reader in &mut readers {
            seen.push(reader.next().await);
        }
        assert!(seen.iter().all(|event| *event == seen[0] && event.kind == "checkpoint"));
    });
}
