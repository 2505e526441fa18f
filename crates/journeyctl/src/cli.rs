//! The command line: what can be asked. Nothing here reads files or opens connections.

mod stored;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use journey_core::{CorrelationId, Window};

pub(crate) use self::stored::{EventFilter, EventsArgs, From, StatsArgs, TraceArgs, WatchArgs};
use crate::{
    client::{TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE},
    demo::DemoArgs,
    error::Exit,
    local::STORE_VARIABLE,
    look::ColorWhen,
    watch::LIVE_VARIABLE,
};

/// Options of every command stand together in the help.
const EVERYWHERE: &str = "Options of every command";

/// Shows where the seconds of a message went.
#[derive(Debug, Parser)]
#[command(name = "journey", version, max_term_width = 100, after_help = environment_help(), after_long_help = long_help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Address of the service's debug endpoint [env: JOURNEY_URL] [default: http://127.0.0.1:7117].
    #[arg(long, global = true, value_name = "URL", help_heading = EVERYWHERE)]
    pub(crate) url: Option<String>,
    /// Prints JSON: the document of the endpoint, or one line per event.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// When to colour.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, help_heading = EVERYWHERE)]
    pub(crate) color: ColorWhen,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows one journey: every stage, its latency and its share.
    Show(ShowArgs),
    /// Shows counts, percentiles, bottlenecks, stuck journeys and losses.
    Summary(SummaryArgs),
    /// Watches journeys as they happen: a full screen, or a line per event when piped.
    Live(LiveArgs),
    /// Lists journeys, newest first.
    List(ListArgs),
    /// Shows one stored trace as a tree: durations, failures, compensations and decisions.
    Trace(TraceArgs),
    /// Says in one paragraph why a trace failed, what was undone and what is left to do.
    Why(TraceArgs),
    /// Lists stored events, oldest first.
    Events(EventsArgs),
    /// Watches events: what is stored first, then what comes.
    Watch(WatchArgs),
    /// Shows how long each leg took on each day.
    Stats(StatsArgs),
    /// Runs a message pipeline inside this process and shows what Journey makes of it.
    Demo(DemoArgs),
    /// Checks route files.
    CheckRoute(CheckRouteArgs),
    /// Prints a completion script for a shell.
    Completions(CompletionsArgs),
}

/// Options of `journey show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// The correlation id of the message.
    #[arg(value_name = "ID", value_parser = correlation_id)]
    pub(crate) id: String,
    /// An earlier journey of the same id, counted from 1; without it the newest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "store")]
    pub(crate) generation: Option<u32>,
    #[command(flatten)]
    pub(crate) from: From,
}

/// Options of `journey summary`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SummaryArgs {
    /// The time that counts: 1m, 5m, 15m, 1h or start.
    #[arg(long, value_name = "WINDOW", default_value = "5m")]
    pub(crate) window: Window,
    /// Only this route.
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
}

/// Options of `journey live`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LiveArgs {
    /// Only what concerns this stage: its id, name or alias.
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Only this route.
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
}

/// Options of `journey list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only active journeys without progress.
    #[arg(long, conflicts_with_all = ["failed", "active"])]
    pub(crate) stuck: bool,
    /// Slowest first.
    #[arg(long)]
    pub(crate) slow: bool,
    /// Only failed ones.
    #[arg(long, conflicts_with = "active")]
    pub(crate) failed: bool,
    /// Only active ones.
    #[arg(long)]
    pub(crate) active: bool,
    /// Only this route.
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// Only those that took at least this many milliseconds.
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub(crate) min_ms: Option<f64>,
    /// Only those that reached this stage last: its id, name or alias.
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// How many, at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// Options of `journey check-route`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckRouteArgs {
    /// Route files in TOML. Several are also checked together.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Options of `journey completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

fn correlation_id(text: &str) -> Result<String, String> {
    CorrelationId::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ms) if ms.is_finite() && ms >= 0.0 => Ok(ms),
        _ => Err("a number of milliseconds from 0 on is expected, such as 2000".to_owned()),
    }
}

