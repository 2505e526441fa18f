use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use journey_core::{Limits, Live, Route as JourneyRoute, Routes, Source, Status, TraceIdKey};
use serde_json::json;

use crate::{
    Health, HttpConfig,
    routes::{ROUTES, Route},
    testing::{Answer, Endpoint, START, WHOLE, live, record, until},
};

/// A path of the table with an id in it.
fn concrete(route: &Route) -> String {
    route.path.replace("{correlationId}", "msg_1")
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, detail: &str) {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, "application/problem+json"),
        "{}",
        answer.text()
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string() && problem["type"].is_string(), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem} has no `{detail}`");
}

#[test]
fn every_path_of_the_table_answers_get_and_head_and_nothing_else() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    let endpoint = Endpoint::new(&live);
    for route in ROUTES.iter().filter(|route| !route.path.ends_with("/stream")) {
        let path = concrete(route);
        let answer = endpoint.get(&path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!answer.body.is_empty(), "{path}");
        for name in ["x-content-type-options", "content-security-policy", "ratelimit", "vary"] {
            let probe = matches!(route.path, "/livez" | "/readyz");
            assert!(!answer.header(name).is_empty() || (probe && name == "ratelimit"), "{path}: no {name}");
        }
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let head = endpoint.ask("HEAD", &path, &[]);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
            let answer = endpoint.ask(method, &path, &[]);
            assert_problem(&answer, 405, method);
            assert_eq!(answer.header("allow"), "GET,HEAD", "{method} {path}");
        }
    }
}

#[test]
fn a_journey_is_shown_whole() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    let journey = Endpoint::new(&live).get("/api/v2/metrics/journey/msg_1").json();
    assert_eq!((&journey["correlationId"], &journey["status"]), (&json!("msg_1"), &json!("completed")));
    assert_eq!(journey["checkpoints"].as_array().unwrap().len(), 12);
    assert_eq!(journey["legs"][3]["name"], "db_write");
    assert_eq!(journey["legs"][3]["ms"], 127.0);
    assert_eq!(
        journey["segments"][3],
        json!({ "name": "round_trip", "label": journey["segments"][3]["label"], "from": "T0", "to": "T11", "ms": 2_255.0 })
    );
    assert_eq!(journey["timings"]["platformReceivedAt"], START / 1_000_000);
}

#[test]
fn an_unknown_journey_is_named_with_the_retention_and_escaped() {
    let endpoint = Endpoint::new(&live());
    let answer = endpoint.get("/api/v2/metrics/journey/msg_404");
    assert_problem(&answer, 404, "`msg_404`");
    assert_problem(&answer, 404, "300 s");
    assert_eq!(
        (&answer.json()["correlationId"], &answer.json()["retentionSeconds"]),
        (&json!("msg_404"), &json!(300.0))
    );
    // What looks like markup reads the same as JSON and is nothing in a page.
    let hostile = endpoint.get("/api/v2/metrics/journey/%3Cscript%3Ealert(1)%3C%2Fscript%3E%22");
    assert!(!hostile.text().contains(['<', '>']), "{}", hostile.text());
    assert_eq!(hostile.json()["correlationId"], "<script>alert(1)</script>\"");
    for (path, detail) in [
        ("%1b%5B31m", "control character at byte 0"),
        ("a%0d%0aSet-Cookie:x", "control character at byte 1"),
        ("a%00", "control character"),
        (&"x".repeat(129), "129 bytes"),
        ("%FF%FE", "not UTF-8"),
    ] {
        assert_problem(&endpoint.get(&format!("/api/v2/metrics/journey/{path}")), 400, detail);
    }
    // Bidirectional marks would turn a line of a log or terminal around.
    assert_problem(&endpoint.get("/api/v2/metrics/journey/%E2%80%AEx"), 404, "`\\u{202e}x`");
    assert_problem(&endpoint.get("/api/v2/metrics/journey/a/b"), 404, "%2F");
    assert_problem(&endpoint.get("/api/v2/metrics/journey/../../../etc/passwd"), 404, "there is nothing at");
    assert_problem(&endpoint.get("/api/v2/metrics/journey/..%2F..%2Fetc%2Fpasswd"), 404, "no journey");
}

