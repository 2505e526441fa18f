//! `journey live` without a terminal: lines, lost connections, and every way to end.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::support::{Server, ended, journey, open_stream, reply, run};

fn event(number: u32) -> String {
    format!(
        "id: {number}\nevent: checkpoint\ndata: {{\"correlationId\":\"msg_{number}\",\"stage\":\"T4\",\"name\":\"db_stored\",\"outcome\":\"reached\",\"at\":\"2026-11-20T10:00:00.{number:03}Z\",\"legMs\":127}}\n\n"
    )
}

fn send(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
}

/// Holds the connection until the client goes away.
fn hold(stream: &TcpStream) {
    let _ = std::io::copy(&mut &*stream, &mut std::io::sink());
}

/// Says two events, breaks off in the third, goes on when asked from the second, then stays.
fn interrupted() -> Server {
    let connections = AtomicUsize::new(0);
    Server::start(move |_, stream| {
        open_stream(stream);
        if connections.fetch_add(1, Ordering::SeqCst) == 0 {
            send(stream, "retry: 100\nid: 0\ndata:\n\n");
            send(stream, &event(1));
            send(stream, ": alive\n\nevent: heartbeat\ndata: {}\n\n");
            send(stream, &event(2));
            send(stream, event(3).trim_end());
        } else {
            send(stream, "event: lagged\ndata: {\"count\":5}\n\n");
            send(stream, &event(3));
            hold(stream);
        }
    })
}

fn first_lines(child: &mut Child, count: usize) -> Vec<String> {
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).lines().take(count).map(Result::unwrap).collect()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_lost_connection_is_mended_without_missing_or_repeating_anything() {
    let server = interrupted();
    let mut child = journey(&server.url(), &["live", "--stage", "db stored", "--route", "message"]).spawn().unwrap();
    let lines = first_lines(&mut child, 3);
    let line = |number: u32| format!("2026-11-20T10:00:00.{number:03}Z checkpoint msg_{number} T4 db_stored +127 ms");
    assert_eq!(lines, [line(1), line(2), line(3)]);
    signal(&child, "-INT");
    let end = ended(child);
    assert_eq!(end.code, Some(130));
    assert!(
        end.stderr.contains("connection lost (the server closed the stream); trying again in 100 ms"),
        "{}",
        end.stderr
    );
    assert!(end.stderr.contains("5 events were missed"), "{}", end.stderr);
    let requests = server.requests();
    assert_eq!(requests[0].target, "/api/v2/metrics/stream?stage=db%20stored&route=message");
    assert_eq!((requests[0].header("last-event-id"), requests[1].header("last-event-id")), (None, Some("2")));
}

#[test]
fn json_lines_carry_the_events_as_they_came() {
    let server = interrupted();
    let mut child = journey(&server.url(), &["live", "--json"]).spawn().unwrap();
    let lines = first_lines(&mut child, 4);
    let read: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = read.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["checkpoint", "checkpoint", "lagged", "checkpoint"]);
    assert_eq!((&read[3]["id"], &read[3]["data"]["correlationId"]), (&"3".into(), &"msg_3".into()));
    signal(&child, "-TERM");
    assert_eq!(ended(child).code, Some(143));
}

#[test]
fn a_closed_pipe_ends_it_calmly() {
    let server = Server::start(|_, stream| {
        open_stream(stream);
        while stream.write_all(event(1).as_bytes()).is_ok() {}
    });
    let mut child = journey(&server.url(), &["live"]).spawn().unwrap();
    first_lines(&mut child, 1);
    let end = ended(child);
    assert_eq!((end.code, end.stderr.lines().count()), (Some(0), 1), "{}", end.stderr);
}

#[test]
fn a_stream_that_the_server_ends_for_good_ends_with_0() {
    let server = Server::start(|_, stream| send(stream, "HTTP/1.1 204 No Content\r\n\r\n"));
    let end = run(&server.url(), &["live"]);
    assert_eq!((end.code, end.stdout.as_str()), (Some(0), ""));
}

#[test]
fn a_refusal_in_between_is_not_retried_for_ever() {
    let connections = AtomicUsize::new(0);
    let server = Server::start(move |_, stream| match connections.fetch_add(1, Ordering::SeqCst) {
        0 => {
            open_stream(stream);
            send(stream, "retry: 100\n\n");
        }
        1 => reply(stream, "503 Service Unavailable", "application/problem+json", r#"{"detail":"full"}"#),
        _ => reply(stream, "401 Unauthorized", "application/problem+json", r#"{"detail":"token changed"}"#),
    });
    let end = run(&server.url(), &["live"]);
    assert_eq!(end.code, Some(4));
    assert!(end.stderr.contains("full") && end.stderr.contains("token changed"), "{}", end.stderr);
    assert_eq!(server.requests().len(), 3);
}
