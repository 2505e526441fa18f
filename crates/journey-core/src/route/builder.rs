//! Building a route in code, and everything that can be wrong with one.

use std::{collections::HashMap, time::Duration};

use super::{
    Correlation, DEFAULT_TTL, InstantRule, Leg, LegKind, MAX_STAGES, Place, Presence, Route, RouteError, Segment,
    Stage, StageIndex, label_of,
};
use crate::closest::closest;

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
    match closest(name, names.keys().copied()) {
        Some(known) => format!("is not a stage of this route (did you mean `{known}`?)"),
        None => "is not a stage of this route".to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