#[test]
fn earlier_generations_are_found_by_number() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    record(&live, "msg_1", &[("T0", 5_000), ("T1", 5_010)]);
    let endpoint = Endpoint::new(&live);
    let path = "/api/v2/metrics/journey/msg_1";
    let newest = endpoint.get(path).json();
    assert_eq!((&newest["generation"], &newest["otherGenerations"]), (&json!(2), &json!([1])));
    assert_eq!(endpoint.get(&format!("{path}?generation=1")).json()["status"], "completed");
    assert_problem(&endpoint.get(&format!("{path}?generation=3")), 404, "generation 3");
    for bad in ["0", "-1", "x", "", "4294967296"] {
        let answer = endpoint.get(&format!("{path}?generation={bad}"));
        assert_problem(&answer, 400, &format!("`generation` is `{bad}`"));
        assert_problem(&answer, 400, "(try `2`)");
    }
}

#[test]
fn the_summary_takes_known_windows_and_routes_only() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    let endpoint = Endpoint::new(&live);
    let summary = endpoint.get("/api/v2/metrics/summary?window=start&route=message").json();
    assert_eq!(summary["routes"][0]["journeys"]["completed"], 1);
    assert_eq!(summary["accounting"]["offered"], 12);
    assert_eq!(endpoint.get("/api/v2/metrics/summary").json()["window"], "5m");
    assert_problem(&endpoint.get("/api/v2/metrics/summary?window=2m"), 400, "`1m`, `5m`, `15m`, `1h` or `start`");
    assert_problem(&endpoint.get("/api/v2/metrics/summary?route=nope"), 400, "there is `message`");
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let live = live();
    record(&live, "done", &WHOLE);
    record(&live, "quick", &[("T0", 3_000), ("T1", 3_001), ("T4", 3_003)]);
    record(&live, "waiting", &[("T0", 4_000), ("T1", 4_500)]);
    live.write(|tracker, now| {
        let id = journey_core::CorrelationId::new("quick").unwrap();
        let route = live.routes().find("message").unwrap();
        assert!(tracker.finish(&id, route, Status::Failed, Some("no <agent>"), now));
    });
    let endpoint = Endpoint::new(&live);
    let ids = |query: &str| -> Vec<String> {
        let answer = endpoint.get(&format!("/api/v2/journeys{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let journeys = answer.json()["journeys"].as_array().unwrap().clone();
        journeys.iter().map(|journey| journey["correlationId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").len(), 3);
    assert_eq!(ids("?sort=slowest"), ["done", "waiting", "quick"]);
    assert_eq!(ids("?status=failed"), ["quick"]);
    assert_eq!(ids("?status=active&route=message"), ["waiting"]);
    assert_eq!(ids("?minMs=1000"), ["done"]);
    assert_eq!(ids("?stage=plugin_received"), ["waiting"]);
    assert_eq!(ids("?stuck=true"), [""; 0]);
    let mut paged = Vec::new();
    let mut cursor = String::new();
    for _ in 0..3 {
        let page = endpoint.get(&format!("/api/v2/journeys?sort=slowest&limit=1&cursor={cursor}")).json();
        paged.push(page["journeys"][0]["correlationId"].as_str().unwrap().to_owned());
        cursor = page["nextCursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((paged, cursor), (ids("?sort=slowest"), String::new()));
    for (query, detail) in [
        ("?status=done", "`active`, `completed`, `failed` or `expired`"),
        ("?limit=1001", "1 to 1000"),
        ("?minMs=long", "`minMs` is `long`"),
        ("?sort=oldest", "`newest` or `slowest`"),
        ("?stage=T99", "T99"),
        ("?route=nope", "`message`"),
        ("?cursor=%3Cb%3E", "cursor"),
        ("?stuck=maybe", "`true` nor `false`"),
        ("?statuss=failed", "`statuss` is not a parameter"),
    ] {
        assert_problem(&endpoint.get(&format!("/api/v2/journeys{query}")), 400, detail);
    }
    assert_problem(&endpoint.get(&format!("/api/v2/journeys?cursor={}", "9".repeat(2_000))), 400, "2000 bytes");
}

#[test]
fn no_path_takes_a_parameter_that_it_does_not_declare() {
    let endpoint = Endpoint::new(&live());
    for route in &ROUTES {
        let answer = endpoint.get(&format!("{}?jouney=1", concrete(route)));
        assert_problem(&answer, 400, "`jouney` is not a parameter");
    }
}

#[test]
fn the_openapi_document_and_the_router_know_the_same_paths_and_parameters() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    let endpoint = Endpoint::new(&live);
    let document = endpoint.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), ROUTES.len());
    for (path, item) in paths {
        let concrete = path.replace("{correlationId}", "msg_1");
        for (method, operation) in item.as_object().unwrap() {
            // Without a body to wait for, HEAD says the same of the stream.
            let method = if method == "get" { "HEAD" } else { method };
            let answer = endpoint.ask(method, &concrete, &[]);
            assert_eq!(answer.status, 200, "{path}");
            let media = answer.header("content-type").split(';').next().unwrap().to_owned();
            assert!(operation["responses"]["200"]["content"][&media].is_object(), "{path} answers {media}");
            let parameters = operation["parameters"].as_array().unwrap().iter();
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                let (name, example) = (parameter["name"].as_str().unwrap(), parameter["example"].as_str());
                let answer = endpoint.ask(method, &format!("{concrete}?{name}={}", example.unwrap_or_default()), &[]);
                // The example generation does not exist; everything else is found.
                let expected = if name == "generation" { 404 } else { 200 };
                assert_eq!(answer.status, expected, "{path}?{name}");
            }
        }
    }
}

