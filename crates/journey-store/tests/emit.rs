//! What an application says, and what it is told.
#![allow(clippy::unwrap_used, reason = "tests")]

mod writer_support;

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use journey_core::{TraceIdKey, root_span_id};
use journey_store::{
    Emitter, Event, EventStatus, LossReason, REDACTED, Redaction, SpanId, TraceContext, TraceId, TraceQuery,
};
use serde_json::{Value, json};

use self::writer_support::{Fault, FaultyStore, dropped, fixed, run};

const LONG: Duration = Duration::from_secs(20);

struct Seen {
    store: Arc<FaultyStore>,
    emitter: Emitter,
}

impl Seen {
    fn new() -> Self {
        let store = FaultyStore::new(|_, _| Fault::None);
        let emitter = fixed(Emitter::builder(store.clone()), 1).start().unwrap();
        Self { store, emitter }
    }

    /// All that was emitted, in order.
    fn events(&self) -> Vec<Event> {
        assert!(self.emitter.flush(LONG).wait());
        let mut events = self.store.events();
        events.sort_by_key(|event| event.seq);
        events
    }

    /// One line per event: type, status, data.
    fn lines(&self) -> Vec<String> {
        let line = |event: &Event| {
            format!("{} {} {}", event.event_type, event.status.as_str(), Value::Object(event.data.clone()))
        };
        self.events().iter().map(line).collect()
    }
}

#[test]
fn a_decision_reads_like_a_sentence() {
    let seen = Seen::new();
    let decision = Event::decision("route").chosen("B").reasoning("why not").confidence(0.7).alternatives(["A", "B"]);
    run(seen.emitter.emit(decision)).unwrap();
    let expected = json!({
        "decision": "route", "chosen": "B", "reasoning": "why not", "confidence": 0.7, "alternatives": ["A", "B"],
    });
    assert_eq!(seen.lines(), [format!("ai:decision success {expected}")]);
}

#[test]
fn what_is_no_event_is_refused_with_a_right_example_and_counted() {
    let seen = Seen::new();
    let emit = |draft| seen.emitter.emit(draft).wait().unwrap_err();
    for (draft, expected) in [
        (Event::draft("a b"), "`a b` is not an event type (try `stage:completed`)"),
        (Event::decision("x").confidence(f64::NAN), "`NaN` is not a confidence (try `0.7`)"),
        (Event::decision("x").confidence(70.0), "`70` is not a confidence (try `0.7`)"),
        (Event::decision("x").alternatives(vec!["a"; 65]), "`more than 64` is not a number of alternatives (try `3`)"),
        (
            Event::completed("x").route(""),
            "`` is not a route of 1 to 128 bytes without control characters (try `message`)",
        ),
        (
            Event::completed("x").correlation_id("a\nb"),
            "`a\\nb` is not a correlation id of 1 to 128 bytes without control characters (try `msg_1`)",
        ),
    ] {
        let error = emit(draft);
        assert_eq!(error.to_string(), format!("the event is not stored (invalid): {expected}"));
        assert_eq!(error.loss(), Some(LossReason::Invalid));
    }
    let stats = seen.emitter.shutdown(LONG);
    assert_eq!((stats.emitted, dropped(&stats, LossReason::Invalid)), (6, 6));
    assert_eq!(seen.emitter.emit(Event::completed("x")).wait().unwrap_err().loss(), Some(LossReason::Shutdown));
}

#[test]
fn nothing_leaves_the_process_with_a_secret() {
    let seen = Seen::new();
    let error = std::io::Error::other("cannot reach postgres://app:hunter2@db with token=abc");
    seen.emitter.record(Event::failed("stage:pay", &error).data("card", "4111 1111 1111 1111").tag("apiKey", "k"));
    let mut watched = seen.emitter.watch_all(None);
    seen.emitter.record(Event::completed("stage:pay").data("password", "hunter2").data("orderId", "4111111111111111"));
    let Some(journey_store::Watched::Event(live)) = watched.next_within(LONG) else { panic!("no event") };
    assert_eq!(
        (live.data["password"].as_str(), live.data["orderId"].as_str()),
        (Some(REDACTED), Some("4111111111111111"))
    );
    let text = serde_json::to_string(&seen.events()).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("4111 1111") && !text.contains("abc"), "{text}");
    let stats = seen.emitter.stats();
    assert_eq!((stats.redacted, stats.cut), (5, 0), "{text}");
}

