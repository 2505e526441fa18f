//! `journey check-route`: says what is wrong with route files, or what they declare.

use std::{io::Read as _, path::Path};

use journey_core::{Correlation, InstantRule, Leg, LegKind, Presence, Route, Routes, StageIndex};
use serde_json::{Value, json};

use crate::{
    error::{CliError, Exit},
    look::Look,
    page::{Page, Tone},
    table::Table,
    text::{clean, duration},
};

/// A route of 64 stages takes some ten thousand bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads route files and checks each alone, then all together.
///
/// # Errors
///
/// A file cannot be read, is not a route, or claims a name that another one has.
pub(crate) fn read(files: &[impl AsRef<Path>]) -> Result<Vec<(String, Route)>, CliError> {
    let mut routes = Vec::new();
    for file in files {
        let name = file.as_ref().display().to_string();
        let failed = |problem: String| CliError::new(Exit::NotFound, problem);
        let mut text = String::new();
        let opened = std::fs::File::open(file).and_then(|open| open.take(MAX_FILE + 1).read_to_string(&mut text));
        opened.map_err(|error| failed(format!("cannot read `{name}`: {error}")))?;
        if text.len() as u64 > MAX_FILE {
            return Err(failed(format!("`{name}` is larger than {} KB, so it is no route file", MAX_FILE >> 10)));
        }
        routes.push((name.clone(), Route::from_toml(&name, &text).map_err(|error| failed(error.to_string()))?));
    }
    let together = Routes::new(routes.iter().map(|(_, route)| route.clone()).collect());
    together.map_err(|error| CliError::new(Exit::NotFound, error.to_string()))?;
    Ok(routes)
}

/// Draws what routes declare.
pub(crate) fn page(routes: &[(String, Route)], look: &Look) -> Page {
    let mut page = Page::default();
    for (index, (file, route)) in routes.iter().enumerate() {
        if index > 0 {
            page.line();
        }
        let name = clean(route.name(), look);
        page.line()
            .put(Tone::Good, look.pick("✓ ", "ok "))
            .put(Tone::Strong, format!("{}: route {name}", clean(file, look)));
        page.say(Tone::Plain, format!("  {}", facts(route, look)));
        if route.is_open() {
            page.say(Tone::Plain, "  open: learns its stages as they come");
            continue;
        }
        tables(route, look, &mut page);
    }
    page
}

/// The routes as one JSON document.
pub(crate) fn json(routes: &[(String, Route)]) -> Value {
    let routes: Vec<Value> = routes
        .iter()
        .map(|(file, route)| {
            let leg = |leg: &Leg| {
                json!({ "name": leg.name, "from": id(route, leg.from), "to": id(route, leg.to),
                    "segment": route.narrowest_segment(leg).map(|segment| segment.name.as_str()),
                    "budgetMs": leg.budget.map(|budget| budget.as_secs_f64() * 1_000.0) })
            };
            json!({
                "file": file,
                "route": route.name(),
                "label": route.label(),
                "open": route.is_open(),
                "ttlMs": route.ttl().as_secs_f64() * 1_000.0,
                "stages": route.stages().iter().enumerate().map(|(index, stage)| json!({
                    "stage": stage.id, "name": stage.name, "label": stage.label, "aliases": stage.aliases,
                    "instant": instant(stage.instant), "presence": presence(stage.presence),
                    "terminal": route.is_terminal(StageIndex(index as u16)),
                })).collect::<Vec<_>>(),
                "legs": route.legs().iter().map(leg).collect::<Vec<_>>(),
                "segments": route.segments().iter().map(|segment| json!({
                    "name": segment.name, "label": segment.label,
                    "from": id(route, segment.from), "to": id(route, segment.to),
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "routes": routes })
}

fn facts(route: &Route, look: &Look) -> String {
    let correlation = match route.correlation() {
        Correlation::Fields(fields) => format!("id from {}", clean(&fields.join(", "), look)),
        Correlation::RootSpan => "each root span is a journey".to_owned(),
    };
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1_000.0;
    let (stages, legs, segments) = (route.stages().len(), route.legs().len(), route.segments().len());
    let dot = look.pick("·", "-");
    format!(
        "{} {dot} {} {dot} {} {dot} expires after {} {dot} {correlation}",
        number(stages, "stage"),
        number(legs, "leg"),
        number(segments, "segment"),
        duration(ms(route.ttl()), look)
    )
}

fn number(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn tables(route: &Route, look: &Look, page: &mut Page) {
    let arrow = look.pick("→", "->");
    let mut stages = Table::new("stage")
        .words("name", 0)
        .words("label", 2)
        .words("instant", 3)
        .words("presence", 1)
        .words("also named", 4);
    for (index, stage) in route.stages().iter().enumerate() {
        let terminal = if route.is_terminal(StageIndex(index as u16)) { ", terminal" } else { "" };
        stages.row([
            clean(&stage.id, look).into(),
            clean(&stage.name, look).into(),
            clean(&stage.label, look).into(),
            instant(stage.instant).to_owned().into(),
            format!("{}{terminal}", presence(stage.presence)).into(),
            clean(&stage.aliases.join(", "), look).into(),
        ]);
    }
    page.line();
    stages.draw(2, look, page);

    let mut legs = Table::new("leg").words("from", 0).words("segment", 1).words("kind", 3).numbers("budget", 2);
    for leg in route.legs() {
        let ends = format!("{}{arrow}{}", id(route, leg.from), id(route, leg.to));
        legs.row([
            clean(&leg.name, look).into(),
            clean(&ends, look).into(),
            route.narrowest_segment(leg).map_or_else(String::new, |segment| clean(&segment.name, look)).into(),
            kind(leg.kind).to_owned().into(),
            leg.budget.map_or_else(String::new, |budget| duration(budget.as_secs_f64() * 1_000.0, look)).into(),
        ]);
    }
    page.line();
    legs.draw(2, look, page);

    if route.segments().is_empty() {
        return;
    }
    let mut segments = Table::new("segment").words("from", 0).words("label", 1);
    for segment in route.segments() {
        let ends = format!("{}{arrow}{}", id(route, segment.from), id(route, segment.to));
        segments.row([
            clean(&segment.name, look).into(),
            clean(&ends, look).into(),
            clean(&segment.label, look).into(),
        ]);
    }
    page.line();
    segments.draw(2, look, page);
}

fn id(route: &Route, stage: StageIndex) -> &str {
    route.stage(stage).map_or("", |stage| stage.id.as_str())
}

fn instant(rule: InstantRule) -> &'static str {
    match rule {
        InstantRule::Open => "open",
        InstantRule::End => "end",
        InstantRule::Explicit => "explicit",
    }
}

fn presence(presence: Presence) -> String {
    match presence {
        Presence::Required => "required".to_owned(),
        Presence::Optional => "optional".to_owned(),
        Presence::Repeatable(most) => format!("up to {most} times"),
    }
}

fn kind(kind: LegKind) -> &'static str {
    match kind {
        LegKind::Internal => "internal",
        LegKind::Producer => "producer",
        LegKind::Consumer => "consumer",
        LegKind::Client => "client",
    }
}
