//! Does the store alone prove what was lost?

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Outcome, Property, Trial,
    model::{DAY, NOW, event},
    must_equal,
};
use crate::{
    event::Event,
    store::{Batch, EmitterAccount, EventStore},
    wait,
};

pub(super) const PROPERTIES: &[Property] = &[
    ("of two accounts of an emitter the one with more emitted stays, whichever came first", newest_account),
    ("stored rows are counted per emitter, each once, with or without an account", stored_rows),
    ("emitted = stored + dropped, from the store alone", identity),
    ("an account is kept where no event of its batch is", account_alone),
];

fn account(emitter: u64, emitted: u64, dropped: &[(&str, u64)]) -> EmitterAccount {
    let dropped: BTreeMap<String, u64> = dropped.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    EmitterAccount {
        emitter,
        service: "shop 'the' \"best\" \u{202e}".to_owned(),
        started_at: NOW - DAY,
        said_at: NOW.saturating_add_unsigned(emitted),
        emitted,
        dropped,
        stored: 0,
    }
}

fn put(store: &dyn EventStore, events: &[Event], account: EmitterAccount) -> Outcome {
    wait(store.put(Arc::new(Batch { events: events.to_vec(), account: Some(account), now: NOW })))?;
    Ok(())
}

fn newest_account(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let largest = (1 << 63) - 1;
    // Each comes with an event of another day, so that days do not decide.
    let said = [(2, 20), (5, 7), (1, 4), (0, 30), (3, 6)];
    for (days_ago, emitted) in said {
        let event = event(1, emitted, "stage:completed", NOW - days_ago * DAY)?;
        put(&*store, &[event], account(1, emitted, &[("queue_full", emitted)]))?;
    }
    put(&*store, &[], account(largest, largest, &[]))?;
    put(&*store, &[], account(largest, 3, &[("queue_full", 9)]))?;
    let expected = [
        EmitterAccount { stored: 5, ..account(1, 30, &[("queue_full", 30)]) },
        EmitterAccount { stored: 0, ..account(largest, largest, &[]) },
    ];
    must_equal!(wait(store.accounts())?, expected, "the accounts, by emitter");
    Ok(())
}

fn stored_rows(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = Vec::new();
    for seq in 1..=60 {
        let mut event = event(seq % 7 + 1, seq, "stage:completed", NOW - (seq % 3) as i64 * DAY)?;
        event.emitter = seq % 2 + 5;
        events.push(event);
    }
    events[0].event_type = "no type".to_owned();
    put(&*store, &events, account(5, 60, &[]))?;
    // A replay counts nothing twice.
    put(&*store, &events, account(5, 60, &[]))?;
    let accounts = wait(store.accounts())?;
    let counts: Vec<_> = accounts.iter().map(|it| (it.emitter, it.emitted, it.stored)).collect();
    must_equal!(counts, [(5, 60, 30), (6, 0, 29)], "emitter, emitted, stored");
    Ok(())
}

fn identity(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut dropped = 0;
    for first in (1..=400_u64).step_by(40) {
        let mut events = Vec::new();
        for seq in first..first + 40 {
            // Every seventh never arrives.
            if seq % 7 == 0 {
                dropped += 1;
            } else {
                events.push(event(seq % 9 + 1, seq, "stage:completed", NOW - (seq % 4) as i64 * DAY)?);
            }
        }
        put(&*store, &events, account(1, first + 39, &[("queue_full", dropped)]))?;
        let accounts = wait(store.accounts())?;
        let sums: Vec<_> =
            accounts.iter().map(|it| (it.emitted, it.stored + it.dropped.values().sum::<u64>())).collect();
        must_equal!(sums, [(first + 39, first + 39)], "emitted, and stored + dropped");
    }
    Ok(())
}

fn account_alone(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let refused = event(1, 1, "stage:completed", i64::MIN)?;
    put(&*store, &[refused], account(1, 1, &[("too_old", 1)]))?;
    put(&*store, &[], account(2, 0, &[]))?;
    let expected = [account(1, 1, &[("too_old", 1)]), account(2, 0, &[])];
    must_equal!(wait(store.accounts())?, expected, "the accounts");
    Ok(())
}
