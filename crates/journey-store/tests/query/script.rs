//! Traces told line by line. Instants are milliseconds.

use journey_store::{Event, EventStatus, Node, SpanId, TraceId, TraceQuery};
use serde_json::{Value, json};

pub(crate) const BEGIN: i64 = 1_795_168_800_000_000_000;
pub(crate) const MILLI: i64 = 1_000_000;
/// The span of the workflow.
pub(crate) const WORKFLOW: u64 = 1;

/// A trace in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) events: Vec<Event>,
}

pub(crate) fn trace() -> Script {
    Script::default()
}

/// A trace whose workflow began at 0.
pub(crate) fn workflow() -> Script {
    trace().say(0, WORKFLOW, 0, "workflow:started", EventStatus::Pending, json!({}))
}

pub(crate) fn span(span: u64) -> SpanId {
    SpanId::new(span).unwrap()
}

impl Script {
    /// Any event; parent 0 is none.
    pub(crate) fn say(
        mut self,
        at: i64,
        span: u64,
        parent: u64,
        event_type: &str,
        status: EventStatus,
        data: Value,
    ) -> Self {
        let mut event =
            Event::new(TraceId::new(9).unwrap(), SpanId::new(span).unwrap(), event_type, BEGIN + at * MILLI);
        event.parent_span_id = SpanId::new(parent);
        event.status = status;
        event.emitter = 1;
        event.seq = self.events.len() as u64 + 1;
        event.route = Some("order".to_owned());
        event.data = data.as_object().cloned().unwrap();
        self.events.push(event);
        self
    }

    pub(crate) fn begins(self, at: i64, span: u64, parent: u64, name: &str) -> Self {
        self.say(at, span, parent, "stage:started", EventStatus::Pending, json!({"name": name}))
    }

    pub(crate) fn succeeds(self, at: i64, span: u64, parent: u64, name: &str) -> Self {
        self.say(at, span, parent, "stage:completed", EventStatus::Success, json!({"name": name}))
    }

    pub(crate) fn fails(self, at: i64, span: u64, parent: u64, name: &str, error: &str) -> Self {
        let data = json!({"name": name, "error": {"type": error, "message": format!("{error} happened")}});
        self.say(at, span, parent, "stage:failed", EventStatus::Failed, data)
    }

    /// Work from one instant to another, that succeeds.
    pub(crate) fn done(self, from: i64, to: i64, span: u64, parent: u64, name: &str) -> Self {
        self.begins(from, span, parent, name).succeeds(to, span, parent, name)
    }

    /// Work from one instant to another, that fails with an error of this type.
    pub(crate) fn broke(self, from: i64, to: i64, span: u64, parent: u64, name: &str, error: &str) -> Self {
        self.begins(from, span, parent, name).fails(to, span, parent, name, error)
    }

    pub(crate) fn undone(self, from: i64, to: i64, span: u64, original: u64, name: &str) -> Self {
        self.undoing(from, span, original, name).say(
            to,
            span,
            WORKFLOW,
            "saga:compensated",
            EventStatus::Success,
            json!({"name": name, "compensates": format!("{original:016x}")}),
        )
    }

    pub(crate) fn not_undone(self, from: i64, to: i64, span: u64, original: u64, name: &str) -> Self {
        let data = json!({"name": name, "compensates": format!("{original:016x}"), "error": "warehouse is down"});
        self.undoing(from, span, original, name).say(
            to,
            span,
            WORKFLOW,
            "saga:compensation_failed",
            EventStatus::Failed,
            data,
        )
    }

    pub(crate) fn undoing(self, at: i64, span: u64, original: u64, name: &str) -> Self {
        let data = json!({"name": name, "compensates": format!("{original:016x}")});
        self.say(at, span, WORKFLOW, "saga:compensating", EventStatus::Pending, data)
    }

    pub(crate) fn decides(self, at: i64, span: u64, parent: u64, decision: &str, chosen: &str) -> Self {
        let data = json!({"decision": decision, "chosen": chosen, "confidence": 0.5});
        self.say(at, span, parent, "ai:decision", EventStatus::Success, data)
    }

    pub(crate) fn ends(self, at: i64) -> Self {
        self.say(at, WORKFLOW, 0, "workflow:completed", EventStatus::Success, json!({}))
    }

    /// The workflow fails with an error of this type.
    pub(crate) fn ends_badly(self, at: i64, error: &str) -> Self {
        let data = json!({"error": {"type": error, "message": format!("{error} happened")}});
        self.say(at, WORKFLOW, 0, "workflow:failed", EventStatus::Failed, data)
    }

    pub(crate) fn query(&self) -> TraceQuery<'_> {
        TraceQuery::of(&self.events)
    }
}

pub(crate) fn labels<'q>(nodes: impl IntoIterator<Item = &'q Node>) -> Vec<&'q str> {
    nodes.into_iter().map(|node| node.label.as_str()).collect()
}

/// The label of the failure that decided; empty where nothing did.
pub(crate) fn decisive(script: &Script) -> String {
    script.query().failure().map(|node| node.label.clone()).unwrap_or_default()
}

/// The tree as lines: depth as dots, label, status, duration, marks.
pub(crate) fn tree(query: &TraceQuery<'_>) -> String {
    let line = |node: &journey_store::TreeNode| {
        let dots = "· ".repeat(node.depth as usize);
        let duration = node.step.duration_ms.map(|ms| format!(" {ms} ms")).unwrap_or_default();
        let marks = if node.marks.is_empty() { String::new() } else { format!(" {:?}", node.marks) };
        format!("{dots}{} {}{duration}{marks}", node.step.label, node.step.status.as_str())
    };
    query.tree().nodes.iter().map(line).collect::<Vec<_>>().join("\n")
}
