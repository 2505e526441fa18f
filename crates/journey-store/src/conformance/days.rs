//! Are statistics recomputed, and days dropped whole?

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Outcome, Property, Trial,
    model::{
        DAY, Dice, HOUR, MIDNIGHT, NOW, batch, event, put_new, random_events, recent_traces, scanned, summaries,
        trace_events, trace_id,
    },
    must, must_equal,
};
use crate::{
    admit::MAX_EXPIRED_DAYS,
    daily::daily_statistics,
    day::Day,
    event::{Event, EventStatus},
    store::{Batch, DailyStatistic, EmitterAccount, EventFilter, EventStore, ScanFilter, StoreErrorKind},
    wait,
};

pub(super) const PROPERTIES: &[Property] = &[
    ("statistics of a day are those of its events, and a replayed batch changes nothing", recomputed),
    ("a late event makes only its own day due again", late_event),
    ("statistics are asked for by days, both included, and what is no day is named", daily_range),
    ("a day is dropped whole, once it ended before now - keep, and nothing of it is left", expire_whole_days),
    ("a clock that jumps forward drops nothing newer than the newest day - keep", forward_jump),
    ("one expiry drops a bounded number of days, oldest first, and says that there are more", bounded_expiry),
    ("what a dropped day held is said in the accounts, so that emitted = stored + dropped still", expired_are_said),
];

fn all_days(store: &dyn EventStore) -> Result<Vec<DailyStatistic>, super::Broken> {
    Ok(wait(store.daily("2026-01-01".to_owned(), "2026-12-31".to_owned()))?)
}

fn due_days(store: &dyn EventStore) -> Result<Vec<String>, super::Broken> {
    Ok(wait(store.due("2026-01-01".to_owned(), "2026-12-31".to_owned()))?)
}

/// By day, then route, then leg.
fn expected_statistics(events: &[Event]) -> Vec<DailyStatistic> {
    let mut days: BTreeMap<Day, Vec<&Event>> = BTreeMap::new();
    for event in events {
        days.entry(Day::of(event.timestamp)).or_default().push(event);
    }
    days.into_iter().flat_map(|(day, events)| daily_statistics(&day.to_string(), events)).collect()
}

fn recomputed(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let events = random_events(&mut Dice::new(trial.seed ^ 9), 900, 80)?;
    put_new(&*store, &events)?;
    must_equal!(all_days(&*store)?, vec![], "the statistics before anything was computed");
    let stored = wait(store.info())?.days;
    must_equal!(due_days(&*store)?, stored, "the days that are due");
    let days = wait(store.recompute())?;
    must_equal!(days, stored, "the days that were recomputed");
    must_equal!(due_days(&*store)?, Vec::<String>::new(), "the days that are due after that");
    let expected = expected_statistics(&events);
    must!(expected.len() > 20, "there is too little to compare");
    must_equal!(all_days(&*store)?, expected, "the statistics");
    must_equal!(wait(store.recompute())?, Vec::<String>::new(), "the days to recompute after that");
    for part in events.chunks(100) {
        wait(store.put(batch(part)))?;
    }
    must_equal!(wait(store.recompute())?, Vec::<String>::new(), "the days to recompute after a replay");
    must_equal!(all_days(&*store)?, expected, "the statistics after a replay");
    Ok(())
}

fn late_event(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = random_events(&mut Dice::new(trial.seed ^ 10), 200, 30)?;
    put_new(&*store, &events)?;
    wait(store.recompute())?;
    let mut late = event(3, 100_000, "stage:completed", MIDNIGHT - 5 * DAY + HOUR)?;
    (late.duration, late.status) = (Some(77_000_000), EventStatus::Success);
    put_new(&*store, std::slice::from_ref(&late))?;
    events.push(late);
    must_equal!(due_days(&*store)?, ["2026-11-15".to_owned()], "the days that are due");
    let later = wait(store.due("2026-11-16".to_owned(), "2026-12-31".to_owned()))?;
    must_equal!(later, Vec::<String>::new(), "of the days after it, those that are due");
    must_equal!(wait(store.recompute())?, ["2026-11-15".to_owned()], "the days to recompute");
    must_equal!(all_days(&*store)?, expected_statistics(&events), "the statistics");
    Ok(())
}

