use std::{sync::Arc, time::Duration};

use journey_core::Live;
use journey_store::{
    Batch, Event, EventStatus, EventStore, MemoryStore, SpanId, SqliteConfig, SqliteStore, TraceId, fixture::Saga, wait,
};
use serde_json::{Value, json};

use super::StoredEvents;
use crate::{
    Health, HttpConfig,
    routes::{Endpoint as Kind, ROUTES},
    testing::{Answer, Endpoint, MILLI, START, concrete, live, until},
};

/// Of the saga.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

const HOUR: i64 = 3_600_000 * MILLI;

pub(super) fn endpoint(live: &Arc<Live>, stored: StoredEvents) -> Endpoint {
    Endpoint::with(live, HttpConfig { store: Some(stored), ..HttpConfig::default() })
}

pub(super) fn put(store: &dyn EventStore, events: Vec<Event>) {
    for events in events.chunks(10_000) {
        let now = events[0].timestamp;
        wait(store.put(Arc::new(Batch { events: events.to_vec(), account: None, now }))).unwrap();
    }
}

/// The order that failed at its ninth step, as it began a moment before now.
pub(super) fn saga() -> Saga {
    Saga { fails_at: Some(9), begin: START, ..Saga::default() }
}

pub(super) fn event(trace: u128, seq: u64, event_type: &str) -> Event {
    let (trace, span) = (TraceId::new(trace).unwrap(), SpanId::new(seq).unwrap());
    Event { seq, emitter: 5, ..Event::new(trace, span, event_type, START + seq as i64 * MILLI) }
}

fn with(store: impl EventStore + 'static) -> Endpoint {
    endpoint(&live(), StoredEvents::new(Arc::new(store)))
}

fn sagas() -> Endpoint {
    let store = MemoryStore::new();
    put(&store, saga().events());
    // The same order again, successfully, and one that it started.
    put(&store, Saga { fails_at: None, trace: 2, begin: START + MILLI * 5_000, ..saga() }.events());
    let mut child = event(3, 1, "workflow:started");
    child.parent_trace_id = TraceId::new(2);
    put(&store, vec![child]);
    with(store)
}

#[track_caller]
pub(super) fn assert_problem(answer: &Answer, status: u16, detail: &str) {
    let media = answer.header("content-type");
    assert_eq!((answer.status, media), (status, "application/problem+json"), "{}", answer.text());
    let problem = answer.json();
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem} has no `{detail}`");
}

fn list<'a>(json: &'a Value, key: &str) -> Vec<&'a str> {
    let (list, member) = key.split_once('.').unwrap();
    json[list].as_array().unwrap().iter().map(|item| item[member].as_str().unwrap()).collect()
}

#[test]
fn a_trace_is_shown_whole_by_its_own_id() {
    let trace = sagas().get(&format!("/api/v2/traces/{TRACE}")).json();
    assert_eq!((&trace["traceId"], &trace["status"]), (&json!(TRACE), &json!("failed")));
    assert_eq!((&trace["correlationId"], &trace["route"]), (&json!("order-1042"), &json!("order")));
    assert_eq!(trace["failure"]["step"]["label"], "capture_payment");
    assert_eq!(trace["events"].as_array().unwrap().len(), saga().events().len());
    assert_eq!(trace["compensations"]["stillInEffect"][0]["label"], "reserve_stock");
    assert_eq!(list(&trace, "decisions.chosen").len(), 2);
    assert!(trace["why"].as_str().unwrap().contains("capture_payment"), "{}", trace["why"]);
    assert_eq!(list(&trace, "otherTraces.status"), ["success"]);
    assert_eq!((&trace["children"], &trace["truncated"]), (&json!([]), &json!(false)));
    assert!(trace["omitted"].as_object().unwrap().values().all(|count| count == 0), "{}", trace["omitted"]);
}

#[test]
fn a_correlation_id_means_its_newest_trace() {
    let trace = sagas().get("/api/v2/traces/order-1042").json();
    assert_eq!((&trace["traceId"], &trace["status"]), (&json!(format!("{:032x}", 2)), &json!("success")));
    assert_eq!(list(&trace, "otherTraces.traceId"), [TRACE]);
    assert_eq!(list(&trace, "children.traceId"), [format!("{:032x}", 3)]);
    assert_eq!((&trace["failure"], &trace["children"][0]["status"]), (&Value::Null, &json!("pending")));
}

