//! The subscriber of the process. A process has one, so every scenario runs in a process of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use support::{SOON, settle};
use tracing_journey::JourneyHandle;

/// Names the scenario to the process that plays it.
const SCENARIO: &str = "TEST_SCENARIO";

/// Runs one scenario in a process of its own; what it asserts fails here.
fn scenario(name: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // This very binary, with the one test that plays scenarios.
    command.args(["plays_the_scenario_it_is_asked_for", "--exact", "--nocapture"]).env(SCENARIO, name);
    for name in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("JOURNEY_") || name == "RUST_LOG")
    {
        command.env_remove(name);
    }
    let output = command.env("JOURNEY_HTTP_ADDR", "off").envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    output
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn plays_the_scenario_it_is_asked_for() {
    match std::env::var(SCENARIO).as_deref() {
        Ok("stages") => stages(&tracing_journey::init().unwrap()),
        Ok("no log") => stages(&tracing_journey::builder().with_fmt(false).install().unwrap()),
        Ok("with a layer") => {
            let events = support::Events::default();
            let journey = tracing_journey::builder().layer(events.clone()).install().unwrap();
            stages(&journey);
            // A layer without a level of its own is not held back by the level of stages.
            tracing::debug!("from the application");
            assert_eq!(events.with_message("from the application").len(), 1);
        }
        Ok("twice") => twice(),
        Ok("port in use") => port_in_use(),
        Ok("current thread") => tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let journey = tracing_journey::init().unwrap();
            stages(&journey);
            journey.shutdown(SOON);
        }),
        Ok("multi thread") => tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
            let journey = tracing_journey::init().unwrap();
            tokio::spawn(async { tracing::info_span!("db_stored", correlation_id = "m").in_scope(|| {}) })
                .await
                .unwrap();
            stages(&journey);
        }),
        #[cfg(feature = "http")]
        Ok("endpoint") => endpoint(),
        #[cfg(feature = "otlp")]
        Ok("export") => {
            let journey = tracing_journey::init().unwrap();
            journey.checkpoint("platform_delivered", "m").record();
            let report = journey.shutdown(SOON);
            assert_eq!((report.recorded, report.exported, report.dropped, report.open), (1, 1, 0, 0));
        }
        Ok("wrong setting") => {
            let error = tracing_journey::init().unwrap_err();
            assert_eq!(error.to_string(), "`JOURNEY_TTL` is `soon`, which is not a duration (try `10m`)");
            assert!(error.is_configuration() && tracing_journey::handle().is_none());
        }
        Ok("wrong filter") => {
            let error = tracing_journey::init().unwrap_err().to_string();
            assert!(error.starts_with("`RUST_LOG` is `a=b=c`") || !cfg!(feature = "fmt"), "{error}");
        }
        _ => {}
    }
}

/// A stage span at `INFO` is seen, and the process-wide handle is this one.
fn stages(journey: &JourneyHandle) {
    let span = tracing::info_span!("db_stored", correlation_id = "m");
    span.in_scope(|| tracing::info!("stored"));
    drop(span);
    settle(journey);
    let seen = journey.get("m").expect("the stage is seen");
    assert_eq!(seen.checkpoints[0].stage, "T4");
    assert!(tracing_journey::handle().unwrap().get("m").is_some());
}

fn twice() {
    let first = tracing_journey::init().unwrap();
    let error = tracing_journey::init().unwrap_err();
    assert!(error.is_already_installed(), "{error}");
    assert!(error.to_string().contains("already"), "{error}");
    stages(&first);
}

fn port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let install = || tracing_journey::builder().http(addr).with_fmt(false).install();
    #[cfg(feature = "http")]
    {
        let error = install().unwrap_err();
        let text = error.to_string();
        assert!(error.is_http() && !error.is_already_installed(), "{text}");
        assert!(text.contains(&addr.to_string()), "{text}");
        assert!(text.contains("JOURNEY_HTTP_ADDR=127.0.0.1:0") && text.contains("JOURNEY_HTTP_ADDR=off"), "{text}");
    }
    // Nothing was left behind: the same process can start on a port that is free.
    drop(taken);
    let journey = install().unwrap();
    assert_eq!(journey.http_addr(), cfg!(feature = "http").then_some(addr));
    stages(&journey);
}

