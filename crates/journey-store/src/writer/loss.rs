//! Why is an event not stored?

use std::{collections::BTreeMap, fmt};

use crate::{event::InvalidEvent, store::RejectReason};

/// Why an event is not in the store and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// It is not an event that a store can keep: its type, ids or numbers.
    Invalid,
    /// The store found it older than the retention.
    TooOld,
    /// The store found it more than a day ahead of the clock.
    TooFarAhead,
    /// As many events as may wait were waiting.
    QueueFull,
    /// The store answered an error to it alone, for which trying again does not help.
    Refused,
    /// The store was away at every try, and there was no spill file with room.
    RetryExhausted,
    /// Its record in the spill file could not be read any more.
    SpillDamaged,
    /// It was not stored by the deadline of the shutdown, or came after it.
    Shutdown,
    /// It was emitted in a process that was forked from the one that made the emitter: writer and store stayed there.
    Forked,
}

impl LossReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::TooOld,
        Self::TooFarAhead,
        Self::QueueFull,
        Self::Refused,
        Self::RetryExhausted,
        Self::SpillDamaged,
        Self::Shutdown,
        Self::Forked,
    ];

    /// The word in accounts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::RetryExhausted => "retry_exhausted",
            Self::SpillDamaged => "spill_damaged",
            Self::Shutdown => "shutdown",
            Self::Forked => "forked",
        }
    }
}

impl From<&RejectReason> for LossReason {
    fn from(reason: &RejectReason) -> Self {
        match reason {
            RejectReason::TooOld => Self::TooOld,
            RejectReason::TooFarAhead => Self::TooFarAhead,
            RejectReason::Invalid(_) => Self::Invalid,
        }
    }
}

/// Losses by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses([u64; LossReason::ALL.len()]);

impl Losses {
    pub(super) fn add(&mut self, reason: LossReason, count: u64) {
        self.0[reason as usize] += count;
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Only what occurred.
    pub(super) fn by_reason(&self) -> BTreeMap<String, u64> {
        let counts = LossReason::ALL.iter().map(|reason| (reason.as_str().to_owned(), self.0[*reason as usize]));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// Why an event that somebody waited for is not in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitError {
    loss: Option<LossReason>,
    message: String,
}

impl EmitError {
    /// It is lost, and counted under this reason.
    pub(crate) fn lost(reason: LossReason, message: impl Into<String>) -> Self {
        Self { loss: Some(reason), message: message.into() }
    }

    /// It is in the spill file.
    pub(crate) fn kept(message: impl Into<String>) -> Self {
        Self { loss: None, message: message.into() }
    }

    pub(crate) fn invalid(error: &InvalidEvent) -> Self {
        Self::lost(LossReason::Invalid, error.to_string())
    }

    /// The reason under which the loss is counted; `None` where the event is not lost, see [`is_kept`](Self::is_kept).
    pub fn loss(&self) -> Option<LossReason> {
        self.loss
    }

    /// The event is not in the store yet, but in the spill file: it will be stored when the store is back.
    pub fn is_kept(&self) -> bool {
        self.loss.is_none()
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.loss {
            Some(reason) => write!(f, "the event is not stored ({}): {}", reason.as_str(), self.message),
            None => write!(f, "the event is not stored yet, but kept in the spill file: {}", self.message),
        }
    }
}

impl std::error::Error for EmitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_counter() {
        for (index, reason) in LossReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.as_str());
        }
    }
}
