//! One piece of work: the events of one span that belong together, folded into one node.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::{Event, EventStatus, SpanId},
    query::text::{self, NAME, SENTENCE},
};

/// What a node of a trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// The workflow, or one inside another: events `workflow:*`.
    Workflow,
    /// A stage or other work.
    Work,
    /// Work that undoes other work: events `*:compensating`, `*:compensated`, `*:compensation_failed`.
    Compensation,
    /// A decision: an event `*:decision`.
    Decision,
    /// Something that was said and neither began nor ended.
    Note,
}

/// What went wrong, as `data.error` says; cut and escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EventErrorView))]
#[serde(rename_all = "camelCase")]
pub struct ErrorView {
    /// Type of the error.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One piece of work: the start and the ends of it, folded. Everything of it is safe to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its place in [`TraceQuery::nodes`](crate::TraceQuery::nodes).
    pub index: usize,
    /// Its span. Several nodes may share one: a stage that is told inside a span that is also the workflow's.
    pub span_id: SpanId,
    /// What it is.
    pub kind: NodeKind,
    /// What people call it.
    pub label: String,
    /// Id of the stage, where it is one.
    pub stage: Option<String>,
    /// Type of its newest event.
    pub event_type: String,
    /// How it stands: its newest end, unless it began again after that.
    pub status: EventStatus,
    /// When it began, unix nanoseconds. Without a start: its end minus its duration.
    pub start: i64,
    /// When it ended, unix nanoseconds; `None` while it is pending.
    pub end: Option<i64>,
    /// How long it took, nanoseconds, as measured by whoever did it; else from start to end.
    pub duration: Option<i64>,
    /// How often it was tried inside this span, at least 1.
    pub attempts: u32,
    /// The newest error of it, also where a later attempt succeeded.
    pub error: Option<ErrorView>,
    /// `data.compensable` is not `false`: work of this kind is expected to be undone when the workflow fails.
    pub compensable: bool,
    /// `data.compensates` of a compensation, as given.
    pub compensates: Option<String>,
    /// Its parent is named and not among the events.
    pub parent_missing: bool,
    /// Its parents lead in a circle, which was cut here.
    pub circle_cut: bool,
    /// Index of the node around it.
    pub(super) parent: Option<usize>,
    /// The span around it, as its events say.
    pub(super) parent_span: Option<SpanId>,
    /// The area that its events share: two nodes of one span and area stand side by side.
    pub(super) area: String,
    /// Places of its events in the order of the trace.
    pub(super) events: Vec<u32>,
}

/// What makes events of one span belong together.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Family<'a> {
    Workflow,
    Compensation,
    /// Every decision stands for itself; by its place in the order.
    Decision(u32),
    /// Starts and ends of one area: the type without its last word.
    Lifecycle(&'a str),
    /// Any other type.
    Point(&'a str),
}

/// The events of one node.
struct Group<'a> {
    family: Family<'a>,
    name: Option<&'a str>,
    places: Vec<u32>,
}

