//! What becomes of the events of a batch?

use std::{sync::Arc, thread};

use super::{
    Broken, Outcome, Property, Trial,
    model::{DAY, Dice, NOW, RETENTION, SECOND, batch, content, event, in_order, put_new, random_events, scanned},
    must, must_equal,
};
use crate::{
    admit::MAX_BATCH,
    store::{Batch, EmitterAccount, Put, RejectReason, ScanFilter, StoreErrorKind},
    wait,
};

pub(super) const PROPERTIES: &[Property] = &[
    ("every event of a batch gets its own answer, in order", row_by_row),
    ("an empty batch stores nothing and is no error", empty_batch),
    ("a batch of 10 000 events is stored, a larger one refused by name", largest_batch),
    ("the same events in any order and split, with repeats, give the same content", any_order),
    ("the bounds of time are exact", bounds_of_time),
    ("of two different events with one identity, the first stays", first_stays),
    ("putters at the same time store every event once", many_putters),
    ("the day of an event is that of its own timestamp, whenever it arrives", own_day),
];

fn row_by_row(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let fine = event(1, 1, "stage:completed", NOW)?;
    put_new(&*store, std::slice::from_ref(&fine))?;
    let mut invalid = event(1, 2, "not a type", NOW)?;
    let mut too_large = event(1, 3, "stage:completed", NOW)?;
    too_large.seq = 1 << 63;
    let events = vec![
        event(1, 4, "stage:completed", NOW)?,
        invalid.clone(),
        fine.clone(),
        event(2, 1, "stage:completed", NOW - RETENTION - 1)?,
        too_large,
        event(2, 2, "stage:completed", NOW + DAY + 1)?,
        event(1, 4, "stage:completed", NOW)?,
        event(3, 5, "stage:completed", NOW)?,
    ];
    let answers = wait(store.put(batch(&events)))?;
    must_equal!(answers.len(), events.len(), "how many answers there are");
    let words: Vec<&str> = answers
        .iter()
        .map(|answer| match answer {
            Put::New => "new",
            Put::Duplicate => "duplicate",
            Put::Rejected(reason) => reason.as_str(),
        })
        .collect();
    let expected = ["new", "invalid", "duplicate", "too_old", "invalid", "too_far_ahead", "duplicate", "new"];
    must_equal!(words, expected, "the answers");
    let Put::Rejected(RejectReason::Invalid(why)) = &answers[1] else {
        return Err(Broken("no reason is given for an invalid event".to_owned()));
    };
    must!(why.contains("`not a type`"), "the reason does not name what is invalid: {why}");
    let stored: Vec<u64> = scanned(&*store, &ScanFilter::default(), 10)?.iter().map(|event| event.seq).collect();
    must_equal!(stored, [1, 4, 5], "the numbers of what is stored");
    // What was refused can come again, right this time.
    invalid.event_type = "stage:completed".to_owned();
    put_new(&*store, &[invalid])
}

fn empty_batch(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    must_equal!(wait(store.put(Arc::new(Batch::default())))?, Vec::<Put>::new(), "the answers");
    must_equal!(wait(store.put(batch(&[])))?, Vec::<Put>::new(), "the answers");
    let events = scanned(&*store, &ScanFilter::default(), 10)?;
    must!(events.is_empty(), "something is stored: {events:?}");
    must_equal!(wait(store.info())?.days, Vec::<String>::new(), "the days");
    must_equal!(wait(store.recompute())?, Vec::<String>::new(), "the days to recompute");
    Ok(())
}

fn largest_batch(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let kind = "stage:completed";
    let mut events = Vec::new();
    for seq in 0..MAX_BATCH as u64 {
        events.push(event(1 + seq / 12, seq, kind, NOW - (seq as i64) * SECOND)?);
    }
    must_equal!(wait(store.put(batch(&events)))?, vec![Put::New; MAX_BATCH], "the answers");
    must_equal!(wait(store.put(batch(&events)))?, vec![Put::Duplicate; MAX_BATCH], "the answers to a replay");
    must!(scanned(&*store, &ScanFilter::default(), 1_000)? == in_order(&events), "not all of it is found again");
    events.push(event(1, u64::from(u32::MAX), kind, NOW)?);
    let Err(error) = wait(store.put(batch(&events))) else {
        return Err(Broken("a batch of 10 001 events was taken".to_owned()));
    };
    must_equal!(error.kind, StoreErrorKind::BadRequest, "the kind of error");
    must!(error.message.contains("10001"), "the message does not name the size: {error}");
    Ok(())
}

