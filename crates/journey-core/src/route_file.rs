//! Routes as TOML files.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    route::{
        Correlation, InstantRule, LegDraft, LegKind, Place, Presence, Route, RouteBuilder, RouteError, SegmentDraft,
        StageBuilder,
    },
    time::parse_duration,
};

/// The largest route file that is read, in bytes: far above any real one.
const MAX_FILE_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    name: String,
    label: Option<String>,
    ttl: Option<String>,
    slow: Option<String>,
    deadline: Option<String>,
    #[serde(default)]
    terminal: Vec<String>,
    correlation: Option<CorrelationFile>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    stages: Vec<StageFile>,
    #[serde(default)]
    legs: Vec<LegFile>,
    #[serde(default)]
    segments: Vec<SegmentFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageFile {
    id: String,
    name: String,
    label: Option<String>,
    timings_key: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    segment: Option<OneOrMany>,
    instant: Option<String>,
    presence: Option<String>,
    repeatable: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LegFile {
    name: String,
    from: String,
    to: String,
    budget: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentFile {
    name: String,
    label: Option<String>,
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CorrelationFile {
    Word(String),
    Fields(Vec<String>),
}

impl Route {
    /// Reads a route from the text of a TOML file; `file` names it in errors.
    ///
    /// # Errors
    ///
    /// Not TOML, an unknown key, a value of the wrong kind, or anything [`RouteBuilder::build`] refuses.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, RouteError> {
        let at = Place { file: Some(file) };
        if text.len() > MAX_FILE_BYTES {
            return Err(at.error(
                "",
                "",
                &format!("has {} bytes, a route file has at most {MAX_FILE_BYTES}", text.len()),
            ));
        }
        let parsed: RouteFile = toml::from_str(text).map_err(|error| at.error("", "", error.to_string().trim_end()))?;
        parsed.into_builder(file, &at)?.build()
    }
}

impl RouteFile {
    fn into_builder(self, file: &str, at: &Place<'_>) -> Result<RouteBuilder, RouteError> {
        let mut builder = Route::builder(self.name);
        builder.file = Some(file.to_owned());
        builder.label = self.label;
        builder.ttl = duration(at, "ttl", self.ttl)?;
        builder.slow = duration(at, "slow", self.slow)?;
        builder.deadline = duration(at, "deadline", self.deadline)?;
        builder.terminal = self.terminal;
        builder.open = self.open;
        builder.correlation = match self.correlation {
            None => None,
            Some(CorrelationFile::Fields(fields)) => Some(Correlation::Fields(fields)),
            Some(CorrelationFile::Word(word)) if word == "root_span" => Some(Correlation::RootSpan),
            Some(CorrelationFile::Word(word)) => {
                return Err(at.error(
                    "correlation",
                    &word,
                    "is not known (try `\"root_span\"` or `[\"correlation_id\"]`)",
                ));
            }
        };
        for (index, stage) in self.stages.into_iter().enumerate() {
            builder.stages.push(stage.into_builder(at, index)?);
        }
        for (index, leg) in self.legs.into_iter().enumerate() {
            let budget = duration(at, &format!("legs[{index}].budget"), leg.budget)?;
            let kind = leg.kind.as_deref().unwrap_or("internal");
            let kind = LegKind::from_name(kind).ok_or_else(|| {
                let problem = "is not a kind (try `internal`, `producer`, `consumer` or `client`)";
                at.error(&format!("legs[{index}].kind"), kind, problem)
            })?;
            builder.legs.push(LegDraft { name: leg.name, from: leg.from, to: leg.to, budget, kind });
        }
        for SegmentFile { name, label, from, to } in self.segments {
            builder.segments.push(SegmentDraft { name, label, from, to });
        }
        Ok(builder)
    }
}

impl StageFile {
    fn into_builder(self, at: &Place<'_>, index: usize) -> Result<StageBuilder, RouteError> {
        let mut builder = StageBuilder::new(&self.id, &self.name);
        builder.label = self.label;
        builder.timings_key = self.timings_key;
        builder.stage.aliases = self.aliases;
        builder.stage.segments = match self.segment {
            None => Vec::new(),
            Some(OneOrMany::One(name)) => vec![name],
            Some(OneOrMany::Many(names)) => names,
        };
        builder.stage.instant = match self.instant.as_deref() {
            None | Some("end") => InstantRule::End,
            Some("open") => InstantRule::Open,
            Some("explicit") => InstantRule::Explicit,
            Some(other) => {
                let problem = "is not an instant (try `open`, `end` or `explicit`)";
                return Err(at.error(&format!("stages[{index}].instant"), other, problem));
            }
        };
        builder.stage.presence = match (self.presence.as_deref(), self.repeatable) {
            (None, Some(max)) => Presence::Repeatable(max),
            (None | Some("required"), None) => Presence::Required,
            (Some("optional"), None) => Presence::Optional,
            (Some(other), _) => {
                let problem =
                    "does not fit (try `presence = \"required\"`, `presence = \"optional\"` or `repeatable = 3`)";
                return Err(at.error(&format!("stages[{index}].presence"), other, problem));
            }
        };
        Ok(builder)
    }
}

fn duration(at: &Place<'_>, key: &str, text: Option<String>) -> Result<Option<Duration>, RouteError> {
    let Some(text) = text else { return Ok(None) };
    let parsed = parse_duration(&text);
    parsed.map(Some).map_err(|_| at.error(key, &text, "is not a duration (try `50ms`, `90s` or `5m`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: &str = r#"
        name = "publish"
        terminal = ["archive"]
        correlation = ["run_id"]
        ttl = "10m"
        slow = "2s"
        [[stages]]
        id = "P0"
        name = "list"
        instant = "open"
        [[stages]]
        id = "P1"
        name = "caption"
        aliases = ["generate_caption"]
        repeatable = 3
        [[stages]]
        id = "P2"
        name = "archive"
        presence = "optional"
        [[legs]]
        name = "write"
        from = "list"
        to = "P2"
        budget = "50ms"
        kind = "client"
    "#;

    #[test]
    fn a_file_says_all_that_the_builder_can() {
        let route = Route::from_toml("publish.toml", PUBLISH).unwrap();
        assert_eq!(route.stages()[1].presence, Presence::Repeatable(3));
        assert_eq!(route.find("generate_caption"), route.find("P1"));
        assert_eq!(route.correlation(), &Correlation::Fields(vec!["run_id".to_owned()]));
        assert_eq!(route.legs()[0].budget, Some(Duration::from_millis(50)));
        assert_eq!(route.slow(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn errors_name_file_key_and_value() {
        for (from, to, expected) in [
            (
                "to = \"P2\"",
                "to = \"archvie\"",
                "p.toml: legs[0].to: `archvie` is not a stage of this route (did you mean `archive`?)",
            ),
            ("\"50ms\"", "\"soon\"", "p.toml: legs[0].budget: `soon` is not a duration (try `50ms`, `90s` or `5m`)"),
            (
                "\"client\"",
                "\"server\"",
                "p.toml: legs[0].kind: `server` is not a kind (try `internal`, `producer`, `consumer` or `client`)",
            ),
            (
                "\"open\"",
                "\"start\"",
                "p.toml: stages[0].instant: `start` is not an instant (try `open`, `end` or `explicit`)",
            ),
            (
                "\"optional\"",
                "\"maybe\"",
                "p.toml: stages[2].presence: `maybe` does not fit (try `presence = \"required\"`, `presence = \"optional\"` or `repeatable = 3`)",
            ),
            (
                "[\"run_id\"]",
                "\"span\"",
                "p.toml: correlation: `span` is not known (try `\"root_span\"` or `[\"correlation_id\"]`)",
            ),
        ] {
            assert_ne!(PUBLISH.replace(from, to), PUBLISH);
            let error = Route::from_toml("p.toml", &PUBLISH.replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let error = Route::from_toml("p.toml", &PUBLISH.replace("aliases", "alias")).unwrap_err().to_string();
        assert!(error.contains("p.toml") && error.contains("unknown field `alias`"), "{error}");
        let error = Route::from_toml("p.toml", "name = ").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        let error = Route::from_toml("p.toml", &" ".repeat(300_000)).unwrap_err().to_string();
        assert_eq!(error, "p.toml: has 300000 bytes, a route file has at most 262144");
    }

    #[test]
    fn an_open_route_declares_no_stages() {
        let route = Route::from_toml("flow.toml", "name = \"flow\"\nopen = true").unwrap();
        assert!(route.is_open() && route.stages().is_empty());
    }
}
