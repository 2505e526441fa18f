//! The other side: people who write, and platforms that carry their messages. Nothing of it is instrumented.

use std::{sync::Arc, time::SystemTime};

use super::{
    channel::{Channel, Saying},
    ledger::Ledger,
    network::Network,
    queue::Queue,
    script::{Fate, Plan},
};

const PEOPLE: [&str; 8] = ["Ada", "Bo", "Chidi", "Dana", "Eun-ji", "Farid", "Grete", "Hina"];
const QUESTIONS: [&str; 6] = [
    "where is my order?",
    "can I change the delivery address?",
    "the invoice is missing a line",
    "is the shop open on Sunday?",
    "please cancel the second item",
    "thanks, and how do I send it back?",
];

/// The three platforms.
#[derive(Debug)]
pub(super) struct Platforms {
    network: Arc<Network>,
    ledger: Arc<Ledger>,
    /// Where the plugins listen, in the order of [`Channel::ALL`].
    listeners: [Arc<Queue<String>>; Channel::ALL.len()],
}

/// What a platform answers to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Platforms {
    pub(super) fn new(network: Arc<Network>, ledger: Arc<Ledger>) -> Self {
        Self { network, ledger, listeners: [Queue::unbounded(), Queue::unbounded(), Queue::unbounded()] }
    }

    /// What arrives for the plugin of a channel.
    pub(super) fn arrivals(&self, channel: Channel) -> &Arc<Queue<String>> {
        &self.listeners[channel as usize]
    }

    /// A person writes: the platform has the message now, the plugin gets it later.
    pub(super) fn say(&self, number: u64, salt: u64, plan: Plan) {
        let saying = Saying {
            number,
            salt,
            person: PEOPLE[(salt % PEOPLE.len() as u64) as usize],
            text: QUESTIONS[(number % QUESTIONS.len() as u64) as usize],
            at: SystemTime::now(),
        };
        let (id, payload) = plan.channel.say(&saying);
        self.ledger.sent(&id, plan);
        self.network.send(self.arrivals(plan.channel), payload, plan.network_in);
    }

    /// A plugin sends a reply and waits for the answer.
    pub(super) fn post(&self, channel: Channel, request: &str) -> Answer {
        let known = channel.replied_to(request).and_then(|id| Some((self.ledger.plan(&id)?, id)));
        let Some((plan, id)) = known else {
            return Answer { status: 404, body: error("unknown message") };
        };
        // The simulated way there and back.
        std::thread::sleep(plan.uplink);
        match plan.fate {
            Fate::SendRefused => Answer { status: 403, body: error("the bot was blocked by the user") },
            Fate::SendRetried(times) if self.ledger.count_send(&id) <= times => {
                Answer { status: 503, body: error("try again later") }
            }
            _ => {
                let now = SystemTime::now();
                if let Some(payload) = channel.delivered(request, now + plan.delivery) {
                    self.network.send(self.arrivals(channel), payload, plan.delivery + plan.network_in);
                }
                Answer { status: 200, body: channel.answer(request, now) }
            }
        }
    }

    /// Ends the plugins' listening.
    pub(super) fn close(&self) {
        self.network.close();
        for listener in &self.listeners {
            listener.close();
        }
    }
}

fn error(message: &str) -> String {
    serde_json::json!({ "error": { "message": message } }).to_string()
}