#[test]
fn redaction_can_be_switched_off_and_sizes_still_hold() {
    let store = FaultyStore::new(|_, _| Fault::None);
    let emitter = fixed(Emitter::builder(store.clone()), 1).redaction(Redaction::off()).start().unwrap();
    let mut deep = Value::Null;
    for _ in 0..10_000 {
        deep = Value::Array(vec![deep]);
    }
    emitter.record(Event::completed("x").data("password", "p").data("long", "x".repeat(1 << 20)).data("deep", deep));
    let stats = emitter.shutdown(LONG);
    assert_eq!((stats.stored, stats.redacted, stats.cut), (1, 0, 2));
    let event = &store.events()[0];
    assert_eq!(event.data["password"], "p");
    assert!(serde_json::to_string(event).unwrap().len() < 70_000);
}

#[test]
fn an_answer_that_nobody_wants_does_not_stop_the_event() {
    let seen = Seen::new();
    drop(seen.emitter.emit(Event::completed("a")));
    let mut polled = seen.emitter.emit(Event::completed("b"));
    let _ = std::pin::Pin::new(&mut polled).poll(&mut Context::from_waker(Waker::noop()));
    drop(polled);
    assert_eq!(seen.lines().len(), 2);
}

#[test]
fn it_works_on_any_executor_and_outlives_it() {
    let seen = Seen::new();
    let emitter = seen.emitter.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        emitter.emit(Event::completed("a")).await.unwrap();
        assert!(emitter.flush(LONG).await);
    });
    let entered = runtime.enter();
    let left = emitter.emit(Event::completed("b"));
    drop(entered);
    drop(runtime);
    left.wait().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..50).map(|_| tokio::spawn(emitter.emit(Event::completed("c")))).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    run(emitter.emit(Event::completed("d"))).unwrap();
    assert_eq!(seen.emitter.shutdown(LONG).stored, 53);
}

