//! What each command does: ask, draw, write.

use std::io::{IsTerminal as _, Write};

use clap::CommandFactory as _;
use journey_core::view::{JourneyView, ListView, SummaryView};
use serde_json::Value;

use crate::{
    check_route,
    cli::{CheckRouteArgs, Cli, Command, CompletionsArgs, ListArgs, ShowArgs, SummaryArgs},
    client::{Client, encode},
    demo,
    error::{CliError, Exit},
    lines::progress,
    list, live,
    look::Look,
    page::Page,
    plan::Plan,
    show,
    source::Access,
    stored, summary,
    text::clean_json,
    watch,
};

/// Path of the summary.
pub(crate) const SUMMARY_PATH: &str = "/api/v2/metrics/summary";
/// Path of the list.
pub(crate) const LIST_PATH: &str = "/api/v2/journeys";
/// The most that the server gives at once.
const PAGE: u32 = 1_000;
/// The window that a single journey is compared with.
const USUAL_WINDOW: &str = "5m";

/// Path of one journey.
pub(crate) fn journey_path(id: &str) -> String {
    format!("/api/v2/metrics/journey/{}", encode(id))
}

/// Runs one command.
///
/// # Errors
///
/// Whatever kept it from doing what was asked.
pub(crate) fn run(
    cli: Cli,
    look: &Look,
    env: &dyn Fn(&str) -> Option<String>,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let json = cli.global.json;
    let access = Access { url: cli.global.url.as_deref(), env };
    match cli.command {
        Command::Show(args) => show(&access, &args, json, look, out),
        Command::Summary(args) => summary(&access.client()?, &args, json, look, out),
        Command::List(args) => list(&access.client()?, &args, json, look, out),
        Command::Live(args) => live::run(access.client()?, &args, json, look, out),
        Command::Trace(args) => stored::trace(&access.source(&args.from)?, &args.id, json, look, out),
        Command::Why(args) => stored::why(&access.source(&args.from)?, &args.id, json, look, out),
        Command::Events(args) => stored::events(&access.source(&args.from)?, &args, json, look, out),
        Command::Watch(args) => watch::run(&access, &args, json, look, out),
        Command::Stats(args) => stored::stats(&access.source(&args.from)?, &args, json, look, out),
        Command::Demo(args) => demo::run(demo::DemoArgs { json, look: Some(*look), ..args }),
        Command::CheckRoute(args) => check_route(&args, json, look, out),
        Command::Completions(args) => completions(&args, json, out),
    }
}

fn show(access: &Access<'_>, args: &ShowArgs, json: bool, look: &Look, out: &mut dyn Write) -> Result<Exit, CliError> {
    if args.from.store.is_some() {
        return stored::trace(&access.source(&args.from)?, &args.id, json, look, out);
    }
    let client = access.client()?;
    let generation = args.generation.map(|number| number.to_string());
    let query: Vec<(&str, &str)> = generation.iter().map(|number| ("generation", number.as_str())).collect();
    let body = match client.get(&journey_path(&args.id), &query) {
        Ok(body) => body,
        // The store knows traces, and no generations.
        Err(error) if args.generation.is_none() => return show_stored(access, args, error, json, look, out),
        Err(error) => return Err(error),
    };
    let view: JourneyView = client.parse(&body, "correlationId")?;
    if json {
        return write_json(&body, out);
    }
    // Only a comfort: labels of stages not yet reached, and what is usual. A journey is shown without it too.
    let query = [("window", USUAL_WINDOW), ("route", view.route.as_str())];
    let usual: Option<SummaryView> = client.fetch(SUMMARY_PATH, &query, "routes").ok();
    write_page(&show::show(&view, &Plan::of(&view, usual.as_ref()), look), look, out)
}

/// What the store has, where the endpoint's memory has nothing, or no endpoint is there and a store is. Where the store
/// knows nothing either, `error` stays the answer.
fn show_stored(
    access: &Access<'_>,
    args: &ShowArgs,
    error: CliError,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let has_place = access.place(&args.from).is_some();
    let is_worth_it = error.exit == Exit::NotFound || (error.exit == Exit::Unreachable && has_place);
    if !is_worth_it {
        return Err(error);
    }
    let source = access.source(&args.from)?;
    let body = match stored::trace_body(&source, &args.id) {
        Ok(body) => body,
        // Neither has it: both are said.
        Err(unknown) if unknown.exit == Exit::NotFound => {
            let hint = Some(unknown.message).filter(|said| *said != error.message);
            return Err(CliError { hint, ..error });
        }
        // An endpoint without a store has said all that it can.
        Err(refused) if refused.exit == Exit::Refused && !has_place => return Err(error),
        Err(failed) => return Err(failed),
    };
    let why = if error.exit == Exit::NotFound { "no longer in memory" } else { "no endpoint answers" };
    progress(&format!("{why}: this comes from the store ({})", source.name()), look);
    stored::write_trace(&source, &body, json, look, out)
}

