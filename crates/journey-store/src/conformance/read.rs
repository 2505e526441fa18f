//! Are events found again, in order and whole?

use serde_json::json;

use super::{
    Broken, Outcome, Property, Trial,
    model::{
        DAY, Dice, MIDNIGHT, NOW, SECOND, all_pages, event, in_order, put_new, random_events, recent_traces, scanned,
        summaries, trace_events, trace_id,
    },
    must, must_equal,
};
use crate::{
    event::{Event, EventStatus, SpanId},
    store::{EventFilter, MAX_PAGE, ScanFilter, StoreErrorKind},
    wait,
};

pub(super) const PROPERTIES: &[Property] = &[
    ("every part of an event comes back as it was", every_part),
    ("pages of a trace have every event once and in order, whatever their size", trace_pages),
    ("a trace over midnight, with days between, is one trace", over_midnight),
    ("what nobody stored is not found and no error", unknown),
    ("a cursor that is none is a bad request that names it", bad_cursors),
    ("a page has at least one entry and at most 1 000", page_sizes),
    ("a scan finds what fits, each filter alone and all together, in order and in pages", scan_filters),
    ("a type that ends in a colon means all that begin so, and nothing else is a pattern", scan_types),
];

fn every_part(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let bare = event(1, 1, "a", NOW)?;
    let mut full = event(1, 2, "area:what.WITH-every_Char", NOW + 1)?;
    full.parent_span_id = SpanId::new(u64::MAX);
    full.parent_trace_id = Some(trace_id(9)?);
    full.correlation_id = Some("msg_ä€😀".to_owned());
    full.emitter = (1 << 63) - 1;
    full.seq = (1 << 63) - 1;
    full.status = EventStatus::Failed;
    full.duration = Some(i64::MAX);
    full.route = Some("message".to_owned());
    full.data = json!({
        "z": 1, "a": [true, null, {"deep": [1, 2.5, "x"]}], "empty": {}, "text": "line\nline\t\"quoted\" \\ 'it''s'",
    })
    .as_object()
    .cloned()
    .unwrap_or_default();
    full.tags.insert("tenant".to_owned(), "a=b".to_owned());
    full.tags.insert(String::new(), String::new());
    let mut least = event(1, 3, "a", NOW + 2)?;
    (least.duration, least.status) = (Some(i64::MIN), EventStatus::Success);
    // Texts that are empty are texts, not nothing.
    (least.correlation_id, least.route) = (Some(String::new()), Some(String::new()));
    let events = [bare, full, least];
    put_new(&*store, &events)?;
    must_equal!(trace_events(&*store, trace_id(1)?, 10)?, events, "the trace");
    must_equal!(scanned(&*store, &ScanFilter::default(), 10)?, events, "the scan");
    let found = trace_events(&*store, trace_id(1)?, 10)?;
    must_equal!(serde_json::to_string(&found)?, serde_json::to_string(&events)?, "its JSON, with the order of keys");
    Ok(())
}

fn trace_pages(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut dice = Dice::new(trial.seed ^ 1);
    let mut events: Vec<Event> = Vec::new();
    for seq in 0..257 {
        // Few instants, so that emitter and number decide as well.
        let mut event = event(1, seq, "stage:completed", NOW - dice.below(4) as i64 * DAY + dice.below(3) as i64)?;
        event.emitter = dice.below(3);
        events.push(event);
    }
    put_new(
        &*store,
        &random_events(&mut dice, 100, 4)?
            .into_iter()
            .filter(|it| it.trace_id != events[0].trace_id)
            .collect::<Vec<_>>(),
    )?;
    put_new(&*store, &events)?;
    for limit in [1, 2, 7, 256, 257, 258, MAX_PAGE] {
        let found = trace_events(&*store, trace_id(1)?, limit)?;
        must_equal!(found, in_order(&events), "the trace in pages of {limit}");
    }
    let page = wait(store.trace(trace_id(1)?, None, 257))?;
    must!(page.next.is_none(), "there is a next page, but nothing is on it");
    Ok(())
}

