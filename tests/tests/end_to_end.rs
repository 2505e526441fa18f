//! An application in a process of its own, seen through its endpoint, the `journey` command and its log.

use std::{net::TcpListener, path::PathBuf};

use journey_tests::{
    host::{Host, journey},
    hostile,
    http::{EventStream, encode, get, try_get},
    suite, wait_for,
};
use serde_json::Value;

const HOST: &str = env!("CARGO_BIN_EXE_journey-test-host");
const ANY_PORT: (&str, &str) = ("JOURNEY_HTTP_ADDR", "127.0.0.1:0");

#[test]
fn an_instrumented_application_is_seen_through_every_window() {
    let mut host = Host::start(HOST, "install", &[ANY_PORT, ("RUST_LOG", "debug")]);
    let url = host.url();
    for number in 0..20 {
        host.message(&format!("msg_{number}"));
    }

    let view = get(&format!("{url}/api/v2/metrics/journey/msg_7")).json();
    assert_eq!((&view["status"], &view["route"]), (&"completed".into(), &"message".into()), "{view:#}");
    assert_eq!(view["checkpoints"].as_array().unwrap().len(), 12, "{view:#}");
    assert_eq!(view["legs"].as_array().unwrap().len(), 11);
    assert_eq!(view["checkpoints"][3]["service"], "test-host");
    assert_eq!(view["missing"], serde_json::json!([]));

    let summary = get(&format!("{url}/api/v2/metrics/summary?window=start")).json();
    assert_eq!(summary["routes"][0]["journeys"]["completed"], 20);
    assert_eq!(summary["accounting"]["recorded"], 240);
    assert_eq!(summary["accounting"]["offered"], 240);

    let shown = journey(&url, &["show", "msg_7", "--json"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let printed: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(printed["legs"], view["legs"]);
    let shown = journey(&url, &["show", "msg_7"]);
    assert!(shown.stdout.contains("msg_7") && shown.stdout.contains("DB stored"), "{}", shown.stdout);
    assert_eq!(hostile::terminal_control(&shown.stdout), None, "colours only on a terminal: {:?}", shown.stdout);
    let shown = journey(&url, &["summary"]);
    assert!(shown.stdout.contains("db_write") && shown.stderr.is_empty(), "{} {}", shown.stdout, shown.stderr);

    let (report, log) = host.end();
    assert_eq!((&report["recorded"], &report["open"]), (&240.into(), &0.into()), "{report}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("journey_timing")).collect();
    assert_eq!(lines.len(), 20, "one summary line per finished journey: {log}");
    assert!(lines.iter().any(|line| line.contains("correlation_id") && line.contains("msg_7")), "{}", lines[0]);
    assert!(lines[0].contains("db_write_ms"), "{}", lines[0]);
}

#[test]
fn an_unknown_journey_is_named_with_what_to_do() {
    let host = Host::start(HOST, "install", &[ANY_PORT]);
    let answer = get(&format!("{}/api/v2/metrics/journey/msg_nowhere", host.url()));
    assert_eq!((answer.status, answer.content_type.as_str()), (404, "application/problem+json"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("msg_nowhere"), "{}", answer.text());
    let shown = journey(&host.url(), &["show", "msg_nowhere"]);
    assert_ne!(shown.code, Some(0));
    assert!(shown.stderr.contains("msg_nowhere") && shown.stdout.is_empty(), "{} {}", shown.stdout, shown.stderr);
}

#[test]
fn hostile_ids_break_out_of_no_output() {
    let mut host = Host::start(HOST, "install", &[ANY_PORT, ("RUST_LOG", "debug"), ("JOURNEY_LOG_FORMAT", "json")]);
    let url = host.url();
    let mut stream = EventStream::open(host.addr(), "/api/v2/metrics/stream", None);
    // The stream has begun once an event arrives; ids that are sent until then are not missed by anybody.
    let mut warm_up = 0;
    host.message("warm_up_0");
    stream.set_timeout(std::time::Duration::from_secs(20));
    while stream.next_of(&["checkpoint", "journey"]).kind != "journey" {
        warm_up += 1;
        assert!(warm_up < 100, "no journey on the stream");
    }

    for id in hostile::ids() {
        host.message(id.text);
        // A stream of one line each: an id cannot start a field or an event of its own.
        let event = loop {
            let event = stream.next_of(&["journey"]);
            if event.json()["correlationId"] == id.text {
                break event;
            }
        };
        assert!(!event.data.contains('\n'), "{}: {event:?}", id.attacks);

        let view = get(&format!("{url}/api/v2/metrics/journey/{}", encode(id.text)));
        assert_eq!(view.status, 200, "{}: {}", id.attacks, view.text());
        assert_eq!(view.json()["correlationId"], id.text, "{}", id.attacks);
        assert_eq!(view.content_type, "application/json", "{}", id.attacks);

        let shown = journey(&url, &["show", "--", id.text]);
        assert_eq!(shown.code, Some(0), "{}: {}", id.attacks, shown.stderr);
        assert_eq!(hostile::terminal_control(&shown.stdout), None, "{}: {:?}", id.attacks, shown.stdout);
        for override_mark in ['\u{202e}', '\u{2028}', '\u{2029}'] {
            assert!(!shown.stdout.contains(override_mark), "{}: {:?}", id.attacks, shown.stdout);
        }
        let shown = journey(&url, &["show", "--json", "--", id.text]);
        let printed: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(printed["correlationId"], id.text, "{}", id.attacks);
    }
    let list = get(&format!("{url}/api/v2/journeys?limit=1000")).json();
    assert_eq!(list["journeys"].as_array().unwrap().len(), hostile::ids().count() + 1);
    let listed = journey(&url, &["list"]);
    assert_eq!(hostile::terminal_control(&listed.stdout), None, "{:?}", listed.stdout);

    // An id is never a label, so whatever it holds cannot be in the metrics.
    let metrics = get(&format!("{url}/metrics")).text();
    for id in hostile::ids().filter(|id| id.text.trim().len() > 3) {
        assert!(!metrics.contains(id.text), "{}", id.attacks);
    }

    let (_, log) = host.end();
    let mut timings = 0;
    for line in log.lines() {
        // Every line is one JSON object: no id forged a line of its own.
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let text = entry.to_string();
        timings += usize::from(text.contains("journey_timing"));
    }
    assert_eq!(timings, hostile::ids().count() + 1, "{log}");
}

#[test]
fn texts_that_are_no_ids_are_refused_counted_and_never_shown() {
    let mut host = Host::start(HOST, "install", &[ANY_PORT, ("RUST_LOG", "debug")]);
    for text in hostile::refused() {
        host.message(text.text);
    }
    host.message("msg_after");
    let own = get(&format!("{}/api/v2/metrics/self", host.url())).json();
    let dropped = own["accounting"]["dropped"]["invalid_id"].as_u64().unwrap();
    // An empty id is an id that is not there: some of its sightings may count as `no_id` instead.
    let without = own["accounting"]["dropped"]["no_id"].as_u64().unwrap();
    assert_eq!(dropped + without, 12 * hostile::refused().count() as u64, "{own:#}");
    assert!(dropped >= 12 * (hostile::refused().count() as u64 - 1), "{own:#}");
    assert_eq!(own["accounting"]["recorded"], 12);
    assert_eq!(own["accounting"]["offered"].as_u64().unwrap(), 12 + dropped + without);
    let list = get(&format!("{}/api/v2/journeys", host.url())).json();
    assert_eq!(list["journeys"].as_array().unwrap().len(), 1);
    let (_, log) = host.end();
    assert_eq!(hostile::terminal_control(&log), None, "{log:?}");
}

#[test]
fn hostile_error_messages_break_out_of_no_output() {
    let mut host = Host::start(HOST, "install", &[ANY_PORT, ("RUST_LOG", "debug")]);
    let url = host.url();
    for (number, hostile) in hostile::CORPUS.iter().enumerate() {
        let id = format!("msg_{number}");
        host.fail(&id, hostile.text, hostile.text);
        let view = get(&format!("{url}/api/v2/metrics/journey/{id}")).json();
        assert_eq!(view["status"], "failed", "{}: {view:#}", hostile.attacks);
        let shown = journey(&url, &["show", &id]);
        assert_eq!(shown.code, Some(0), "{}: {}", hostile.attacks, shown.stderr);
        assert_eq!(hostile::terminal_control(&shown.stdout), None, "{}: {:?}", hostile.attacks, shown.stdout);
    }
    let listed = journey(&url, &["list", "--failed"]);
    assert_eq!(hostile::terminal_control(&listed.stdout), None, "{:?}", listed.stdout);
    // `error.type` is a label: it is escaped, so no sample of another name can appear.
    let metrics = try_get(&format!("{url}/metrics"), &[("Accept", "text/plain;version=0.0.4")]).unwrap().text();
    assert!(!metrics.lines().any(|line| line.starts_with("journey_fake")), "{metrics}");
    if let Some(promtool) = suite::PROMTOOL.program() {
        let (satisfied, said) = journey_tests::prometheus::promtool_check(&promtool, &metrics);
        assert!(satisfied && said.trim().is_empty(), "{said}");
    }
    let (_, log) = host.end();
    assert_eq!(hostile::terminal_control(&log), None, "{log:?}");
}

#[test]
fn a_filter_that_hides_stage_spans_is_said_in_one_sentence() {
    let mut host = Host::start(HOST, "own-filter", &[ANY_PORT, ("RUST_LOG", "warn")]);
    host.message("msg_1");
    let warnings = wait_for("the process says something", || {
        let own = get(&format!("{}/api/v2/metrics/self", host.url())).json();
        let warnings = own["warnings"].as_array().unwrap().clone();
        (!warnings.is_empty()).then_some(warnings)
    });
    let about_the_level = |warning: &&Value| {
        let text = warning.as_str().unwrap();
        text.contains("RUST_LOG") && text.contains("warn") && text.contains("info")
    };
    assert_eq!(warnings.iter().filter(about_the_level).count(), 1, "{warnings:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    // What is recorded without spans goes on.
    let view = get(&format!("{}/api/v2/metrics/journey/msg_1", host.url())).json();
    let stages: Vec<_> = view["checkpoints"].as_array().unwrap().iter().map(|c| c["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["T0", "T11"]);

    let mut host = Host::start(HOST, "own-filter", &[ANY_PORT, ("RUST_LOG", "info")]);
    host.message("msg_1");
    let own = get(&format!("{}/api/v2/metrics/self", host.url())).json();
    let warnings = own["warnings"].to_string();
    assert!(!warnings.contains("RUST_LOG"), "{warnings}");
}

#[test]
fn the_log_level_of_install_hides_no_stage() {
    let mut host = Host::start(HOST, "install", &[ANY_PORT, ("RUST_LOG", "error")]);
    host.message("msg_1");
    let view = get(&format!("{}/api/v2/metrics/journey/msg_1", host.url())).json();
    assert_eq!(view["checkpoints"].as_array().unwrap().len(), 12, "{view:#}");
    let (_, log) = host.end();
    assert_eq!(log, "");
}

#[test]
fn a_second_install_is_refused_with_a_sentence() {
    let host = Host::start(HOST, "twice", &[ANY_PORT]);
    let error = host.first["error"].as_str().unwrap();
    assert!(error.contains("already") && error.contains("install"), "{error}");
}

#[test]
fn a_port_in_use_is_refused_with_the_address_and_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for how in ["install", "init"] {
        let host = Host::start(HOST, how, &[("JOURNEY_HTTP_ADDR", &addr)]);
        let error = host.first["error"].as_str().unwrap();
        assert!(error.contains(&addr) && error.contains("JOURNEY_HTTP_ADDR"), "{error}");
    }
}

#[test]
fn a_bad_setting_is_refused_with_variable_value_and_example() {
    let host = Host::start(HOST, "init", &[ANY_PORT, ("JOURNEY_TTL", "soon")]);
    let error = host.first["error"].as_str().unwrap();
    for part in ["JOURNEY_TTL", "soon", "10m"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn finished_journeys_can_be_exported_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("journeys.jsonl");
    let mut host = Host::start(HOST, "install", &[ANY_PORT, ("JOURNEY_EXPORT_FILE", file.to_str().unwrap())]);
    for id in hostile::ids() {
        host.message(id.text);
    }
    let (report, _) = host.end();
    let count = hostile::ids().count();
    assert_eq!(report["exported"], count, "{report}");
    let text =
        wait_for("the file is written", || std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')));
    let mut ids = Vec::new();
    for line in text.lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        let scopes =
            request["resourceSpans"].as_array().unwrap().iter().flat_map(|r| r["scopeSpans"].as_array().unwrap());
        for span in scopes.flat_map(|scope| scope["spans"].as_array().unwrap()) {
            let attributes = span["attributes"].as_array().unwrap();
            let id = attributes.iter().find(|attribute| attribute["key"] == "journey.id");
            if span["name"] == "journey message" {
                ids.push(id.unwrap()["value"]["stringValue"].as_str().unwrap().to_owned());
            }
        }
    }
    ids.sort();
    let mut expected: Vec<_> = hostile::ids().map(|id| id.text.to_owned()).collect();
    expected.sort();
    assert_eq!(ids, expected);
}
