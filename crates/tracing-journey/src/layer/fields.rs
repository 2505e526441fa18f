//! What do the fields of a span or event say? Values are taken by field index, without an allocation for a short id.

use std::fmt::Debug;

use journey_core::{
    CorrelationId, Resolution, RouteIndex, Routes, StageError, StageIndex, StageRef, Within, instant_from_number,
    parse_instant,
};
use tracing_core::{Field, field::Visit};

#[cfg(feature = "store")]
use super::undoing::Undoes;
use super::{
    callsites::Callsite,
    text::{Content, TakenId, Text, Value},
};
use crate::sighting::At;

/// The longest stage or route name that is looked up.
const NAME_TEXT: usize = 128;
/// As much of an error as a checkpoint keeps.
const ERROR_TEXT: usize = 256;

/// What a field is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing.
    None,
    /// A correlation id, by its number among the callsite's id fields.
    Id(u8),
    /// `journey.stage`.
    Stage,
    /// `journey.name`.
    RouteName,
    /// `journey.at`.
    At,
    /// `journey.error`.
    JourneyError,
    /// `error`.
    Error,
    /// `error.type`.
    ErrorType,
    /// `otel.status_code`.
    StatusCode,
    /// `otel.status_description`.
    StatusDescription,
    /// `compensates`.
    #[cfg(feature = "store")]
    Compensates,
}

/// Everything that a span's or event's fields said.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Nothing but ids and failures.
    pub(crate) plain: bool,
    /// What the first id field of the callsite said, which nearly always is all that is said about ids.
    pub(crate) id: TakenId,
    pub(crate) named: Named,
    pub(crate) at: At,
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few spans have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The span, once it is open: what an event with an explicit parent says of one that closed meanwhile is no other's.
    pub(crate) span: u64,
    /// Ids of further id fields, and that of the first where it is long.
    pub(crate) ids: Vec<Id>,
    pub(crate) failure: Option<Failure>,
    /// The id that came with the task, where the span has none of its own.
    pub(crate) carried: Option<CorrelationId>,
    /// What it undoes, where it is a compensation.
    #[cfg(feature = "store")]
    pub(crate) undoes: Option<Undoes>,
    /// Calls that ended inside.
    #[expect(clippy::box_collection, reason = "it moves into a checkpoint, which keeps it small, as it is")]
    pub(crate) within: Option<Box<Vec<Within>>>,
}

/// An id and the routes for which it counts.
#[derive(Debug)]
pub(crate) struct Id {
    /// One bit each.
    pub(crate) routes: u64,
    /// `None` for a text that is no correlation id.
    pub(crate) id: Option<CorrelationId>,
}

/// What `journey.stage` and `journey.name` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// `journey.name`: a route, or `Some(None)` for one that is not active.
    pub(crate) route: Option<Option<RouteIndex>>,
    /// `journey.stage`: a stage, or `Some(None)` for one that no route has.
    pub(crate) stage: Option<Option<StageRef>>,
}

/// What was said about a failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    pub(crate) failed: bool,
    kind: Option<String>,
    journey_error: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

/// Takes the values of one span, record or event. User code (`Debug`, `Display`) runs inside, so it is never used while
/// a lock of ours is held.
pub(crate) struct Visitor<'a> {
    callsite: &'a Callsite,
    fields: Fields,
    stage: Option<Name>,
    route: Option<Name>,
}

enum Name {
    Text(Text<NAME_TEXT>),
    Number(i128),
}

impl Role {
    /// What a field of a stage's span or event is, apart from ids.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "journey.stage" => Self::Stage,
            "journey.name" => Self::RouteName,
            "journey.at" => Self::At,
            "journey.error" => Self::JourneyError,
            "error" => Self::Error,
            "error.type" => Self::ErrorType,
            "otel.status_code" => Self::StatusCode,
            "otel.status_description" => Self::StatusDescription,
            #[cfg(feature = "store")]
            "compensates" => Self::Compensates,
            _ => Self::None,
        }
    }
}

impl Fields {
    /// What is said about a route: `None` where nothing is, `Some(None)` where it is no correlation id.
    pub(crate) fn id_for(&self, callsite: &Callsite, route: RouteIndex) -> Option<Option<CorrelationId>> {
        let first = self.id.id().filter(|_| callsite.first_id_counts(route));
        first.or_else(|| id_among(&self.rare.as_ref()?.ids, route))
    }

    /// What is said about a failure, to be kept elsewhere.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.rare.as_mut()?.failure.take()
    }

    /// What is said to be undone, to be kept elsewhere.
    #[cfg(feature = "store")]
    pub(crate) fn take_undoes(&mut self) -> Option<Undoes> {
        self.rare.as_mut()?.undoes.take()
    }
}

