//! What is said of a trace, and which are found?

use super::{
    Broken, Outcome, Property, Trial,
    model::{
        DAY, Dice, HOUR, MIDNIGHT, NOW, SECOND, event, put_new, random_events, recent_traces, summaries, trace_id,
    },
    must, must_equal,
};
use crate::{
    event::{Event, EventStatus},
    merge::{MAX_SUMMARY_TAG_BYTES, MAX_SUMMARY_TAGS, MAX_SUMMARY_TYPES},
    store::{EventFilter, MAX_PAGE, TraceStatus, TraceSummary},
    wait,
};

pub(super) const PROPERTIES: &[Property] = &[
    ("a summary is that of all its events, whatever came first", summaries_are_right),
    ("a trace stands as its newest end says, and without one as its failures", newest_end),
    ("types and tags of a summary are bounded, and which stay does not depend on the order", bounded),
    ("recent finds the traces that fit, each filter alone and all together", recent_filters),
    ("recent is newest first, of pages of any size, also where instants are the same", recent_order),
    ("what is put between two pages repeats nothing", put_between_pages),
    ("children are oldest first, and more than a page of them is said", children),
    ("traces of a correlation id are newest first, and more than a page of them is said", correlated),
];

fn summaries_are_right(trial: &Trial<'_>) -> Outcome {
    let mut dice = Dice::new(trial.seed ^ 3);
    let store = trial.store();
    let events = random_events(&mut dice, 900, 70)?;
    put_new(&*store, &events)?;
    let expected = summaries(&events);
    for trace in &expected {
        must_equal!(wait(store.summary(trace.trace_id))?, Some(trace.clone()), "what is said of a trace");
    }
    must_equal!(recent_traces(&*store, &EventFilter::default(), 9)?, expected, "all traces");
    for parent in 1..8 {
        let id = trace_id(parent)?;
        let mut own: Vec<_> = expected.iter().filter(|it| it.parent_trace_id == Some(id)).cloned().collect();
        own.sort_by_key(|trace| (trace.first, trace.trace_id));
        must_equal!(wait(store.children(id))?.items, own, "the children of {parent}");
        let name = Some(format!("msg_{}", parent - 1));
        let own: Vec<_> = expected.iter().filter(|it| it.correlation_id == name).cloned().collect();
        must_equal!(wait(store.correlated(format!("msg_{}", parent - 1)))?.items, own, "the traces of {name:?}");
    }
    Ok(())
}

fn newest_end(trial: &Trial<'_>) -> Outcome {
    use EventStatus::{Failed, Pending, Success};
    type Story = &'static [(&'static str, EventStatus)];
    let stories: [(Story, TraceStatus, bool); 9] = [
        (&[("workflow:started", Pending)], TraceStatus::Pending, false),
        (&[("stage:completed", Success)], TraceStatus::Pending, false),
        (&[("stage:failed", Failed)], TraceStatus::Failed, true),
        (&[("stage:failed", Failed), ("workflow:completed", Success)], TraceStatus::Success, true),
        (&[("workflow:completed", Success), ("stage:failed", Failed)], TraceStatus::Success, true),
        (&[("workflow:failed", Failed), ("workflow:completed", Success)], TraceStatus::Success, true),
        (&[("workflow:completed", Success), ("workflow:failed", Failed)], TraceStatus::Failed, true),
        (&[("workflow:completed", Success)], TraceStatus::Success, false),
        (&[("workflow:completed", Pending)], TraceStatus::Pending, false),
    ];
    for backwards in [false, true] {
        for hours_apart in [0, 1, 20] {
            let store = trial.store();
            for (number, (story, status, any_failed)) in stories.into_iter().enumerate() {
                let mut events = Vec::new();
                for (seq, (kind, status)) in story.iter().enumerate() {
                    let at = NOW - 2 * DAY + seq as i64 * hours_apart * HOUR;
                    let mut event = event(number as u64 + 1, seq as u64, kind, at)?;
                    event.status = *status;
                    events.push(event);
                }
                if backwards {
                    events.reverse();
                }
                for event in events {
                    put_new(&*store, &[event])?;
                }
                let summary = wait(store.summary(trace_id(number as u64 + 1)?))?;
                let found = summary.map(|it| (it.status, it.any_failed));
                must_equal!(found, Some((status, any_failed)), "{story:?}, {hours_apart} h apart, {backwards}");
            }
        }
    }
    Ok(())
}