#[test]
fn one_document_holds_all_figures() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    live.write(|tracker, now| tracker.operation("parse", 2_000_000, now));
    let health = Arc::new(Health::new());
    health.register("database", Duration::from_secs(60), Duration::from_secs(60), || Ok("fine".to_owned()));
    until(|| health.view(0).components.iter().all(|view| view.checks > 0));
    let document = Endpoint::with_health(&live, health, HttpConfig::default()).get("/api/metrics").json();
    let route = &document["routes"][0];
    assert_eq!((&route["route"], &route["active"]), (&json!("message"), &json!(0)));
    assert_eq!((&route["completions"]["completed"], &route["completions"]["failed"]), (&json!(1), &json!(0)));
    let legs = route["legs"].as_array().unwrap();
    assert_eq!(legs.len(), 11);
    assert_eq!((&legs[3]["name"], &legs[3]["count"], &legs[3]["to"]), (&json!("db_write"), &json!(1), &json!("T4")));
    let median = legs[3]["p50Ms"].as_f64().unwrap();
    assert!((median / 127.0 - 1.0).abs() < 0.0055, "{median}");
    assert_eq!(route["stages"][4], json!({ "stage": "db_stored", "reached": 1, "errors": {}, "stuck": 0 }));
    assert_eq!((&document["operations"][0]["name"], &document["operations"][0]["count"]), (&json!("parse"), &json!(1)));
    assert_eq!((&document["accounting"]["offered"], &document["accounting"]["recorded"]), (&json!(12), &json!(12)));
    assert!(document["process"]["residentMemoryBytes"].as_u64().unwrap() > 1 << 20);
    let names: Vec<_> =
        document["health"]["components"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["memory", "disk", "database"]);
}

#[test]
fn the_document_names_the_stages_of_a_route_that_learns_them() {
    let routes = Arc::new(Routes::new(vec![JourneyRoute::open("flow")]).unwrap());
    let live = Live::new(routes, Source::default(), Limits::default(), TraceIdKey::default(), Arc::new(|| START));
    live.write(|tracker, now| {
        let stage = live.routes().stage(live.routes().find("flow").unwrap(), "select").unwrap();
        let id = journey_core::CorrelationId::new("run_1").unwrap();
        tracker.record(journey_core::Checkpoint::reached(id, stage, START), now).unwrap();
    });
    let endpoint = Endpoint::new(&live);
    assert_eq!(endpoint.get("/api/metrics").json()["routes"][0]["stages"][0]["stage"], "select");
    assert!(endpoint.get("/metrics").text().contains("journey_stage_name=\"select\""));
    assert_eq!(endpoint.ask("HEAD", "/api/v2/metrics/stream?stage=not_yet_known", &[]).status, 200);
}