fn over_midnight(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = Vec::new();
    let story = [
        ("workflow:started", EventStatus::Pending, MIDNIGHT - 9 * DAY),
        ("stage:failed", EventStatus::Failed, MIDNIGHT - DAY - 1),
        ("stage:completed", EventStatus::Success, MIDNIGHT - 1),
        ("stage:completed", EventStatus::Success, MIDNIGHT),
        ("workflow:completed", EventStatus::Success, MIDNIGHT + SECOND),
    ];
    for (number, (kind, status, at)) in story.into_iter().enumerate() {
        let mut event = event(1, number as u64, kind, at)?;
        event.status = status;
        event.tags.insert("day".to_owned(), number.to_string());
        (event.correlation_id, event.parent_trace_id) = (Some(format!("msg_{}", 9 - number)), Some(trace_id(2)?));
        events.push(event);
        // Each in a batch of its own, and something else on the same day.
        put_new(&*store, &events[number..])?;
        put_new(&*store, &[super::model::event(50 + number as u64, number as u64, "stage:completed", at)?])?;
    }
    let whole = summaries(&events);
    must_equal!(trace_events(&*store, trace_id(1)?, 2)?, events, "its events");
    must_equal!(wait(store.summary(trace_id(1)?))?, whole.first().cloned(), "what is said of it");
    let wanted = [
        EventFilter { min_duration: Some(9 * DAY), ..EventFilter::default() },
        EventFilter { tags: vec!["day=0".to_owned(), "day=4".to_owned()], ..EventFilter::default() },
        EventFilter { event_type: Some("workflow:started".to_owned()), ..EventFilter::default() },
        EventFilter { until: Some(MIDNIGHT - 8 * DAY), since: Some(MIDNIGHT), ..EventFilter::default() },
    ];
    for filter in wanted {
        must_equal!(recent_traces(&*store, &filter, 1)?, whole, "what {filter:?} finds");
    }
    let all = recent_traces(&*store, &EventFilter::default(), 2)?;
    must_equal!(all.len(), 6, "how many traces there are");
    let failed = EventFilter { status: Some(crate::store::TraceStatus::Failed), ..EventFilter::default() };
    must_equal!(recent_traces(&*store, &failed, 9)?, vec![], "what failed: it came through in the end");
    must_equal!(wait(store.children(trace_id(2)?))?.items, whole, "the children of its parent");
    // The least id stands in the summary; it is found by that one from whichever day.
    must_equal!(wait(store.correlated("msg_5".to_owned()))?.items, whole, "the traces of its correlation id");
    Ok(())
}

fn unknown(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    for stored in [false, true] {
        must_equal!(trace_events(&*store, trace_id(5)?, 10)?, vec![], "an unknown trace");
        must_equal!(wait(store.summary(trace_id(5)?))?, None, "the summary of an unknown trace");
        must_equal!(wait(store.children(trace_id(5)?))?.items, vec![], "the children of an unknown trace");
        must_equal!(wait(store.correlated("nobody".to_owned()))?.items, vec![], "the traces of an unknown id");
        must_equal!(wait(store.daily("2026-11-01".to_owned(), "2026-11-30".to_owned()))?, vec![], "the statistics");
        if !stored {
            must_equal!(recent_traces(&*store, &EventFilter::default(), 10)?, vec![], "the traces of an empty store");
            must_equal!(wait(store.accounts())?, vec![], "the accounts of an empty store");
        }
        put_new(&*store, &[event(if stored { 2 } else { 1 }, 1, "stage:completed", NOW)?])?;
    }
    Ok(())
}

fn bad_cursors(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = Vec::new();
    for number in 1..4 {
        events.push(event(number, 1, "stage:completed", NOW + number as i64)?);
        events.push(event(number, 2, "stage:completed", NOW + number as i64)?);
    }
    put_new(&*store, &events)?;
    let of_traces = wait(store.recent(EventFilter::default(), None, 1))?.next;
    let of_events = wait(store.scan(ScanFilter::default(), None, 1))?.next;
    let (Some(of_traces), Some(of_events)) = (of_traces, of_events) else {
        return Err(Broken("there is no next page".to_owned()));
    };
    let none = ["", "x", "'; DROP TABLE events; --", "\0", "\u{202e}", "0", "e.1.2", "t.x.y"].map(str::to_owned);
    for cursor in none.into_iter().chain([of_traces.clone(), "9".repeat(100_000)]) {
        let answers = [
            wait(store.trace(trace_id(1)?, Some(cursor.clone()), 1)).err(),
            wait(store.scan(ScanFilter::default(), Some(cursor.clone()), 1)).err(),
            if cursor == of_traces {
                None
            } else {
                wait(store.recent(EventFilter::default(), Some(cursor.clone()), 1)).err()
            },
        ];
        let shown: String = cursor.chars().take(20).collect::<String>().escape_debug().to_string();
        for error in answers.iter().take(if cursor == of_traces { 2 } else { 3 }) {
            let Some(error) = error else { return Err(Broken(format!("`{shown}` was taken for a cursor"))) };
            must_equal!(error.kind, StoreErrorKind::BadRequest, "the kind of error for `{shown}`");
            let named = error.message.contains(&shown) && error.message.len() < 500;
            must!(named, "the message does not name `{shown}`: {error}");
        }
    }
    let error = wait(store.recent(EventFilter::default(), Some(of_events), 1)).err();
    must_equal!(error.map(|it| it.kind), Some(StoreErrorKind::BadRequest), "a cursor of events in a list of traces");
    Ok(())
}

