//! Where OTLP over HTTP/1.1 goes: a collector that is healthy, hung or dead, on threads of the driver.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::Result;

/// How a collector behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Takes everything at once and counts the spans.
    Healthy,
    /// Takes connections and never answers.
    Hung,
    /// Refuses connections.
    Dead,
}

/// A collector that runs until this process ends.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    /// `http://127.0.0.1:4318`.
    pub(crate) address: String,
    /// Spans that came so far.
    pub(crate) spans: Arc<AtomicU64>,
}

impl Collector {
    /// Starts one on a free port, in the driver, which is not the process that is measured.
    pub(crate) fn start(behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let collector =
            Self { address: format!("http://{}", listener.local_addr()?), spans: Arc::new(AtomicU64::new(0)) };
        match behaviour {
            // The port is free again: connections are refused.
            Behaviour::Dead => drop(listener),
            Behaviour::Hung => {
                std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
            }
            Behaviour::Healthy => {
                let spans = Arc::clone(&collector.spans);
                std::thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let spans = Arc::clone(&spans);
                        std::thread::spawn(move || answer_all(stream, &spans));
                    }
                });
            }
        }
        Ok(collector)
    }
}

/// Takes requests until the client leaves.
fn answer_all(stream: TcpStream, spans: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut body = Vec::new();
    loop {
        let (mut length, mut traces) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            traces |= line.starts_with("post ") && line.contains("/v1/traces");
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        body.clear();
        (&mut reader).take(length).read_to_end(&mut body)?;
        if traces {
            spans.fetch_add(count(&body), Relaxed);
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// Spans of a request; 0 for one that is none, which then shows as a loss.
fn count(body: &[u8]) -> u64 {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return 0 };
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}
