//! What do the fields of a span or event say? Values are taken by field index, without an allocation for an id.

use std::fmt::{self, Debug, Write as _};

use journey_core::{
    CorrelationId, Resolution, RouteIndex, Routes, StageError, StageIndex, StageRef, instant_from_number, parse_instant,
};
use tracing_core::{Field, field::Visit};

use super::callsites::Callsite;

/// The longest id and the `Some("…")` that a `Debug` value may put around it.
const ID_TEXT: usize = journey_core::MAX_ID_BYTES + 8;
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
}

/// Everything that a span's or event's fields said so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) ids: Ids,
    pub(crate) named: Named,
    pub(crate) at: At,
    pub(crate) failure: Option<Box<Failure>>,
}

/// The correlation ids that a span has. Nearly always one for all routes; routes with fields of their own may make it more.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    first: Option<Id>,
    more: Vec<Id>,
}

#[derive(Debug)]
struct Id {
    /// The routes for which it counts, one bit each.
    routes: u64,
    /// `None` for a text that is no correlation id.
    id: Option<CorrelationId>,
}

/// What `journey.stage` and `journey.name` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// `journey.name`: a route, or `Some(None)` for one that is not active.
    pub(crate) route: Option<Option<RouteIndex>>,
    /// `journey.stage`: a stage, or `Some(None)` for one that no route has.
    pub(crate) stage: Option<Option<StageRef>>,
}

/// What `journey.at` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum At {
    /// Nothing.
    #[default]
    Absent,
    /// An instant, unix nanoseconds, and how coarse it is.
    Given(i64, Resolution),
    /// Something that is no instant.
    Unreadable,
}

/// What was said about a failure.
#[derive(Debug, Default)]
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

/// A value as `tracing` gives it.
enum Value<'a> {
    Text(&'a str),
    Integer(i128),
    Float(f64),
    Flag(bool),
    Debug(&'a dyn Debug),
}

/// Text on the stack. What does not fit is swallowed, because a `Display` that unwraps its result must not panic here.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
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
            _ => Self::None,
        }
    }
}

impl Fields {
    /// Adds what was recorded later; the newer value stands.
    pub(crate) fn merge(&mut self, newer: Self) {
        self.ids.merge(newer.ids);
        self.named.route = newer.named.route.or(self.named.route);
        self.named.stage = newer.named.stage.or(self.named.stage);
        if newer.at != At::Absent {
            self.at = newer.at;
        }
        match (&mut self.failure, newer.failure) {
            (Some(failure), Some(newer)) => failure.merge(*newer),
            (failure @ None, newer) => *failure = newer,
            (Some(_), None) => {}
        }
    }

    /// The error of the attempt, where it failed.
    pub(crate) fn into_error(self) -> Option<Box<StageError>> {
        let failure = self.failure.filter(|failure| failure.failed)?;
        let Failure { kind, journey_error, error, description, .. } = *failure;
        let message = journey_error.or(error).or(description).unwrap_or_default();
        Some(Box::new(StageError::new(kind.as_deref().unwrap_or("error"), &message)))
    }
}

impl Ids {
    /// The id for a route: `None` where there is none, `Some(None)` where it is no correlation id.
    pub(crate) fn get(&self, route: RouteIndex) -> Option<Option<&CorrelationId>> {
        let counts = |id: &&Id| id.routes & (1_u64 << route.0) != 0;
        let found = self.first.as_ref().filter(counts).or_else(|| self.more.iter().find(counts))?;
        Some(found.id.as_ref())
    }

    /// The id for any route, as [`Ids::get`].
    pub(crate) fn any(&self) -> Option<Option<&CorrelationId>> {
        self.first.as_ref().map(|id| id.id.as_ref())
    }

    /// Sets the id for some routes.
    pub(crate) fn set(&mut self, routes: u64, id: Option<CorrelationId>) {
        match &mut self.first {
            first @ None => *first = Some(Id { routes, id }),
            Some(first) if first.routes == routes => first.id = id,
            Some(_) => match self.more.iter_mut().find(|known| known.routes == routes) {
                Some(known) => known.id = id,
                None => self.more.push(Id { routes, id }),
            },
        }
    }

    fn merge(&mut self, newer: Self) {
        for Id { routes, id } in newer.first.into_iter().chain(newer.more) {
            self.set(routes, id);
        }
    }
}

impl Failure {
    fn merge(&mut self, newer: Self) {
        self.failed = newer.failed || self.failed;
        self.kind = newer.kind.or(self.kind.take());
        self.journey_error = newer.journey_error.or(self.journey_error.take());
        self.error = newer.error.or(self.error.take());
        self.description = newer.description.or(self.description.take());
    }
}

impl<'a> Visitor<'a> {
    pub(crate) fn new(callsite: &'a Callsite) -> Self {
        Self { callsite, fields: Fields::default(), stage: None, route: None }
    }

