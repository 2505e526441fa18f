//! The declared plan: ordered stages, legs between them, segments over several legs, terminal stages.

use std::{collections::HashMap, fmt, time::Duration};

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

/// Builds a [`Route`] in code. Stages stand in the order of the calls.
///
/// ```
/// use journey_core::{InstantRule, Route};
/// let route = Route::builder("publish")
///     .stage("P0", "listed", |stage| stage.label("Listed").instant(InstantRule::Open))
///     .stage("P1", "archived", |stage| stage.alias("move_to_archive"))
///     .leg("archive", "listed", "archived")
///     .terminal("archived")
///     .build()?;
/// assert_eq!(route.legs()[0].name, "archive");
/// # Ok::<(), journey_core::RouteError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RouteBuilder {
    pub(crate) file: Option<String>,
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) stages: Vec<StageBuilder>,
    pub(crate) legs: Vec<LegDraft>,
    pub(crate) segments: Vec<SegmentDraft>,
    pub(crate) terminal: Vec<String>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) slow: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) correlation: Option<Correlation>,
    pub(crate) open: bool,
}

/// One stage of a [`RouteBuilder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct StageBuilder {
    pub(crate) stage: Stage,
    pub(crate) timings_key: Option<String>,
    pub(crate) label: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct LegDraft {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) budget: Option<Duration>,
    pub(crate) kind: LegKind,
}

#[derive(Clone, Debug)]
pub(crate) struct SegmentDraft {
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
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

impl StageBuilder {
    pub(crate) fn new(id: &str, name: &str) -> Self {
        let stage = Stage {
            id: id.to_owned(),
            name: name.to_owned(),
            timings_key: String::new(),
            label: String::new(),
            aliases: Vec::new(),
            segments: Vec::new(),
            instant: InstantRule::default(),
            presence: Presence::default(),
        };
        Self { stage, timings_key: None, label: None }
    }

    /// Sets the label. Default: the name with spaces, `DB stored` for `db_stored` written so.
    pub fn label(mut self, label: &str) -> Self {
        self.label = Some(label.to_owned());
        self
    }

    /// Adds a span name that means this stage.
    pub fn alias(mut self, alias: &str) -> Self {
        self.stage.aliases.push(alias.to_owned());
        self
    }

    /// Sets the key in `timings` objects. Default: the name in camelCase with `At`.
    pub fn timings_key(mut self, key: &str) -> Self {
        self.timings_key = Some(key.to_owned());
        self
    }

    /// Sets which instant of the span counts. Default: its end.
    pub fn instant(mut self, instant: InstantRule) -> Self {
        self.stage.instant = instant;
        self
    }

    /// Sets whether and how often the stage has to be there. Default: once.
    pub fn presence(mut self, presence: Presence) -> Self {
        self.stage.presence = presence;
        self
    }

    /// Puts the stage into a segment.
    pub fn segment(mut self, segment: &str) -> Self {
        self.stage.segments.push(segment.to_owned());
        self
    }

    fn build(self) -> Stage {
        let mut stage = self.stage;
        stage.timings_key = self.timings_key.unwrap_or_else(|| format!("{}At", camel_case(&stage.name)));
        stage.label = self.label.unwrap_or_else(|| label_of(&stage.name));
        stage
    }
}

impl RouteBuilder {
    /// Sets the label. Default: the name, capitalised.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a stage with its id and name.
    pub fn stage(mut self, id: &str, name: &str, with: impl FnOnce(StageBuilder) -> StageBuilder) -> Self {
        self.stages.push(with(StageBuilder::new(id, name)));
        self
    }

    /// Adds a leg between two stages. Without any, neighbours are joined by `{from}_to_{to}`.
    pub fn leg(self, name: &str, from: &str, to: &str) -> Self {
        self.leg_with(name, from, to, None, LegKind::Internal)
    }

    /// Adds a leg with a budget and the kind of span it becomes on export.
    pub fn leg_with(mut self, name: &str, from: &str, to: &str, budget: Option<Duration>, kind: LegKind) -> Self {
        self.legs.push(LegDraft { name: name.to_owned(), from: from.to_owned(), to: to.to_owned(), budget, kind });
        self
    }

    /// Adds a segment. Without any, stages that name a segment form it.
    pub fn segment(mut self, name: &str, from: &str, to: &str) -> Self {
        self.segments.push(SegmentDraft {
            name: name.to_owned(),
            label: None,
            from: from.to_owned(),
            to: to.to_owned(),
        });
        self
    }

    /// Marks a stage as terminal.
    pub fn terminal(mut self, stage: &str) -> Self {
        self.terminal.push(stage.to_owned());
        self
    }

    /// Sets how long a journey may go without a checkpoint. Default: 5 minutes.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the total above which a journey is logged as a warning. Default: none.
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = Some(slow);
        self
    }

