//! Every example runs, ends by itself, and tells the journey.

use std::process::{Command, Output};

/// Runs an example and gives what it printed.
fn printed_by(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let stdout = String::from_utf8(output.stdout).expect("examples print text");
    assert!(
        output.status.success(),
        "{program} ended with {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

fn run(program: &str, arguments: &[&str]) -> Output {
    // What `cargo run -p` would start, built with the features of the whole workspace: nothing is compiled twice.
    let mut command = Command::new(journey_tests::host::program(program));
    command.current_dir(journey_tests::repository()).args(arguments);
    // Nothing from outside: not the settings of whoever runs the tests, and no port that others may have.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["JOURNEY_", "OTEL_", "RUST_LOG"].iter().any(|start| name_text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.env("JOURNEY_HTTP_ADDR", "127.0.0.1:0").output().expect("the program can be started")
}

/// The milliseconds in the first line that has `words`: `db_write took 20.1 ms`.
fn milliseconds(printed: &str, words: &str) -> f64 {
    let line =
        printed.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no `{words}` in\n{printed}"));
    let number = line.split(words).nth(1).and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number after `{words}` in `{line}`"))
}

#[test]
fn every_example_starts_with_the_command_that_runs_it() {
    let folder = journey_tests::repository().join("examples");
    let examples = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let names: Vec<String> = examples
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let source = std::fs::read_to_string(path.join("src/main.rs")).unwrap();
            assert!(source.starts_with(&format!("//! cargo run -p {name}\n")), "{name}");
            name
        })
        .collect();
    assert_eq!(names.len(), 6, "each has a test below: {names:?}");
}

#[test]
fn minimal_says_how_long_a_leg_took() {
    let printed = printed_by("minimal", &[]);
    let took = milliseconds(&printed, "db_write took");
    // It sleeps 5 + 20 ms between the two stages.
    assert!((25.0..2_000.0).contains(&took), "{printed}");
}

#[test]
fn the_axum_service_keeps_the_ids_it_is_given_and_makes_those_it_is_not() {
    let printed = printed_by("axum-service", &[]);
    for id in ["req-1", "req-2"] {
        assert!(printed.contains(&format!("sent X-Request-ID {id}, got X-Correlation-ID {id}\n")), "{printed}");
    }
    // The id goes on to the price service without anybody naming it.
    assert!(printed.contains(r#""askedUnder":"req-2""#), "{printed}");
    let made = printed.lines().find_map(|line| line.strip_prefix("sent X-Request-ID none, got X-Correlation-ID "));
    assert_eq!(made.unwrap().len(), 36, "{printed}");
    assert_eq!(printed.matches("pricing took").count(), 3, "{printed}");
    assert!(milliseconds(&printed, "storing took") >= 8.0, "{printed}");
}

#[test]
fn the_axum_service_says_how_it_is_started() {
    let output = run("axum-service", &["--serve"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: axum-service [--serve ADDRESS]"));
}

#[test]
fn the_tonic_service_finds_the_id_in_the_metadata() {
    let printed = printed_by("tonic-service", &[]);
    assert!(printed.contains("grpc-1: tea for 900 cents\n  the journey is completed\n"), "{printed}");
    assert!(milliseconds(&printed, "storing took") >= 8.0, "{printed}");
    // There is no coffee: the order gets its price looked up and never reaches the store.
    let coffee = printed.split("grpc-2: there is only tea\n").nth(1).unwrap_or_else(|| panic!("{printed}"));
    assert!(coffee.contains("the journey is failed: out of stock") && coffee.contains("pricing took"), "{printed}");
    assert!(!coffee.contains("storing took"), "{printed}");
}

#[test]
fn the_custom_route_shows_its_own_stages_and_the_budget_that_was_exceeded() {
    let printed = printed_by("custom-route", &[]);
    assert!(printed.contains("Publish run run_2026_11_21 is completed"), "{printed}");
    let mut rest = printed.as_str();
    for stage in ["list", "select", "analyze", "caption", "sidecar", "publish", "archive"] {
        rest = rest.split_once(&format!(" {stage} ")).unwrap_or_else(|| panic!("no {stage} in its place\n{printed}")).1;
    }
    assert!(milliseconds(&printed, "analysis took") >= 60.0, "{printed}");
    assert!(printed.contains("queue_command:ada:"), "{printed}");
    for step in ["started", "parsed", "queued", "completed"] {
        assert!(printed.contains(step), "{printed}");
    }
}

#[test]
fn a_program_from_outside_is_traced_as_it_is() {
    let printed = printed_by("third-party", &[]);
    for key in ["user:ada", "user:bo"] {
        let journey = format!("Cached value {key} is completed\n  written");
        assert!(printed.contains(&journey), "{printed}");
    }
    // Nobody reads this one.
    assert!(printed.contains("Cached value user:chidi is active\n  written"), "{printed}");
    assert_eq!(printed.matches("command_applied").count(), 2, "{printed}");
    assert_eq!(
        printed.matches("\nConnection ").count() + usize::from(printed.starts_with("Connection ")),
        2,
        "{printed}"
    );
}

#[test]
fn the_saga_says_what_was_undone_and_the_store_tells_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("events");
    let store = store.to_str().unwrap();
    let arguments = ["--fail-at", "9", "--cannot-undo", "reserve_stock", "--store", store];
    let printed = printed_by("saga", &arguments);
    assert!(printed.contains(": 8 of 12 steps done\n  capture_payment failed: "), "{printed}");
    assert!(printed.contains("reserve_stock could not be undone: "), "{printed}");
    assert!(printed.contains("\nemitted 31 = stored 31 + dropped 0\n"), "{printed}");
    let trace = printed.lines().find_map(|line| line.strip_prefix("trace ")).unwrap_or_else(|| panic!("{printed}"));
    // What it says to ask.
    let told = printed_by("journey", &["why", trace, "--store", store]);
    assert!(told.starts_with("Workflow `order` failed at `capture_payment` with "), "{told}");
    assert!(told.contains("`reserve_stock` is still in effect because undoing it failed"), "{told}");
    let tree = printed_by("journey", &["trace", trace, "--store", store]);
    assert!(tree.contains("STILL IN EFFECT") && tree.contains("FAILED HERE"), "{tree}");
}

#[test]
fn the_demo_adds_up() {
    let printed = printed_by("journey", &["demo", "--messages", "100", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let messages = &document["messages"];
    let [sent, delivered, failed, unanswered] =
        ["sent", "delivered", "failed", "unanswered"].map(|name| messages[name].as_u64().unwrap());
    assert_eq!((sent, delivered, failed, unanswered), (100, 97, 2, 1), "{messages}");
    assert_eq!(document["problems"], serde_json::json!([]));
    let accounting = &document["summary"]["accounting"];
    assert_eq!(accounting["offered"], accounting["recorded"], "{accounting}");
    assert_eq!(document["journey"]["status"], "completed");
    assert_eq!(document["journey"]["checkpoints"].as_array().unwrap().len(), 12);
}
