//! The end: what is reported, and that nothing is taken afterwards.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod support;

use std::time::{Duration, Instant};

use support::{SOON, builder};

#[test]
fn a_shutdown_reports_what_became_of_everything_and_is_idempotent() {
    let (_layer, journey) = builder().build().unwrap();
    journey.checkpoint("T1", "open").record();
    journey.checkpoint("T11", "done").record();
    journey.checkpoint("nowhere", "lost").record();
    let report = journey.shutdown(SOON);
    assert_eq!((report.recorded, report.exported, report.dropped, report.open), (2, 0, 1, 1));
    assert_eq!(report.to_string(), "2 checkpoints recorded, 0 journeys exported, 1 dropped, 1 still open");

    journey.checkpoint("T1", "late").record();
    assert_eq!(journey.shutdown(Duration::ZERO), report);
    assert!(journey.get("late").is_none());
    assert!(journey.get("done").is_some(), "what was there stays readable");
}

#[test]
fn what_is_offered_after_the_end_counts_as_shutdown() {
    let (_layer, journey) = builder().build().unwrap();
    journey.shutdown(SOON);
    journey.checkpoint("T1", "late").record();
    assert_eq!(journey.summary().accounting.dropped["shutdown"], 1);
}

#[test]
fn dropping_every_handle_is_no_shutdown() {
    let (layer, journey) = builder().build().unwrap();
    let live = std::sync::Arc::clone(journey.live());
    drop(journey);
    use tracing_subscriber::prelude::*;
    let _guard = tracing_subscriber::registry().with(layer).set_default();
    tracing::info_span!("db_stored", correlation_id = "m").in_scope(|| {});
    support::eventually("the checkpoint", || live.journey("m", None).is_some());
}

#[test]
fn a_shutdown_works_on_a_current_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_layer, journey) = builder().build().unwrap();
    let report = runtime.block_on(async {
        journey.checkpoint("T1", "m").record();
        journey.shutdown(SOON)
    });
    assert_eq!(report.recorded, 1);
}

#[test]
fn a_shutdown_ends_at_its_deadline_whatever_hangs() {
    let (_layer, journey) = builder().build().unwrap();
    // A sink that never comes back stands for anything that hangs on the tracker's thread.
    struct Hang(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);
    impl tracing_journey::journey_core::FinishedSink for Hang {
        fn finished(&self, _: &tracing_journey::journey_core::Journey) -> bool {
            let _ = self.0.lock().unwrap().recv();
            false
        }
    }
    let (release, receiver) = std::sync::mpsc::channel::<()>();
    journey.live().add_sink(std::sync::Arc::new(Hang(std::sync::Mutex::new(receiver))));
    journey.checkpoint("T11", "m").record();
    let before = Instant::now();
    journey.finish("m", tracing_journey::Status::Completed);
    let report = journey.shutdown(Duration::from_millis(200));
    let took = before.elapsed();
    assert!(took < SOON / 2, "{took:?}");
    assert_eq!((report.recorded, report.open), (1, 0), "what is known is said all the same");
    drop(release);
}

#[test]
fn nothing_recorded_before_a_shutdown_is_lost() {
    let (_layer, journey) = builder().queue(1 << 16).build().unwrap();
    for number in 0..10_000 {
        journey.checkpoint("T1", format!("m{number}")).record();
    }
    let report = journey.shutdown(SOON);
    assert_eq!((report.recorded, report.dropped, report.open), (10_000, 0, 10_000));
}
