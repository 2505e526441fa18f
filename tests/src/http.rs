//! A JSON document fetched, and a stream of events read line by line from a plain socket.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::PATIENCE;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// `Content-Type`, empty where there is none.
    pub content_type: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("an answer in UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Fetches `url` with further headers; any status is an answer.
///
/// # Errors
///
/// Nobody listens, or the connection broke.
pub fn try_get(url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().map_err(|error| format!("{url}: {error}"))?;
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_vec().map_err(|error| format!("{url}: {error}"))?;
    Ok(Answer { status, content_type, body })
}

/// Fetches `url`.
///
/// # Panics
///
/// Nobody listens, or the connection broke.
pub fn get(url: &str) -> Answer {
    try_get(url, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Percent-encodes everything in a path segment or query value that is not an unreserved character.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `event:`
    pub kind: String,
    /// `id:`
    pub id: String,
    /// All `data:` lines, joined by line feeds.
    pub data: String,
}

impl Event {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// A reader of server-sent events that knows nothing but sockets and lines, as `curl -N` does.
#[derive(Debug)]
pub struct EventStream {
    reader: BufReader<TcpStream>,
    /// Body bytes that are decoded and not yet a whole line.
    pending: Vec<u8>,
    chunked: bool,
    /// Every raw line of the body so far.
    pub lines: Vec<String>,
}

impl EventStream {
    /// Asks for a path and reads the head of the answer.
    ///
    /// # Panics
    ///
    /// Nobody listens, or the answer is not 200 `text/event-stream`.
    pub fn open(addr: SocketAddr, path: &str, last_event_id: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(addr).expect("a listening endpoint");
        socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        let resume = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{resume}\r\n");
        socket.write_all(request.as_bytes()).expect("a request");
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("the head of an answer"), 0, "cut off: {head}");
        }
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        let chunked = head.contains("transfer-encoding: chunked");
        Self { reader, pending: Vec::new(), chunked, lines: Vec::new() }
    }

    /// The next event with data; comments and heartbeats without data are passed over.
    ///
    /// # Panics
    ///
    /// The stream ended, or nothing came in time.
    pub fn next_event(&mut self) -> Event {
        let mut event = Event::default();
        loop {
            let line = self.next_line().expect("a stream that goes on");
            match line.split_once(':') {
                None if line.is_empty() => {
                    if !event.data.is_empty() {
                        return event;
                    }
                    event = Event::default();
                }
                Some(("", _comment)) => {}
                Some((field, value)) => {
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match field {
                        "event" => event.kind = value.to_owned(),
                        "id" => event.id = value.to_owned(),
                        "data" if event.data.is_empty() => event.data = value.to_owned(),
                        "data" => {
                            event.data.push('\n');
                            event.data.push_str(value);
                        }
                        _ => {}
                    }
                }
                None => {}
            }
        }
    }

    /// The next event of one of these kinds.
    pub fn next_of(&mut self, kinds: &[&str]) -> Event {
        loop {
            let event = self.next_event();
            if kinds.contains(&event.kind.as_str()) {
                return event;
            }
        }
    }

    /// How long a read may take from now on.
    pub fn set_timeout(&self, timeout: Duration) {
        self.reader.get_ref().set_read_timeout(Some(timeout)).expect("a read timeout");
    }

    /// The next line of the body without its end; `None` at the end of the stream.
    fn next_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                let line = String::from_utf8(line).expect("a stream in UTF-8");
                let line = line.trim_end_matches(['\r', '\n']).to_owned();
                self.lines.push(line.clone());
                return Some(line);
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    fn read_more(&mut self) -> bool {
        if !self.chunked {
            let read = self.reader.fill_buf().expect("the stream in time");
            let count = read.len();
            self.pending.extend_from_slice(read);
            self.reader.consume(count);
            return count > 0;
        }
        let mut size = String::new();
        self.reader.read_line(&mut size).expect("the stream in time");
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        if size == 0 || self.reader.read_exact(&mut chunk).is_err() {
            return false;
        }
        self.pending.extend_from_slice(&chunk[..size]);
        true
    }
}
