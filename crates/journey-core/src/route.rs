//! The declared plan: ordered stages, legs between them, segments over several legs, terminal stages.

mod builder;

use std::{fmt, time::Duration};

pub(crate) use self::builder::{LegDraft, SegmentDraft};
pub use self::builder::{RouteBuilder, StageBuilder};

/// The most stages a declared route may have: one bit each in a mask.
pub(crate) const MAX_STAGES: usize = 64;
/// The most stage names an open route learns before the rest become `other`.
pub(crate) const MAX_OPEN_STAGES: usize = 256;
/// How long a journey may go without a checkpoint.
const DEFAULT_TTL: Duration = Duration::from_secs(300);
/// Fields that hold the correlation id where the route names none.
const DEFAULT_CORRELATION_FIELDS: [&str; 4] =
    ["correlation_id", "correlationId", "journey.id", "messaging.message.conversation_id"];

/// A declared route.
///
/// Built by [`Route::builder`], read from TOML by [`Route::from_toml`], or the built-in [`Route::message`].
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) stages: Vec<Stage>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) terminal: Vec<StageIndex>,
    pub(crate) ttl: Duration,
    pub(crate) slow: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) correlation: Correlation,
    pub(crate) open: bool,
}

/// Place of a stage in its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageIndex(pub u16);

/// A point of the route.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Short id, such as `T4`.
    pub id: String,
    /// Name, such as `db_stored`.
    pub name: String,
    /// Key in `timings` objects, such as `dbStoredAt`.
    pub timings_key: String,
    /// Label, for people.
    pub label: String,
    /// Further span names that mean this stage.
    pub aliases: Vec<String>,
    /// Segments this stage belongs to (two where one ends and the next begins).
    pub segments: Vec<String>,
    /// Which instant of the span counts.
    pub instant: InstantRule,
    /// Whether and how often it has to be there.
    pub presence: Presence,
}

/// Which instant of a stage's span counts, where none is given explicitly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstantRule {
    /// When the span was opened.
    Open,
    /// When the span was exited last.
    #[default]
    End,
    /// Neither: a sighting without an explicit instant is dropped as `no_instant`.
    Explicit,
}

/// Whether and how often a stage has to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Once.
    #[default]
    Required,
    /// At most once.
    Optional,
    /// At most this many times; further sightings are repeats, not retries.
    Repeatable(u32),
}

/// The latency between two stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    /// Name, such as `db_write`.
    pub name: String,
    /// Stage where it starts.
    pub from: StageIndex,
    /// Stage where it ends.
    pub to: StageIndex,
    /// How long it may take.
    pub budget: Option<Duration>,
    /// Kind of the span it becomes on export.
    pub kind: LegKind,
}

/// Kind of the span a leg becomes on export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegKind {
    /// Work inside a service.
    #[default]
    Internal,
    /// Publishing to a broker.
    Producer,
    /// Delivery by a broker.
    Consumer,
    /// A call of something else.
    Client,
}

/// A total over several legs.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Name, such as `inbound`.
    pub name: String,
    /// Label, for people.
    pub label: String,
    /// Stage where it starts.
    pub from: StageIndex,
    /// Stage where it ends.
    pub to: StageIndex,
}

/// Where the correlation id comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Correlation {
    /// The first of these fields that a span has.
    Fields(Vec<String>),
    /// Each root span is a journey of its own, for programs that have no id.
    RootSpan,
}

/// What is wrong with a route: names file, key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    pub(crate) file: Option<String>,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) problem: String,
}

impl Route {
    /// Starts a route of one's own.
    pub fn builder(name: impl Into<String>) -> RouteBuilder {
        RouteBuilder { name: name.into(), ..RouteBuilder::default() }
    }

    /// The built-in route of a chat message, T0 to T11.
    pub fn message() -> Self {
        // The file is part of the crate and a test reads it: it cannot be wrong at run time.
        Self::from_toml("message.toml", include_str!("message.toml")).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// A route that learns its stages as they come: at most 256, then one `other`.
    ///
    /// It has no terminal stage; journeys on it are completed or failed explicitly.
    pub fn open(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            label: label_of(&name),
            name,
            stages: Vec::new(),
            legs: Vec::new(),
            segments: Vec::new(),
            terminal: Vec::new(),
            ttl: DEFAULT_TTL,
            slow: None,
            deadline: None,
            correlation: Correlation::default(),
            open: true,
        }
    }

    /// Name of the route: `journey.name` in exports, `route` in JSON.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Label of the route, for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Stages in order; empty for an open route.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Legs in order of their end.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Segments, in the order they were declared.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether a stage ends the journey.
    pub fn is_terminal(&self, stage: StageIndex) -> bool {
        self.terminal.contains(&stage)
    }

    /// How long a journey may go without a checkpoint before it expires.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A total above this is worth a warning in the log.
    pub fn slow(&self) -> Option<Duration> {
        self.slow
    }

    /// A total above this is worth an error in the log.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Where the correlation id comes from.
    pub fn correlation(&self) -> &Correlation {
        &self.correlation
    }