/// Folds events that are in order into nodes, in the order of their starts.
pub(super) fn fold(events: &[&Event]) -> Vec<Node> {
    let mut by_key: HashMap<(SpanId, Family<'_>, Option<&str>), usize> = HashMap::with_capacity(events.len());
    let mut groups: Vec<Group<'_>> = Vec::with_capacity(events.len() / 2);
    for (place, event) in (0_u32..).zip(events) {
        let (family, name) = belongs(event, place);
        let group = *by_key.entry((event.span_id, family.clone(), name)).or_insert_with(|| {
            groups.push(Group { family, name, places: Vec::with_capacity(2) });
            groups.len() - 1
        });
        groups[group].places.push(place);
    }
    drop(by_key);
    join_unnamed(&mut groups, events);
    let mut nodes: Vec<Node> =
        groups.into_iter().map(|Group { family, places, .. }| node(&family, places, events)).collect();
    // By what was said first where two began together; groups have at least one event each, and share none.
    nodes.sort_unstable_by_key(|node| (node.start, node.events[0]));
    for (index, node) in nodes.iter_mut().enumerate() {
        node.index = index;
    }
    nodes
}

/// A start or end that does not say its name belongs to the only work of its kind in the span.
fn join_unnamed(groups: &mut Vec<Group<'_>>, events: &[&Event]) {
    let span = |group: &Group<'_>| events[group.places[0] as usize].span_id;
    let joins = |group: &Group<'_>| matches!(group.family, Family::Lifecycle(_) | Family::Compensation);
    let mut unnamed: HashMap<(SpanId, Family<'_>), (usize, Vec<usize>)> = HashMap::new();
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| group.name.is_none() && joins(group)) {
        unnamed.insert((span(group), group.family.clone()), (index, Vec::new()));
    }
    if unnamed.is_empty() {
        return;
    }
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| group.name.is_some() && joins(group)) {
        if let Some((_, named)) = unnamed.get_mut(&(span(group), group.family.clone())) {
            named.push(index);
        }
    }
    for (unnamed, named) in unnamed.into_values() {
        if let [named] = named[..] {
            let more = std::mem::take(&mut groups[unnamed].places);
            groups[named].places.extend(more);
            groups[named].places.sort_unstable();
        }
    }
    groups.retain(|group| !group.places.is_empty());
}

/// The type without its last word, and that word: `stage` and `completed`. A type of one word is both.
fn split(event_type: &str) -> (&str, &str) {
    event_type.rsplit_once(':').unwrap_or((event_type, event_type))
}

/// Whether this type tells of a decision.
pub(crate) fn is_decision(event_type: &str) -> bool {
    split(event_type).1 == "decision"
}

/// Whether this type tells of a workflow.
pub(crate) fn is_workflow(event_type: &str) -> bool {
    event_type == "workflow" || event_type.starts_with("workflow:")
}

/// Whether this type tells of a compensation.
pub(crate) fn is_compensation(event_type: &str) -> bool {
    matches!(split(event_type).1, "compensating" | "compensated" | "compensation_failed")
}

/// What an event is about: `data.name`, else `data.stage`.
pub(crate) fn name_of(event: &Event) -> Option<&str> {
    ["name", "stage"].into_iter().find_map(|key| event.data.get(key)?.as_str().filter(|name| !name.is_empty()))
}

/// How an event says the work stands; a type that says more than an unset status is believed.
pub(crate) fn status_of(event: &Event) -> EventStatus {
    match (event.status, split(&event.event_type).1) {
        (EventStatus::Pending, "completed" | "compensated") => EventStatus::Success,
        (EventStatus::Pending, "failed" | "compensation_failed" | "cancelled" | "timed_out") => EventStatus::Failed,
        (status, _) => status,
    }
}

/// `data.error`: an object of `type` and `message`, or a text.
pub(crate) fn error_of(event: &Event) -> Option<ErrorView> {
    let error = event.data.get("error").filter(|error| !error.is_null())?;
    let part = |key, most| error.get(key).filter(|part| !part.is_null()).map(|part| text::plain(part, most));
    let (error_type, message) = match error {
        Value::Object(_) => (part("type", NAME), part("message", SENTENCE)),
        other => (None, Some(text::plain(other, SENTENCE))),
    };
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    Some(ErrorView { error_type: said(error_type), message: said(message) })
}

fn belongs(event: &Event, place: u32) -> (Family<'_>, Option<&str>) {
    let (area, word) = split(&event.event_type);
    match word {
        "decision" => (Family::Decision(place), None),
        _ if is_workflow(&event.event_type) => (Family::Workflow, None),
        "compensating" | "compensated" | "compensation_failed" => {
            (Family::Compensation, event.data.get("compensates").and_then(Value::as_str))
        }
        "started" | "completed" | "failed" | "cancelled" | "timed_out" => (Family::Lifecycle(area), name_of(event)),
        _ => (Family::Point(&event.event_type), name_of(event)),
    }
}