    /// What the fields said. `named_before` is what earlier records of the same span said.
    pub(crate) fn finish(mut self, routes: &Routes, named_before: Named) -> Fields {
        if let Some(name) = self.route {
            self.fields.named.route = Some(name.text().and_then(|name| routes.find(name)));
        }
        if let Some(name) = self.stage {
            let route = self.fields.named.route.or(named_before.route);
            self.fields.named.stage = Some(name.stage(routes, route));
        }
        self.fields
    }

    #[inline]
    fn take(&mut self, field: &Field, value: Value<'_>) {
        // A span may be recorded with fields of another callsite of the same name and number of fields; `tracing` has
        // filtered those out before, so that the index alone tells.
        match self.callsite.roles.get(field.index()) {
            None | Some(Role::None) => {}
            Some(Role::Id(number)) => self.take_id(*number, value),
            Some(role) => self.take_other(*role, value),
        }
    }

    fn take_id(&mut self, number: u8, value: Value<'_>) {
        let routes = self.callsite.id_routes[usize::from(number)];
        let id = match value {
            // The most frequent form needs no formatting at all.
            Value::Text(text) => CorrelationId::new(text).ok(),
            value => {
                let text = Text::<ID_TEXT>::of(&value);
                match text.content() {
                    Content::Nothing => return,
                    Content::Cut => None,
                    Content::Text(text) => CorrelationId::new(text).ok(),
                }
            }
        };
        self.fields.ids.set(routes, id);
    }

    #[inline(never)]
    fn take_other(&mut self, role: Role, value: Value<'_>) {
        match role {
            Role::None | Role::Id(_) => {}
            Role::Stage => self.stage = Some(Name::of(&value)),
            Role::RouteName => self.route = Some(Name::of(&value)),
            Role::At => self.fields.at = At::of(&value),
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
        }
    }

    fn failure(&mut self) -> &mut Failure {
        self.fields.failure.get_or_insert_default()
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
        self.take(field, Value::Integer(value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, Value::Integer(value.into()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.take(field, Value::Integer(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match i128::try_from(value) {
            Ok(value) => self.take(field, Value::Integer(value)),
            Err(_) => self.take(field, Value::Debug(&value)),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, Value::Flag(value));
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

impl At {
    fn of(value: &Value<'_>) -> Self {
        let text = match value {
            Value::Integer(number) => {
                return i64::try_from(*number).map_or(Self::Unreadable, Self::of_number);
            }
            value => Text::<64>::of(value),
        };
        match text.content() {
            Content::Nothing => Self::Absent,
            Content::Cut => Self::Unreadable,
            Content::Text(text) => match (text.parse::<i64>(), parse_instant(text)) {
                (Ok(number), _) => Self::of_number(number),
                (_, Ok(at)) => Self::Given(at, resolution_of(text)),
                (_, Err(_)) => Self::Unreadable,
            },
        }
    }

    fn of_number(number: i64) -> Self {
        // The unit is told by the size, as `instant_from_number` does.
        let resolution = match number {
            ..100_000_000_000 => Resolution::Second,
            100_000_000_000..100_000_000_000_000 => Resolution::Millisecond,
            _ => Resolution::Fine,
        };
        instant_from_number(number).map_or(Self::Unreadable, |at| Self::Given(at, resolution))
    }
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

/// What a formatted value holds.
enum Content<'a> {
    /// No value: `None`.
    Nothing,
    /// More than fits.
    Cut,
    Text(&'a str),
}

impl<const N: usize> Text<N> {
    pub(crate) const EMPTY: Self = Self { bytes: [0; N], len: 0, cut: false };

    fn of(value: &Value<'_>) -> Self {
        let mut text = Self::EMPTY;
        // A value whose `Debug` reports an error is taken as far as it got.
        let _ = match value {
            Value::Text(value) => text.write_str(value),
            Value::Integer(value) => write!(text, "{value}"),
            Value::Float(value) => write!(text, "{value}"),
            Value::Flag(value) => write!(text, "{value}"),
            Value::Debug(value) => write!(text, "{value:?}"),
        };
        text
    }

    /// As much as fits.
    pub(crate) fn as_str(&self) -> &str {
        // Only whole characters are copied, so the check never fails.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// The text without what `Debug` puts around an optional or quoted text, so that `?id`, `%id` and `id` are one id.
    fn bare(&self) -> &str {
        let text = self.as_str();
        let text = text.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
        match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            // With an escape or a quote inside, the quoted form is not the text: left as it is.
            Some(inner) if !inner.contains(['\\', '"']) => inner,
            _ => text,
        }
    }

    fn is_nothing(&self) -> bool {
        self.len == 0 || self.as_str() == "None"
    }

    fn content(&self) -> Content<'_> {
        match self.as_str() {
            _ if self.cut => Content::Cut,
            "None" => Content::Nothing,
            _ => Content::Text(self.bare()),
        }
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // After a cut nothing more is taken, or pieces from behind it would follow.
        if self.cut {
            return Ok(());
        }
        let room = N - self.len;
        self.cut = text.len() > room;
        let whole = if self.cut { &text[..text.floor_char_boundary(room)] } else { text };
        self.bytes[self.len..self.len + whole.len()].copy_from_slice(whole.as_bytes());
        self.len += whole.len();
        Ok(())
    }
}
