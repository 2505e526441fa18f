//! Takes journeys out of a queue and brings them to one destination, one batch at a time.

use std::sync::Arc;

use hyper::body::Bytes;
use journey_core::Journey;

use crate::{
    config::Protocol,
    encoder::TraceEncoder,
    json,
    lines::Lines,
    model::{Attribute, Trace},
    proto,
    queue::{Fate, Queue},
    sender::{Ended, Sender, Shared, Stop, is_stopping},
    text,
    trace::{Context, Facts, trace},
};

/// A request is closed at this size: gRPC servers refuse more than 4 MiB unless told otherwise, and a single journey on
/// top takes at most some 100 KB.
const MAX_BATCH_BYTES: usize = 2 << 20;
/// Exports of one batch that a collector was reached for and failed; then it is given up, so that a batch that breaks
/// the collector does not hold back all others.
const MAX_ROUNDS: u32 = 3;

/// Journeys of one destination; the oldest first.
pub(crate) type Journeys = Queue<Arc<Journey>>;

/// What brings journeys to one destination.
pub(crate) struct Delivery {
    pub(crate) queue: Arc<Journeys>,
    pub(crate) context: Arc<Context>,
    pub(crate) encoder: TraceEncoder,
    pub(crate) resource: Arc<Vec<Attribute<'static>>>,
    pub(crate) batch_size: usize,
    pub(crate) to: Destination,
    pub(crate) shared: Shared,
    pub(crate) stop: Stop,
}

/// Where journeys go.
pub(crate) enum Destination {
    Collector(Box<Sender>),
    /// OTLP JSON, one journey a line.
    Json(Lines),
    /// Text for people.
    Text(Lines),
}

/// Journeys that were taken and not settled yet; whatever happens to the task, they are counted.
struct Taken<'a> {
    queue: &'a Journeys,
    count: u64,
}

impl Taken<'_> {
    fn settle(mut self, fate: Fate) {
        let count = std::mem::take(&mut self.count);
        self.queue.settle(fate, count);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.queue.settle(Fate::Shutdown, self.count);
        }
    }
}

/// Counts what is left when the task ends, also when it is aborted or panics.
struct Leftovers(Arc<Journeys>);

impl Drop for Leftovers {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Delivery {
    /// Runs until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let _leftovers = Leftovers(Arc::clone(&queue));
        while queue.ready().await {
            // Only taken once it can go out: while the breaker is open, journeys wait in the queue.
            if let Destination::Collector(sender) = &mut self.to {
                sender.ready().await;
            }
            let mut taken = Taken { queue: &queue, count: 0 };
            match &mut self.to {
                Destination::Collector(sender) => {
                    let message = match sender.client().collector().protocol {
                        Protocol::HttpJson => json_batch(&mut taken, &self.context, &self.resource, self.batch_size),
                        _ => proto_batch(&mut taken, &mut self.encoder, self.batch_size),
                    };
                    let body = sender.client().body(message);
                    if taken.count > 0 {
                        deliver(taken, body, sender, &self.stop).await;
                    }
                }
                Destination::Json(lines) => {
                    let text = texts(&mut taken, &self.context, self.batch_size, |trace| {
                        format!("{}\n", json::traces(&self.resource, std::slice::from_ref(trace)))
                    });
                    finish(lines.write(text).await, taken, &self.shared);
                }
                Destination::Text(lines) => {
                    let text = texts(&mut taken, &self.context, self.batch_size, text::trace);
                    finish(lines.write(text).await, taken, &self.shared);
                }
            }
        }
    }
}

/// Takes journeys until the batch is full and writes one after the other.
fn texts(taken: &mut Taken<'_>, context: &Context, batch_size: usize, write: impl Fn(&Trace<'_>) -> String) -> String {
    let mut text = String::new();
    while (taken.count as usize) < batch_size && text.len() < MAX_BATCH_BYTES {
        let Some(journey) = taken.queue.pop() else { break };
        match trace(&Facts::of(&journey, context), context) {
            Some(trace) => {
                taken.count += 1;
                text.push_str(&write(&trace));
            }
            None => taken.queue.settle(Fate::Refused, 1),
        }
    }
    text
}

fn finish(written: std::io::Result<()>, taken: Taken<'_>, shared: &Shared) {
    shared.wrote(&written);
    taken.settle(if written.is_ok() { Fate::Exported } else { Fate::Refused });
}

/// Takes journeys until the batch is full and makes one request of them: whole journeys only.
fn proto_batch(taken: &mut Taken<'_>, encoder: &mut TraceEncoder, batch_size: usize) -> Vec<u8> {
    encoder.clear();
    while (taken.count as usize) < batch_size && encoder.len() < MAX_BATCH_BYTES {
        let Some(journey) = taken.queue.pop() else { break };
        if encoder.append(&journey) {
            taken.count += 1;
        } else {
            taken.queue.settle(Fate::Refused, 1);
        }
    }
    encoder.request().to_vec()
}

/// The same as JSON.
fn json_batch(taken: &mut Taken<'_>, context: &Context, resource: &[Attribute<'_>], batch_size: usize) -> Vec<u8> {
    let mut all_facts = Vec::new();
    let mut spans = Vec::new();
    while (taken.count as usize) < batch_size && spans.len() < MAX_BATCH_BYTES {
        let Some(journey) = taken.queue.pop() else { break };
        let facts = Facts::of(&journey, context);
        match trace(&facts, context) {
            Some(trace) => {
                taken.count += 1;
                // The bytes only tell how much it is: JSON is some four times as long.
                proto::append_trace(&trace, &mut spans);
            }
            None => taken.queue.settle(Fate::Refused, 1),
        }
        all_facts.push(facts);
    }
    let traces: Vec<_> = all_facts.iter().filter_map(|facts| trace(facts, context)).collect();
    json::traces(resource, &traces).to_string().into_bytes()
}

/// Sends one batch until it met its fate.
async fn deliver(taken: Taken<'_>, body: Bytes, sender: &mut Sender, stop: &Stop) {
    let mut rounds = 0;
    loop {
        match sender.export(&body).await {
            Ended::Accepted => return taken.settle(Fate::Exported),
            Ended::Refused => return taken.settle(Fate::Refused),
            Ended::Failed => rounds += 1,
            // Nothing else could go out meanwhile either, so it costs nothing to keep.
            Ended::Unreachable => {}
        }
        if is_stopping(stop) {
            return taken.settle(Fate::Shutdown);
        }
        if rounds == MAX_ROUNDS {
            return taken.settle(Fate::GivenUp);
        }
        sender.ready().await;
    }
}