#[test]
fn work_says_how_it_began_and_ended_whatever_happened() {
    let seen = Seen::new();
    let context = TraceContext::start(&seen.emitter, "order", "order_1").unwrap();
    assert_eq!(run(context.trace("stage:ok", || async { Ok::<_, String>(7) })), Ok(7));
    let failed = run(context.trace("db:save", || async { Err::<(), _>(std::io::Error::other("disk full")) }));
    assert_eq!(failed.unwrap_err().to_string(), "disk full");
    // Dropped before its end.
    let mut pending = Box::pin(context.trace("stage:slow", std::future::pending::<Result<(), String>>));
    assert!(pending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(pending);
    // Dropped before its beginning: nothing to say.
    drop(context.trace("stage:never", std::future::pending::<Result<(), String>>));
    let panics = std::panic::AssertUnwindSafe(|| {
        run(context.trace("stage:odd", || async {
            if true {
                std::panic::resume_unwind(Box::new("odd"));
            }
            Ok::<_, String>(())
        }))
    });
    std::panic::catch_unwind(panics).unwrap_err();
    context.failed("the order failed");
    insta::assert_snapshot!(seen.lines().join("\n"), @r#"
    workflow:started pending {}
    stage:started pending {"name":"ok"}
    stage:completed success {"name":"ok"}
    db:started pending {"name":"save"}
    db:failed failed {"name":"save","error":{"type":"std::io::error::Error","message":"disk full"}}
    stage:started pending {"name":"slow"}
    stage:cancelled failed {"name":"slow","error":{"type":"cancelled","message":"the work was dropped before it ended"}}
    stage:started pending {"name":"odd"}
    stage:failed failed {"name":"odd","error":{"type":"panic","message":"the work panicked"}}
    workflow:failed failed {"error":{"type":"str","message":"the order failed"}}
    "#);
    let events = seen.events();
    for pair in events[1..events.len() - 1].chunks(2) {
        assert_eq!((pair[0].span_id, pair[0].parent_span_id), (pair[1].span_id, Some(context.span_id())));
        assert_eq!((pair[0].duration, pair[1].duration.is_some()), (None, true));
        assert!(pair[1].duration >= Some(1_000));
    }
}

#[test]
fn a_compensation_names_what_it_undoes() {
    let seen = Seen::new();
    let context = TraceContext::start(&seen.emitter, "order", "order_1").unwrap();
    let paid = SpanId::new(0xabc).unwrap();
    run(context.compensate(paid, "refund", || async { Ok::<_, String>(()) })).unwrap();
    run(context.compensate(paid, "restock", || async { Err::<(), _>("no shelf") })).unwrap_err();
    let mut pending = Box::pin(context.compensate(paid, "call", std::future::pending::<Result<(), String>>));
    assert!(pending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(pending);
    insta::assert_snapshot!(seen.lines()[1..].join("\n"), @r#"
    saga:compensating pending {"name":"refund","compensates":"0000000000000abc"}
    saga:compensated success {"name":"refund","compensates":"0000000000000abc"}
    saga:compensating pending {"name":"restock","compensates":"0000000000000abc"}
    saga:compensation_failed failed {"name":"restock","compensates":"0000000000000abc","error":{"type":"&str","message":"no shelf"}}
    saga:compensating pending {"name":"call","compensates":"0000000000000abc"}
    saga:compensation_failed failed {"name":"call","compensates":"0000000000000abc","error":{"type":"cancelled","message":"the work was dropped before it ended"}}
    "#);
    assert!(seen.events()[1..].iter().all(|event| event.parent_span_id == Some(context.span_id())));
}

#[test]
fn work_that_changed_nothing_says_that_it_need_not_be_undone() {
    let seen = Seen::new();
    let context = TraceContext::start(&seen.emitter, "order", "order_1").unwrap();
    let charged = SpanId::new(0xabc).unwrap();
    context.record(Event::completed("stage:look_up").compensable(false));
    context.record(Event::completed("stage:reserve").compensable(true));
    context.record(Event::completed("stage:pack"));
    context.record(Event::completed("stage:charge").span_id(charged));
    run(context.compensate(charged, "refund", || async { Ok::<_, String>(()) })).unwrap();
    context.failed("declined");
    let events = seen.events();
    assert_eq!(events[1].data["compensable"], false);
    let query = TraceQuery::of(&events);
    let never_undone: Vec<_> = query.compensations().never_undone.iter().map(|node| node.label.clone()).collect();
    assert_eq!(never_undone, ["reserve", "pack"]);
}

#[test]
fn ids_are_those_of_the_journey_and_children_know_their_parents() {
    let seen = Seen::new();
    let order = TraceContext::start(&seen.emitter, "order", "order_1").unwrap().tagged("tenant", "a");
    let expected = TraceIdKey::default().trace_id("order", "order_1", 1);
    assert_eq!((order.trace_id().get(), order.span_id().get()), (expected, root_span_id(expected)));
    let again = TraceContext::start_again(&seen.emitter, "order", "order_1", 2).unwrap();
    assert_ne!(again.trace_id(), order.trace_id());
    let mail = order.child_workflow("mail", "order_1").unwrap();
    assert_ne!(mail.trace_id(), order.trace_id());
    let itself = order.child_workflow("order", "order_1").unwrap();
    assert_ne!(itself.trace_id(), order.trace_id());
    mail.record(Event::completed("stage:send"));
    let decided = order.decide(Event::decision("carrier").chosen("post"));
    mail.completed();

    // In another process, over a header.
    let header = mail.traceparent();
    let there = TraceContext::from_traceparent(&seen.emitter, &header).unwrap().named("mail", "order_1").unwrap();
    run(there.trace_with("stage:smtp", |inside| async move {
        inside.record(Event::draft("smtp:greeted"));
        Ok::<_, String>(())
    }))
    .unwrap();
    let events = seen.events();
    let find = |event_type: &str, route: &str| {
        let found = events.iter().find(|event| event.event_type == event_type && event.route.as_deref() == Some(route));
        found.unwrap_or_else(|| panic!("no {event_type}"))
    };
    let started = find("workflow:started", "mail");
    assert_eq!((started.parent_trace_id, started.parent_span_id), (Some(order.trace_id()), None));
    assert_eq!((started.trace_id, started.span_id), (mail.trace_id(), mail.span_id()));
    assert_eq!(started.tags["tenant"], "a");
    let sent = find("stage:completed", "mail");
    assert_eq!((sent.trace_id, sent.parent_span_id), (mail.trace_id(), Some(mail.span_id())));
    assert_eq!(sent.correlation_id.as_deref(), Some("order_1"));
    let decision = find("ai:decision", "order");
    assert_eq!((decision.span_id, decision.parent_span_id), (decided, Some(order.span_id())));
    let (smtp, greeted) = (find("stage:started", "mail"), find("smtp:greeted", "mail"));
    assert_eq!((smtp.trace_id, smtp.parent_span_id), (mail.trace_id(), Some(mail.span_id())));
    assert_eq!(greeted.parent_span_id, Some(smtp.span_id));
    assert_eq!(find("workflow:completed", "mail").status, EventStatus::Success);
}

#[test]
fn an_event_without_a_context_is_a_trace_of_its_own() {
    let seen = Seen::new();
    seen.emitter.record(Event::completed("a"));
    seen.emitter.record(Event::completed("a"));
    let id = TraceId::new(5).unwrap();
    let context = TraceContext::resume(&seen.emitter, id, SpanId::new(6).unwrap());
    // What was said stays.
    seen.emitter.record(Event::completed("b").trace_id(id).parent_span_id(SpanId::new(9).unwrap()).of(&context));
    let events = seen.events();
    assert!(events[0].trace_id != events[1].trace_id && events[0].parent_span_id.is_none());
    assert_eq!((events[2].trace_id, events[2].parent_span_id), (id, SpanId::new(9)));
}

#[test]
fn names_that_are_none_start_nothing() {
    let seen = Seen::new();
    let error = TraceContext::start(&seen.emitter, "order", "a\u{1b}").unwrap_err().to_string();
    assert!(error.contains("is not a correlation id"), "{error}");
    assert!(TraceContext::start(&seen.emitter, "", "a").is_err());
    assert!(TraceContext::start_unnamed(&seen.emitter, &"x".repeat(129)).is_err());
    assert!(TraceContext::from_traceparent(&seen.emitter, "00-0-0-00").is_err());
    assert_eq!(seen.emitter.stats().emitted, 0);
}

/// A real fork: the child has the emitter, but neither its writer nor its locks.
#[cfg(unix)]
#[test]
fn a_forked_child_takes_no_number_of_its_parent_and_cannot_hang() {
    use std::io::{Read, Write};

    let seen = Seen::new();
    seen.emitter.record(Event::completed("parent"));
    let (mut reads, mut writes) = std::io::pipe().unwrap();
    // Another thread is inside the emitter while the process forks, again and again.
    let busy = seen.emitter.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
            busy.stats();
        }
    });
    for _ in 0..20 {
        match fork::fork().unwrap() {
            fork::Fork::Child => {
                seen.emitter.record(Event::completed("child"));
                let lost = seen.emitter.emit(Event::completed("child")).wait().unwrap_err().loss();
                let flushed = seen.emitter.flush(LONG).wait();
                let watched = seen.emitter.watch_all(Some(0)).next_within(LONG);
                let stats = seen.emitter.shutdown(LONG);
                drop(seen.emitter.clone());
                let line = format!("{} {:?} {flushed} {watched:?} {:?}\n", stats.emitted, lost, stats.dropped);
                let different = stats.emitter != 0 && stats.emitter == seen.emitter.number();
                writes.write_all(if different { line.as_bytes() } else { b"the number\n" }).unwrap();
                // Not by way of the test harness, which would run the parent's tests again.
                std::process::abort();
            }
            fork::Fork::Parent(child) => {
                let _ = fork::waitpid(child);
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    thread.join().unwrap();
    drop(writes);
    let mut said = String::new();
    reads.read_to_string(&mut said).unwrap();
    assert_eq!(said, "2 Some(Forked) false None {\"forked\": 2}\n".repeat(20));
    let stats = seen.emitter.shutdown(LONG);
    assert_eq!((stats.emitted, stats.stored, stats.dropped.len()), (1, 1, 0), "{stats:?}");
}