    /// Sets the total above which a journey is logged as an error. Default: none.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets where the correlation id comes from.
    pub fn correlation(mut self, correlation: Correlation) -> Self {
        self.correlation = Some(correlation);
        self
    }

    /// Validates the whole.
    ///
    /// # Errors
    ///
    /// No stage or more than 64 (as of legs and segments), no terminal stage, a duplicate name or alias, an unknown stage in a leg or segment, a
    /// leg that runs backwards (a cycle), a TTL of zero, no correlation field.
    pub fn build(self) -> Result<Route, RouteError> {
        let at = Place { file: self.file.as_deref() };
        check_name(&at, "name", &self.name)?;
        let label = self.label.clone().unwrap_or_else(|| label_of(&self.name));
        let ttl = self.ttl.unwrap_or(DEFAULT_TTL);
        if ttl.is_zero() {
            return Err(at.error("ttl", "0s", "must be longer than zero (try `5m`)"));
        }
        let correlation = self.correlation.clone().unwrap_or_default();
        if correlation == Correlation::Fields(Vec::new()) {
            return Err(at.error(
                "correlation",
                "[]",
                "names no field (try `[\"correlation_id\"]` or `\"root_span\"`)",
            ));
        }
        if self.open {
            if let Some(stage) = self.stages.first() {
                return Err(at.error("stages", &stage.stage.name, "an open route learns its stages and declares none"));
            }
            let (slow, deadline) = (self.slow, self.deadline);
            return Ok(Route { label, ttl, slow, deadline, correlation, ..Route::open(self.name) });
        }

        let stages: Vec<Stage> = self.stages.into_iter().map(StageBuilder::build).collect();
        if stages.is_empty() || stages.len() > MAX_STAGES {
            return Err(at.error("stages", &stages.len().to_string(), "a route has 1 to 64 stages"));
        }
        let mut names: HashMap<&str, usize> = HashMap::new();
        for (index, stage) in stages.iter().enumerate() {
            let key = format!("stages[{index}]");
            check_name(&at, &format!("{key}.id"), &stage.id)?;
            check_name(&at, &format!("{key}.name"), &stage.name)?;
            if stage.presence == Presence::Repeatable(0) {
                return Err(at.error(&format!("{key}.repeatable"), "0", "must be at least 1"));
            }
            for name in stage.names() {
                check_name(&at, &key, name)?;
                if let Some(other) = names.insert(name, index).filter(|other| *other != index) {
                    let problem = format!("is already a name of stage `{}`", stages[other].name);
                    return Err(at.error(&key, name, &problem));
                }
            }
        }
        let find = |key: String, name: &str| match names.get(name) {
            Some(index) => Ok(StageIndex(*index as u16)),
            None => Err(at.error(&key, name, &unknown_stage(name, &names))),
        };

        if self.terminal.is_empty() {
            let last = stages.last().map_or("", |stage| &stage.name);
            return Err(at.error("terminal", "[]", &format!("a route needs a terminal stage (try `[\"{last}\"]`)")));
        }
        let mut terminal = Vec::new();
        for (index, name) in self.terminal.iter().enumerate() {
            terminal.push(find(format!("terminal[{index}]"), name)?);
        }

        let mut legs = Vec::new();
        for (index, draft) in self.legs.iter().enumerate() {
            let key = format!("legs[{index}]");
            check_name(&at, &format!("{key}.name"), &draft.name)?;
            if legs.iter().any(|leg: &Leg| leg.name == draft.name) {
                return Err(at.error(&format!("{key}.name"), &draft.name, "is already the name of another leg"));
            }
            let (from, to) = (find(format!("{key}.from"), &draft.from)?, find(format!("{key}.to"), &draft.to)?);
            if from >= to {
                let problem = format!("would close a cycle: it does not come after `{}`", draft.from);
                return Err(at.error(&format!("{key}.to"), &draft.to, &problem));
            }
            legs.push(Leg { name: draft.name.clone(), from, to, budget: draft.budget, kind: draft.kind });
        }
        if legs.is_empty() {
            legs = stages.windows(2).enumerate().map(|(index, pair)| neighbours(index, pair)).collect();
        }
        if legs.len() > MAX_STAGES {
            return Err(at.error("legs", &legs.len().to_string(), "a route has at most 64 legs"));
        }
        legs.sort_by_key(|leg| (leg.to, leg.from));

        let mut segments = Vec::new();
        for (index, draft) in self.segments.iter().enumerate() {
            let key = format!("segments[{index}]");
            check_name(&at, &format!("{key}.name"), &draft.name)?;
            if segments.iter().any(|segment: &Segment| segment.name == draft.name) {
                return Err(at.error(&format!("{key}.name"), &draft.name, "is already the name of another segment"));
            }
            let (from, to) = (find(format!("{key}.from"), &draft.from)?, find(format!("{key}.to"), &draft.to)?);
            if from >= to {
                let problem = format!("does not come after `{}`", draft.from);
                return Err(at.error(&format!("{key}.to"), &draft.to, &problem));
            }
            let label = draft.label.clone().unwrap_or_else(|| label_of(&draft.name));
            segments.push(Segment { name: draft.name.clone(), label, from, to });
        }
        if segments.is_empty() {
            segments = segments_of_stages(&stages);
        }
        if segments.len() > MAX_STAGES {
            return Err(at.error("segments", &segments.len().to_string(), "a route has at most 64 segments"));
        }
        let (slow, deadline) = (self.slow, self.deadline);
        Ok(Route {
            name: self.name,
            label,
            stages,
            legs,
            segments,
            terminal,
            ttl,
            slow,
            deadline,
            correlation,
            open: false,
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

fn neighbours(index: usize, pair: &[Stage]) -> Leg {
    let (from, to) = (StageIndex(index as u16), StageIndex(index as u16 + 1));
    Leg { name: format!("{}_to_{}", pair[0].name, pair[1].name), from, to, budget: None, kind: LegKind::Internal }
}

/// A segment from the first to the last stage that names it, in order of first mention.
fn segments_of_stages(stages: &[Stage]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        for name in &stage.segments {
            let here = StageIndex(index as u16);
            match segments.iter_mut().find(|segment| &segment.name == name) {
                Some(segment) => segment.to = here,
                None => segments.push(Segment { name: name.clone(), label: label_of(name), from: here, to: here }),
            }
        }
    }
    segments.retain(|segment| segment.from < segment.to);
    segments
}

/// Names become metric attributes, JSON and span names: short, printable, without spaces at the ends.
fn check_name(at: &Place<'_>, key: &str, name: &str) -> Result<(), RouteError> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) || name.trim() != name {
        return Err(at.error(key, name, "must be 1 to 64 bytes without control characters (try `db_stored`)"));
    }
    Ok(())
}

fn unknown_stage(name: &str, names: &HashMap<&str, usize>) -> String {
    let closest = names.keys().map(|known| (distance(name, known), *known)).min();
    match closest {
        Some((distance, known)) if distance <= 2 => format!("is not a stage of this route (did you mean `{known}`?)"),
        _ => "is not a stage of this route".to_owned(),
    }
}

/// Levenshtein distance, for short names only.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(MAX_STAGES).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// `db_stored` -> `dbStored`.
fn camel_case(name: &str) -> String {
    let mut words = name.split(['_', '-', '.', ' ']).filter(|word| !word.is_empty());
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        camel.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(chars.as_str());
    }
    camel
}

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

