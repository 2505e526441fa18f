//! Questions over one trace: what is the shape of it, what failed, what was undone, what was decided?
//!
//! | module | question it answers |
//! |---|---|
//! | `order` | which events count, and in which order? |
//! | `node` | which events are about the same piece of work? |
//! | `forest` | who is whose parent? |
//! | `failure` | which failure decided, and which were overcome? |
//! | `compensation` | what was undone, what could not be, what nobody undid? |
//! | `decision` | what was decided, and what followed? |
//! | `tree` | what does the tree look like, line by line? |
//! | `view` | what do readers see (the JSON types)? |
//! | `text` | how is text from outside shown safely, and time said in words? |

mod compensation;
mod decision;
mod failure;
mod forest;
mod node;
mod order;
pub(crate) mod text;
mod tree;
mod view;

use std::{borrow::Cow, collections::BTreeMap};

pub use self::{
    compensation::{Compensation, Compensations},
    decision::Decision,
    node::{ErrorView, Node, NodeKind},
    tree::{Mark, TraceTree, TreeNode},
    view::{CompensationView, CompensationsView, DecisionView, FailureView, StepRef, StepView, TraceView},
};
use self::{failure::Failures, forest::Forest};
pub(crate) use self::{
    node::{error_of, is_compensation, is_decision, is_workflow, name_of, status_of},
    view::instant,
};
use crate::{
    event::{Event, EventStatus, SpanId, TraceId},
    store::TraceStatus,
};

/// One trace, ready to be asked.
///
/// The answers depend on what the events are, never on the order in which they came or how often each did. Building it
/// takes time and memory in proportion to the events, whatever their shape; nothing recurses.
///
/// ```
/// use journey_store::{Event, SpanId, TraceId, TraceQuery};
/// let (trace, span) = (TraceId::new(1).expect("not 0"), SpanId::new(2).expect("not 0"));
/// let query = TraceQuery::new(vec![Event::new(trace, span, "stage:started", 1_000_000)]);
/// assert_eq!(query.pending().count(), 1);
/// assert!(query.failure().is_none());
/// ```
#[derive(Debug)]
pub struct TraceQuery<'e> {
    events: Cow<'e, [Event]>,
    /// Places in `events`, in order and each once.
    order: Vec<u32>,
    nodes: Vec<Node>,
    forest: Forest,
    failures: Failures,
    status: TraceStatus,
    foreign: usize,
}

/// One moment of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'q> {
    /// Since the start of the trace, nanoseconds.
    pub offset: i64,
    /// What happened.
    pub event: &'q Event,
}

impl TraceQuery<'static> {
    /// Over events of its own. Of several traces, that of the earliest event is asked and the others are left out.
    pub fn new(events: Vec<Event>) -> Self {
        Self::build(Cow::Owned(events))
    }
}

impl<'e> TraceQuery<'e> {
    /// Over borrowed events; as [`TraceQuery::new`].
    pub fn of(events: &'e [Event]) -> Self {
        Self::build(Cow::Borrowed(events))
    }

    fn build(events: Cow<'e, [Event]>) -> Self {
        let (order, foreign) = order::put_in_order(&events);
        let in_order: Vec<&Event> = order.iter().map(|place| &events[*place as usize]).collect();
        let newest_end = in_order
            .iter()
            .rev()
            .find(|event| is_workflow(&event.event_type) && status_of(event) != EventStatus::Pending);
        let any_failed = in_order.iter().any(|event| status_of(event) == EventStatus::Failed);
        let status = TraceStatus::of(newest_end.map(|event| status_of(event)), any_failed);
        let mut nodes = node::fold(&in_order);
        let forest = forest::grow(&mut nodes);
        let failures = failure::find(&nodes, &forest, status);
        Self { events, order, nodes, forest, failures, status, foreign }
    }