    /// Whether the route learns its stages as they come.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// A stage by its index; `None` beyond the declared ones.
    pub fn stage(&self, index: StageIndex) -> Option<&Stage> {
        self.stages.get(usize::from(index.0))
    }

    /// Finds a stage by id, name, alias or timings key.
    pub fn find(&self, name: &str) -> Option<StageIndex> {
        let index = self.stages.iter().position(|stage| stage.names().any(|known| known == name))?;
        Some(StageIndex(index as u16))
    }

    /// The segment with the fewest legs that contains a leg.
    pub fn narrowest_segment(&self, leg: &Leg) -> Option<&Segment> {
        let containing = self.segments.iter().filter(|segment| segment.contains(leg));
        containing.min_by_key(|segment| segment.to.0 - segment.from.0)
    }

    /// The same route with another time to live.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

impl Stage {
    /// Every name that means this stage: id, name, camelCase name, timings key, aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        // `dbStored` is `dbStoredAt` without its end.
        let camel = self.timings_key.strip_suffix("At").filter(|camel| !camel.is_empty());
        let own = [self.id.as_str(), self.name.as_str(), self.timings_key.as_str()].into_iter();
        own.chain(camel).chain(self.aliases.iter().map(String::as_str))
    }
}

impl Segment {
    /// Whether a leg lies inside.
    pub fn contains(&self, leg: &Leg) -> bool {
        self.from <= leg.from && leg.to <= self.to
    }
}

impl Default for Correlation {
    fn default() -> Self {
        Self::Fields(DEFAULT_CORRELATION_FIELDS.map(str::to_owned).to_vec())
    }
}

impl LegKind {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "internal" => Self::Internal,
            "producer" => Self::Producer,
            "consumer" => Self::Consumer,
            "client" => Self::Client,
            _ => return None,
        })
    }
}

/// Where an error is.
pub(crate) struct Place<'a> {
    pub(crate) file: Option<&'a str>,
}

impl Place<'_> {
    pub(crate) fn error(&self, key: &str, value: &str, problem: &str) -> RouteError {
        RouteError {
            file: self.file.map(str::to_owned),
            key: key.to_owned(),
            value: value.chars().take(80).collect(),
            problem: problem.to_owned(),
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.escape_debug())?;
        }
        if self.key.is_empty() {
            return write!(f, "{}", self.problem);
        }
        write!(f, "{}: `{}` {}", self.key, self.value.escape_debug(), self.problem)
    }
}

impl std::error::Error for RouteError {}

/// `round_trip` -> `Round trip`.
pub(crate) fn label_of(name: &str) -> String {
    let spaced = name.replace(['_', '-'], " ");
    let mut chars = spaced.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_route_is_the_one_of_the_model() {
        let route = Route::message();
        let stages: Vec<String> = route
            .stages()
            .iter()
            .map(|s| format!("{} {} {} {:?} {}", s.id, s.name, s.timings_key, s.instant, s.segments.join("/")))
            .collect();
        assert_eq!(
            stages.join("\n"),
            "T0 platform_received platformReceivedAt Open inbound\n\
             T1 plugin_received pluginReceivedAt Open inbound\n\
             T2 event_published eventPublishedAt End inbound\n\
             T3 event_consumed eventConsumedAt Open inbound\n\
             T4 db_stored dbStoredAt End inbound\n\
             T5 agent_notified agentNotifiedAt End inbound\n\
             T6 agent_started agentStartedAt Open inbound/agent\n\
             T7 agent_completed agentCompletedAt End agent/outbound\n\
             T8 api_received apiReceivedAt Open outbound\n\
             T9 outbound_event_published outboundEventPublishedAt End outbound\n\
             T10 plugin_sent pluginSentAt End outbound\n\
             T11 platform_delivered platformDeliveredAt End outbound"
        );
        let legs: Vec<String> = route.legs().iter().map(|l| format!("{} T{}->T{}", l.name, l.from.0, l.to.0)).collect();
        assert_eq!(
            legs.join(", "),
            "channel_processing T0->T1, event_publish T1->T2, bus_delivery T2->T3, db_write T3->T4, \
             agent_notification T4->T5, agent_queue T5->T6, agent_processing T6->T7, api_request T7->T8, \
             outbound_publish T8->T9, outbound_delivery T9->T10, platform_send T10->T11"
        );
        let segments: Vec<String> =
            route.segments().iter().map(|s| format!("{} T{}->T{}", s.name, s.from.0, s.to.0)).collect();
        assert_eq!(segments.join(", "), "inbound T0->T6, agent T6->T7, outbound T7->T11, round_trip T0->T11");
        assert!(route.is_terminal(StageIndex(11)));
        assert_eq!(route.ttl(), Duration::from_secs(300));
    }

    #[test]
    fn a_stage_is_found_by_every_name_it_has() {
        let route = Route::message();
        for name in ["T4", "db_stored", "dbStored", "dbStoredAt"] {
            assert_eq!(route.find(name), Some(StageIndex(4)), "{name}");
        }
        assert_eq!(route.find("DB_STORED"), None);
    }
}