#[cfg(feature = "http")]
fn endpoint() {
    use std::io::{Read, Write};
    let journey = tracing_journey::init().unwrap();
    stages(&journey);
    let addr = journey.http_addr().expect("the endpoint listens");
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = get("/api/v2/metrics/journey/m");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("db_stored"), "{answer}");
    let answer = get("/api/v2/metrics/self");
    assert!(answer.contains("\"queueCapacity\""), "{answer}");
    journey.shutdown(SOON);
    assert!(std::net::TcpStream::connect(addr).is_err(), "the endpoint is closed");
}

#[cfg(feature = "http")]
#[test]
fn init_starts_the_debug_endpoint_and_shutdown_closes_it() {
    scenario("endpoint", &[("JOURNEY_HTTP_ADDR", "127.0.0.1:0")]);
}

#[cfg(feature = "otlp")]
#[test]
fn finished_journeys_are_exported_and_reported() {
    let file = std::env::temp_dir().join(format!("journey-export-{}.jsonl", std::process::id()));
    scenario("export", &[("JOURNEY_EXPORT_FILE", file.to_str().unwrap())]);
    let lines = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(lines.contains("journey message"), "{lines}");
}

#[test]
fn init_sees_stages_and_writes_the_log_to_stderr() {
    let output = scenario("stages", &[]);
    if cfg!(feature = "fmt") {
        assert!(err(&output).contains("stored"), "{}", err(&output));
    }
}

#[test]
fn a_log_level_of_warn_hides_the_log_and_no_stage() {
    let output = scenario("stages", &[("RUST_LOG", "warn")]);
    assert!(!err(&output).contains(" INFO "), "{}", err(&output));
    // And so there is nothing to warn of.
    assert!(!err(&output).contains("stage spans are at"), "{}", err(&output));
}

#[cfg(feature = "fmt")]
#[test]
fn the_log_can_be_json_with_the_legs_as_fields() {
    let output = scenario("stages", &[("JOURNEY_LOG_FORMAT", "json"), ("RUST_LOG", "info,journey_timing=debug")]);
    let text = err(&output);
    let line = text.lines().find(|line| line.contains("stored")).expect("the event of the stage");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((line["level"].as_str(), line["fields"]["message"].as_str()), (Some("INFO"), Some("stored")));
}

#[test]
fn install_without_a_log_writes_nothing() {
    let output = scenario("no log", &[]);
    assert_eq!(err(&output), "");
}

#[test]
fn install_takes_further_layers() {
    scenario("with a layer", &[("RUST_LOG", "off")]);
}

#[test]
fn a_second_install_is_an_error_and_the_first_goes_on() {
    scenario("twice", &[]);
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do_and_leaves_nothing_behind() {
    scenario("port in use", &[]);
}

#[test]
fn install_works_in_every_kind_of_runtime() {
    scenario("current thread", &[]);
    scenario("multi thread", &[]);
}

#[test]
fn a_wrong_setting_is_an_error_and_nothing_starts() {
    scenario("wrong setting", &[("JOURNEY_TTL", "soon")]);
    scenario("wrong filter", &[("RUST_LOG", "a=b=c")]);
}

#[cfg(feature = "fmt")]
#[test]
fn an_unknown_variable_is_a_warning_in_the_log_without_its_value() {
    let output = scenario("stages", &[("JOURNEY_RETENTON", "hunter2")]);
    let text = err(&output);
    assert!(text.contains("`JOURNEY_RETENTON` is not a setting") && text.contains("`JOURNEY_RETENTION`"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
