//! cargo run -p custom-route
//!
//! A publisher's run has stages of its own: `publish.toml` declares them. A bot command has steps that nobody declared:
//! a `Flow` learns them as they come.
#![expect(clippy::print_stdout, reason = "an example says what happened")]

use std::{error::Error, thread::sleep, time::Duration};

use tracing::instrument;
use tracing_journey::{Flow, Route, Status};

fn main() -> Result<(), Box<dyn Error>> {
    let route = Route::from_toml("publish.toml", include_str!("../publish.toml"))?;
    let journey = tracing_journey::builder().service("publisher").route(route).no_http().install()?;

    run("run_2026_11_21");
    let flow = Flow::start("queue_command", "ada");
    flow.checkpoint("parsed");
    flow.checkpoint("queued");
    let flow_id = flow.id().to_owned();
    flow.complete(Status::Completed);

    journey.flush(Duration::from_secs(1));
    for id in ["run_2026_11_21", &flow_id] {
        let seen = journey.get(id).ok_or("the journey was not seen")?;
        println!("{} {} is {}", seen.route_label, seen.correlation_id, seen.status);
        for stage in &seen.checkpoints {
            println!(
                "  {:<3} {:<12} +{:.1} ms",
                if stage.stage == stage.name { "" } else { &stage.stage },
                stage.name,
                stage.offset_ms
            );
        }
        for leg in seen.legs.iter().filter(|leg| leg.budget_ms.is_some_and(|budget| leg.ms > budget)) {
            println!("  {} took {:.1} ms of its {:.0} ms", leg.name, leg.ms, leg.budget_ms.unwrap_or_default());
        }
    }
    Ok(())
}

/// One run. The span that holds the id is not a stage; those inside are, and find the id there.
#[instrument]
fn run(run: &str) {
    let pictures = list();
    let picture = select(&pictures);
    let subject = analyze_picture(picture);
    let caption = caption(&subject);
    sidecar(picture, &caption);
    publish(picture);
    archive(picture);
}

#[instrument]
fn list() -> Vec<String> {
    (1..=40).map(|number| format!("harbour-{number:02}.jpg")).collect()
}

#[instrument(name = "select", skip_all)]
fn select(pictures: &[String]) -> &str {
    pictures.iter().max().map_or("", String::as_str)
}

#[instrument]
fn analyze_picture(picture: &str) -> String {
    sleep(Duration::from_millis(60)); // a model looks at the picture: longer than the route's budget
    picture.split('-').next().unwrap_or_default().to_owned()
}

#[instrument]
fn caption(subject: &str) -> String {
    sleep(Duration::from_millis(15));
    format!("The {subject} in the morning")
}

#[instrument(skip(caption))]
fn sidecar(picture: &str, caption: &str) {
    tracing::debug!(bytes = picture.len() + caption.len(), "sidecar written");
}

#[instrument]
fn publish(picture: &str) {
    sleep(Duration::from_millis(10));
}

#[instrument]
fn archive(picture: &str) {}