    fn two_stages() -> RouteBuilder {
        Route::builder("r").stage("A", "first", |s| s).stage("B", "second", |s| s).terminal("second")
    }

    #[test]
    fn what_is_wrong_with_a_route_is_named_with_its_value() {
        let many = (0..65).fold(Route::builder("r"), |r, n| r.stage(&format!("S{n}"), &format!("n{n}"), |s| s));
        for (builder, expected) in [
            (
                two_stages().leg("x", "frist", "second"),
                "legs[0].from: `frist` is not a stage of this route (did you mean `first`?)",
            ),
            (
                two_stages().leg("x", "second", "first"),
                "legs[0].to: `first` would close a cycle: it does not come after `second`",
            ),
            (
                two_stages().leg("x", "first", "first"),
                "legs[0].to: `first` would close a cycle: it does not come after `first`",
            ),
            (two_stages().stage("C", "first", |s| s), "stages[2]: `first` is already a name of stage `first`"),
            (two_stages().stage("C", "third", |s| s.alias("B")), "stages[2]: `B` is already a name of stage `second`"),
            (two_stages().segment("s", "first", "nowhere"), "segments[0].to: `nowhere` is not a stage of this route"),
            (
                Route::builder("r").stage("A", "only", |s| s),
                "terminal: `[]` a route needs a terminal stage (try `[\"only\"]`)",
            ),
            (many.terminal("n1"), "stages: `65` a route has 1 to 64 stages"),
            (Route::builder("r"), "stages: `0` a route has 1 to 64 stages"),
            (
                Route::builder("a\nb"),
                "name: `a\\nb` must be 1 to 64 bytes without control characters (try `db_stored`)",
            ),
            (two_stages().ttl(Duration::ZERO), "ttl: `0s` must be longer than zero (try `5m`)"),
            (
                two_stages().stage("C", "third", |s| s.presence(Presence::Repeatable(0))),
                "stages[2].repeatable: `0` must be at least 1",
            ),
        ] {
            assert_eq!(builder.build().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn neighbours_are_joined_where_no_leg_is_declared() {
        let route = two_stages().build().unwrap();
        assert_eq!(route.legs()[0].name, "first_to_second");
    }
}
