//! What will happen to each message? Drawn before it is sent, so that a seed tells the same story again.

use std::time::Duration;

use super::{channel::Channel, random::Random};

/// Messages come in blocks of this many, each with the same share of trouble.
const BLOCK: usize = 100;
/// People write this often, all channels together. The agent's workers keep up with it.
const MEAN_GAP: Duration = Duration::from_millis(12);

/// Most write on Discord, whose clock is told in milliseconds; the other two give whole seconds.
const CHANNELS: [Channel; 5] =
    [Channel::Discord, Channel::WhatsApp, Channel::Discord, Channel::Telegram, Channel::Discord];

/// What is in store for one message.
///
/// The durations are the simulated part of the demo: a platform's network and the agent's thinking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) channel: Channel,
    pub(super) fate: Fate,
    /// Until the next person writes.
    pub(super) gap: Duration,
    /// From the platform to our plugin.
    pub(super) network_in: Duration,
    /// How long the agent thinks.
    pub(super) thinking: Duration,
    /// From our plugin to the platform and back.
    pub(super) uplink: Duration,
    /// From the platform to the person.
    pub(super) delivery: Duration,
}

/// What goes wrong, if anything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing does.
    Ordinary,
    /// The database is busy with a report when the message comes.
    SlowStore,
    /// The platform answers 503 this many times before it takes the reply.
    SendRetried(u32),
    /// The person has blocked the bot: the platform answers 403.
    SendRefused,
    /// The agent gives up.
    AgentFails,
    /// The agent takes the message and never answers.
    AgentSilent,
}

/// An endless list of plans.
#[derive(Debug)]
pub(super) struct Script {
    random: Random,
    blocks: u64,
    block: Vec<Fate>,
}

impl Fate {
    /// Whether the reply reaches the person in the end.
    pub(super) fn is_delivered(self) -> bool {
        matches!(self, Self::Ordinary | Self::SlowStore | Self::SendRetried(_))
    }
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), blocks: 0, block: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Plan {
        let fate = self.next_fate();
        let random = &mut self.random;
        let millis = Duration::from_millis;
        Plan {
            channel: CHANNELS[random.below(CHANNELS.len())],
            fate,
            gap: random.gap(MEAN_GAP),
            network_in: random.latency(millis(18), 0.5),
            thinking: random.latency(millis(400), 0.5),
            uplink: random.latency(millis(8), 0.4),
            // A platform answers first and delivers then; this is never so short that the two cross.
            delivery: millis(10) + random.latency(millis(15), 0.5),
        }
    }

    fn next_fate(&mut self) -> Fate {
        if self.block.is_empty() {
            self.block = fates(self.blocks);
            self.random.shuffle(&mut self.block);
            self.blocks += 1;
        }
        self.block.pop().unwrap_or(Fate::Ordinary)
    }
}

/// One block: 2 messages are refused or given up, 3 sent again, one meets a busy database. The first two blocks, and
/// then one in ten, have a message that is never answered: enough to look at, too few to be all there is.
fn fates(block: u64) -> Vec<Fate> {
    let mut fates = vec![
        Fate::SlowStore,
        Fate::SendRetried(1),
        Fate::SendRetried(1),
        Fate::SendRetried(2),
        Fate::SendRefused,
        Fate::AgentFails,
    ];
    if block < 2 || block.is_multiple_of(10) {
        fates.push(Fate::AgentSilent);
    }
    fates.resize(BLOCK, Fate::Ordinary);
    fates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_story_again() {
        let story = |seed| {
            let mut script = Script::new(seed);
            (0..300).map(|_| script.next()).collect::<Vec<_>>()
        };
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
    }

    #[test]
    fn three_hundred_messages_meet_every_kind_of_trouble() {
        let mut script = Script::new(42);
        let plans: Vec<_> = (0..300).map(|_| script.next()).collect();
        let count = |fate| plans.iter().filter(|plan| plan.fate == fate).count();
        assert_eq!(count(Fate::AgentSilent), 2);
        assert_eq!(count(Fate::SlowStore), 3);
        assert_eq!((count(Fate::SendRetried(1)), count(Fate::SendRetried(2))), (6, 3));
        assert_eq!((count(Fate::SendRefused), count(Fate::AgentFails)), (3, 3));
        for channel in Channel::ALL {
            assert!(plans.iter().any(|plan| plan.channel == channel), "{channel:?}");
        }
    }
}
