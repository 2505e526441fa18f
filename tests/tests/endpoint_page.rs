//! `docs/endpoint.md` shows real answers: each command of the page is run, and what it prints is compared.
//!
//! A block of commands (`bash`) is followed by a block with the answer. `answer` in its first line: exactly this;
//! `like`: figures of the process itself, so only the keys and the kinds of their values are compared.
//! `UPDATE_DOCS=1 cargo test -p journey-tests --test endpoint_page` writes the answers anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use journey_core::{Checkpoint, CorrelationId, Outcome, StageError};
use journey_http::StoredEvents;
use journey_store::{Batch, EventStore, MemoryStore, fixture::Saga, wait};
use journey_tests::{http::get, repository, service::Service, suite, wait_for};
use serde_json::Value;

/// The address that the page shows.
const SHOWN: &str = "127.0.0.1:7117";
/// 2026-11-20T10:00:05Z, the instant at which the page stands still.
const NOW: i64 = 1_795_168_805_000_000_000;
/// The latencies of the shown journey, milliseconds.
const SHOWN_LEGS: [i64; 11] = [52, 23, 15, 127, 31, 15, 1_842, 12, 34, 22, 82];

#[test]
fn every_answer_on_the_page_is_what_the_endpoint_gives() {
    if suite::CURL.program().is_none() {
        return;
    }
    let path = repository().join("docs/endpoint.md");
    let page = fs::read_to_string(&path).unwrap();
    let service = documented();
    let mut written = String::new();
    let mut wrong = Vec::new();
    let mut blocks = 0;
    let mut rest = page.as_str();
    while let Some((before, from_commands)) = rest.split_once("```bash\n") {
        let (commands, after) = from_commands.split_once("\n```\n").unwrap();
        written.push_str(&format!("{before}```bash\n{commands}\n```\n"));
        rest = after;
        let Some(answer) = after.strip_prefix("\n```") else { continue };
        let (head, body) = answer.split_once('\n').unwrap();
        // A new block is empty: nothing stands between its fences.
        let (shown, after) =
            body.strip_prefix("```\n").map_or_else(|| body.split_once("\n```\n").unwrap(), |after| ("", after));
        let got = run(&service, commands);
        let same = if head.ends_with(" like") { kinds(&got) == kinds(shown) } else { got == shown };
        if !same {
            wrong.push(format!("$ {commands}\n--- the page says\n{shown}\n--- the endpoint says\n{got}"));
        }
        // Figures that merely differ are no news.
        let keep = if same { shown } else { &got };
        written.push_str(&format!("\n```{head}\n{keep}\n```\n"));
        rest = after;
        blocks += 1;
    }
    written.push_str(rest);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, written).unwrap();
    } else {
        assert!(wrong.is_empty(), "UPDATE_DOCS=1 writes the page anew\n{}", wrong.join("\n\n"));
    }
    assert!(blocks >= 10, "only {blocks} answers on the page");
}

#[test]
fn the_page_shows_every_path() {
    let page = fs::read_to_string(repository().join("docs/endpoint.md")).unwrap();
    let service = Service::start();
    let paths = get(&format!("{}/openapi.json", service.url())).json()["paths"].take();
    let paths = paths.as_object().unwrap();
    assert!(paths.len() > 8, "{paths:?}");
    for path in paths.keys() {
        assert!(page.contains(&format!("`GET {path}`")), "no section about {path}");
    }
}

/// A service that stands still: one complete journey, one that waits for its agent, one that failed.
fn documented() -> Service {
    // It has run for a minute when the page looks at it.
    let clock = Arc::new(AtomicI64::new(NOW - 60_000_000_000));
    let read = Arc::clone(&clock);
    let stored = StoredEvents::new(orders());
    let service = Service::with_store(Arc::new(move || read.load(Ordering::Relaxed)), Some(stored));
    clock.store(NOW, Ordering::Relaxed);
    let start = NOW - 5_000_000_000;
    let mut instants = vec![start];
    for leg in SHOWN_LEGS {
        instants.push(instants[instants.len() - 1] + leg * 1_000_000);
    }
    service.record("msg_abc123", &instants);
    service.record("msg_abc124", &instants[..6]);
    service.record("msg_abc125", &instants[..4]);
    let id = CorrelationId::new("msg_abc125").unwrap();
    let route = service.live.routes().find("message").unwrap();
    let stage = service.live.routes().stage(route, "db_stored").unwrap();
    service.live.write(|tracker, now| {
        let failed = Checkpoint {
            outcome: Outcome::Failed,
            error: Some(Box::new(StageError::new("timeout", "the database did not answer in 5 s"))),
            ..Checkpoint::reached(id.clone(), stage, instants[4])
        };
        tracker.record(failed, now).unwrap();
        tracker.finish(&id, route, journey_core::Status::Failed, Some("the database did not answer in 5 s"), now);
    });
    service
}

