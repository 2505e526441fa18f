//! What was planned for each message, and what became of it? The truth that the journeys are compared with.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    queue::lock,
    script::{Fate, Plan},
};

/// How many messages with something to tell are remembered, newest last.
const REMEMBERED: usize = 32;

/// Every message that was sent.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
    ended: Condvar,
}

/// Messages by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// As planned: refused by the platform or given up by the agent.
    pub(super) failed: u64,
    /// As planned: taken by the agent and never answered.
    pub(super) unanswered: u64,
    /// Sentences about messages that went another way than planned.
    pub(super) surprises: Vec<String>,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Delivered,
    Failed,
    Unanswered,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<String, Open>,
    counts: Counts,
    interesting: VecDeque<String>,
}

#[derive(Debug)]
struct Open {
    plan: Plan,
    sends: u32,
}

impl Ledger {
    pub(super) fn sent(&self, id: &str, plan: Plan) {
        let mut state = lock(&self.state);
        state.counts.sent += 1;
        state.open.insert(id.to_owned(), Open { plan, sends: 0 });
    }

    /// What is in store for an open message.
    pub(super) fn plan(&self, id: &str) -> Option<Plan> {
        lock(&self.state).open.get(id).map(|open| open.plan)
    }

    /// Counts the sends of a reply: 1 for the first.
    pub(super) fn count_send(&self, id: &str) -> u32 {
        lock(&self.state).open.get_mut(id).map_or(1, |open| {
            open.sends += 1;
            open.sends
        })
    }

    pub(super) fn ended(&self, id: &str, end: End) {
        let mut state = lock(&self.state);
        let Some(Open { plan, .. }) = state.open.remove(id) else {
            state.counts.surprises.push(format!("{id} ended twice or was never sent"));
            return;
        };
        let planned = match plan.fate {
            fate if fate.is_delivered() => End::Delivered,
            Fate::AgentSilent => End::Unanswered,
            _ => End::Failed,
        };
        if end != planned {
            state.counts.surprises.push(format!("{id} was to be {planned:?} and was {end:?}"));
        }
        match end {
            End::Delivered => state.counts.delivered += 1,
            End::Failed => state.counts.failed += 1,
            End::Unanswered => state.counts.unanswered += 1,
        }
        if end == End::Delivered && (plan.fate != Fate::Ordinary || state.interesting.is_empty()) {
            if state.interesting.len() == REMEMBERED {
                state.interesting.pop_front();
            }
            state.interesting.push_back(id.to_owned());
        }
        drop(state);
        self.ended.notify_all();
    }

    /// Waits until every message has ended; `false` where one is still open after `patience` without any other ending.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let mut state = lock(&self.state);
        let mut deadline = Instant::now() + patience;
        while !state.open.is_empty() {
            let open_before = state.open.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if state.open.len() < open_before {
                deadline = Instant::now() + patience;
            }
        }
        true
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.state).counts.clone()
    }

    /// Delivered messages with something to tell.
    pub(super) fn interesting(&self) -> Vec<String> {
        lock(&self.state).interesting.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::script::Script, *};

    fn plan(fate: Fate) -> Plan {
        Plan { fate, ..Script::new(1).next() }
    }

    #[test]
    fn messages_are_counted_by_how_they_ended() {
        let ledger = Ledger::default();
        for (id, fate, end) in [
            ("a", Fate::Ordinary, End::Delivered),
            ("b", Fate::SendRefused, End::Failed),
            ("c", Fate::AgentSilent, End::Unanswered),
        ] {
            ledger.sent(id, plan(fate));
            ledger.ended(id, end);
        }
        assert!(ledger.wait(Duration::ZERO));
        let expected = Counts { sent: 3, delivered: 1, failed: 1, unanswered: 1, surprises: vec![] };
        assert_eq!(ledger.counts(), expected);
    }

    #[test]
    fn what_was_not_planned_is_a_surprise() {
        let ledger = Ledger::default();
        ledger.sent("a", plan(Fate::Ordinary));
        assert!(!ledger.wait(Duration::ZERO));
        ledger.ended("a", End::Failed);
        ledger.ended("a", End::Delivered);
        assert_eq!(
            ledger.counts().surprises,
            ["a was to be Delivered and was Failed", "a ended twice or was never sent"]
        );
    }
}