    /// The events in the order of `(timestamp, emitter, seq)`, each once.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.order.iter().map(|place| &self.events[*place as usize])
    }

    /// How many events of other traces were among those given; they are left out of every answer.
    pub fn foreign_events(&self) -> usize {
        self.foreign
    }

    /// The trace; `None` without any event.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.events().next().map(|event| event.trace_id)
    }

    /// The message it is about (of several, the least).
    pub fn correlation_id(&self) -> Option<&str> {
        self.events().filter_map(|event| event.correlation_id.as_deref()).min()
    }

    /// Its route (of several, the least).
    pub fn route(&self) -> Option<&str> {
        self.events().filter_map(|event| event.route.as_deref()).min()
    }

    /// The trace that started it (of several, the least).
    pub fn parent_trace_id(&self) -> Option<TraceId> {
        self.events().filter_map(|event| event.parent_trace_id).min()
    }

    /// All tags of all events; of several values of one tag, the least.
    pub fn tags(&self) -> BTreeMap<&str, &str> {
        let mut tags: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in self.events().flat_map(|event| &event.tags) {
            tags.entry(key).and_modify(|least| *least = (*least).min(value)).or_insert(value);
        }
        tags
    }

    /// How it stands, as a store's summary of it says.
    pub fn status(&self) -> TraceStatus {
        self.status
    }

    /// When its earliest work began, unix nanoseconds.
    pub fn started_at(&self) -> Option<i64> {
        self.nodes.first().map(|node| node.start)
    }

    /// When its last event happened, unix nanoseconds.
    pub fn last_event_at(&self) -> Option<i64> {
        self.events().next_back().map(|event| event.timestamp)
    }

    /// How long it took, nanoseconds: as its workflow measured, else from its start to its last event.
    pub fn duration(&self) -> Option<i64> {
        let whole = || self.last_event_at()?.checked_sub(self.started_at()?);
        let root = self.root().filter(|root| root.kind == NodeKind::Workflow && root.end.is_some());
        root.and_then(|root| root.duration).or_else(whole)
    }

    /// Every piece of work, in the order of their starts.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that stands for a span: where several share it, the workflow, else the earliest work.
    pub fn node(&self, span: SpanId) -> Option<&Node> {
        self.forest.by_span.get(&span).map(|index| &self.nodes[*index as usize])
    }

    /// The events of a node, in order.
    pub fn events_of(&self, node: &Node) -> impl DoubleEndedIterator<Item = &Event> {
        let places = self.nodes.get(node.index).map_or(&[][..], |node| &node.events);
        places.iter().map(|place| &self.events[self.order[*place as usize] as usize])
    }

    /// Nodes without a known parent, in the order of time.
    pub fn roots(&self) -> impl DoubleEndedIterator<Item = &Node> + ExactSizeIterator {
        self.forest.roots.iter().map(|index| &self.nodes[*index as usize])
    }

    /// The root that is the whole: of several the workflow, then one that names no parent, then the earliest.
    pub fn root(&self) -> Option<&Node> {
        self.roots().min_by_key(|root| (root.kind != NodeKind::Workflow, root.parent_missing, root.index))
    }

    /// The node around this one.
    pub fn parent(&self, node: &Node) -> Option<&Node> {
        self.nodes.get(node.parent?)
    }

    /// The nodes right inside this one, in the order of time.
    pub fn children(&self, node: &Node) -> impl DoubleEndedIterator<Item = &Node> + ExactSizeIterator {
        let children = self.forest.children.get(node.index).map_or(&[][..], Vec::as_slice);
        children.iter().map(|index| &self.nodes[*index as usize])
    }

    /// The way from the root to this node, both included.
    pub fn path(&self, node: &Node) -> Vec<&Node> {
        let mut path: Vec<&Node> =
            std::iter::successors(self.nodes.get(node.index), |node| self.parent(node)).collect();
        path.reverse();
        path
    }

    /// The failure that decided; `None` where the trace succeeded or nothing that failed has decided it yet.
    pub fn failure(&self) -> Option<&Node> {
        self.failures.decisive.map(|index| &self.nodes[index as usize])
    }

    /// The way from the root to the failure that decided.
    pub fn failure_path(&self) -> Vec<&Node> {
        self.failure().map(|failure| self.path(failure)).unwrap_or_default()
    }

    /// Everything that failed, in the order of time, compensations included.
    pub fn failures(&self) -> impl Iterator<Item = &Node> {
        self.with_status(EventStatus::Failed)
    }

    /// Work that succeeded, in the order of time; neither compensations nor the workflow itself.
    pub fn successes(&self) -> impl Iterator<Item = &Node> {
        let forward = |node: &&Node| node.is_work() && !self.failures.in_compensation[node.index];
        self.with_status(EventStatus::Success).filter(forward)
    }

    /// What has begun and not ended, in the order of time, the workflow included.
    pub fn pending(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_pending())
    }

    fn with_status(&self, status: EventStatus) -> impl Iterator<Item = &Node> {
        let does = |node: &&Node| matches!(node.kind, NodeKind::Workflow | NodeKind::Work | NodeKind::Compensation);
        self.nodes.iter().filter(does).filter(move |node| node.status == status)
    }

    /// The later success of a failed step under the same parent, or the later attempt under way.
    pub fn overcome_by(&self, failed: &Node) -> Option<&Node> {
        let by = self.failures.overcome_by.get(&u32::try_from(failed.index).ok()?)?;
        Some(&self.nodes[*by as usize])
    }

    /// Whether it is a compensation or inside one.
    pub fn is_compensating(&self, node: &Node) -> bool {
        self.failures.in_compensation.get(node.index).is_some_and(|inside| *inside)
    }

    /// Events of a type; one that ends in `:` means all that begin so, such as `saga:`.
    pub fn by_type(&self, event_type: &str) -> impl Iterator<Item = &Event> {
        let fits = move |event: &&Event| {
            let is_prefix = event_type.ends_with(':') && event.event_type.starts_with(event_type);
            is_prefix || event.event_type == event_type
        };
        self.events().filter(fits)
    }

    /// Events with a tag of this value.
    pub fn by_tag(&self, key: &str, value: &str) -> impl Iterator<Item = &Event> {
        self.events().filter(move |event| event.tags.get(key).is_some_and(|tag| tag == value))
    }

    /// What was undone, what could not be, and what nobody undid.
    pub fn compensations(&self) -> Compensations<'_> {
        compensation::find(self)
    }

    /// What was decided, with what followed, in the order of time.
    pub fn decisions(&self) -> Vec<Decision<'_>> {
        decision::find(self)
    }

    /// Every event with its time since the start of the trace.
    pub fn timeline(&self) -> impl Iterator<Item = Moment<'_>> {
        let start = self.started_at().unwrap_or(0);
        self.events().map(move |event| Moment { offset: event.timestamp.saturating_sub(start), event })
    }

    /// The tree, as people look at it.
    pub fn tree(&self) -> TraceTree {
        tree::tree(self)
    }
}