#[test]
fn what_the_store_does_not_have_is_said_with_what_was_looked_for() {
    let health = Arc::new(Health::new());
    let store = MemoryStore::new();
    put(&store, saga().events());
    let stored = StoredEvents::new(Arc::new(store));
    let config = HttpConfig { store: Some(stored), ..HttpConfig::default() };
    let endpoint = Endpoint::with_health(&live(), Arc::clone(&health), config);
    until(|| health.view(0).components.iter().all(|view| view.checks > 0));
    for suffix in ["", "/events"] {
        let answer = endpoint.get(&format!("/api/v2/traces/order-7{suffix}"));
        assert_problem(&answer, 404, "no trace of the correlation id `order-7`; it has events of 2023-11-14");
        assert_eq!(answer.json()["id"], "order-7");
        let answer = endpoint.get(&format!("/api/v2/traces/{:032x}{suffix}", 9));
        assert_problem(&answer, 404, "no trace with the id `00000000000000000000000000000009`");
    }
    assert_problem(&endpoint.get("/api/v2/traces/order-7/stream"), 404, "32 hex digits");
    assert_problem(&endpoint.get("/api/v2/traces/a/b"), 404, "written `%2F`");
    assert_problem(
        &endpoint.get("/api/v2/analytics/failure"),
        404,
        "`failure` is no kind of analytics (try `failures`",
    );
}

#[test]
fn hostile_ids_are_answered_and_repeated_without_harm() {
    let endpoint = sagas();
    let shown = |id: &str, status: u16| {
        for path in
            ["/api/v2/traces/ID", "/api/v2/traces/ID/events", "/api/v2/traces/ID/stream", "/api/v2/analytics/ID"]
        {
            let answer = endpoint.get(&path.replace("ID", id));
            let expected = if path.contains("analytics") && status == 400 { vec![400, 404] } else { vec![status] };
            assert!(expected.contains(&answer.status), "{path} {id}: {}", answer.text());
            let text = answer.text();
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(!text.contains(['<', '\u{1b}', '\u{0}']) && !detail.contains('\u{202e}'), "{text}");
        }
    };
    for id in
        ["%3Cscript%3E", "'%20OR%201=1--", "%E2%80%AEx", "..%2F..%2Fetc%2Fpasswd", "%2525", "e.0.1.1.2", "%25s%25n"]
    {
        shown(id, 404);
    }
    for id in ["%00", "%1b%5B31m", "a%0d%0aSet-Cookie:x", "%ff%fe", &"a".repeat(129), "%7f"] {
        shown(id, 400);
    }
    // Nearly a trace id, and the zero that is none.
    for id in [&"0".repeat(32), &"g".repeat(32), &TRACE[1..], &format!("{TRACE}0"), &format!("{TRACE}%20")] {
        shown(id, 404);
    }
    assert_eq!(endpoint.get(&format!("/api/v2/traces/{}", TRACE.to_uppercase())).status, 200);
}

