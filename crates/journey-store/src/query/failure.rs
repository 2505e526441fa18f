//! Which failure decided, and which were overcome?
//!
//! A trace often holds several failures: attempts before the one that worked, steps that may fail, the failed step, and
//! everything around it that failed with it. The one that decided is told in this order:
//!
//! 1. only the innermost failures count, outside of compensations, not overcome by a later success of the same step
//!    under the same parent, and not inside work that succeeded all the same;
//! 2. of these, the one whose error the workflow's own end repeats;
//! 3. else the first after which no new work was begun beside it or beside what is around it (a step that may fail is
//!    followed by the next step; one that decides is followed by compensations and the end);
//! 4. else the last. Without any, the workflow's own failure.

use std::collections::HashMap;

use crate::{
    event::EventStatus,
    query::{
        forest::Forest,
        node::{ErrorView, Node, NodeKind},
    },
    store::TraceStatus,
};

/// What became of the failures of one trace.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The one that decided.
    pub(super) decisive: Option<u32>,
    /// By node: the later success, or the later attempt under way, that overcame its failure.
    pub(super) overcome_by: HashMap<u32, u32>,
    /// By node: whether it is a compensation or inside one.
    pub(super) in_compensation: Vec<bool>,
}

/// Looks for them.
pub(super) fn find(nodes: &[Node], forest: &Forest, status: TraceStatus) -> Failures {
    let mut in_compensation = vec![false; nodes.len()];
    for (index, _) in &forest.preorder {
        let node = &nodes[*index as usize];
        let inside = node.parent.is_some_and(|parent| in_compensation[parent]);
        in_compensation[node.index] = inside || node.kind == NodeKind::Compensation;
    }
    let overcome_by = overcome(nodes, &in_compensation);
    let candidates = innermost(nodes, forest, &in_compensation, &overcome_by);
    let ended = nodes.iter().filter(|node| node.kind == NodeKind::Workflow && node.end.is_some());
    let newest_end = ended.max_by_key(|node| (node.end, node.index));
    let decisive = match status {
        TraceStatus::Success => None,
        TraceStatus::Pending | TraceStatus::Failed => {
            let decided = decide(nodes, forest, &in_compensation, &candidates, newest_end);
            // Nothing has ended, and work is under way after the failure: it has not decided anything yet.
            let goes_on = newest_end.is_none() && nodes.iter().any(|node| node.is_pending() && node.is_work());
            decided.sure.or(decided.last.filter(|_| !goes_on))
        }
    };
    Failures { decisive, overcome_by, in_compensation }
}

/// Failures with a later success, or a later attempt under way, of the same step under the same parent.
fn overcome(nodes: &[Node], in_compensation: &[bool]) -> HashMap<u32, u32> {
    let mut steps: HashMap<(Option<usize>, &str), Vec<u32>> = HashMap::new();
    for (index, node) in (0_u32..).zip(nodes).filter(|(_, node)| node.is_work() && !in_compensation[node.index]) {
        steps.entry((node.parent, &node.label)).or_default().push(index);
    }
    let mut overcome_by = HashMap::new();
    for tries in steps.values().filter(|tries| tries.len() > 1) {
        let of = |status| tries.iter().copied().filter(move |index| nodes[*index as usize].status == status);
        let (successes, pending): (Vec<u32>, Vec<u32>) =
            (of(EventStatus::Success).collect(), of(EventStatus::Pending).collect());
        for failed in of(EventStatus::Failed) {
            let ended = nodes[failed as usize].last();
            // Both are in the order of their starts. One that ran beside it is no second attempt.
            let after =
                |tries: &[u32]| tries.get(tries.partition_point(|index| nodes[*index as usize].start < ended)).copied();
            if let Some(by) = after(&successes).or_else(|| after(&pending)).filter(|by| *by > failed) {
                overcome_by.insert(failed, by);
            }
        }
    }
    overcome_by
}

