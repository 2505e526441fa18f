//! Stages that are futures.

use std::time::Duration;

use tracing::{Instrument, info_span, instrument};

use super::record;

#[instrument(name = "agent_completed", skip_all, fields(correlation_id = %id))]
async fn think(id: String) {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
}

fn on(runtime: &mut tokio::runtime::Builder, work: impl Future<Output = ()>) {
    runtime.enable_time().build().unwrap().block_on(work);
}

#[test]
fn a_future_polled_many_times_is_one_sighting_whose_idle_time_is_its_waiting() {
    let seen = record(|| on(&mut tokio::runtime::Builder::new_current_thread(), think("m".into())));
    let checkpoint = seen.only();
    assert_eq!(seen.line(&checkpoint), "T7 m reached");
    assert!(checkpoint.idle_us >= 4_000 && checkpoint.busy_us < checkpoint.idle_us, "{checkpoint:?}");
}

#[test]
fn futures_that_move_between_threads_are_each_sent_once() {
    let seen = record(|| {
        on(tokio::runtime::Builder::new_multi_thread().worker_threads(2), async {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let tasks: Vec<_> = (0..100)
                .map(|number| {
                    use tracing::instrument::WithSubscriber;
                    tokio::spawn(think(format!("m{number}")).with_subscriber(dispatch.clone()))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    let mut lines = seen.lines();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..100).map(|number| format!("T7 m{number} reached")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_cancelled_instrumented_future_cannot_be_told_from_a_finished_one() {
    let seen = record(|| {
        on(&mut tokio::runtime::Builder::new_current_thread(), async {
            let waiting = std::future::pending::<()>().instrument(info_span!("T7", correlation_id = "m"));
            tokio::time::timeout(Duration::from_millis(2), waiting).await.unwrap_err();
        });
    });
    // What the docs of the Layer say: `future.stage(..)` is for those who need to know.
    assert_eq!(seen.lines(), ["T7 m reached"]);
}

#[test]
fn a_future_that_is_never_polled_leaves_no_trace() {
    let seen = record(|| drop(think("m".into())));
    assert_eq!((seen.lines(), seen.lost()), (vec![], vec![]));
}
