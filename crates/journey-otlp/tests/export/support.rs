//! A tracker to finish journeys in, and a collector that answers as it is told.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use journey_core::{Checkpoint, CorrelationId, Limits, Live, RouteIndex, Routes, Source, Status, TraceIdKey};
use parking_lot::{Condvar, Mutex};

/// How long a test waits for what has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// When the first journey starts, unix nanoseconds.
pub(crate) const START: i64 = 1_700_000_000_000_000_000;
const STEP: i64 = 10_000_000;

/// A tracker of the built-in route.
pub(crate) fn live() -> Arc<Live> {
    let own = Source {
        service: "gateway".into(),
        version: "1.2.3".into(),
        instance: "gateway-1".into(),
        clock_domain: "boot-id".into(),
    };
    let now = Arc::new(|| START + 1_000_000_000);
    // Failed journeys do not wait for what may still be on its way.
    let limits = Limits { grace: Duration::ZERO, ..Limits::default() };
    Live::new(Arc::new(Routes::default()), own, limits, TraceIdKey::default(), now)
}

/// Records T0 to T11, ten milliseconds apart.
pub(crate) fn complete(live: &Live, id: &str) {
    let id = CorrelationId::new(id).unwrap();
    for stage in 0..12_i64 {
        let name = format!("T{stage}");
        let stage_ref = live.routes().stage(RouteIndex(0), &name).unwrap();
        let mut checkpoint = Checkpoint::reached(id.clone(), stage_ref, START + stage * STEP);
        if stage == 4 {
            (checkpoint.trace_id, checkpoint.span_id) = (0x5b8a, 0x77);
        }
        live.write(|tracker, now| tracker.record(checkpoint, now)).unwrap();
    }
}

/// Fails a journey that reached T0.
pub(crate) fn fail(live: &Live, id: &str) {
    let id = CorrelationId::new(id).unwrap();
    let stage = live.routes().stage(RouteIndex(0), "T0").unwrap();
    live.write(|tracker, now| tracker.record(Checkpoint::reached(id.clone(), stage, START), now)).unwrap();
    live.write(|tracker, now| tracker.finish(&id, RouteIndex(0), Status::Failed, Some("no answer"), now));
    live.tick();
}

/// Waits until something holds; panics with what it is when it does not come.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// One answer of the collector.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status, extra header lines, and a body.
    Status(u16, &'static str, Vec<u8>),
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and closes the connection.
    Close,
}

/// A request as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

/// An HTTP/1.1 server of one thread per connection. It ends with the test process.
pub(crate) struct Collector {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    changed: Condvar,
    replies: Mutex<VecDeque<Reply>>,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
    stopped: AtomicBool,
}

/// A connection that may be encrypted.
pub(crate) trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Status(200, "content-type: application/x-protobuf\r\n", Vec::new())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, "", Vec::new())
    }
}

impl Collector {
    /// Gives these answers in this order, the last one for ever.
    pub(crate) fn start(replies: impl Into<VecDeque<Reply>>) -> Self {
        Self::start_with(replies, |stream| Box::new(stream))
    }

    pub(crate) fn start_with(
        replies: impl Into<VecDeque<Reply>>,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { replies: Mutex::new(replies.into()), ..Shared::default() });
        let wrap = Arc::new(wrap);
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let (shared, wrap, stream) = (Arc::clone(&shared), Arc::clone(&wrap), stream.unwrap());
                    std::thread::spawn(move || shared.serve(wrap(stream)));
                }
            }
        });
        Self { addr, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Waits for at least so many requests and returns all.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut received = self.shared.received.lock();
        while received.len() < count {
            let timed_out = self.shared.changed.wait_for(&mut received, PATIENCE).timed_out();
            assert!(!timed_out, "{} of {count} requests came", received.len());
        }
        received.clone()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// The most requests that were answered at one time.
    pub(crate) fn most_busy(&self) -> usize {
        self.shared.most_busy.load(Ordering::SeqCst)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn serve(&self, stream: Box<dyn Stream>) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream) {
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_busy.fetch_max(busy, Ordering::SeqCst);
            let reply = {
                let mut replies = self.replies.lock();
                if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
            };
            self.received.lock().push(request);
            self.changed.notify_all();
            match reply.unwrap() {
                Reply::Hang => loop {
                    std::thread::park();
                },
                Reply::Close => return,
                Reply::Status(status, headers, body) => {
                    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
                    self.busy.fetch_sub(1, Ordering::SeqCst);
                    let written = stream.get_mut().write_all(&[head.as_bytes(), &body].concat());
                    if written.and_then(|()| stream.get_mut().flush()).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn read_request(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1)?.to_owned();
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body, at: Instant::now() })
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}
