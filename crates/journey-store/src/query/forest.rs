//! Who is whose parent? Spans become a forest, whatever the data says: no step here recurses, so that depth costs no
//! stack.

use std::collections::HashMap;

use crate::{
    event::SpanId,
    query::node::{Node, NodeKind},
};

/// How the nodes hang together.
#[derive(Debug, Default)]
pub(super) struct Forest {
    /// Nodes without a parent, in the order of time.
    pub(super) roots: Vec<u32>,
    /// Children of each node, in the order of time.
    pub(super) children: Vec<Vec<u32>>,
    /// Every node with its depth, each before its children, in the order of time among children of one node.
    pub(super) preorder: Vec<(u32, u32)>,
    /// The node that stands for a span.
    pub(super) by_span: HashMap<SpanId, u32>,
}

/// Gives every node its parent and answers the whole.
pub(super) fn grow(nodes: &mut [Node]) -> Forest {
    let by_span = mains(nodes);
    link(nodes, &by_span);
    cut_circles(nodes);
    let mut forest = Forest { by_span, children: vec![Vec::new(); nodes.len()], ..Forest::default() };
    for (index, node) in (0_u32..).zip(nodes.iter()) {
        match node.parent {
            Some(parent) => forest.children[parent].push(index),
            None => forest.roots.push(index),
        }
    }
    let mut open: Vec<(u32, u32)> = forest.roots.iter().rev().map(|root| (*root, 0)).collect();
    while let Some((index, depth)) = open.pop() {
        forest.preorder.push((index, depth));
        open.extend(forest.children[index as usize].iter().rev().map(|child| (*child, depth + 1)));
    }
    forest
}

/// Of several nodes in one span, the one that children of the span hang from.
fn mains(nodes: &[Node]) -> HashMap<SpanId, u32> {
    let rank = |node: &Node| match node.kind {
        NodeKind::Workflow => 0,
        NodeKind::Work | NodeKind::Compensation => 1,
        NodeKind::Decision => 2,
        NodeKind::Note => 3,
    };
    let mut mains: HashMap<SpanId, u32> = HashMap::with_capacity(nodes.len());
    for (index, node) in (0_u32..).zip(nodes) {
        let main = mains.entry(node.span_id).or_insert(index);
        if rank(node) < rank(&nodes[*main as usize]) {
            *main = index;
        }
    }
    mains
}

fn link(nodes: &mut [Node], by_span: &HashMap<SpanId, u32>) {
    for index in 0..nodes.len() {
        let main = by_span.get(&nodes[index].span_id).map_or(index, |main| *main as usize);
        if main != index && nodes[main].area != nodes[index].area {
            nodes[index].parent = Some(main);
            continue;
        }
        // Work of one area in one span, such as two stages told inside a span that is none itself: side by side.
        let Some(parent_span) = nodes[main].parent_span else { continue };
        nodes[index].parent = by_span.get(&parent_span).map(|parent| *parent as usize);
        nodes[index].parent_missing = nodes[index].parent.is_none();
    }
}

/// Cuts every circle of parents at its earliest node.
fn cut_circles(nodes: &mut [Node]) {
    const UNSEEN: usize = usize::MAX;
    let mut seen_by = vec![UNSEEN; nodes.len()];
    for walk in 0..nodes.len() {
        let mut at = walk;
        while seen_by[at] == UNSEEN {
            seen_by[at] = walk;
            match nodes[at].parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
        if seen_by[at] != walk || nodes[at].parent.is_none() {
            continue;
        }
        // The walk met itself: `at` is in a circle, and going on leads back to it.
        let mut earliest = at;
        let mut next = nodes[at].parent;
        while let Some(index) = next.filter(|index| *index != at) {
            earliest = earliest.min(index);
            next = nodes[index].parent;
        }
        nodes[earliest].parent = None;
        nodes[earliest].circle_cut = true;
    }
}