#[test]
fn probes_and_health_tell_apart_alive_ready_and_well() {
    let live = live();
    let health = Arc::new(Health::empty());
    let endpoint = Endpoint::with_health(&live, Arc::clone(&health), HttpConfig::default());
    assert_eq!(endpoint.get("/livez?verbose").text(), "[+]process ok\nlivez check passed\n");
    assert_eq!(endpoint.get("/readyz").text(), "ok\n");
    health.register("database", Duration::from_secs(60), Duration::from_secs(60), || Err("refused".to_owned()));
    until(|| health.view(0).is_down());
    let answer = endpoint.get("/health");
    assert_eq!((answer.status, &answer.json()["components"][0]["detail"]), (503, &json!("refused")));
    // A broken dependency is no reason to restart the process or to take it out of service.
    assert_eq!((endpoint.get("/livez").status, endpoint.get("/readyz").status), (200, 200));
    health.drain();
    let answer = endpoint.get("/readyz?verbose");
    assert_eq!((answer.status, answer.text()), (503, "[-]accepting failed\nreadyz check failed\n"));
    assert_eq!(endpoint.get("/livez").status, 200);
}

#[test]
fn the_index_lists_every_path_in_both_forms_without_scripts() {
    let endpoint = Endpoint::new(&live());
    let text = endpoint.get("/");
    let html = endpoint.ask("GET", "/", &[("accept", "text/html,application/xhtml+xml")]);
    assert!(html.header("content-type").starts_with("text/html"));
    for route in &ROUTES {
        assert!(text.text().contains(&format!("{:42} {}\n", route.path, route.help)), "{}", route.path);
        assert!(html.text().contains(route.path), "{}", route.path);
    }
    assert!(!html.text().contains("script") && !html.text().contains("style"));
    assert_problem(&endpoint.get("/nowhere%3Cb%3E"), 404, "`/nowhere%3Cb%3E`");
}

#[test]
fn the_self_view_counts_what_the_endpoint_did() {
    let endpoint = Endpoint::new(&live());
    endpoint.get("/nowhere");
    endpoint.get("/livez");
    let view = endpoint.get("/api/v2/metrics/self").json();
    assert_eq!(view["parts"]["http"]["answered"], 2);
    assert_eq!(view["parts"]["http"]["clientErrors"], 1);
    assert!(view["neverSeen"]["message"].as_array().unwrap().len() == 12, "{view}");
}

#[test]
fn large_answers_are_packed_for_those_who_ask() {
    let health = Arc::new(Health::new());
    let endpoint = Endpoint::with_health(&live(), Arc::clone(&health), HttpConfig::default());
    // A check that ends in between would add its lines.
    until(|| health.view(0).components.iter().all(|view| view.checks > 0));
    let plain = endpoint.get("/metrics");
    let packed = endpoint.ask("GET", "/metrics", &[("accept-encoding", "gzip")]);
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(&text), lines(plain.text()));
    assert!(packed.body.len() * 4 < plain.body.len());
}

#[test]
fn a_failure_inside_is_an_answer_and_the_next_request_works() {
    let broken = Arc::new(AtomicBool::new(false));
    let of_clock = Arc::clone(&broken);
    let clock = Arc::new(move || {
        assert!(!of_clock.load(Ordering::Relaxed), "a clock that fails (expected in this test)");
        START
    });
    let live =
        Live::new(Arc::new(Routes::default()), Source::default(), Limits::default(), TraceIdKey::default(), clock);
    let endpoint = Endpoint::new(&live);
    broken.store(true, Ordering::Relaxed);
    let answer = endpoint.get("/api/v2/metrics/summary");
    assert_problem(&answer, 500, "bug of Journey");
    assert!(!answer.text().contains("clock"), "{}", answer.text());
    broken.store(false, Ordering::Relaxed);
    assert_eq!(endpoint.get("/api/v2/metrics/summary").status, 200);
}