fn daily_range(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = Vec::new();
    for seq in 0..5 {
        let mut event = event(1, seq, "stage:completed", NOW - seq as i64 * DAY)?;
        (event.duration, event.status) = (Some(1_000_000), EventStatus::Success);
        events.push(event);
    }
    put_new(&*store, &events)?;
    wait(store.recompute())?;
    let asked = [
        ("2026-11-17", "2026-11-19", vec!["2026-11-17", "2026-11-18", "2026-11-19"]),
        ("2026-11-20", "2026-11-20", vec!["2026-11-20"]),
        ("2026-11-19", "2026-11-17", vec![]),
        ("1999-01-01", "2026-11-16", vec!["2026-11-16"]),
    ];
    for (first, last, expected) in asked {
        let found = wait(store.daily(first.to_owned(), last.to_owned()))?;
        must_equal!(found.into_iter().map(|row| row.day).collect::<Vec<_>>(), expected, "from {first} to {last}");
    }
    for (first, last, named) in [("2026-02-30", "2026-11-20", "2026-02-30"), ("2026-11-20", "' OR 1", "' OR 1")] {
        let error = wait(store.daily(first.to_owned(), last.to_owned())).err();
        let is_named = error.as_ref().is_some_and(|error| {
            let named: String = named.escape_debug().collect();
            error.kind == StoreErrorKind::BadRequest && error.message.contains(&named)
        });
        must!(is_named, "`{named}` is no day, but the answer is {error:?}");
    }
    Ok(())
}

fn one_a_day(days_ago: impl IntoIterator<Item = i64>) -> Result<Vec<Event>, super::Broken> {
    days_ago
        .into_iter()
        .map(|ago| {
            let mut event = event(1 + ago as u64, 1 + ago as u64, "stage:completed", MIDNIGHT - ago * DAY)?;
            (event.duration, event.status) = (Some(1), EventStatus::Success);
            (event.correlation_id, event.parent_trace_id) = (Some("msg_1".to_owned()), Some(trace_id(99)?));
            Ok(event)
        })
        .collect()
}

fn expire_whole_days(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = one_a_day([0, 1, 2, 3])?;
    // A trace that loses its first day and keeps its last.
    events.push(event(40, 40, "stage:completed", MIDNIGHT - 2 * DAY - 1)?);
    events.push(event(40, 41, "stage:completed", MIDNIGHT - 2 * DAY)?);
    put_new(&*store, &events)?;
    wait(store.recompute())?;
    // The 17th ended exactly 48 h before midnight.
    let expired = wait(store.expire(MIDNIGHT - 1, 2 * DAY))?;
    must_equal!(expired.days, Vec::<String>::new(), "the days dropped a nanosecond too early");
    let expired = wait(store.expire(MIDNIGHT + 3 * HOUR, 2 * DAY))?;
    must_equal!((expired.days, expired.more), (vec!["2026-11-17".to_owned()], false), "the days dropped");
    let left: Vec<Event> = events.iter().filter(|it| it.timestamp >= MIDNIGHT - 2 * DAY).cloned().collect();
    must_equal!(scanned(&*store, &ScanFilter::default(), 9)?, super::model::in_order(&left), "the events left");
    must_equal!(recent_traces(&*store, &EventFilter::default(), 2)?, summaries(&left), "the traces left");
    must_equal!(all_days(&*store)?, expected_statistics(&left), "the statistics left");
    must_equal!(wait(store.info())?.days, ["2026-11-18", "2026-11-19", "2026-11-20"], "the days left");
    let gone = trace_id(4)?;
    must_equal!(trace_events(&*store, gone, 9)?, vec![], "a dropped trace");
    must_equal!(wait(store.summary(gone))?, None, "the summary of a dropped trace");
    must_equal!(wait(store.children(trace_id(99)?))?.items.len(), 3, "how many children are left");
    must_equal!(wait(store.correlated("msg_1".to_owned()))?.items.len(), 3, "how many traces of one id are left");
    must_equal!(wait(store.recompute())?, Vec::<String>::new(), "the days to recompute");
    // The dropped day can come again: a new event of it is stored as any other.
    put_new(&*store, &events[3..4])?;
    must_equal!(wait(store.summary(gone))?, summaries(&events[3..4]).pop(), "what came again");
    Ok(())
}

