//! `docs/troubleshooting.md` quotes what a process really says about itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use journey_core::DropReason;
use journey_tests::{host::Host, http::get, repository, wait_for};

const HOST: &str = env!("CARGO_BIN_EXE_journey-test-host");

fn page() -> String {
    fs::read_to_string(repository().join("docs/troubleshooting.md")).unwrap()
}

/// The sentence that the page quotes under this name.
fn quoted(name: &str) -> String {
    let page = page();
    let (_, rest) = page.split_once(&format!("```text {name}\n")).unwrap_or_else(|| panic!("no quote `{name}`"));
    rest.split_once("\n```").unwrap().0.to_owned()
}

/// Waits until the process says the quoted sentence; `{place}` in it stands for any source line.
fn says(host: &Host, name: &str) {
    let quoted = quoted(name);
    let (start, end) = quoted.split_once("{place}").unwrap_or((&quoted, ""));
    wait_for(&format!("the process says: {quoted}"), || {
        let own = get(&format!("{}/api/v2/metrics/self", host.url())).json();
        let said = own["warnings"].as_array().unwrap().clone();
        said.iter().any(|w| w.as_str().is_some_and(|w| w.starts_with(start) && w.ends_with(end))).then_some(())
    });
}

fn start(how: &str, env: &[(&str, &str)]) -> Host {
    Host::start(HOST, how, &[&[("JOURNEY_HTTP_ADDR", "127.0.0.1:0")], env].concat())
}

#[test]
fn a_global_filter_is_told() {
    says(&start("own-filter", &[("RUST_LOG", "warn")]), "own-filter");
}

#[test]
fn a_layer_that_was_not_added_is_told() {
    says(&start("not-added", &[]), "not-added");
}

#[test]
fn spans_without_an_id_are_told() {
    let mut host = start("install", &[]);
    host.without_id();
    says(&host, "no-id");
}

#[test]
fn an_opentelemetry_layer_in_the_wrong_place_is_told() {
    let mut host = start("otel-first", &[]);
    host.message("msg_1");
    says(&host, "otel-first");
}

#[test]
fn refused_ids_are_told() {
    let mut host = start("install", &[]);
    host.message("a\nb");
    says(&host, "invalid-id");
}

#[test]
fn all_is_well_is_told_by_silence() {
    let mut host = start("install", &[]);
    host.message("msg_1");
    let own = get(&format!("{}/api/v2/metrics/self", host.url())).json();
    assert_eq!(own["warnings"], serde_json::json!([]), "{own:#}");
}

#[test]
fn every_reason_to_drop_stands_on_the_page() {
    let page = page();
    for reason in DropReason::ALL {
        assert!(page.contains(&format!("\n| `{}` |", reason.as_str())), "{}", reason.as_str());
    }
}
