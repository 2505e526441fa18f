//! The work of one trace as a tree, as people look at it.

use serde::{Deserialize, Serialize};

use crate::{
    event::EventStatus,
    query::{
        TraceQuery,
        compensation::Compensation,
        decision,
        node::{Node, NodeKind},
        view::{StepRef, StepView},
    },
};

/// The work of a trace as a tree, written as a list: each node comes right before what is inside it.
///
/// A list and not nested objects, because a trace can be deeper than what readers of JSON allow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceTree {
    /// The nodes; those inside one node are in the order of time.
    pub nodes: Vec<TreeNode>,
}

/// One line of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TreeNode {
    /// How far inside: 0 for a root.
    pub depth: u32,
    /// Place of the node around it in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// The work.
    #[serde(flatten)]
    pub step: StepView,
    /// What is worth to be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// The compensations of this work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compensated_by: Vec<StepRef>,
    /// What this compensation undoes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensates: Option<StepRef>,
    /// What this decision chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
}

/// What is worth to be seen at a line of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It failed.
    Failed,
    /// It failed, and that decided.
    Decisive,
    /// It failed, and the same step succeeded or is under way again later.
    Overcome,
    /// It was undone.
    Compensated,
    /// Undoing it failed: it is still in effect.
    StillInEffect,
    /// It was done and nobody undid it, although the trace failed and other work was compensated.
    NeverUndone,
    /// A compensation that failed.
    CompensationFailed,
    /// A decision.
    Decision,
    /// Its parent is named and is not among the events.
    ParentMissing,
    /// Its parents lead in a circle, which was cut here.
    CircleCut,
}

/// The tree, as people look at it.
pub(super) fn tree(query: &TraceQuery<'_>) -> TraceTree {
    let compensations = query.compensations();
    let mut marks: Vec<Vec<Mark>> = query.nodes().iter().map(|node| own_marks(query, node)).collect();
    let mut compensated_by: Vec<Vec<StepRef>> = vec![Vec::new(); query.nodes().len()];
    let mut compensates: Vec<Option<StepRef>> = vec![None; query.nodes().len()];
    for Compensation { node, original, .. } in &compensations.all {
        let Some(original) = original else { continue };
        compensates[node.index] = Some(StepRef::of(original));
        compensated_by[original.index].push(StepRef::of(node));
        if node.status == EventStatus::Success && !marks[original.index].contains(&Mark::Compensated) {
            marks[original.index].push(Mark::Compensated);
        }
    }
    for (nodes, mark) in
        [(&compensations.failed, Mark::StillInEffect), (&compensations.never_undone, Mark::NeverUndone)]
    {
        for node in nodes {
            marks[node.index].push(mark);
        }
    }
    let mut places = vec![0_u32; query.nodes().len()];
    let mut nodes = Vec::with_capacity(query.nodes().len());
    for (place, (index, depth)) in (0_u32..).zip(&query.forest.preorder) {
        let node = &query.nodes()[*index as usize];
        places[node.index] = place;
        let chosen = query.events_of(node).next_back().filter(|_| node.kind == NodeKind::Decision);
        nodes.push(TreeNode {
            depth: *depth,
            parent: node.parent.map(|parent| places[parent]),
            step: StepView::of(query, node),
            marks: std::mem::take(&mut marks[node.index]),
            compensated_by: std::mem::take(&mut compensated_by[node.index]),
            compensates: compensates[node.index].take(),
            chosen: chosen.and_then(decision::chosen),
        });
    }
    TraceTree { nodes }
}

fn own_marks(query: &TraceQuery<'_>, node: &Node) -> Vec<Mark> {
    let failed = node.status == EventStatus::Failed && node.kind != NodeKind::Note;
    let is_decisive = query.failure().is_some_and(|failure| failure.index == node.index);
    let marks = [
        (failed, Mark::Failed),
        (is_decisive, Mark::Decisive),
        (query.overcome_by(node).is_some(), Mark::Overcome),
        (failed && node.kind == NodeKind::Compensation, Mark::CompensationFailed),
        (node.kind == NodeKind::Decision, Mark::Decision),
        (node.parent_missing, Mark::ParentMissing),
        (node.circle_cut, Mark::CircleCut),
    ];
    marks.into_iter().filter(|(holds, _)| *holds).map(|(_, mark)| mark).collect()
}
