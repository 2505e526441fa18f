//! Events become nodes and a tree, whatever the data says.

use std::time::Instant;

use journey_store::{EventStatus, Mark, NodeKind, TraceQuery, TraceTree};
use serde_json::json;

use crate::script::{BEGIN, MILLI, WORKFLOW, labels, span, trace, tree, workflow};

#[test]
fn start_and_end_of_one_span_are_one_piece_of_work() {
    let script = workflow().done(1, 40, 2, WORKFLOW, "pay").ends(50);
    let query = script.query();
    assert_eq!(tree(&query), "order success 50 ms\n· pay success 39 ms");
    let pay = query.node(span(2)).unwrap();
    assert_eq!((pay.start, pay.end), (BEGIN + MILLI, Some(BEGIN + 40 * MILLI)));
    assert_eq!(query.events_of(pay).count(), 2);
    assert_eq!(query.duration(), Some(50 * MILLI));
}

#[test]
fn without_a_start_the_duration_tells_when_it_began() {
    let mut script = trace().succeeds(40, 2, 0, "pay");
    script.events[0].duration = Some(30 * MILLI);
    assert_eq!(script.query().nodes()[0].start, BEGIN + 10 * MILLI);
    // What took longer than time itself begins at the beginning of time, and nothing breaks.
    script.events[0].timestamp = i64::MIN;
    script.events[0].duration = Some(i64::MAX);
    assert_eq!(script.query().nodes()[0].start, i64::MIN);
    assert!(serde_json::to_string(&script.query().tree()).is_ok());
}

#[test]
fn a_stage_in_the_span_of_the_workflow_hangs_from_it_and_two_stages_of_one_span_stand_side_by_side() {
    let script = workflow()
        .succeeds(1, WORKFLOW, 0, "received")
        .succeeds(2, WORKFLOW, 0, "published")
        .done(3, 4, 5, WORKFLOW, "stored")
        .ends(9);
    let expected = "order success 9 ms\n· received success\n· published success\n· stored success 1 ms";
    assert_eq!(tree(&script.query()), expected);
    let alone = trace().succeeds(1, 7, 0, "received").succeeds(2, 7, 0, "published");
    assert_eq!(tree(&alone.query()), "received success\npublished success");
}

#[test]
fn a_start_without_a_name_belongs_to_the_only_work_of_its_span() {
    let script = trace().say(1, 2, 0, "stage:started", EventStatus::Pending, json!({})).succeeds(5, 2, 0, "pay");
    assert_eq!(tree(&script.query()), "pay success 4 ms");
    let own_words = trace()
        .say(1, 2, 0, "stage:resize:started", EventStatus::Pending, json!({}))
        .say(5, 2, 0, "stage:resize:completed", EventStatus::Success, json!({}))
        .say(3, 2, 0, "cache:miss", EventStatus::Pending, json!({}));
    assert_eq!(tree(&own_words.query()), "resize success 4 ms\n· cache:miss pending");
    assert_eq!(own_words.query().pending().count(), 0, "a note neither begins nor ends");
    assert_eq!(own_words.query().nodes()[1].kind, NodeKind::Note);
}

#[test]
fn an_unset_status_is_told_by_the_type() {
    let script = trace().say(1, 2, 0, "stage:failed", EventStatus::Pending, json!({"name": "pay"}));
    assert_eq!(labels(script.query().failures()), ["pay"]);
}

#[test]
fn work_that_began_again_is_pending_and_a_clock_set_back_does_not_make_it_so() {
    let again = trace().broke(1, 5, 2, 0, "pay", "Timeout").begins(6, 2, 0, "pay");
    assert_eq!(tree(&again.query()), "pay pending");
    assert_eq!(again.query().nodes()[0].attempts, 2);
    let set_back = trace().begins(9, 2, 0, "pay").succeeds(5, 2, 0, "pay");
    assert_eq!(tree(&set_back.query()), "pay success");
}