fn summary(
    client: &Client,
    args: &SummaryArgs,
    json: bool,
    look: &Look,
    out: &mut dyn Write,
) -> Result<Exit, CliError> {
    let mut query = vec![("window", args.window.as_str())];
    query.extend(args.route.as_deref().map(|route| ("route", route)));
    let body = client.get(SUMMARY_PATH, &query)?;
    let view: SummaryView = client.parse(&body, "routes")?;
    if json { write_json(&body, out) } else { write_page(&summary::summary(&view, look), look, out) }
}

fn list(client: &Client, args: &ListArgs, json: bool, look: &Look, out: &mut dyn Write) -> Result<Exit, CliError> {
    let min_ms = args.min_ms.map(|ms| ms.to_string());
    let mut query: Vec<(&str, &str)> = Vec::new();
    query.extend(args.stuck.then_some(("stuck", "true")));
    query.extend(args.failed.then_some(("status", "failed")));
    query.extend(args.active.then_some(("status", "active")));
    query.extend(args.slow.then_some(("sort", "slowest")));
    query.extend(args.route.as_deref().map(|route| ("route", route)));
    query.extend(args.stage.as_deref().map(|stage| ("stage", stage)));
    query.extend(min_ms.as_deref().map(|ms| ("minMs", ms)));

    let (journeys, next) = pages(client, &query, args.limit)?;
    if json {
        let document = serde_json::json!({ "journeys": journeys, "nextCursor": next });
        return write_json(&document.to_string(), out);
    }
    let document = serde_json::json!({ "journeys": journeys });
    let view: ListView = client.parse(&document.to_string(), "journeys")?;
    let exit = write_page(&list::list(&view, look), look, out)?;
    if next.is_some() && std::io::stdout().is_terminal() {
        let _ = writeln!(std::io::stderr(), "more: --limit {}", args.limit.saturating_mul(2));
    }
    Ok(exit)
}

/// Asks page by page until there are `limit` journeys or no more; gives them as they came, and where they ended.
fn pages(client: &Client, query: &[(&str, &str)], limit: u32) -> Result<(Vec<Value>, Option<String>), CliError> {
    let mut journeys: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = limit.saturating_sub(u32::try_from(journeys.len()).unwrap_or(u32::MAX));
        let size = left.min(PAGE).to_string();
        let mut query = query.to_vec();
        query.push(("limit", &size));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Value = client.fetch(LIST_PATH, &query, "journeys")?;
        let items = page["journeys"].as_array().cloned().unwrap_or_default();
        let next = page["nextCursor"].as_str().map(str::to_owned);
        let stands_still = items.is_empty() || next == cursor;
        journeys.extend(items.into_iter().take(left as usize));
        if next.is_none() || stands_still || journeys.len() >= limit as usize {
            return Ok((journeys, next));
        }
        cursor = next;
    }
}

fn check_route(args: &CheckRouteArgs, json: bool, look: &Look, out: &mut dyn Write) -> Result<Exit, CliError> {
    let routes = check_route::read(&args.files)?;
    if json {
        write_json(&check_route::json(&routes).to_string(), out)
    } else {
        write_page(&check_route::page(&routes, look), look, out)
    }
}

fn completions(args: &CompletionsArgs, json: bool, out: &mut dyn Write) -> Result<Exit, CliError> {
    if json {
        return Err(CliError::new(Exit::Usage, "a completion script has no JSON form").hint("leave --json out"));
    }
    // Into memory first: the generator panics where its output ends early.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "journey", &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Ok)
}

/// Writes a document as it came.
pub(crate) fn write_json(json: &str, out: &mut dyn Write) -> Result<Exit, CliError> {
    writeln!(out, "{}", clean_json(json.trim_end()))?;
    out.flush()?;
    Ok(Exit::Ok)
}

/// Writes lines for people.
pub(crate) fn write_page(page: &Page, look: &Look, out: &mut dyn Write) -> Result<Exit, CliError> {
    out.write_all(page.to_text(look).as_bytes())?;
    out.flush()?;
    Ok(Exit::Ok)
}