fn bounded(trial: &Trial<'_>) -> Outcome {
    let mut events: Vec<Event> = Vec::new();
    for seq in 0..600_u64 {
        let mut event = event(1, seq, &format!("own:{:03}", seq * 7 % 600), NOW - (seq % 3) as i64 * DAY)?;
        event.tags.insert(format!("key{:03}", seq * 11 % 600), "value".to_owned());
        event.tags.insert("a".to_owned(), "x".repeat(MAX_SUMMARY_TAG_BYTES - 3 + (seq % 3) as usize));
        events.push(event);
    }
    let expected = summaries(&events);
    must_equal!(expected[0].tags.len(), MAX_SUMMARY_TAGS, "how many tags stay");
    must_equal!(expected[0].types.len(), MAX_SUMMARY_TYPES, "how many types stay");
    let mut dice = Dice::new(trial.seed ^ 4);
    for _ in 0..2 {
        let store = trial.store();
        for part in events.chunks(97) {
            put_new(&*store, part)?;
        }
        must_equal!(recent_traces(&*store, &EventFilter::default(), 9)?, expected, "the trace");
        dice.shuffle(&mut events);
    }
    Ok(())
}

fn recent_filters(trial: &Trial<'_>) -> Outcome {
    let mut dice = Dice::new(trial.seed ^ 5);
    let store = trial.store();
    let events = random_events(&mut dice, 700, 120)?;
    put_new(&*store, &events)?;
    let all = summaries(&events);
    let none = EventFilter::default();
    let (since, until) = (Some(MIDNIGHT - DAY / 2), Some(MIDNIGHT - DAY));
    let (tags, route) = (vec!["tenant=a".to_owned(), "region=b".to_owned()], Some("message".to_owned()));
    let event_type = Some("stage:failed".to_owned());
    let min_duration = Some(HOUR);
    let failed = Some(TraceStatus::Failed);
    let mut filters = vec![
        EventFilter { since, ..none.clone() },
        EventFilter { until, ..none.clone() },
        EventFilter { status: failed, ..none.clone() },
        EventFilter { status: Some(TraceStatus::Success), ..none.clone() },
        EventFilter { status: Some(TraceStatus::Pending), ..none.clone() },
        EventFilter { event_type: event_type.clone(), ..none.clone() },
        EventFilter { tags: tags.clone(), ..none.clone() },
        EventFilter { tags: vec!["tenant=%".to_owned()], ..none.clone() },
        EventFilter { route: route.clone(), ..none.clone() },
        EventFilter { min_duration, ..none.clone() },
        EventFilter { min_duration: Some(3 * DAY), ..none.clone() },
        EventFilter { since: Some(all[3].last), until: Some(all[3].first + 1), ..none.clone() },
        EventFilter { since: Some(all[3].last + 1), until: Some(all[3].first), ..none },
        EventFilter { since, until: Some(NOW), status: failed, event_type, tags, route, min_duration },
    ];
    for _ in 0..40 {
        filters.push(EventFilter {
            since: dice.one_of(&[None, None, since]),
            until: dice.one_of(&[None, None, until, Some(MIDNIGHT)]),
            status: dice.one_of(&[None, failed, Some(TraceStatus::Pending)]),
            event_type: dice.one_of(&[None, Some("workflow:failed".to_owned()), Some("own.kind_a".to_owned())]),
            tags: dice.one_of(&[vec![], vec![], vec!["tenant=b".to_owned()]]),
            route: dice.one_of(&[None, None, Some("order".to_owned())]),
            min_duration: dice.one_of(&[None, None, Some(0), Some(2 * HOUR)]),
        });
    }
    for filter in filters {
        let expected: Vec<&TraceSummary> = all.iter().filter(|trace| fits(&filter, trace)).collect();
        for limit in [1 + dice.below(9) as usize, 1_000] {
            let found = recent_traces(&*store, &filter, limit)?;
            must_equal!(found.iter().collect::<Vec<_>>(), expected, "{filter:?} in pages of {limit}");
        }
    }
    Ok(())
}

/// What the specification of the filter says, apart from the code that stores share.
fn fits(filter: &EventFilter, trace: &TraceSummary) -> bool {
    if filter.since.is_some_and(|since| trace.last < since) || filter.until.is_some_and(|until| trace.first >= until) {
        return false;
    }
    let status = filter.status.is_none() || filter.status == Some(trace.status);
    let kind = filter.event_type.iter().all(|kind| trace.types.contains(kind));
    let route = filter.route.is_none() || filter.route == trace.route;
    let tags = filter.tags.iter().all(|tag| trace.tags.contains(tag));
    let duration = trace.last - trace.first;
    status && kind && route && tags && filter.min_duration.is_none_or(|least| duration >= least)
}

