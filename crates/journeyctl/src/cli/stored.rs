//! What can be asked about stored events.

use clap::Args;
use journey_core::{parse_duration, parse_instant};
use journey_store::{Event, SpanId, TraceId};

use super::correlation_id;

/// Where stored events are read from.
const FROM: &str = "Where from";

/// Who is asked about stored events.
#[derive(Clone, Default, Args)]
pub(crate) struct From {
    /// Asks this store and no service: a folder, or postgresql://host/database [env: JOURNEY_STORE].
    ///
    /// It wins over --url, and --url over JOURNEY_STORE. A password belongs into the variable: everybody on this machine
    /// can read a command line.
    #[arg(long, value_name = "PLACE", help_heading = FROM)]
    pub(crate) store: Option<String>,
}

/// Options of `journey trace` and `journey why`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TraceArgs {
    /// A trace id of 32 hex digits, or the correlation id of the message: then its newest trace.
    #[arg(value_name = "ID", value_parser = correlation_id)]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) from: From,
}

/// Options of `journey events`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) filter: EventFilter,
    /// From this instant on: so long ago, RFC 3339, or a unix time; without it the last 24 hours.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    pub(crate) since: Option<String>,
    /// Before this instant.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    pub(crate) until: Option<String>,
    /// Folds events into their traces: one line each, newest first.
    #[arg(long)]
    pub(crate) traces: bool,
    /// With --traces: only those of at least this many milliseconds.
    #[arg(long, value_name = "MS", requires = "traces", value_parser = super::milliseconds)]
    pub(crate) min_ms: Option<f64>,
    /// How many, at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Goes on where an earlier answer ended, which says how.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) from: From,
}

/// Which events; all that is given must hold.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EventFilter {
    /// Only what failed.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only this type; one that ends in `:` means all that begin so, such as saga:.
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    pub(crate) event_type: Option<String>,
    /// Only with this tag; several must all be there.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<String>,
    /// Only of this route.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) route: Option<String>,
}

/// Options of `journey watch`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    /// One trace: its trace id, or the correlation id of the message. Without it, all.
    #[arg(value_name = "ID", value_parser = correlation_id,
        conflicts_with_all = ["failed", "event_type", "tags", "route", "since"])]
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) filter: EventFilter,
    /// Begins with what happened from this instant on; without it the last 5 minutes.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    pub(crate) since: Option<String>,
    /// Watches what is published to Redis or NATS: redis://host:6379 or nats://host:4222 [env: JOURNEY_LIVE].
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["store", "since"], help_heading = FROM)]
    pub(crate) live: Option<String>,
    #[command(flatten)]
    pub(crate) from: From,
}

/// Options of `journey stats`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatsArgs {
    /// How many days up to today, UTC.
    #[arg(long, value_name = "N", default_value = "7", value_parser = days)]
    pub(crate) days: u32,
    /// Only this route.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) route: Option<String>,
    /// Only this leg, segment or work: how it went from day to day.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) leg: Option<String>,
    #[command(flatten)]
    pub(crate) from: From,
}

impl std::fmt::Debug for From {
    /// Without the place, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("From").field("store", &self.store.as_ref().map(|_| "(hidden)")).finish()
    }
}

/// An instant or a time before now. It stays a text: the clock of whoever answers decides.
fn instant(text: &str) -> Result<String, String> {
    if parse_duration(text).is_ok() || parse_instant(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("no instant (a right one: 24h, 2026-11-20T10:00:00Z or a unix time)".to_owned())
}

fn event_type(text: &str) -> Result<String, String> {
    let wrong = || "an event type has 1 to 64 of `a-z A-Z 0-9 _ . : -`, such as stage:failed or saga:".to_owned();
    let (Some(trace), Some(span)) = (TraceId::new(1), SpanId::new(1)) else { return Err(wrong()) };
    Event::new(trace, span, text, 0).check().map(|()| text.to_owned()).map_err(|_| wrong())
}

fn tag(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("a tag is KEY=VALUE, such as order=1042".to_owned()),
    }
}

fn days(text: &str) -> Result<u32, String> {
    let right = text.parse().ok().filter(|days| (1..=366).contains(days));
    right.ok_or_else(|| "a number of days from 1 to 366 is expected, such as 7".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the name is empty (a right one: message)".to_owned()) } else { Ok(text.to_owned()) }
}
