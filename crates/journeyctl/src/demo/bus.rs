//! How do parts hand messages to each other? An in-process bus with subjects and a dispatcher thread of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use super::queue::{Queue, lock};

/// A dispatcher that has not answered after this long will not.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the bus; a clone is the same bus.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    commands: Arc<Queue<Command>>,
    subscriptions: Arc<Mutex<Vec<Subscription>>>,
}

/// What subscribers get.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Travels beside the payload, as a header would.
    pub(super) correlation_id: String,
    pub(super) payload: Arc<[u8]>,
}

/// The bus has the event. It delivers when this is dropped: not before the publisher has taken note.
#[derive(Debug)]
#[must_use = "the event is delivered when this is dropped"]
pub(super) struct Published {
    sequence: u64,
    commands: Arc<Queue<Command>>,
}

#[derive(Debug)]
struct Subscription {
    pattern: &'static str,
    queue: Arc<Queue<Event>>,
}

#[derive(Debug)]
enum Command {
    Publish { subject: String, event: Event, acknowledge: mpsc::SyncSender<u64> },
    Deliver { sequence: u64 },
    Ping { acknowledge: mpsc::SyncSender<u64> },
}

impl Bus {
    /// Starts the dispatcher. It ends after [`Bus::close`].
    pub(super) fn start() -> std::io::Result<(Self, JoinHandle<()>)> {
        let bus = Self { commands: Queue::unbounded(), subscriptions: Arc::default() };
        let dispatcher = bus.clone();
        let thread = std::thread::Builder::new().name("demo-bus".to_owned()).spawn(move || dispatcher.dispatch())?;
        Ok((bus, thread))
    }

    /// Events whose subject fits `pattern`, from now on; `*` stands for one word. Takers of the queue share them.
    pub(super) fn subscribe(&self, pattern: &'static str) -> Arc<Queue<Event>> {
        // Not bounded: the dispatcher must not wait for a slow subscriber while others publish.
        let queue = Queue::unbounded();
        lock(&self.subscriptions).push(Subscription { pattern, queue: Arc::clone(&queue) });
        queue
    }

    /// Hands an event to the bus and waits for its acknowledgement.
    pub(super) fn publish(&self, subject: String, event: Event) -> Result<Published, String> {
        let (acknowledge, acknowledged) = mpsc::sync_channel(1);
        self.commands.push(Command::Publish { subject, event, acknowledge });
        let sequence =
            acknowledged.recv_timeout(ACK_TIMEOUT).map_err(|_| "the bus gave no acknowledgement".to_owned())?;
        Ok(Published { sequence, commands: Arc::clone(&self.commands) })
    }

    /// Whether the dispatcher answers, for the health page.
    pub(super) fn check(&self) -> Result<String, String> {
        let (acknowledge, acknowledged) = mpsc::sync_channel(1);
        self.commands.push(Command::Ping { acknowledge });
        let delivered = acknowledged
            .recv_timeout(Duration::from_secs(1))
            .map_err(|_| "the dispatcher does not answer".to_owned())?;
        Ok(format!("{delivered} events, {} waiting", self.commands.len()))
    }

    /// Ends the dispatcher and closes every subscription.
    pub(super) fn close(&self) {
        self.commands.close();
    }

    fn dispatch(&self) {
        let mut acknowledged: HashMap<u64, (String, Event)> = HashMap::new();
        let mut last = 0;
        while let Some(command) = self.commands.take() {
            match command {
                Command::Publish { subject, event, acknowledge } => {
                    last += 1;
                    acknowledged.insert(last, (subject, event));
                    if acknowledge.send(last).is_err() {
                        // The publisher gave up waiting and will publish again.
                        acknowledged.remove(&last);
                    }
                }
                Command::Deliver { sequence } => {
                    if let Some((subject, event)) = acknowledged.remove(&sequence) {
                        self.deliver(&subject, &event);
                    }
                }
                Command::Ping { acknowledge } => drop(acknowledge.send(last)),
            }
        }
        for subscription in lock(&self.subscriptions).iter() {
            subscription.queue.close();
        }
    }

    fn deliver(&self, subject: &str, event: &Event) {
        for subscription in lock(&self.subscriptions).iter().filter(|known| fits(known.pattern, subject)) {
            subscription.queue.push(event.clone());
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.commands.push(Command::Deliver { sequence: self.sequence });
    }
}

fn fits(pattern: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    pattern.split('.').all(|wanted| words.next().is_some_and(|word| wanted == "*" || wanted == word))
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_word() {
        assert!(fits("messages.inbound.*", "messages.inbound.discord"));
        assert!(!fits("messages.inbound.*", "messages.outbound.discord"));
        assert!(!fits("messages.inbound.*", "messages.inbound"));
        assert!(!fits("messages.inbound", "messages.inbound.discord"));
    }

    #[test]
    fn an_event_is_delivered_after_its_publisher_took_note_of_the_acknowledgement() {
        let (bus, dispatcher) = Bus::start().unwrap();
        let inbound = bus.subscribe("messages.inbound.*");
        let event = Event { correlation_id: "m1".to_owned(), payload: Arc::from(*b"{}") };
        let published = bus.publish("messages.inbound.telegram".to_owned(), event).unwrap();
        // The dispatcher has answered everything up to here and still holds the event back.
        assert_eq!(bus.check(), Ok("1 events, 0 waiting".to_owned()));
        assert_eq!(inbound.len(), 0);
        drop(published);
        assert_eq!(inbound.take().unwrap().correlation_id, "m1");
        bus.close();
        dispatcher.join().unwrap();
        assert!(inbound.take().is_none());
    }
}
