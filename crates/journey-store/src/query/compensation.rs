//! What was undone, what could not be undone, and what nobody undid?

use std::collections::HashMap;

use crate::{
    event::{EventStatus, SpanId},
    query::{
        TraceQuery,
        node::{Node, NodeKind},
    },
    store::TraceStatus,
};

/// One piece of work that undoes another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compensation<'q> {
    /// The compensation itself, with status, duration and error.
    pub node: &'q Node,
    /// What it undoes: the span that `data.compensates` names, or the last work of that name or stage which had begun before,
    /// rather one that did not fail. `None` where it names nothing, or nothing that is known.
    pub original: Option<&'q Node>,
    /// A later compensation of the same work succeeded.
    pub made_good: bool,
}

/// All that was undone or should have been.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compensations<'q> {
    /// Every compensation, in the order of time.
    pub all: Vec<Compensation<'q>>,
    /// Work whose compensations all failed: it is still in effect.
    pub failed: Vec<&'q Node>,
    /// Work that succeeded and that no compensation names, although the trace failed and other work was compensated.
    ///
    /// Work inside other work counts with that, and work that says `data.compensable = false` does not count, nor does
    /// what began after the first compensation.
    pub never_undone: Vec<&'q Node>,
}

/// How far the undoing of one piece of work came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Undone {
    No,
    Failed,
    UnderWay,
    Yes,
}

/// Looks at all compensations of a trace.
pub(super) fn find<'q>(query: &'q TraceQuery<'_>) -> Compensations<'q> {
    let nodes = query.nodes();
    let mut undone = vec![Undone::No; nodes.len()];
    let mut all = Vec::new();
    let mut by_name = None;
    for node in nodes.iter().filter(|node| node.kind == NodeKind::Compensation) {
        let names = node.compensates.as_deref();
        let original = names.and_then(|names| match names.parse::<SpanId>() {
            Ok(span) => query.node(span).filter(|original| original.index != node.index),
            Err(_) => by_name.get_or_insert_with(|| Named::of(nodes)).last_before(names, node),
        });
        if let Some(original) = original {
            let this = match node.status {
                EventStatus::Success => Undone::Yes,
                EventStatus::Pending => Undone::UnderWay,
                EventStatus::Failed => Undone::Failed,
            };
            undone[original.index] = undone[original.index].max(this);
        }
        all.push(Compensation { node, original, made_good: false });
    }
    for one in &mut all {
        let original_undone = one.original.is_some_and(|original| undone[original.index] == Undone::Yes);
        one.made_good = original_undone && one.node.status == EventStatus::Failed;
    }
    let failed = nodes.iter().filter(|node| undone[node.index] == Undone::Failed).collect();
    let never_undone = match all.first() {
        Some(first) if query.status() == TraceStatus::Failed => never_undone(query, &undone, first.node.start),
        _ => Vec::new(),
    };
    Compensations { all, failed, never_undone }
}

/// Work by what it is called, in the order of time; apart from that, work that failed.
struct Named<'q>(HashMap<&'q str, [Vec<&'q Node>; 2]>);

impl<'q> Named<'q> {
    fn of(nodes: &'q [Node]) -> Self {
        let mut named: HashMap<&str, [Vec<&Node>; 2]> = HashMap::new();
        for node in nodes.iter().filter(|node| node.is_work()) {
            let has_failed = usize::from(node.status == EventStatus::Failed);
            named.entry(&node.label).or_default()[has_failed].push(node);
            if let Some(stage) = node.stage.as_deref().filter(|stage| *stage != node.label) {
                named.entry(stage).or_default()[has_failed].push(node);
            }
        }
        Self(named)
    }

    fn last_before(&self, name: &str, compensation: &Node) -> Option<&'q Node> {
        self.0.get(name)?.iter().find_map(|called| {
            let before = called.partition_point(|node| node.index < compensation.index);
            called[..before].last().copied()
        })
    }
}

fn never_undone<'q>(query: &'q TraceQuery<'_>, undone: &[Undone], undoing_began: i64) -> Vec<&'q Node> {
    let nodes = query.nodes();
    // Work with compensations inside it is looked into; work inside of what a compensation names is covered by that.
    let mut looked_into = vec![false; nodes.len()];
    for (index, _) in query.forest.preorder.iter().rev() {
        let index = *index as usize;
        if let Some(parent) = nodes[index].parent {
            looked_into[parent] |= looked_into[index] || undone[index] != Undone::No;
        }
    }
    let mut covered = vec![false; nodes.len()];
    let mut found = Vec::new();
    for (index, _) in &query.forest.preorder {
        let node = &nodes[*index as usize];
        let around = node.parent.is_some_and(|parent| covered[parent]);
        let named = undone[node.index] != Undone::No || query.failures.in_compensation[node.index];
        let done = node.is_work() && node.status == EventStatus::Success && node.start < undoing_began;
        let counts = !around && !named && done && !looked_into[node.index];
        covered[node.index] = around || named || counts;
        if counts && node.compensable {
            found.push(node);
        }
    }
    found.sort_by_key(|node| node.index);
    found
}