#[test]
fn traces_are_filtered_and_paged() {
    let endpoint = sagas();
    let ids = |query: &str| -> Vec<u128> {
        let answer = endpoint.get(&format!("/api/v2/traces{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let traces = answer.json();
        list(&traces, "traces.traceId").iter().map(|id| u128::from_str_radix(id, 16).unwrap()).collect()
    };
    let failed = u128::from_str_radix(TRACE, 16).unwrap();
    assert_eq!(ids(""), [2, failed, 3]);
    assert_eq!(ids("?status=failed"), [failed]);
    assert_eq!(ids("?status=success&route=order"), [2]);
    assert_eq!(ids("?status=pending"), [3]);
    assert_eq!(ids("?type=saga:compensation_failed"), [failed]);
    assert_eq!(ids("?tag=tenant%3Dacme"), [2, failed]);
    assert_eq!(ids("?tag=tenant=acme&tag=tenant=other"), [0_u128; 0]);
    assert_eq!(ids("?minMs=100"), [2, failed]);
    // The clock stands 10 s after the start.
    assert_eq!(ids("?since=5s"), [2]);
    assert_eq!(ids("?until=2023-11-14T22:13:20.0005Z"), [failed]);
    assert_eq!(ids("?since=1700000005&until=1700000006"), [2]);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = endpoint.get(&format!("/api/v2/traces?limit=1&cursor={cursor}")).json();
        paged.extend(list(&page, "traces.traceId").iter().map(|id| u128::from_str_radix(id, 16).unwrap()));
        cursor = page["nextCursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((paged, cursor), (ids(""), String::new()));
}

#[test]
fn events_are_filtered_and_paged_and_of_the_last_day() {
    let store = MemoryStore::new();
    put(&store, saga().events());
    let old = Event { timestamp: START - 30 * HOUR, ..event(8, 1, "stage:failed") };
    put(&store, vec![old]);
    let endpoint = with(store);
    let types = |query: &str| -> Vec<String> {
        let answer = endpoint.get(&format!("/api/v2/events{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        list(&answer.json(), "events.eventType").into_iter().map(str::to_owned).collect()
    };
    assert_eq!(types(""), saga().events().iter().map(|event| event.event_type.clone()).collect::<Vec<_>>());
    assert_eq!(types("?since=7d").len(), saga().events().len() + 1);
    assert_eq!(types("?until=20h&since=7d"), ["stage:failed"]);
    // The day before that instant.
    assert_eq!(types("?until=2023-11-13T20:00:00Z"), ["stage:failed"]);
    assert_eq!(types("?type=workflow:"), ["workflow:started", "workflow:failed"]);
    assert_eq!(types("?status=failed"), ["stage:failed", "saga:compensation_failed", "workflow:failed"]);
    assert_eq!(types("?status=failed&type=stage:failed&route=order&tag=tenant=acme"), ["stage:failed"]);
    assert_eq!(types("?tag=tenant=other"), [""; 0]);
    let (mut paged, mut query) = (Vec::new(), "?limit=7".to_owned());
    loop {
        paged.extend(types(&query));
        match endpoint.get(&format!("/api/v2/events{query}")).json()["nextCursor"].as_str() {
            Some(cursor) => query = format!("?limit=7&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, types(""));
}

#[test]
fn parameters_that_cannot_be_used_are_named_with_a_right_one() {
    let endpoint = sagas();
    let long = "a".repeat(2_000);
    for (path, detail) in [
        ("traces?status=done", "`success`, `failed` or `pending`"),
        ("traces?since=yesterday", "`since` is `yesterday`, which is no instant (try `24h`, `2026-11-20T10:00:00Z`"),
        ("traces?until=", "`until` is ``"),
        ("traces?since=1h&until=2h", "`since` (2023-11-14T21:13:30.000Z) is not before `until`"),
        ("traces?since=1e400s", "`since`"),
        ("traces?type=saga:", "not a whole one (try `saga:compensated`)"),
        ("traces?type=a%20b", "(try `stage:failed`)"),
        ("traces?type=", "no event type"),
        (&format!("events?type={}", &long[..65]), "1 to 64"),
        ("traces?tag=tenant", "(try `order=1042`)"),
        ("traces?tag==x", "no tag"),
        ("events?tag=a=1&tag=b", "`tag` is `b`"),
        (&format!("events?{}", ["tag=a=1"; 17].join("&")), "17 times"),
        (&format!("traces?tag=a={}", &long[..255]), "at most 256 bytes"),
        ("traces?route=", "has 0 bytes"),
        (&format!("traces?route={}", &long[..257]), "has 257 bytes"),
        ("traces?minMs=-1", "`minMs`"),
        ("traces?minMs=NaN", "`minMs`"),
        ("traces?limit=0", "1 to 1000 (try `50`)"),
        ("events?limit=1001", "1 to 1000"),
        ("traces?limit=1&limit=2", "twice"),
        ("traces?cursor=%3Cb%3E", "is not a cursor of this list (pass `nextCursor` of the page before)"),
        ("events?cursor=t.0.00000000000000000000000000000001", "is not a cursor"),
        ("traces?cursor=e.0.1.1.00000000000000000000000000000001", "is not a cursor"),
        (&format!("traces?cursor={long}"), "2000 bytes"),
        ("traces/order-1042?limit=1001", "1 to 1000"),
        ("traces/order-1042/events?cursor=x", "is not a cursor"),
        ("traces/order-1042/stream?type=a", "takes no parameters"),
        ("events/stream?type=a%00", "no event type"),
        ("stats/daily?days=0", "1 to 366 (try `7`)"),
        ("stats/daily?days=367", "1 to 366"),
        ("stats/daily?leg=", "has 0 bytes"),
        ("analytics/failures?period=0s", "from `1s` on (try `1h`)"),
        ("analytics/failures?period=abc", "(try `1h`)"),
        ("analytics/stages?day=1", "`day` is not a parameter of `/api/v2/analytics/{kind}`"),
    ] {
        assert_problem(&endpoint.get(&format!("/api/v2/{path}")), 400, detail);
    }
}

#[test]
fn a_trace_of_a_hundred_thousand_events_is_shown_in_part_and_paged_whole() {
    const EVENTS: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteConfig::new(folder.path())).unwrap();
    let events: Vec<_> = (1..=EVENTS).map(|seq| event(1, seq, "stage:completed")).collect();
    put(&store, events);
    let endpoint = endpoint(&live(), StoredEvents::new(Arc::new(store)).with_timeouts(MINUTE, MINUTE));
    let path = format!("/api/v2/traces/{:032x}", 1);
    let trace = endpoint.get(&path).json();
    assert_eq!(trace["events"].as_array().unwrap().len(), 1_000);
    assert_eq!(
        (&trace["omitted"]["events"], &trace["omitted"]["nodes"]),
        (&json!(EVENTS - 1_000), &json!(EVENTS - 1_000))
    );
    assert_eq!(trace["truncated"], false);
    let (mut next, mut cursor) = (1_u64, String::new());
    loop {
        let page = endpoint.get(&format!("{path}/events?limit=1000&cursor={cursor}")).json();
        for event in page["events"].as_array().unwrap() {
            assert_eq!(event["seq"], next);
            next += 1;
        }
        match page["nextCursor"].as_str() {
            Some(more) => cursor = more.to_owned(),
            None => break,
        }
    }
    assert_eq!(next, EVENTS + 1);
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn lists_of_one_trace_are_all_cut() {
    // Each decision is followed by much, and each work undone by more than a line names.
    let store = MemoryStore::new();
    let work = Event { parent_span_id: SpanId::new(1), ..event(1, 2, "stage:completed") };
    let mut events = vec![event(1, 1, "workflow:started"), work];
    for seq in 3..=300 {
        let mut one = event(1, seq, if seq % 150 == 0 { "ai:decision" } else { "saga:compensated" });
        one.parent_span_id = SpanId::new(1);
        one.status = EventStatus::Success;
        one.data.insert("compensates".to_owned(), format!("{:016x}", 2).into());
        events.push(one);
    }
    put(&store, events);
    let trace = with(store).get(&format!("/api/v2/traces/{:032x}?limit=150", 1)).json();
    assert_eq!(trace["compensations"]["all"].as_array().unwrap().len(), 150);
    assert_eq!(trace["omitted"]["compensations"], 296 - 150);
    let undone = trace["tree"]["nodes"].as_array().unwrap().iter().find(|node| node["compensatedBy"].is_array());
    assert_eq!(undone.unwrap()["compensatedBy"].as_array().unwrap().len(), 100);
    assert!(trace["omitted"]["references"].as_u64().unwrap() >= 196, "{}", trace["omitted"]);
}

#[test]
fn days_are_listed_newest_first_and_cut_aloud() {
    let store = MemoryStore::new();
    for day in 0..3 {
        put(&store, Saga { trace: 10 + day, begin: START - day as i64 * 24 * HOUR, ..saga() }.events());
    }
    wait(store.recompute()).unwrap();
    let endpoint = with(store);
    let daily = endpoint.get("/api/v2/stats/daily?route=order&leg=capture_payment").json();
    assert_eq!((&daily["first"], &daily["last"]), (&json!("2023-11-08"), &json!("2023-11-14")));
    assert_eq!(list(&daily, "statistics.day"), ["2023-11-14", "2023-11-13", "2023-11-12"]);
    let line = &daily["statistics"][0];
    assert_eq!((&line["route"], &line["leg"], &line["count"]), (&json!("order"), &json!("capture_payment"), &json!(1)));
    assert_eq!((&line["maxMs"], &daily["truncated"]), (&json!(180.0), &json!(false)));
    assert!(line.get("sketch").is_none());
    let two = endpoint.get("/api/v2/stats/daily?days=2&leg=capture_payment").json();
    assert_eq!(list(&two, "statistics.day"), ["2023-11-14", "2023-11-13"]);
    let cut = endpoint.get("/api/v2/stats/daily?limit=5").json();
    assert_eq!((list(&cut, "statistics.day"), &cut["truncated"]), (vec!["2023-11-14"; 5], &json!(true)));
    assert_eq!(endpoint.get("/api/v2/stats/daily?route=other").json()["statistics"], json!([]));
}

#[test]
fn analytics_answer_each_question_over_the_last_day() {
    let endpoint = sagas();
    let ask = |path: &str| endpoint.get(&format!("/api/v2/analytics/{path}")).json();
    let failures = ask("failures?period=1m");
    assert_eq!((&failures["kind"], &failures["since"]), (&json!("failures"), &json!("2023-11-13T22:13:30.000Z")));
    let order = failures["failureRates"].as_array().unwrap().iter().find(|rate| rate["route"] == "order").unwrap();
    assert_eq!((&order["ended"], &order["failed"], &order["periodMs"]), (&json!(2), &json!(1), &json!(60_000.0)));
    assert_eq!(ask("stages?route=order")["slowestStages"][0]["stage"], "check_fraud");
    assert_eq!(ask("compensations")["compensationRates"][0]["compensated"], 1);
    assert_eq!(ask("decisions")["decisionOutcomes"].as_array().unwrap().len(), 2);
    let nothing = ask("failures?until=5h");
    assert_eq!((&nothing["events"], &nothing["truncated"]), (&json!(0), &json!(false)));
}

#[test]
fn without_a_store_the_answer_says_how_to_give_one() {
    let endpoint = Endpoint::new(&live());
    for route in ROUTES.iter().filter(|route| matches!(route.endpoint, Kind::Stored(_))) {
        assert_problem(&endpoint.get(&concrete(route.path)), 501, "`StoredEvents::new(store)`");
    }
    let without_emitter = sagas();
    assert_problem(&without_emitter.get("/api/v2/events/stream"), 501, "`StoredEvents::with_emitter`");
}