/// A store with one order of twelve steps, of which the ninth failed and was compensated.
fn orders() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let events = Saga { fails_at: Some(9), ..Saga::default() }.events();
    wait(store.put(Arc::new(Batch { events, account: None, now: NOW }))).unwrap();
    wait(store.recompute()).unwrap();
    store
}

/// Runs the commands against the service and gives what they print, made readable.
fn run(service: &Service, commands: &str) -> String {
    let commands = commands.replace(SHOWN, &service.addr().to_string());
    let output = if commands.contains("/metrics/stream") {
        while_messages_come(service, || shell(&commands))
    } else {
        shell(&commands)
    };
    assert!(output.stderr.is_empty(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace(&service.addr().to_string(), SHOWN);
    match serde_json::from_str::<Value>(&text) {
        Ok(json) => readable(&json, 0),
        Err(_) => text.replace('\r', "").lines().map(of_this_run).collect::<Vec<_>>().join("\n").trim().to_owned(),
    }
}

fn shell(commands: &str) -> Output {
    Command::new("bash").args(["-c", commands]).output().expect("bash and curl")
}

/// Records one more journey as soon as somebody follows the stream.
fn while_messages_come(service: &Service, follow: impl FnOnce() -> Output) -> Output {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("somebody follows the stream", || {
                (service.live.feed().wanted() || over.load(Ordering::Relaxed)).then_some(())
            });
            service.record("msg_abc126", &[NOW - 80_000_000, NOW - 20_000_000]);
        });
        let output = follow();
        over.store(true, Ordering::Relaxed);
        output
    })
}

/// Lines that name this run or this moment, as they stand on the page.
fn of_this_run(line: &str) -> String {
    for (start, shown) in [("id: ", "id: 4f1c9e02-1"), ("retry: ", "retry: 3000"), ("date: ", "date: ...")] {
        if line.to_ascii_lowercase().starts_with(start) {
            return shown.to_owned();
        }
    }
    line.to_owned()
}

/// JSON with one line per thing: what lies below the second level stands on one line, and of objects in arrays the first two.
fn readable(json: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth + 1);
    let close = "  ".repeat(depth);
    match json {
        Value::Object(fields) if depth < 2 && !fields.is_empty() && (depth == 0 || json.to_string().len() > 100) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{indent}{}: {}", Value::from(key.as_str()), readable(value, depth + 1)))
                .collect();
            format!("{{\n{}\n{close}}}", fields.join(",\n"))
        }
        Value::Array(items) if depth < 4 && items.iter().any(Value::is_object) => {
            let mut lines: Vec<_> = items.iter().take(2).map(|item| format!("{indent}{}", readable(item, 4))).collect();
            if items.len() > 2 {
                lines.push(format!("{indent}\"... and {} more\"", items.len() - 2));
            }
            format!("[\n{}\n{close}]", lines.join(",\n"))
        }
        other => one_line(other),
    }
}

fn one_line(json: &Value) -> String {
    match json {
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), one_line(value)))
                .collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
        Value::Array(items) if items.len() > 2 && items[0].is_object() => {
            format!("[{}, {}, \"... and {} more\"]", one_line(&items[0]), one_line(&items[1]), items.len() - 2)
        }
        Value::Array(items) => format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The shape of an answer: keys and kinds for JSON, the words without digits for text.
fn kinds(text: &str) -> String {
    fn shape(json: &Value) -> Value {
        match json {
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
            Value::Array(items) => items.first().map(shape).into_iter().collect(),
            Value::Number(_) => "number".into(),
            Value::String(_) => "text".into(),
            other => other.clone(),
        }
    }
    match serde_json::from_str::<Value>(text) {
        Ok(json) => shape(&json).to_string(),
        Err(_) => text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect(),
    }
}