fn forward_jump(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    put_new(&*store, &one_a_day([0, 1, 5, 8, 9])?)?;
    for now in [NOW + 365 * DAY, i64::MAX] {
        let expired = wait(store.expire(now, 8 * DAY))?;
        let expected: &[&str] = if now == i64::MAX { &[] } else { &["2026-11-11"] };
        must_equal!(expired.days, expected, "the days dropped at {now}");
    }
    for (now, keep) in [(i64::MIN, 8 * DAY), (NOW, i64::MAX), (i64::MIN, i64::MAX), (NOW - 40 * DAY, 0)] {
        must_equal!(wait(store.expire(now, keep))?.days, Vec::<String>::new(), "the days dropped at {now}");
    }
    // A time to keep below zero is none: today has not ended.
    wait(store.expire(NOW, i64::MIN))?;
    must_equal!(wait(store.info())?.days, ["2026-11-20"], "the days left");
    must_equal!(wait(trial.store().expire(NOW, 0))?.days, Vec::<String>::new(), "what an empty store drops");
    Ok(())
}

fn bounded_expiry(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let most = MAX_EXPIRED_DAYS as i64;
    put_new(&*store, &one_a_day(0..2 * most + 4)?)?;
    let mut dropped = Vec::new();
    for (round, expected) in [(0, MAX_EXPIRED_DAYS), (1, MAX_EXPIRED_DAYS), (2, 3), (3, 0)] {
        let expired = wait(store.expire(NOW, 0))?;
        must_equal!((expired.days.len(), expired.more), (expected, round < 2), "how many in round {round}, and more");
        dropped.extend(expired.days);
    }
    must!(dropped.is_sorted(), "the days were not dropped oldest first: {dropped:?}");
    must_equal!(wait(store.info())?.days, ["2026-11-20"], "the days left");
    Ok(())
}

fn expired_are_said(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = one_a_day([0, 1, 2, 3, 4])?;
    // Another emitter, all of whose days go.
    events[4].emitter = 2;
    events.push(event(70, 70, "stage:completed", MIDNIGHT - 4 * DAY)?);
    let account = |emitter, emitted| EmitterAccount { emitter, emitted, ..EmitterAccount::default() };
    let dropped = BTreeMap::from([("queue_full".to_owned(), 3)]);
    let first = Batch { events, account: Some(EmitterAccount { dropped, ..account(1, 8) }), now: NOW };
    let first = Arc::new(first);
    wait(store.put(first.clone()))?;
    for (keep, stored, expired) in [(9, 5, 0), (3, 4, 1), (2, 3, 2), (0, 1, 4), (0, 1, 4)] {
        wait(store.expire(NOW, keep * DAY))?;
        let accounts = wait(store.accounts())?;
        let mine: Vec<_> = accounts.iter().filter(|it| it.emitter == 1).collect();
        must_equal!(mine.len(), 1, "how many accounts there are after keeping {keep} days");
        must_equal!(mine[0].stored, stored, "stored after keeping {keep} days");
        let said = mine[0].dropped.get("expired").copied().unwrap_or_default();
        must_equal!(said, expired, "said to be expired after keeping {keep} days");
        must_equal!(mine[0].emitted, stored + mine[0].dropped.values().sum::<u64>(), "emitted, after {keep} days");
    }
    Ok(())
}