fn any_order(trial: &Trial<'_>) -> Outcome {
    let mut dice = Dice::new(trial.seed);
    for round in 0..3 {
        let events = random_events(&mut dice, 400, 40)?;
        let accounts: Vec<EmitterAccount> =
            (1..=3).flat_map(|emitter| (1..=3).map(move |said| account(emitter, said * 100))).collect();
        let in_turn = trial.store();
        put_new(&*in_turn, &events)?;
        for account in &accounts {
            let account = Some(account.clone());
            wait(in_turn.put(Arc::new(Batch { events: events[..1].to_vec(), account, now: NOW })))?;
        }
        let mixed = trial.store();
        let mut jobs: Vec<_> = events.iter().chain(&events[..150]).cloned().map(|event| (event, None)).collect();
        for account in accounts {
            jobs.push((dice.one_of(&events), Some(account)));
        }
        dice.shuffle(&mut jobs);
        let mut rest = jobs.as_slice();
        while !rest.is_empty() {
            let (part, after) = rest.split_at((1 + dice.below(60) as usize).min(rest.len()));
            rest = after;
            let account = part.iter().find_map(|(_, account)| account.clone());
            let other_accounts = part.iter().filter_map(|(_, account)| account.clone()).skip(1);
            let events = part.iter().map(|(event, _)| event.clone()).collect();
            wait(mixed.put(Arc::new(Batch { events, account, now: NOW })))?;
            for account in other_accounts {
                wait(mixed.put(Arc::new(Batch { events: Vec::new(), account: Some(account), now: NOW })))?;
            }
            if dice.below(4) == 0 {
                wait(mixed.recompute())?;
            }
        }
        must_equal!(content(&*mixed)?, content(&*in_turn)?, "round {round}");
        must!(scanned(&*in_turn, &ScanFilter::default(), 100)? == in_order(&events), "round {round}: not all is found");
    }
    Ok(())
}

fn account(emitter: u64, emitted: u64) -> EmitterAccount {
    EmitterAccount {
        emitter,
        service: "shop".to_owned(),
        emitted,
        said_at: emitted as i64,
        ..EmitterAccount::default()
    }
}

fn bounds_of_time(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let at = [NOW - RETENTION - 1, NOW - RETENTION, NOW + DAY, NOW + DAY + 1, i64::MIN, i64::MAX];
    let mut events = Vec::new();
    for (seq, timestamp) in at.into_iter().enumerate() {
        events.push(event(1, seq as u64, "stage:completed", timestamp)?);
    }
    let (old, ahead) = (Put::Rejected(RejectReason::TooOld), Put::Rejected(RejectReason::TooFarAhead));
    let expected = [old.clone(), Put::New, Put::New, ahead.clone(), old.clone(), ahead.clone()];
    must_equal!(wait(store.put(batch(&events)))?, expected, "the answers");
    // A clock at either end of time is no reason to stop.
    for (now, refused) in [(i64::MIN, ahead), (i64::MAX, old)] {
        let events = vec![event(1, 9, "stage:completed", 0)?];
        let answers = wait(store.put(Arc::new(Batch { events, account: None, now })))?;
        must_equal!(answers, [refused], "the answer at {now}");
    }
    Ok(())
}

fn first_stays(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let first = event(1, 1, "stage:completed", NOW)?;
    let mut second = first.clone();
    second.event_type = "workflow:failed".to_owned();
    second.status = crate::event::EventStatus::Failed;
    second.tags.insert("a".to_owned(), "b".to_owned());
    let answers = wait(store.put(batch(&[first.clone(), second.clone()])))?;
    must_equal!(answers, [Put::New, Put::Duplicate], "the answers");
    must_equal!(wait(store.put(batch(&[second])))?, [Put::Duplicate], "the answer to the second alone");
    must_equal!(scanned(&*store, &ScanFilter::default(), 10)?, std::slice::from_ref(&first), "what is stored");
    let summary = wait(store.summary(first.trace_id))?;
    must_equal!(summary, super::model::summaries(&[first]).pop(), "what is said of the trace");
    Ok(())
}

fn many_putters(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut dice = Dice::new(trial.seed ^ 7);
    let events = random_events(&mut dice, 1_200, 60)?;
    let counts: Vec<Result<usize, String>> = thread::scope(|scope| {
        let putters: Vec<_> = (0..6_usize)
            .map(|putter| {
                let (store, events) = (&store, &events);
                scope.spawn(move || {
                    let mut new = 0;
                    // Each starts elsewhere, so that they meet: every event is put by three of the six.
                    for part in events[putter % 2 * 600..][..600].chunks(50) {
                        let answers = wait(store.put(batch(part))).map_err(|error| error.to_string())?;
                        new += answers.iter().filter(|answer| **answer == Put::New).count();
                    }
                    Ok(new)
                })
            })
            .collect();
        putters
            .into_iter()
            .map(|putter| putter.join().unwrap_or_else(|_| Err("a putter panicked".to_owned())))
            .collect()
    });
    let new: usize = counts.into_iter().collect::<Result<Vec<_>, _>>().map_err(Broken)?.into_iter().sum();
    must_equal!(new, events.len(), "how many were said to be new");
    must!(scanned(&*store, &ScanFilter::default(), 500)? == in_order(&events), "not all is found again");
    must_equal!(
        super::model::recent_traces(&*store, &crate::store::EventFilter::default(), 50)?,
        super::model::summaries(&events),
        "the traces"
    );
    Ok(())
}

fn own_day(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let late = event(1, 1, "stage:completed", super::model::MIDNIGHT - 1)?;
    put_new(&*store, std::slice::from_ref(&late))?;
    // The same event once more, with a clock of another day: still the same event.
    for now in [NOW - DAY, NOW + 30 * DAY] {
        let again = Batch { events: vec![late.clone()], account: None, now };
        must_equal!(wait(store.put(Arc::new(again)))?, [Put::Duplicate], "the answer at {now}");
    }
    must_equal!(wait(store.info())?.days, ["2026-11-19".to_owned()], "the days");
    Ok(())
}
