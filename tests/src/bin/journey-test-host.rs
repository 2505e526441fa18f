//! An application that uses Journey as applications do, run by tests as a process of its own.
//!
//! The argument says how Journey is set up (`install`, `init`, `twice`, `own-filter`, `otel-first`, `not-added`). Then each
//! line on stdin is a JSON command, answered by one line on stdout; the end of stdin shuts Journey down and prints its
//! report.

use std::{
    error::Error,
    io::{BufRead, Write},
    time::Duration,
};

use serde_json::{Value, json};
use tracing::instrument;
use tracing_journey::JourneyHandle;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

const SERVICE: &str = "test-host";

fn main() -> Result<(), Box<dyn Error>> {
    let how = std::env::args().nth(1).unwrap_or_default();
    let journey = match set_up(&how) {
        Ok(journey) => journey,
        Err(error) => {
            answer(&json!({ "error": chain(&*error) }))?;
            return Ok(());
        }
    };
    answer(&json!({ "listening": journey.http_addr().map(|addr| addr.to_string()) }))?;
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let id = command["id"].as_str().unwrap_or_default();
        match command["do"].as_str() {
            Some("message") => message(&journey, id),
            Some("without-id") => tracing::info_span!("db_stored").in_scope(|| {}),
            Some("fail") => fail(&journey, id, &command),
            other => return Err(format!("unknown command {other:?}").into()),
        }
        answer(&json!({ "flushed": journey.flush(Duration::from_secs(10)) }))?;
    }
    let report = journey.shutdown(Duration::from_secs(5));
    answer(&json!({ "recorded": report.recorded, "exported": report.exported, "dropped": report.dropped,
        "open": report.open }))?;
    Ok(())
}

fn set_up(how: &str) -> Result<JourneyHandle, Box<dyn Error>> {
    match how {
        "install" => Ok(tracing_journey::builder().service(SERVICE).install()?),
        "init" => Ok(tracing_journey::init()?),
        "twice" => {
            tracing_journey::builder().service(SERVICE).install()?;
            Ok(tracing_journey::builder().service(SERVICE).install()?)
        }
        // What many programs do: one filter for all layers, which then hides stage spans from Journey too.
        "own-filter" => {
            let (layer, journey) = tracing_journey::builder().service(SERVICE).build()?;
            tracing_subscriber::registry().with(EnvFilter::from_default_env()).with(layer).try_init()?;
            Ok(journey)
        }
        "otel-first" => {
            let provider = opentelemetry_sdk::trace::SdkTracerProvider::default();
            let tracer = tracing_journey::opentelemetry::trace::TracerProvider::tracer(&provider, SERVICE);
            let otel = tracing_journey::tracing_opentelemetry::layer().with_tracer(tracer);
            let (layer, journey) = tracing_journey::builder().service(SERVICE).build()?;
            tracing_subscriber::registry().with(otel).with(layer).try_init()?;
            Ok(journey)
        }
        "not-added" => {
            let (layer, journey) = tracing_journey::builder().service(SERVICE).build()?;
            drop(layer);
            Ok(journey)
        }
        other => Err(format!("unknown set-up `{other}`").into()),
    }
}

/// One message through all twelve stages.
fn message(journey: &JourneyHandle, id: &str) {
    let received = std::time::SystemTime::now() - Duration::from_millis(20);
    journey.checkpoint("platform_received", id).at(received).record();
    plugin_received(id);
    event_published(id);
    event_consumed(id);
    db_stored(id);
    agent_notified(id);
    agent_started(id);
    agent_completed(id);
    api_received(id);
    outbound_event_published(id);
    plugin_sent(id);
    tracing_journey::checkpoint!(T11, id);
}

/// One message whose store fails.
fn fail(journey: &JourneyHandle, id: &str, command: &Value) {
    plugin_received(id);
    let kind = command["kind"].as_str().unwrap_or("error");
    let message = command["message"].as_str().unwrap_or_default();
    journey.checkpoint("db_stored", id).failed(kind, message).record();
    journey.fail(id, message);
}

macro_rules! stages {
    ($($stage:ident)*) => { $(
        #[instrument(fields(correlation_id = %id), skip_all)]
        fn $stage(id: &str) {
            std::hint::black_box(id);
        }
    )* };
}

stages! {
    plugin_received event_published event_consumed db_stored agent_notified
    agent_started agent_completed api_received outbound_event_published plugin_sent
}

fn answer(value: &Value) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
