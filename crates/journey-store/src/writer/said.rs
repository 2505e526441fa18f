//! What has the store been told of emitters, and what not yet?

use std::collections::BTreeMap;

use super::loss::LossReason;
use crate::store::EmitterAccount;

/// What the stored accounts say.
#[derive(Default)]
pub(super) struct Said {
    /// Of the own emitter: emitted, and dropped in all.
    pub(super) own: (u64, u64),
    /// Of earlier processes, whose events are in the spill file. The file is always read from its beginning until it is
    /// empty, so what is lost of it is counted once, however often that takes a new start.
    earlier: BTreeMap<u64, Earlier>,
}

#[derive(Default)]
struct Earlier {
    /// Its last account in the file.
    account: Option<EmitterAccount>,
    /// What the store refused of it since.
    lost: BTreeMap<LossReason, u64>,
    /// The store does not know of some of that.
    is_unsaid: bool,
}

impl Said {
    /// The store has this account.
    pub(super) fn stored(&mut self, account: &EmitterAccount, own: u64) {
        if account.emitter == own {
            self.own = self.own.max((account.emitted, account.dropped.values().sum()));
        }
    }

    /// An account that an earlier process left: with what was lost of it since.
    pub(super) fn found(&mut self, account: EmitterAccount) -> EmitterAccount {
        let earlier = self.earlier.entry(account.emitter).or_default();
        earlier.account = Some(account.clone());
        earlier.is_unsaid = false;
        earlier.now(account.said_at).unwrap_or(account)
    }

    /// Events of earlier processes were lost.
    pub(super) fn lost(&mut self, losses: Vec<(u64, LossReason)>) {
        for (emitter, reason) in losses {
            let earlier = self.earlier.entry(emitter).or_default();
            *earlier.lost.entry(reason).or_default() += 1;
            earlier.is_unsaid = true;
        }
    }

    /// An account of an earlier process that the store does not know yet.
    pub(super) fn unsaid(&mut self, now: i64) -> Option<EmitterAccount> {
        let earlier = self.earlier.values_mut().find(|earlier| earlier.is_unsaid && earlier.account.is_some())?;
        earlier.is_unsaid = false;
        earlier.now(now)
    }
}

impl Earlier {
    fn now(&self, said_at: i64) -> Option<EmitterAccount> {
        let mut account = self.account.clone()?;
        account.said_at = account.said_at.max(said_at);
        for (reason, count) in &self.lost {
            *account.dropped.entry(reason.as_str().to_owned()).or_default() += count;
        }
        Some(account)
    }
}