fn page_sizes(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = Vec::new();
    for seq in 0..MAX_PAGE as u64 + 2 {
        events.push(event(1 + seq, seq, "stage:completed", NOW)?);
    }
    let mut long = Vec::new();
    for seq in 0..MAX_PAGE as u64 + 1 {
        long.push(event(5_000, 10_000 + seq, "stage:completed", NOW)?);
    }
    put_new(&*store, &events)?;
    put_new(&*store, &long)?;
    for (limit, expected) in [(0, 1), (1, 1), (usize::MAX, MAX_PAGE), (MAX_PAGE, MAX_PAGE)] {
        must_equal!(wait(store.trace(trace_id(5_000)?, None, limit))?.items.len(), expected, "trace, limit {limit}");
        must_equal!(wait(store.scan(ScanFilter::default(), None, limit))?.items.len(), expected, "scan, limit {limit}");
        let recent = wait(store.recent(EventFilter::default(), None, limit))?;
        must_equal!(recent.items.len(), expected, "recent, limit {limit}");
    }
    Ok(())
}

fn scan_filters(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut dice = Dice::new(trial.seed ^ 2);
    let events = random_events(&mut dice, 600, 50)?;
    put_new(&*store, &events)?;
    let (since, until) = (Some(MIDNIGHT - 6 * DAY / 5), Some(MIDNIGHT + DAY / 9));
    let status = Some(EventStatus::Failed);
    let (event_type, route) = (Some("stage:".to_owned()), Some("order".to_owned()));
    let none = ScanFilter::default();
    let mut filters = vec![
        none.clone(),
        ScanFilter { since, ..none.clone() },
        ScanFilter { until, ..none.clone() },
        ScanFilter { status, ..none.clone() },
        ScanFilter { event_type: event_type.clone(), ..none.clone() },
        ScanFilter { route: route.clone(), ..none.clone() },
        ScanFilter { since, until, status, event_type, route },
        // The bounds themselves: at it is in, before it is out.
        ScanFilter { since: Some(events[0].timestamp), until: Some(events[0].timestamp + 1), ..none.clone() },
        ScanFilter { since: Some(events[0].timestamp + 1), until: Some(events[0].timestamp), ..none.clone() },
        ScanFilter { since: Some(i64::MIN), until: Some(i64::MAX), ..none },
    ];
    for _ in 0..30 {
        filters.push(ScanFilter {
            since: dice.one_of(&[None, since, Some(MIDNIGHT)]),
            until: dice.one_of(&[None, until, Some(MIDNIGHT - 4 * DAY)]),
            status: dice.one_of(&[None, Some(EventStatus::Success), Some(EventStatus::Pending)]),
            event_type: dice.one_of(&[None, Some("workflow:".to_owned()), Some("stage:failed".to_owned())]),
            route: dice.one_of(&[None, Some("message".to_owned()), Some("nowhere".to_owned())]),
        });
    }
    let sorted = in_order(&events);
    for filter in filters {
        let expected: Vec<&Event> = sorted.iter().filter(|event| fits(&filter, event)).collect();
        for limit in [1 + dice.below(40) as usize, 1_000] {
            let found = scanned(&*store, &filter, limit)?;
            must_equal!(found.iter().collect::<Vec<_>>(), expected, "{filter:?} in pages of {limit}");
        }
    }
    Ok(())
}

/// What the specification of a scan says, apart from the code that stores share.
fn fits(filter: &ScanFilter, event: &Event) -> bool {
    let kind = filter.event_type.as_deref().unwrap_or(":");
    let is_kind = if kind == ":" {
        true
    } else if kind.ends_with(':') {
        event.event_type.starts_with(kind)
    } else {
        event.event_type == kind
    };
    let route = filter.route.is_none() || filter.route == event.route;
    let status = filter.status.is_none() || filter.status == Some(event.status);
    let (since, until) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
    is_kind && route && status && since <= event.timestamp && event.timestamp < until
}

fn scan_types(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let kinds = ["a_:x", "ab:x", "a_:", "A_:x", "a_", "a_:x:y", "a", "a.:x"];
    let mut events = Vec::new();
    for (seq, kind) in kinds.into_iter().enumerate() {
        events.push(event(1, seq as u64, kind, NOW)?);
    }
    put_new(&*store, &events)?;
    let asked = [
        ("a_:", vec!["a_:x", "a_:", "a_:x:y"]),
        ("a_:x", vec!["a_:x"]),
        ("a_:x:", vec!["a_:x:y"]),
        ("a%", vec![]),
        ("%:", vec![]),
        ("", vec![]),
        ("' OR 1=1 --:", vec![]),
    ];
    for (kind, expected) in asked {
        let filter = ScanFilter { event_type: Some(kind.to_owned()), ..ScanFilter::default() };
        let found = all_pages(2, |cursor, limit| wait(store.scan(filter.clone(), cursor, limit)))?;
        must_equal!(found.into_iter().map(|it| it.event_type).collect::<Vec<_>>(), expected, "events of type `{kind}`");
    }
    Ok(())
}
