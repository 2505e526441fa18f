//! When does a stage begin and end?

use tracing::{Span, info_span};

use super::{Seen, pass_time, record};
use crate::clock::Reading;

const MILLI: i64 = 1_000_000;

/// Two milliseconds pass in each step, so one is a safe lower bound.
#[track_caller]
fn at_least(nanos: i64) {
    assert!(nanos >= MILLI, "{nanos}");
}

#[test]
fn a_stage_is_named_by_id_name_timings_key_or_camel_case() {
    let seen = record(|| {
        info_span!("T4", correlation_id = "a").in_scope(|| ());
        info_span!("db_stored", correlation_id = "b").in_scope(|| ());
        info_span!("dbStoredAt", correlation_id = "c").in_scope(|| ());
        info_span!("dbStored", correlation_id = "d").in_scope(|| ());
        info_span!("stored", correlation_id = "e").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 a reached", "T4 b reached", "T4 c reached", "T4 d reached"]);
    assert_eq!(seen.lost(), []);
}

#[test]
fn the_end_is_the_last_exit_and_the_start_is_the_open() {
    let mut instants = Vec::new();
    let (layer, seen) = Seen::layer(journey_core::Routes::default(), false, None);
    let clock = seen.clock.clone();
    tracing::subscriber::with_default(
        tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), layer),
        || {
            for name in ["event_published", "event_consumed"] {
                instants.push(clock.read());
                let span = match name {
                    "event_published" => info_span!("event_published", correlation_id = "m"),
                    _ => info_span!("event_consumed", correlation_id = "m"),
                };
                instants.push(clock.read());
                pass_time();
                span.in_scope(pass_time);
                instants.push(clock.read());
                pass_time();
                drop(span);
            }
        },
    );
    let [published, consumed] = &seen.checkpoints()[..] else { panic!("two stages") };
    let instants: Vec<i64> = instants.into_iter().map(|reading| seen.clock.unix(reading)).collect();
    let [_, opened, left, before_open, after_open, _] = instants[..] else { panic!("six instants") };
    assert!(opened + MILLI < published.at && published.at <= left, "T2 counts its end: the last exit");
    assert!(before_open <= consumed.at && consumed.at <= after_open, "T3 counts its open");
    at_least(i64::from(published.busy_us) * 1_000);
    at_least(i64::from(published.idle_us) * 1_000);
}

#[test]
fn a_span_that_is_never_entered_is_a_mark_at_its_open() {
    let seen = record(|| drop(info_span!("event_published", correlation_id = "m")));
    let mark = seen.only();
    assert!(mark.at <= seen.clock.unix(seen.clock.read()) && (mark.busy_us, mark.idle_us) == (0, 0));
}

#[test]
fn a_child_that_outlives_its_stage_does_not_move_its_end() {
    let mut left = Reading::NEVER;
    let (layer, seen) = Seen::layer(journey_core::Routes::default(), false, None);
    let clock = seen.clock.clone();
    tracing::subscriber::with_default(
        tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), layer),
        || {
            let stage = info_span!("db_stored", correlation_id = "m");
            let child = stage.in_scope(|| info_span!("background"));
            left = clock.read();
            drop(stage);
            assert_eq!(seen.open_spans(), 1, "the child holds its stage open");
            pass_time();
            drop(child);
        },
    );
    assert!(seen.only().at <= seen.clock.unix(left));
    assert_eq!(seen.open_spans(), 0);
}

#[test]
fn a_clone_that_outlives_its_stage_does_not_move_its_end() {
    let mut left = 0;
    let seen = record(|| {
        let stage = info_span!("db_stored", correlation_id = "m");
        let clone = stage.clone();
        stage.in_scope(pass_time);
        left = 1;
        drop(stage);
        pass_time();
        drop(clone);
    });
    let checkpoint = seen.only();
    assert_eq!(left, 1);
    at_least(seen.clock.now() - checkpoint.at);
}

#[test]
fn nested_enters_of_one_span_count_once() {
    let seen = record(|| {
        let stage = info_span!("db_stored", correlation_id = "m");
        stage.in_scope(|| stage.in_scope(pass_time));
    });
    let checkpoint = seen.only();
    at_least(i64::from(checkpoint.busy_us) * 1_000);
    assert!(checkpoint.idle_us < checkpoint.busy_us, "busy counted twice would leave no idle, or less than none");
}

#[test]
fn stages_inside_stages_are_sent_inner_first() {
    let seen = record(|| {
        let outer = info_span!("plugin_received", correlation_id = "m").entered();
        info_span!("event_published").in_scope(|| ());
        drop(outer);
    });
    assert_eq!(seen.lines(), ["T2 m reached", "T1 m reached"]);
}

#[test]
fn a_stage_that_is_closed_on_another_thread_is_sent_once() {
    let seen = record(|| {
        let stage = info_span!("db_stored", correlation_id = "m");
        stage.in_scope(|| ());
        // The other thread has no subscriber of its own; the span knows where it belongs.
        std::thread::spawn(move || stage.in_scope(|| ())).join().unwrap();
    });
    assert_eq!(seen.lines(), ["T4 m reached"]);
}

#[test]
fn a_thread_that_ends_inside_a_stage_leaves_nothing_behind() {
    let seen = record(|| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let thread = std::thread::spawn(move || {
            let _default = tracing::dispatcher::set_default(&dispatch);
            let stage = info_span!("db_stored", correlation_id = "m").entered();
            // Dropped by the thread's end, inside of the scope.
            let _ = &stage;
            panic!("the thread dies with a stage open");
        });
        thread.join().unwrap_err();
    });
    assert_eq!(seen.lines(), ["T4 m reached"]);
}

#[test]
fn a_disabled_or_current_span_is_no_trouble() {
    let seen = record(|| {
        Span::none().in_scope(|| ());
        Span::current().record("correlation_id", "m");
        info_span!(parent: &Span::none(), "db_stored", correlation_id = "m").in_scope(|| ());
    });
    assert_eq!(seen.lines(), ["T4 m reached"]);
}