/// The variables behind the options; the list of `docs/command-line.md`.
pub(crate) const ENVIRONMENT: [(&str, &str); 9] = [
    (URL_VARIABLE, "address of the endpoint, as --url"),
    (STORE_VARIABLE, "store of events that is asked in place of the endpoint, as --store"),
    (LIVE_VARIABLE, "server where events are published, as --live of `watch`"),
    (TOKEN_FILE_VARIABLE, "file that holds the bearer token"),
    (TOKEN_VARIABLE, "the bearer token itself; the file is preferred"),
    ("NO_COLOR", "set: no colour"),
    ("CLICOLOR_FORCE", "set and not 0: colour also when piped"),
    ("COLUMNS", "width of the output"),
    ("LC_ALL, LC_CTYPE, LANG", "characters beyond ASCII are used where the first that is set names UTF-8"),
];

fn environment_help() -> String {
    let mut text = String::from("Environment:\n");
    for (name, meaning) in ENVIRONMENT {
        text.push_str(&format!("  {name:<22}  {meaning}\n"));
    }
    format!("{text}\n{}", Exit::help())
}

fn long_help() -> String {
    format!(
        "{}\nExamples:\n  journey demo --keep\n  journey show msg_abc123\n  journey summary --window 15m\n  journey list --slow --limit 10\n  journey live --json | jq 'select(.event == \"journey\").data.totalMs'\n  journey why order-1042 --store journey-events\n  journey events --failed --since 24h\n",
        environment_help()
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The page that explains this command line.
    fn handbook() -> String {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn the_handbook_lists_every_command_option_variable_and_exit_code() {
        let page = handbook();
        let missing = |text: String| assert!(page.contains(&text), "docs/command-line.md does not say {text}");
        for exit in Exit::ALL {
            missing(format!("| {} | {} |", exit.code(), exit.meaning()));
        }
        for (name, meaning) in ENVIRONMENT {
            missing(format!("| `{}` | {meaning} |", name.replace(", ", "`, `")));
        }
        let command = Cli::command();
        for sub in command.get_subcommands() {
            missing(format!("## `journey {}", sub.get_name()));
            for option in sub.get_arguments().chain(command.get_arguments()).filter_map(clap::Arg::get_long) {
                missing(format!("`--{option}"));
            }
        }
        for (keys, what) in crate::live::KEYS {
            missing(format!("| {keys} | {what} |"));
        }
    }

    #[test]
    fn wrong_values_are_named_with_a_right_example() {
        for (args, parts) in [
            (vec!["show", ""], vec!["correlation id is empty", "msg_abc123"]),
            (vec!["summary", "--window", "7m"], vec!["`7m` is not a window", "`15m`"]),
            (vec!["list", "--min-ms", "soon"], vec!["soon", "such as 2000"]),
            (vec!["list", "--stuck", "--failed"], vec!["cannot be used with"]),
            (vec!["list", "--limit", "0"], vec!["0 is not in 1..="]),
            (vec!["show"], vec!["<ID>"]),
            (vec!["events", "--since", "yesterday"], vec!["yesterday", "24h", "2026-11-20T10:00:00Z"]),
            (vec!["events", "--until", "-5m"], vec!["unexpected argument '-5'"]),
            (vec!["events", "--tag", "acme"], vec!["acme", "such as order=1042"]),
            (vec!["events", "--tag", "=x"], vec!["=x", "such as order=1042"]),
            (vec!["events", "--type", "stage failed"], vec!["stage failed", "such as stage:failed"]),
            (vec!["events", "--min-ms", "5"], vec!["--traces"]),
            (vec!["stats", "--days", "0"], vec!["'0'", "1 to 366", "such as 7"]),
            (vec!["stats", "--days", "week"], vec!["week", "such as 7"]),
            (vec!["stats", "--route", ""], vec!["the name is empty", "message"]),
            (vec!["watch", "order-1042", "--failed"], vec!["cannot be used with"]),
            (vec!["trace"], vec!["<ID>"]),
        ] {
            let error = Cli::try_parse_from([&["journey"], &args[..]].concat()).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()));
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{args:?}: {text}");
        }
    }
}
