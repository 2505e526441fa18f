//! All parts wired together, each on threads of its own.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tracing_journey::JourneyHandle;

use super::{
    agent::{self, Agent},
    api::Api,
    bus::Bus,
    channel::Channel,
    event,
    gateway::Gateway,
    ledger::Ledger,
    network::Network,
    platforms::Platforms,
    plugin::Plugin,
    queue::{Queue, lock},
    random::Random,
    script::{Fate, Script},
    store::{Reader, Store},
};

/// Threads that consume messages from the bus.
const GATEWAYS: usize = 4;
/// Threads that handle requests to the API.
const API_THREADS: usize = 2;

/// The running pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) ledger: Arc<Ledger>,
    platforms: Arc<Platforms>,
    store: Store,
    bus: Bus,
    inbox: Arc<Queue<event::Inbound>>,
    api: Api,
    busy: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
    script: Script,
    salt: Random,
    sent: u64,
}

/// What the health page asks.
pub(super) type Check = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

impl Pipeline {
    /// Starts every part; the database goes into `directory`.
    pub(super) fn start(journey: &JourneyHandle, directory: &Path, seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot start a thread: {error}");
        let ledger = Arc::new(Ledger::default());
        let (network, network_thread) = Network::start().map_err(failed)?;
        let (bus, bus_thread) = Bus::start().map_err(failed)?;
        let (store, mut threads) = Store::start(directory)?;
        threads.extend([network_thread, bus_thread]);

        let platforms = Arc::new(Platforms::new(network, Arc::clone(&ledger)));
        let api = Api::new(bus.clone());
        let inbox = Queue::bounded(agent::INBOX);
        let busy = Arc::new(AtomicUsize::new(0));
        let mut spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            threads.push(std::thread::Builder::new().name(format!("demo-{name}")).spawn(work)?);
            Ok(())
        };

        for channel in Channel::ALL {
            let (platforms, bus, ledger) = (Arc::clone(&platforms), bus.clone(), Arc::clone(&ledger));
            let plugin = Plugin { channel, platforms, bus: bus.clone(), ledger, journey: journey.clone() };
            let (speaker, replies) = (plugin.clone(), bus.subscribe(event::outbound(channel)));
            let arrivals = Arc::clone(plugin.platforms.arrivals(channel));
            spawn(channel.as_str(), Box::new(move || plugin.listen(&arrivals))).map_err(failed)?;
            spawn(channel.as_str(), Box::new(move || speaker.speak(&replies))).map_err(failed)?;
        }
        let messages = bus.subscribe(event::INBOUND);
        for _ in 0..GATEWAYS {
            let (store, agent, ledger) = (store.clone(), Arc::clone(&inbox), Arc::clone(&ledger));
            let gateway = Gateway { store, agent, ledger, journey: journey.clone() };
            let messages = Arc::clone(&messages);
            spawn("gateway", Box::new(move || gateway.run(&messages))).map_err(failed)?;
        }
        for _ in 0..agent::WORKERS {
            let (inbox, api, ledger, busy) = (Arc::clone(&inbox), api.clone(), Arc::clone(&ledger), Arc::clone(&busy));
            let worker = Agent { inbox, api, ledger, journey: journey.clone(), busy };
            let reader = store.reader()?;
            spawn("agent", Box::new(move || worker.run(&reader))).map_err(failed)?;
        }
        for _ in 0..API_THREADS {
            let api = api.clone();
            spawn("api", Box::new(move || api.run())).map_err(failed)?;
        }
        let (script, salt) = (Script::new(seed), Random::new(!seed));
        Ok(Self { ledger, platforms, store, bus, inbox, api, busy, threads, script, salt, sent: 0 })
    }

    /// Lets the next person write. Returns how long it is until the one after.
    pub(super) fn send(&mut self) -> Duration {
        let plan = self.script.next();
        self.sent += 1;
        self.platforms.say(self.sent, self.salt.next(), plan);
        if plan.fate == Fate::SlowStore {
            self.store.start_report();
        }
        plan.gap
    }

    /// What can be asked about the health of the parts, by name.
    pub(super) fn checks(&self) -> Result<[(&'static str, Check); 3], String> {
        // One connection for all checks; SQLite wants one thread at a time.
        let reader: Mutex<Reader> = Mutex::new(self.store.reader()?);
        let bus = self.bus.clone();
        let (inbox, busy) = (Arc::clone(&self.inbox), Arc::clone(&self.busy));
        Ok([
            ("sqlite", Box::new(move || lock(&reader).check())),
            ("bus", Box::new(move || bus.check())),
            ("agent", Box::new(move || agent_health(inbox.len(), busy.load(Ordering::Relaxed)))),
        ])
    }

    /// Reads how many of the agent's workers are busy.
    pub(super) fn busy_workers(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let busy = Arc::clone(&self.busy);
        move || busy.load(Ordering::Relaxed)
    }

    /// Ends every thread. What is still under way is lost.
    pub(super) fn stop(self) {
        self.platforms.close();
        self.bus.close();
        self.inbox.close();
        self.api.close();
        self.store.close();
        for thread in self.threads {
            // A thread that panicked has said so already, and its messages are missing in the ledger.
            let _ = thread.join();
        }
    }
}

fn agent_health(waiting: usize, busy: usize) -> Result<String, String> {
    let workers = agent::WORKERS;
    if waiting >= agent::INBOX {
        return Err(format!("the inbox is full: {waiting} messages wait for {workers} workers"));
    }
    Ok(format!("{busy} of {workers} workers busy, {waiting} messages waiting"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_is_unhealthy() {
        assert!(agent_health(agent::INBOX, agent::WORKERS).is_err());
        assert_eq!(agent_health(3, 2).unwrap(), "2 of 48 workers busy, 3 messages waiting");
    }
}
