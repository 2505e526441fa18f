//! The attack list over real sockets, and how connections begin and end.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream as StdTcpStream},
    time::Instant as StdInstant,
};

use super::*;
use crate::testing::{WHOLE, live, record, until};

const LONG: Duration = Duration::from_secs(20);

fn loopback() -> HttpConfig {
    HttpConfig { addr: "127.0.0.1:0".parse().unwrap(), ..HttpConfig::default() }
}

fn start(live: &Arc<Live>, config: HttpConfig) -> HttpServer {
    HttpServer::start(Arc::clone(live), Arc::new(Health::new()), config).unwrap()
}

fn connect(server: &HttpServer) -> StdTcpStream {
    let stream = StdTcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Everything until the other end closes; a reset counts as closed.
fn read_all(stream: &mut StdTcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection was not closed within {LONG:?}: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends bytes and gives back all that comes until the server closes.
fn exchange(server: &HttpServer, request: &str) -> String {
    let mut stream = connect(server);
    // The server may answer and close before it has all of it.
    let _ = stream.write_all(request.as_bytes());
    read_all(&mut stream)
}

fn get(server: &HttpServer, path: &str) -> String {
    exchange(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn status(response: &str) -> u16 {
    let status = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {response:?}"))
}

#[test]
fn a_server_answers_on_a_free_port_and_ends_when_told() {
    let live = live();
    record(&live, "msg_1", &WHOLE);
    let server = start(&live, loopback());
    let response = get(&server, "/api/v2/metrics/journey/msg_1");
    assert_eq!(status(&response), 200);
    assert!(response.contains("\"correlationId\":\"msg_1\""), "{response}");
    let addr = server.local_addr();
    assert!(server.shutdown(LONG));
    assert!(StdTcpStream::connect(addr).is_err());
    assert!(server.shutdown(Duration::ZERO), "it ended whole, and goes on saying so");
}

#[test]
fn it_does_not_start_where_others_reach_it_without_a_token() {
    let addr = "0.0.0.0:0".parse().unwrap();
    let started = |config| HttpServer::start(live(), Arc::new(Health::new()), config);
    let error = started(HttpConfig { addr, ..HttpConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("JOURNEY_HTTP_TOKEN_FILE"), "{error}");
    let taken = start(&live(), loopback());
    let error = started(HttpConfig { addr: taken.local_addr(), ..HttpConfig::default() }).unwrap_err();
    assert!(error.is_address_in_use() && error.to_string().contains("127.0.0.1:0"), "{error}");
}

#[test]
fn it_starts_inside_any_runtime_and_without_one() {
    let live = live();
    let inside = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = inside.block_on(async { start(&live, loopback()) });
    drop(inside);
    assert_eq!(status(&get(&server, "/livez")), 200);
}

#[test]
fn times_without_end_are_taken() {
    let endless = HttpConfig {
        header_timeout: Duration::MAX,
        write_timeout: Duration::MAX,
        heartbeat: Duration::MAX,
        ..loopback()
    };
    let server = start(&live(), endless);
    let _stream = open_stream(&server);
    assert_eq!(status(&get(&server, "/livez")), 200);
    assert!(server.shutdown(Duration::MAX));
}

#[test]
fn requests_that_two_parsers_may_read_differently_are_refused() {
    // Where nothing is wrong with what came so far, the server waits for more; not long here.
    let server = start(&live(), HttpConfig { header_timeout: Duration::from_millis(300), ..loopback() });
    let second = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (head, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ("Content-Length: +5\r\n", "hello"),
        ("Content-Length: 5, 6\r\n", "hello"),
        ("Content-Length: -1\r\n", ""),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Content-Length: 0\r\n folded\r\n", ""),
        ("X: a\0b\r\n", ""),
        ("Bad Name: x\r\n", ""),
        ("no colon\r\n", ""),
        ("Host: attacker.example\r\n", ""),
    ] {
        let response =
            exchange(&server, &format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}{second}"));
        assert_eq!(status(&response), 400, "{head:?}");
        // What follows on the same connection is never taken for a request of its own.
        let answers = response.matches("HTTP/1.1 ").count();
        assert!(answers == 1 || head.starts_with("Host"), "{head:?}: {response}");
    }
    for line in [
        "GET /livez HTTP/1.1\nHost: localhost\n\nGET",
        "GET /livez\r\n\r\n",
        "GET /livez HTTP/3.0\r\n\r\n",
        "\x16\x03\x01 hello\r\n\r\n",
    ] {
        let response = exchange(&server, line);
        let refused =
            response.is_empty() || status(&response) >= 400 || status(&response) == 200 && line.contains("\nHost");
        assert!(refused, "{line:?}: {response}");
    }
}

#[test]
fn a_request_without_a_host_is_refused() {
    let server = start(&live(), loopback());
    for request in ["GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /livez HTTP/1.0\r\n\r\n"] {
        let response = exchange(&server, request);
        assert!(response.split(' ').nth(1) == Some("400"), "{request:?}: {response}");
    }
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let server = start(&live(), loopback());
    let large = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    let many = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    for request in [large, many, path] {
        let response = exchange(&server, &request);
        // Where unread bytes are left, the system may throw the answer away with a reset.
        assert!(response.is_empty() || matches!(status(&response), 414 | 431), "{response}");
    }
    assert_eq!(status(&get(&server, "/livez")), 200);
}

#[test]
fn a_head_that_never_ends_is_closed_in_time_and_holds_up_nobody() {
    let server = start(&live(), HttpConfig { header_timeout: Duration::from_millis(200), ..loopback() });
    let began = StdInstant::now();
    let mut half: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    for stream in &mut half {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    }
    assert_eq!(status(&get(&server, "/livez")), 200);
    // Byte by byte is no way around: the time runs from the first.
    let mut dripping = connect(&server);
    dripping.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let drips = std::iter::repeat_n("X: y\r\n", 10_000);
    let mut closed = false;
    for drip in ["GET /livez HTTP/1.1\r\nHost: localhost\r\n"].into_iter().chain(drips) {
        let mut answer = [0; 512];
        closed = dripping.write_all(drip.as_bytes()).is_err()
            || !matches!(dripping.read(&mut answer), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        if closed {
            break;
        }
    }
    assert!(closed, "a dripping head was taken for ever");
    for stream in &mut half {
        read_all(stream);
    }
    // An idle connection is closed as well.
    read_all(&mut connect(&server));
    assert!(began.elapsed() < LONG);
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_places_come_back() {
    let server = start(&live(), HttpConfig { max_connections: 3, ..loopback() });
    let held: Vec<_> = (0..3).map(|_| connect(&server)).collect();
    let mut beyond = connect(&server);
    let response = read_all(&mut beyond);
    assert_eq!(status(&response), 503);
    assert!(response.contains("retry-after: 1"), "{response}");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head} has {}", body.len());
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["status"], 503);
    drop(held);
    until(|| {
        let mut stream = connect(&server);
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        status(&read_all(&mut stream)) == 200
    });
}

#[test]
fn one_connection_serves_many_requests() {
    let server = start(&live(), loopback());
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let response = exchange(&server, &format!("{}{last}", request.repeat(5)));
    assert_eq!(response.matches("HTTP/1.1 200 OK").count(), 6, "{response}");
}

#[test]
fn the_rate_limit_counts_by_the_address_of_the_client() {
    let server = start(&live(), HttpConfig { requests_per_minute: 2, ..loopback() });
    let statuses: Vec<_> = (0..3).map(|_| status(&get(&server, "/metrics"))).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(status(&get(&server, "/livez")), 200);
}

fn open_stream(server: &HttpServer) -> StdTcpStream {
    let mut stream = connect(server);
    stream.write_all(b"GET /api/v2/metrics/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut bytes = [0; 1_024];
    while !text.contains("data:") {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    stream
}

#[test]
fn streams_end_on_shutdown() {
    let live = live();
    let server = start(&live, loopback());
    let mut streams: Vec<_> = (0..10).map(|_| open_stream(&server)).collect();
    assert!(server.shutdown(LONG), "streams kept the server from ending");
    for stream in &mut streams {
        read_all(stream);
    }
    until(|| !live.feed().wanted());
}

#[test]
fn a_reader_that_stops_is_closed_and_neither_the_tracker_nor_other_readers_wait_for_it() {
    let live = live();
    let server = start(&live, HttpConfig { write_timeout: Duration::from_millis(200), ..loopback() });
    let stopped: Vec<_> = (0..10).map(|_| open_stream(&server)).collect();
    let mut reading = open_stream(&server);
    let in_use = |name: &str| live.self_view().parts["http"][name].as_u64().unwrap();
    assert_eq!(in_use("streams"), 11);
    let reader = std::thread::spawn(move || {
        let mut bytes = 0;
        let mut buffer = [0; 64 * 1_024];
        while let Ok(count @ 1..) = reading.read(&mut buffer) {
            bytes += count;
        }
        bytes
    });
    // Buffers of sockets take megabytes before a writer notices anything.
    let deadline = StdInstant::now() + LONG * 3;
    let mut number = 0_i64;
    while in_use("writeTimeouts") < 10 {
        assert!(StdInstant::now() < deadline, "stopped readers were never closed: {}", live.self_view().parts["http"]);
        let before = live.self_view().accounting;
        let ids: Vec<_> = (0..200).map(|offset| format!("{}-{}", "x".repeat(100), number + offset)).collect();
        for id in &ids {
            record(&live, id, &[("T0", number), ("T1", number + 1), ("T2", number + 2)]);
        }
        number += 200;
        let after = live.self_view().accounting;
        assert_eq!(after.recorded - before.recorded, 600, "a reader cost checkpoints");
    }
    until(|| in_use("streams") == 1);
    assert_eq!(status(&get(&server, "/livez")), 200);
    assert!(server.shutdown(LONG));
    assert!(reader.join().unwrap() > 1 << 20);
    drop(stopped);
}

#[test]
fn shutdown_keeps_its_deadline_whatever_hangs() {
    let live = live();
    let server = start(&live, HttpConfig { write_timeout: LONG, header_timeout: LONG, ..loopback() });
    // Asked for much and reads nothing: its answers never end.
    let mut hanging = connect(&server);
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    hanging.set_nonblocking(true).unwrap();
    let _ = hanging.write(request.as_bytes());
    until(|| live.self_view().parts["http"]["answered"].as_u64().unwrap() > 0);
    let began = StdInstant::now();
    server.shutdown(Duration::from_millis(300));
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert!(!server.shutdown(Duration::ZERO));
}

#[test]
fn a_dropped_server_is_gone() {
    let live = live();
    let server = start(&live, loopback());
    let mut stream = open_stream(&server);
    let addr = server.local_addr();
    drop(server);
    read_all(&mut stream);
    until(|| StdTcpStream::connect(addr).is_err());
    let _ = stream.shutdown(Shutdown::Both);
}

#[test]
fn nothing_the_server_does_is_seen_by_tracing() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static SEEN: AtomicUsize = AtomicUsize::new(0);

    fn count() {
        if std::thread::current().name().is_some_and(|name| name.starts_with("journey-")) {
            SEEN.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Counting;

    impl tracing::Subscriber for Counting {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            count();
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            count();
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    // The only test of this process that sets the global subscriber.
    tracing::subscriber::set_global_default(Counting).unwrap();
    let server = HttpServer::start(live(), Arc::new(Health::new()), loopback()).unwrap();
    assert_eq!(status(&get(&server, "/metrics")), 200);
    assert!(server.shutdown(LONG));
    assert_eq!(SEEN.load(Ordering::Relaxed), 0);
}
