//! Does anything break it?

use std::thread;

use serde_json::{Map, Value, json};

use super::{
    Broken, Outcome, Property, Trial,
    model::{NOW, batch, event, put_new, recent_traces, scanned, summaries, trace_events, trace_id},
    must, must_equal,
};
use crate::{
    admit::{MAX_DATA_DEPTH, MAX_KEY_BYTES},
    event::Event,
    store::{EventFilter, EventStore, Put, RejectReason, ScanFilter},
    wait,
};

pub(super) const PROPERTIES: &[Property] = &[
    ("data nested too deep is refused, the rest of the batch stored", nesting),
    ("numbers at their ends come back as they were", numbers),
    ("texts of a megabyte come back, in a key they are refused", long_texts),
    ("NUL, bidi and control characters come back in data and never break a key", characters),
    ("SQL in every text is text", sql),
    ("10 000 tags and 10 000 keys on one event come back", many_keys),
];

fn with_data(seq: u64, data: Value) -> Result<Event, Broken> {
    let mut event = event(1, seq, "own:data", NOW + seq as i64)?;
    event.data.insert("value".to_owned(), data);
    Ok(event)
}

fn nested(depth: usize, in_objects: bool) -> Value {
    let mut value = Value::Bool(true);
    for _ in 0..depth {
        value = if in_objects {
            Value::Object(Map::from_iter([("in".to_owned(), value)]))
        } else {
            Value::Array(vec![value])
        };
    }
    value
}

fn nesting(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    // To copy and to drop such a value takes more stack than a test thread has; a store must not even try.
    let roomy = thread::Builder::new().stack_size(256 * 1_024 * 1_024);
    thread::scope(|scope| match roomy.spawn_scoped(scope, || nesting_in(&*store))?.join() {
        Ok(outcome) => outcome,
        Err(_) => Err(Broken("it panicked".to_owned())),
    })
}

fn nesting_in(store: &dyn EventStore) -> Outcome {
    // The map of `data` itself is the first level.
    let deepest = MAX_DATA_DEPTH - 1;
    let events = [
        with_data(1, nested(deepest, false))?,
        with_data(2, nested(10_000, false))?,
        with_data(3, nested(deepest, true))?,
        with_data(4, nested(10_000, true))?,
        with_data(5, nested(deepest + 1, true))?,
        with_data(6, nested(deepest + 1, false))?,
        with_data(7, json!("fine"))?,
    ];
    // Held until the store has answered, as whoever may have to put again does.
    let batch = batch(&events);
    let answers = wait(store.put(batch.clone()))?;
    let is_new: Vec<bool> = answers.iter().map(|answer| *answer == Put::New).collect();
    must_equal!(is_new, [true, false, true, false, false, false, true], "which are stored");
    let Put::Rejected(RejectReason::Invalid(why)) = &answers[1] else {
        return Err(Broken(format!("deep nesting is {:?}", answers[1])));
    };
    must!(why.contains("`data`") && why.contains("64"), "the reason names neither data nor the limit: {why}");
    let stored = [events[0].clone(), events[2].clone(), events[6].clone()];
    must_equal!(trace_events(store, trace_id(1)?, 9)?, stored, "what is stored");
    Ok(())
}

fn numbers(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let numbers = json!([
        0,
        -0.0,
        1_u64 << 63,
        (1_u64 << 63) - 1,
        u64::MAX,
        i64::MIN,
        9_007_199_254_740_993_u64,
        0.1,
        0.1 + 0.2,
        1e308,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::EPSILON,
        123_456_789.123_456_79,
        f64::NAN,
        f64::INFINITY,
        1e22,
        1e23,
    ]);
    let events = [with_data(1, numbers)?];
    put_new(&*store, &events)?;
    let found = trace_events(&*store, trace_id(1)?, 9)?;
    must_equal!(found, events, "the event");
    must_equal!(found[0].data["value"].to_string(), events[0].data["value"].to_string(), "its numbers as text");
    Ok(())
}

fn long_texts(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let long = "ä".repeat(512 * 1_024);
    let mut stored = with_data(1, json!({ "text": long, long.clone(): [long] }))?;
    stored.tags.insert("long".to_owned(), long.clone());
    stored.tags.insert(long.clone(), "x".to_owned());
    stored.tags.insert("short".to_owned(), "x".to_owned());
    stored.correlation_id = Some("i".repeat(MAX_KEY_BYTES));
    stored.route = Some("r".repeat(MAX_KEY_BYTES));
    let mut long_id = with_data(2, json!(1))?;
    long_id.correlation_id = Some(long.clone());
    let mut long_route = with_data(3, json!(1))?;
    long_route.route = Some("r".repeat(MAX_KEY_BYTES + 1));
    let long_type = event(1, 4, &"t".repeat(1_024 * 1_024), NOW)?;
    let fine = with_data(5, json!("fine"))?;
    let answers = wait(store.put(batch(&[stored.clone(), long_id, long_route, long_type, fine.clone()])))?;
    must_equal!(answers[0], Put::New, "an event with long texts");
    must_equal!(answers[4], Put::New, "the event after it");
    for (answer, named) in answers[1..4].iter().zip(["`correlationId`", "`route`", "event type"]) {
        let Put::Rejected(RejectReason::Invalid(why)) = answer else {
            return Err(Broken(format!("a megabyte as {named} is {answer:?}")));
        };
        must!(why.contains(named) && why.len() < 500, "the reason does not name {named}: {why}");
    }
    must!(trace_events(&*store, trace_id(1)?, 9)? == [stored.clone(), fine.clone()], "it does not come back");
    let expected = summaries(&[stored.clone(), fine]);
    must_equal!(wait(store.summary(stored.trace_id))?, expected.first().cloned(), "what is said of the trace");
    let by_id = wait(store.correlated("i".repeat(MAX_KEY_BYTES)))?.items;
    must_equal!(by_id, expected, "what is found by its correlation id");
    let by_long_text = EventFilter { tags: vec![long], ..EventFilter::default() };
    must_equal!(recent_traces(&*store, &by_long_text, 9)?, vec![], "what is found by a megabyte");
    Ok(())
}