/// What ids say about a route: `None` where nothing is said, `Some(None)` where it is no correlation id.
pub(crate) fn id_among(ids: &[Id], route: RouteIndex) -> Option<Option<CorrelationId>> {
    ids.iter().find(|id| id.routes & (1 << route.0) != 0).map(|id| id.id.clone())
}

/// Sets the id of some routes.
pub(crate) fn set_id(ids: &mut Vec<Id>, routes: u64, id: Option<CorrelationId>) {
    match ids.iter_mut().find(|known| known.routes == routes) {
        Some(known) => known.id = id,
        None => ids.push(Id { routes, id }),
    }
}

impl Failure {
    /// The error of the attempt, where it failed.
    pub(crate) fn into_error(self) -> Option<Box<StageError>> {
        let Self { failed, kind, journey_error, error, description } = self;
        let message = journey_error.or(error).or(description).unwrap_or_default();
        // Both were cut to what an error may have when they were taken.
        failed.then(|| Box::new(StageError { kind: kind.unwrap_or_else(|| "error".to_owned()), message }))
    }

    /// Adds what was recorded later; the newer value stands.
    pub(crate) fn merge(&mut self, newer: Self) {
        self.failed = newer.failed || self.failed;
        self.kind = newer.kind.or(self.kind.take());
        self.journey_error = newer.journey_error.or(self.journey_error.take());
        self.error = newer.error.or(self.error.take());
        self.description = newer.description.or(self.description.take());
    }
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(callsite: &'a Callsite) -> Self {
        let (id, named, at) = (TakenId::Nothing, Named { route: None, stage: None }, At::Absent);
        Self { callsite, fields: Fields { plain: true, id, named, at, rare: None }, stage: None, route: None }
    }

    /// What the fields said. `named_before` is what earlier records of the same span said.
    #[inline]
    pub(crate) fn finish(&mut self, routes: &Routes, named_before: Named) -> &mut Fields {
        if !self.fields.plain {
            self.resolve_names(routes, named_before);
        }
        &mut self.fields
    }

    #[cold]
    fn resolve_names(&mut self, routes: &Routes, named_before: Named) {
        if let Some(name) = &self.route {
            self.fields.named.route = Some(name.text().and_then(|name| routes.find(name)));
        }
        if let Some(name) = &self.stage {
            let route = self.fields.named.route.or(named_before.route);
            self.fields.named.stage = Some(name.stage(routes, route));
        }
    }

    #[inline(always)]
    fn take(&mut self, field: &Field, value: Value<'_>) {
        // A span may be recorded with fields of another callsite of the same name and number of fields; `tracing` has
        // filtered those out before, so that the index alone tells.
        match self.callsite.roles.get(field.index()) {
            None | Some(Role::None) => {}
            Some(Role::Id(number)) => self.take_id(*number, &value),
            Some(role) => self.take_other(*role, value),
        }
    }

    /// The same for values that ids seldom are.
    #[inline(never)]
    fn take_other_kind(&mut self, field: &Field, value: Value<'_>) {
        self.take(field, value);
    }

    #[inline(always)]
    fn take_id(&mut self, number: u8, value: &Value<'_>) {
        if number > 0 {
            self.take_further_id(number, value);
        } else if let Some(long) = self.fields.id.take(value) {
            self.add_id(0, Some(*long));
        }
    }

    #[cold]
    fn take_further_id(&mut self, number: u8, value: &Value<'_>) {
        let mut taken = TakenId::Nothing;
        let long = taken.take(value).map(|id| Some(*id));
        if let Some(id) = long.or_else(|| taken.id()) {
            self.add_id(number, id);
        }
    }

    #[cold]
    fn add_id(&mut self, number: u8, id: Option<CorrelationId>) {
        let ids = &mut self.fields.rare.get_or_insert_default().ids;
        set_id(ids, self.callsite.id_routes[usize::from(number)], id);
    }

