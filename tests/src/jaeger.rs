//! A real Jaeger, all in one, with its store in memory.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    http::{encode, get, try_get},
    process::{Server, free_port},
};

/// A running Jaeger.
#[derive(Debug)]
pub struct Jaeger {
    server: Server,
    ports: Ports,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    grpc: u16,
    http: u16,
    query: u16,
}

impl Jaeger {
    /// Starts it on free loopback ports.
    pub fn start(program: &Path) -> Self {
        let command = |folder: &Path| {
            let ports = Ports { grpc: free_port(), http: free_port(), query: free_port() };
            let file = folder.join("jaeger.yaml");
            fs::write(&file, config(ports, free_port())).expect("a configuration file");
            let mut command = Command::new(program);
            command.arg("--config").arg(&file);
            (command, ports)
        };
        let ready = |ports: &Ports| {
            try_get(&format!("http://127.0.0.1:{}/api/services", ports.query), &[]).is_ok_and(|got| got.status == 200)
        };
        let (server, ports) = Server::start("jaeger", command, ready);
        Self { server, ports }
    }

    /// Where OTLP over gRPC goes.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.grpc)
    }

    /// Where OTLP over HTTP goes, without the path of the signal.
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// One trace by its id; `None` while it is not there.
    pub fn trace(&self, trace_id: &str) -> Option<Value> {
        let answer = get(&format!("http://127.0.0.1:{}/api/traces/{trace_id}", self.ports.query));
        if answer.status != 200 {
            return None;
        }
        let traces = answer.json()["data"].take();
        assert!(traces.as_array().is_some_and(|traces| traces.len() <= 1), "{traces}");
        traces.get(0).cloned()
    }

    /// Traces of a service one of whose spans has this tag.
    pub fn find(&self, service: &str, tag: &str, value: &str) -> Vec<Value> {
        let tags = serde_json::json!({ tag: value }).to_string();
        let url = format!(
            "http://127.0.0.1:{}/api/traces?service={}&tags={}&limit=20&lookback=1h",
            self.ports.query,
            encode(service),
            encode(&tags)
        );
        let answer = get(&url);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"].as_array().cloned().unwrap_or_default()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

fn config(Ports { grpc, http, query }: Ports, query_grpc: u16) -> String {
    format!(
        r"
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
    logs: {{level: warn}}
extensions:
  jaeger_storage:
    backends:
      memory: {{memory: {{max_traces: 10000}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: '127.0.0.1:{query}'}}
    grpc: {{endpoint: '127.0.0.1:{query_grpc}'}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{grpc}'}}
      http: {{endpoint: '127.0.0.1:{http}'}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"
    )
}
