//! How long do questions over one trace take? `cargo run --release -p journey-store --example query_bench`
//!
//! The budget: 20 events in less than 1 ms; 100 000 events in proportion. A question is everything at once: order, fold,
//! tree, failure, compensations, decisions and the paragraph. Each figure is the least of several runs, because a busy
//! machine only ever adds.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use journey_store::{Event, SpanId, TraceQuery, TraceView, fixture::Saga, why};

/// The budget for a trace of 20 events.
const BUDGET: Duration = Duration::from_millis(1);
/// How much longer per event 100 000 events may take than 10 000, neither of which a processor's cache holds. What is
/// quadratic takes ten times as long.
const LINEAR: f64 = 3.0;

fn main() -> ExitCode {
    println!("{:<28} {:>8} {:>12} {:>12} {:>12} {:>12}", "trace", "events", "build", "why", "view", "why/event");
    let small = Saga { fails_at: Some(7), ..Saga::default() }.events();
    let small = measure("saga, fails at step 7", &small[..20], 2_001);
    let mut linear = true;
    for (name, make) in
        [("sagas in one trace", sagas as fn(usize) -> Vec<Event>), ("one chain", chain), ("shuffled", shuffled)]
    {
        let per_event: Vec<f64> = [1_000, 10_000, 100_000]
            .into_iter()
            .map(|count| {
                let runs = (1_000_000 / count).clamp(10, 201);
                measure(name, &make(count), runs).as_nanos() as f64 / count as f64
            })
            .collect();
        linear &= per_event[2] < per_event[1] * LINEAR;
    }
    let holds = small < BUDGET && linear;
    println!("20 events below {BUDGET:?}: {}; linear to 100 000 events: {linear}", small < BUDGET);
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints one line; answers the least of building and asking why.
fn measure(name: &str, events: &[Event], runs: usize) -> Duration {
    let build = least(runs, || {
        black_box(TraceQuery::of(events));
    });
    let whole = least(runs, || {
        black_box(why(&TraceQuery::of(events)).paragraph());
    });
    let view = least(runs, || {
        let view = TraceView::of(&TraceQuery::of(events), None, false);
        black_box(serde_json::to_vec(&view).map(|text| text.len()).unwrap_or_default());
    });
    let each = whole / u32::try_from(events.len()).unwrap_or(u32::MAX);
    println!("{name:<28} {:>8} {build:>12.1?} {whole:>12.1?} {view:>12.1?} {each:>12.1?}", events.len());
    whole
}

fn least(runs: usize, mut run: impl FnMut()) -> Duration {
    let taken = (0..runs).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    });
    taken.min().unwrap_or_default()
}

/// Many orders in one trace: spans of their own, the same names.
fn sagas(count: usize) -> Vec<Event> {
    let order = |number: u64| {
        let saga = Saga { fails_at: Some(9), emitter: number + 1, ..Saga::default() };
        let own = move |span: SpanId| SpanId::new(span.get() + (number << 16));
        saga.events().into_iter().filter_map(move |mut event| {
            event.span_id = own(event.span_id)?;
            event.parent_span_id = event.parent_span_id.and_then(own);
            Some(event)
        })
    };
    (0..).flat_map(order).take(count).collect()
}

/// Each span inside the one before.
fn chain(count: usize) -> Vec<Event> {
    let mut events = sagas(count);
    for (number, event) in (1..).zip(&mut events) {
        event.span_id = SpanId::new(number).unwrap_or(event.span_id);
        event.parent_span_id = SpanId::new(number - 1);
    }
    events
}

/// As a store in disorder would answer.
fn shuffled(count: usize) -> Vec<Event> {
    let mut events = sagas(count);
    let mut state = 42_u64;
    for index in (1..events.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        events.swap(index, (state >> 33) as usize % (index + 1));
    }
    events
}