fn characters(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let hostile = "a\0b\u{202e}c\u{2066}\u{feff}\u{fffd}\u{10ffff}\r\n\u{1b}[31m\u{7f}\u{85}\\u0000";
    let stored = with_data(1, json!({ hostile: [hostile, { "\0": "\0" }] }))?;
    let mut in_keys = Vec::new();
    for seq in 2..6 {
        let mut event = with_data(seq, json!(1))?;
        match seq {
            2 => event.correlation_id = Some(hostile.to_owned()),
            3 => event.route = Some(hostile.to_owned()),
            4 => _ = event.tags.insert(hostile.to_owned(), "x".to_owned()),
            _ => _ = event.tags.insert("x".to_owned(), hostile.to_owned()),
        }
        in_keys.push(event);
    }
    let mut without_nul = with_data(6, json!(1))?;
    let text = hostile.replace('\0', "");
    (without_nul.correlation_id, without_nul.route) = (Some(text.clone()), Some(text.clone()));
    without_nul.tags.insert(text.clone(), text.clone());
    put_new(&*store, &[stored.clone(), without_nul.clone()])?;
    for answer in wait(store.put(batch(&in_keys)))? {
        let Put::Rejected(RejectReason::Invalid(why)) = answer else {
            return Err(Broken(format!("a NUL in a key is {answer:?}")));
        };
        must!(why.contains("U+0000") && !why.contains('\0'), "the reason does not name the character: {why:?}");
    }
    let expected = [stored, without_nul];
    must_equal!(trace_events(&*store, trace_id(1)?, 9)?, expected, "what is stored");
    must_equal!(wait(store.correlated(text.clone()))?.items, summaries(&expected), "what is found by the text");
    let filter =
        EventFilter { tags: vec![format!("{text}={text}")], route: Some(text.clone()), ..EventFilter::default() };
    must_equal!(recent_traces(&*store, &filter, 9)?, summaries(&expected), "what is found by tag and route");
    // Asking for a NUL finds nothing and is no error.
    must_equal!(wait(store.correlated(hostile.to_owned()))?.items, vec![], "what is found by a text with NUL");
    let filter = EventFilter { tags: vec![hostile.to_owned()], ..EventFilter::default() };
    must_equal!(recent_traces(&*store, &filter, 9)?, vec![], "what is found by a tag with NUL");
    let filter = EventFilter { event_type: Some(hostile.to_owned()), route: Some(hostile.to_owned()), ..filter };
    must_equal!(recent_traces(&*store, &filter, 9)?, vec![], "what is found by a route with NUL");
    let filter =
        ScanFilter { event_type: Some("\0:".to_owned()), route: Some(hostile.to_owned()), ..ScanFilter::default() };
    must_equal!(scanned(&*store, &filter, 9)?, vec![], "what a scan finds by a route with NUL");
    Ok(())
}

fn sql(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let text = "'; DROP TABLE events; DELETE FROM events; -- \" ` $1 ?1 :a @b {x,\"y\"} \\' %_ /*";
    let mut hostile = with_data(1, json!({ text: text }))?;
    (hostile.correlation_id, hostile.route) = (Some(text.to_owned()), Some(text.to_owned()));
    hostile.tags.insert(text.to_owned(), text.to_owned());
    let plain = event(2, 2, "own:data", NOW - 1)?;
    let account = crate::store::EmitterAccount {
        emitter: 1,
        service: text.to_owned(),
        emitted: 2,
        dropped: [(text.to_owned(), 0)].into(),
        stored: 0,
        ..Default::default()
    };
    let events = vec![hostile.clone(), plain.clone()];
    let with_account = crate::store::Batch { events, account: Some(account.clone()), now: NOW };
    must_equal!(wait(store.put(std::sync::Arc::new(with_account)))?, [Put::New, Put::New], "the answers");
    let expected = summaries(&[hostile.clone(), plain.clone()]);
    let found = recent_traces(&*store, &EventFilter::default(), 9)?;
    must_equal!(found, expected, "all traces");
    let filter = EventFilter {
        tags: vec![format!("{text}={text}")],
        route: Some(text.to_owned()),
        event_type: Some("own:data".to_owned()),
        ..EventFilter::default()
    };
    must_equal!(recent_traces(&*store, &filter, 9)?, expected[..1], "what is found by it");
    let filter = ScanFilter { route: Some(text.to_owned()), ..ScanFilter::default() };
    must_equal!(scanned(&*store, &filter, 9)?, [hostile], "what a scan finds by it");
    must_equal!(wait(store.correlated(text.to_owned()))?.items, expected[..1], "what is found by correlation id");
    must_equal!(wait(store.correlated("%".to_owned()))?.items, vec![], "what is found by a pattern");
    let account = crate::store::EmitterAccount { stored: 2, ..account };
    must_equal!(wait(store.accounts())?, [account], "the account");
    Ok(())
}

fn many_keys(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut event = with_data(1, json!(1))?;
    for number in 0..10_000 {
        event.tags.insert(format!("key{number}"), "x".to_owned());
        event.data.insert(format!("key{number}"), number.into());
    }
    put_new(&*store, std::slice::from_ref(&event))?;
    must!(trace_events(&*store, trace_id(1)?, 9)? == [event.clone()], "it does not come back");
    must_equal!(wait(store.summary(event.trace_id))?, summaries(&[event]).pop(), "what is said of the trace");
    Ok(())
}