    #[inline(never)]
    fn take_other(&mut self, role: Role, value: Value<'_>) {
        match role {
            Role::None | Role::Id(_) => {}
            Role::Stage => (self.stage, self.fields.plain) = (Some(Name::of(&value)), false),
            Role::RouteName => (self.route, self.fields.plain) = (Some(Name::of(&value)), false),
            Role::At => (self.fields.at, self.fields.plain) = (instant_of(&value), false),
            Role::JourneyError | Role::Error => {
                let flag = if let Value::Flag(flag) = value { Some(flag) } else { None };
                let text = Text::<ERROR_TEXT>::of(&value);
                // `error = false`, `error = ""` and `error = ?None` say that there is none.
                let said = flag.unwrap_or_else(|| !text.is_nothing());
                if said {
                    let text = if flag.is_some() { String::new() } else { text.bare().to_owned() };
                    let failure = self.failure();
                    failure.failed = true;
                    *(if role == Role::Error { &mut failure.error } else { &mut failure.journey_error }) = Some(text);
                }
            }
            Role::ErrorType => {
                let text = Text::<ERROR_TEXT>::of(&value);
                if !text.is_nothing() {
                    self.failure().kind = Some(text.bare().to_owned());
                }
            }
            Role::StatusCode => {
                if Text::<16>::of(&value).bare().eq_ignore_ascii_case("error") {
                    self.failure().failed = true;
                }
            }
            Role::StatusDescription => {
                let text = Text::<ERROR_TEXT>::of(&value);
                if !text.is_nothing() {
                    self.failure().description = Some(text.bare().to_owned());
                }
            }
            #[cfg(feature = "store")]
            Role::Compensates => {
                let text = Text::<NAME_TEXT>::of(&value);
                if !text.is_nothing() {
                    self.fields.rare.get_or_insert_default().undoes = Some(Undoes::new(text.bare()));
                }
            }
        }
    }

    fn failure(&mut self) -> &mut Failure {
        self.fields.rare.get_or_insert_default().failure.get_or_insert_default()
    }
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, Value::Debug(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, Value::Text(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take_other_kind(field, Value::Integer(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take_other_kind(field, Value::Integer(value.into()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.take_other_kind(field, Value::Integer(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match i128::try_from(value) {
            Ok(value) => self.take_other_kind(field, Value::Integer(value)),
            Err(_) => self.take_other_kind(field, Value::Debug(&value)),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take_other_kind(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take_other_kind(field, Value::Flag(value));
    }
}

impl Name {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Integer(number) => Self::Number(*number),
            value => Self::Text(Text::of(value)),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => match text.content() {
                Content::Text(text) => Some(text),
                Content::Nothing | Content::Cut => None,
            },
            Self::Number(_) => None,
        }
    }

    /// The stage of the route that was named; of the one route that has it where none was.
    fn stage(&self, routes: &Routes, route: Option<Option<RouteIndex>>) -> Option<StageRef> {
        let route = match route {
            Some(named) => Some(named?),
            // With one route there is nothing to tell apart, also where it learns its stages.
            None => (routes.len() == 1).then_some(RouteIndex(0)),
        };
        match self {
            Self::Number(number) => {
                let mut declared = routes.iter().filter(|(_, route)| !route.is_open());
                let route = route.or_else(|| Some(declared.next()?.0).filter(|_| declared.next().is_none()))?;
                let stage = StageIndex(u16::try_from(*number).ok()?);
                routes.get(route).stage(stage).map(|_| StageRef { route, stage })
            }
            Self::Text(_) => match (self.text()?, route) {
                (name, Some(route)) => routes.stage(route, name),
                (name, None) => match routes.stages_named(name) {
                    [stage] => Some(*stage),
                    _ => None,
                },
            },
        }
    }
}

/// What the value of `journey.at` says.
fn instant_of(value: &Value<'_>) -> At {
    let text = match value {
        Value::Integer(number) => {
            return i64::try_from(*number).map_or(At::Unreadable, instant_of_number);
        }
        value => Text::<64>::of(value),
    };
    match text.content() {
        Content::Nothing => At::Absent,
        Content::Cut => At::Unreadable,
        Content::Text(text) => match (text.parse::<i64>(), parse_instant(text)) {
            (Ok(number), _) => instant_of_number(number),
            (_, Ok(at)) => At::Given(at, resolution_of(text)),
            (_, Err(_)) => At::Unreadable,
        },
    }
}

fn instant_of_number(number: i64) -> At {
    // The unit is told by the size, as `instant_from_number` does.
    let resolution = match number {
        ..100_000_000_000 => Resolution::Second,
        100_000_000_000..100_000_000_000_000 => Resolution::Millisecond,
        _ => Resolution::Fine,
    };
    instant_from_number(number).map_or(At::Unreadable, |at| At::Given(at, resolution))
}

/// How fine a written instant is, by its digits after the point.
fn resolution_of(text: &str) -> Resolution {
    let digits = text.split_once('.').map_or(0, |(_, rest)| rest.chars().take_while(char::is_ascii_digit).count());
    match digits {
        0 => Resolution::Second,
        1..=3 => Resolution::Millisecond,
        _ => Resolution::Fine,
    }
}