/// Failures that no failure inside them explains, in the order of time.
fn innermost(nodes: &[Node], forest: &Forest, in_compensation: &[bool], overcome: &HashMap<u32, u32>) -> Vec<u32> {
    // Inside of what succeeded all the same, or of an attempt that was overcome.
    let mut tolerated = vec![false; nodes.len()];
    for (index, _) in &forest.preorder {
        let node = &nodes[*index as usize];
        let inside = node.parent.is_some_and(|parent| {
            let around = &nodes[parent];
            let succeeded =
                around.status == EventStatus::Success && matches!(around.kind, NodeKind::Work | NodeKind::Workflow);
            tolerated[parent] || succeeded
        });
        tolerated[node.index] = inside || overcome.contains_key(index);
    }
    let mut explained = vec![false; nodes.len()];
    let mut candidates = Vec::new();
    for (index, _) in forest.preorder.iter().rev() {
        let node = &nodes[*index as usize];
        let can_fail = matches!(node.kind, NodeKind::Work | NodeKind::Workflow);
        let failed = can_fail && node.status == EventStatus::Failed;
        let counts = failed && !tolerated[node.index] && !in_compensation[node.index];
        if counts && !explained[node.index] {
            candidates.push(*index);
        }
        if let Some(parent) = node.parent {
            explained[parent] |= counts || explained[node.index];
        }
    }
    candidates.sort_unstable();
    candidates
}

struct Decided {
    /// By the workflow's word, or because nothing came after it.
    sure: Option<u32>,
    /// The last one.
    last: Option<u32>,
}

fn decide(
    nodes: &[Node],
    forest: &Forest,
    in_compensation: &[bool],
    candidates: &[u32],
    newest_end: Option<&Node>,
) -> Decided {
    let at = |index: &u32| &nodes[*index as usize];
    let undoing = nodes.iter().find(|node| node.kind == NodeKind::Compensation).map_or(i64::MAX, |node| node.start);
    // The last new work that was begun under each node, and without a parent, before anything was undone.
    let mut newest_child = vec![None; nodes.len()];
    let mut newest_root = None;
    for node in nodes.iter().filter(|node| node.is_work() && !in_compensation[node.index] && node.start < undoing) {
        // Nodes are in the order of their starts.
        *node.parent.map_or(&mut newest_root, |parent| &mut newest_child[parent]) = Some(node.index);
    }
    // Whether the work went on after it, or after what is around it.
    let mut went_on = vec![false; nodes.len()];
    for (index, _) in &forest.preorder {
        let node = at(index);
        let newest = node.parent.map_or(newest_root, |parent| newest_child[parent]);
        let later = newest.is_some_and(|newest| newest != node.index && nodes[newest].start >= node.last());
        let around = node.parent.is_some_and(|parent| went_on[parent]);
        went_on[node.index] = around || (node.is_work() && later);
    }
    let failed_end = newest_end.filter(|end| end.status == EventStatus::Failed);
    let said = failed_end.and_then(|end| end.error.as_ref());
    // By the message: the type may have been wrapped on the way up.
    let repeats = |index: &&u32| {
        let message = |error: Option<&ErrorView>| error?.message.clone();
        let own = at(index).error.as_ref();
        at(index).is_work()
            && said.is_some()
            && (own == said || message(own).is_some_and(|own| message(said) == Some(own)))
    };
    let stopped = |index: &&u32| !went_on[at(index).index];
    let order = |index: &&u32| (at(index).last(), **index);
    let repeated = || candidates.iter().filter(repeats);
    let sure = repeated().filter(stopped).min_by_key(order);
    let sure = sure.or_else(|| repeated().max_by_key(order));
    let sure = sure.or_else(|| candidates.iter().filter(stopped).min_by_key(order));
    let last = candidates.iter().max_by_key(order);
    // A failed workflow stands for itself where nothing inside it explains the failure.
    let itself = || failed_end.map(|end| end.index as u32);
    Decided { sure: sure.copied(), last: last.copied().or_else(itself) }
}