#[test]
fn missing_parents_self_parents_and_circles_lose_nothing() {
    let script = trace()
        .done(1, 2, 2, 77, "orphan")
        .done(3, 4, 3, 3, "own parent")
        .done(5, 6, 4, 6, "a")
        .done(7, 8, 5, 4, "b")
        .done(9, 10, 6, 5, "c")
        .done(11, 12, 7, 6, "below");
    let expected = "orphan success 1 ms [ParentMissing]\nown parent success 1 ms\na success 1 ms [CircleCut]\n\
                    · b success 1 ms\n· · c success 1 ms\n· · · below success 1 ms";
    assert_eq!(tree(&script.query()), expected);
    let query = script.query();
    assert_eq!(labels(query.path(query.node(span(7)).unwrap())), ["a", "b", "c", "below"]);
    assert_eq!(query.root().unwrap().label, "own parent", "it names no missing parent");
    assert_eq!(labels(query.children(query.node(span(4)).unwrap())), ["b"]);
}

#[test]
fn the_root_is_the_workflow_even_when_something_began_before_it() {
    let script = workflow().done(-5, -1, 2, 0, "queued").ends(9);
    assert_eq!(script.query().root().unwrap().kind, NodeKind::Workflow);
    assert_eq!(labels(script.query().roots()), ["queued", "order"]);
    assert_eq!(script.query().started_at(), Some(BEGIN - 5 * MILLI));
}

#[test]
fn no_events_have_no_answers() {
    let query = TraceQuery::new(Vec::new());
    assert!(query.trace_id().is_none() && query.root().is_none() && query.failure().is_none());
    assert_eq!((query.nodes().len(), query.duration(), query.decisions().len()), (0, None, 0));
    assert!(query.tree().nodes.is_empty() && query.compensations().all.is_empty());
}

#[test]
fn types_tags_and_moments_are_found() {
    let mut script = workflow().done(1, 2, 2, WORKFLOW, "pay").undone(3, 4, 5, 2, "refund").ends(9);
    script.events[1].tags.insert("tenant".to_owned(), "acme".to_owned());
    let query = script.query();
    assert_eq!((query.by_type("saga:").count(), query.by_type("saga:compensated").count()), (2, 1));
    assert_eq!((query.by_tag("tenant", "acme").count(), query.by_tag("tenant", "b").count()), (1, 0));
    let offsets: Vec<i64> = query.timeline().map(|moment| moment.offset / MILLI).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 9]);
}

#[test]
fn a_hundred_thousand_deep_or_wide_costs_no_stack_and_little_time() {
    const DEEPEST: u64 = 100_000;
    const COUNT: u64 = 20_000;
    let deep = (1..=DEEPEST).fold(trace(), |script, at| script.begins(at as i64, at, at - 1, "deeper"));
    let wide = (2..=COUNT).fold(workflow(), |script, at| script.begins(at as i64, at, 1, "wider"));
    // One circle of all of them.
    let mut round = trace();
    round.events = deep.events[..COUNT as usize].to_vec();
    round.events[0].parent_span_id = Some(span(COUNT));
    for (what, script) in [("deep", deep), ("wide", wide), ("round", round)] {
        let begun = Instant::now();
        let count = script.events.len();
        let query = TraceQuery::new(script.events);
        let (tree, why) = (query.tree(), journey_store::why(&query).paragraph());
        assert_eq!(tree.nodes.len(), count, "{what}");
        assert!(why.len() < 2_000, "{what}: {why}");
        let cut = tree.nodes.iter().filter(|node| node.marks.contains(&Mark::CircleCut)).count();
        assert_eq!(cut, usize::from(what == "round"));
        assert_eq!(query.path(query.nodes().last().unwrap()).len(), if what == "wide" { 2 } else { count });
        // Generous: a second or two unoptimized on a busy machine; anything quadratic takes minutes.
        assert!(begun.elapsed().as_secs() < 60, "{what} took {:?}", begun.elapsed());
        if what == "deep" {
            let text = serde_json::to_string(&tree).unwrap();
            assert_eq!(serde_json::from_str::<TraceTree>(&text).unwrap(), tree);
        }
    }
}