fn node(family: &Family<'_>, places: Vec<u32>, all: &[&Event]) -> Node {
    let events = || places.iter().map(|place| all[*place as usize]);
    let newest = all[places[places.len() - 1] as usize];
    let (area, _) = split(&newest.event_type);
    let text_of = |key: &str| events().find_map(|event| event.data.get(key)).map(|value| text::plain(value, NAME));
    let name = events().find_map(name_of).map(|name| text::clean(name, NAME));
    let route = || events().find_map(|event| event.route.as_deref()).map(|route| text::clean(route, NAME));
    let label = match family {
        Family::Workflow => name.or_else(route).unwrap_or_else(|| "workflow".to_owned()),
        Family::Compensation => name.unwrap_or_else(|| "compensation".to_owned()),
        Family::Decision(_) => text_of("decision").unwrap_or_else(|| text::clean(&newest.event_type, NAME)),
        // `stage:resize:started` names its work in the type.
        Family::Lifecycle(area) => name.unwrap_or_else(|| text::clean(split(area).1, NAME)),
        Family::Point(event_type) => name.unwrap_or_else(|| text::clean(event_type, NAME)),
    };

    let starts = || events().filter(|event| status_of(event) == EventStatus::Pending);
    let ends = || events().filter(|event| status_of(event) != EventStatus::Pending);
    let said_start = starts().next().map(|event| event.timestamp);
    let start = said_start.or_else(|| ends().map(began).min()).unwrap_or(newest.timestamp);
    // It is under way again when a start came after its newest end, and is one more than the ends: a clock that was set
    // back between start and end leaves as many ends as starts.
    let begun_again = status_of(newest) == EventStatus::Pending && starts().count() > ends().count();
    let end = ends().next_back().filter(|_| !begun_again);
    let ended_at = end.map(|end| end.timestamp);
    let tried = ends().count().max(starts().count()).max(1);
    let said_attempts = events().filter_map(|event| event.data.get("attempt")?.as_u64()).max().unwrap_or(1);
    let attempts = u32::try_from((tried as u64).max(said_attempts)).unwrap_or(u32::MAX);
    let from_start = || ended_at?.checked_sub(said_start?).filter(|nanos| *nanos >= 0);
    let measured = end.and_then(|end| end.duration).filter(|nanos| *nanos >= 0);
    // The newest attempt's own measure does not cover those before it.
    let duration = if tried > 1 { from_start().or(measured) } else { measured.or_else(from_start) };

    let open_area = matches!(area.split(':').next(), Some("workflow" | "stage" | "saga"));
    let kind = match family {
        Family::Workflow => NodeKind::Workflow,
        Family::Compensation => NodeKind::Compensation,
        Family::Decision(_) => NodeKind::Decision,
        Family::Point(_) if end.is_none() && !open_area => NodeKind::Note,
        Family::Lifecycle(_) | Family::Point(_) => NodeKind::Work,
    };
    Node {
        index: 0,
        span_id: newest.span_id,
        kind,
        label,
        stage: text_of("stage"),
        event_type: text::clean(&newest.event_type, NAME),
        status: end.map_or(EventStatus::Pending, status_of),
        start,
        end: ended_at,
        duration,
        attempts,
        error: events().rev().find_map(error_of),
        compensable: events().all(|event| event.data.get("compensable") != Some(&Value::Bool(false))),
        compensates: text_of("compensates"),
        parent_missing: false,
        circle_cut: false,
        parent: None,
        parent_span: events().find_map(|event| event.parent_span_id).filter(|parent| *parent != newest.span_id),
        area: text::clean(area, NAME),
        events: places,
    }
}

/// When the work began that this event is the end of.
fn began(event: &Event) -> i64 {
    event.timestamp.saturating_sub(event.duration.unwrap_or(0).max(0))
}

impl Node {
    /// When it ended; while it is pending, when it began.
    pub fn last(&self) -> i64 {
        self.end.unwrap_or(self.start)
    }

    /// Whether it began and has not ended.
    pub fn is_pending(&self) -> bool {
        let can_end = matches!(self.kind, NodeKind::Workflow | NodeKind::Work | NodeKind::Compensation);
        can_end && self.status == EventStatus::Pending
    }

    /// Whether it is work, neither workflow nor compensation nor something said.
    pub(super) fn is_work(&self) -> bool {
        self.kind == NodeKind::Work
    }
}