fn recent_order(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut dice = Dice::new(trial.seed ^ 6);
    let mut events = Vec::new();
    for number in 1..=90 {
        let at = NOW - dice.below(4) as i64 * DAY + dice.below(3) as i64;
        events.push(event(number, number, "stage:completed", at)?);
        if number % 4 == 0 {
            events.push(event(number, 1_000 + number, "stage:completed", at - DAY)?);
        }
    }
    put_new(&*store, &events)?;
    for limit in [1, 2, 7, 89, 90, 91, 1_000] {
        let found = recent_traces(&*store, &EventFilter::default(), limit)?;
        must_equal!(found, summaries(&events), "all traces in pages of {limit}");
    }
    Ok(())
}

fn put_between_pages(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut dice = Dice::new(trial.seed ^ 8);
    let mut events = random_events(&mut dice, 300, 60)?;
    put_new(&*store, &events)?;
    let at_first = summaries(&events);
    let (mut seen, mut cursor): (Vec<TraceSummary>, _) = (Vec::new(), None);
    for page in 0..1_000 {
        let next = wait(store.recent(EventFilter::default(), cursor, 7))?;
        seen.extend(next.items);
        cursor = next.next;
        if cursor.is_none() {
            break;
        }
        // One trace that was there gets something newer, and one is new.
        let again = event(1 + dice.below(60), 10_000 + page, "stage:completed", NOW + HOUR + page as i64)?;
        let fresh = event(500 + page, 20_000 + page, "stage:completed", NOW + HOUR + page as i64)?;
        put_new(&*store, &[again.clone(), fresh.clone()])?;
        events.extend([again, fresh]);
    }
    let mut ids: Vec<_> = seen.iter().map(|trace| trace.trace_id).collect();
    ids.sort_unstable();
    ids.dedup();
    must_equal!(ids.len(), seen.len(), "how many different traces were seen");
    // What nothing was added to is seen, and as it was.
    let now = summaries(&events);
    for trace in at_first.iter().filter(|trace| now.contains(trace)) {
        must!(seen.contains(trace), "a trace that did not change is missing: {trace:?}");
    }
    Ok(())
}

fn children(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let parent = trace_id(1)?;
    let mut events = Vec::new();
    for number in 0..MAX_PAGE as u64 {
        let mut event = event(10 + number, number, "workflow:started", NOW - (number as i64 * 7_919 % 3_000) * SECOND)?;
        event.parent_trace_id = Some(parent);
        events.push(event);
    }
    put_new(&*store, &events)?;
    let mut expected = summaries(&events);
    expected.sort_by_key(|trace| (trace.first, trace.trace_id));
    let page = wait(store.children(parent))?;
    must!(page.next.is_none(), "children have no next page");
    must!(page.items == expected, "the children are not what they should be, in order");
    must!(!page.truncated, "1 000 children are said to be truncated");
    let mut oldest = event(9_999, 1, "workflow:started", NOW - DAY)?;
    oldest.parent_trace_id = Some(parent);
    put_new(&*store, &[oldest.clone()])?;
    let page = wait(store.children(parent))?;
    must!(page.truncated && page.items.len() == MAX_PAGE, "1 001 children are not said to be truncated");
    must_equal!(page.items.first().map(|it| it.trace_id), Some(oldest.trace_id), "the oldest child");
    Ok(())
}

fn correlated(trial: &Trial<'_>) -> Outcome {
    let store = trial.store();
    let mut events = Vec::new();
    for number in 0..=MAX_PAGE as u64 {
        let mut event = event(10 + number, number, "workflow:started", NOW - (number as i64 * 7_919 % 3_000) * SECOND)?;
        event.correlation_id = Some("msg_1".to_owned());
        events.push(event);
    }
    put_new(&*store, &events[1..])?;
    let page = wait(store.correlated("msg_1".to_owned()))?;
    must!(page.items == summaries(&events[1..]), "the traces are not what they should be, in order");
    must!(!page.truncated && page.next.is_none(), "1 000 traces are said to be truncated");
    put_new(&*store, &events[..1])?;
    let page = wait(store.correlated("msg_1".to_owned()))?;
    must!(page.truncated && page.items.len() == MAX_PAGE, "1 001 traces are not said to be truncated");
    let newest = summaries(&events).into_iter().next().ok_or_else(|| Broken("there are no traces".to_owned()))?;
    must_equal!(page.items.first(), Some(&newest), "the newest trace");
    Ok(())
}
