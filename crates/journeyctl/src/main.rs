//! The `journey` command.
//!
//! | module | question it answers |
//! |---|---|
//! | `cli` | what can be asked? |
//! | `error` | how does a command end, and what does it say then? |
//! | `look` | how wide, how colourful, which characters? |
//! | `client`, `sse` | what does the endpoint say? |
//! | `source`, `local` | who is asked about stored events, and how is a store asked without a service? |
//! | `text`, `page`, `table` | how does a text from outside become safe, aligned lines? |
//! | `plan`, `show` | how does one journey read? |
//! | `summary`, `list`, `check_route` | how do the other documents read? |
//! | `stored` | what do stored events say? |
//! | `live`, `watch`, `lines` | what is happening now? |
//! | `signals` | does somebody want us to stop? |
//! | `demo` | what does all this look like with real messages? |

mod check_route;
mod cli;
mod client;
mod commands;
mod demo;
mod error;
mod lines;
mod list;
mod live;
mod local;
mod look;
mod page;
mod plan;
mod show;
mod signals;
mod source;
mod sse;
mod stored;
mod summary;
mod table;
mod text;
mod watch;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use self::{
    cli::Cli,
    error::{CliError, Exit},
    look::Look,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let env = |name: &str| std::env::var(name).ok();
    let look = Look::of_stdout(cli.global.color, &env);
    let json = cli.global.json;
    // Not locked here: the demo's own threads write too.
    let ended = commands::run(cli, &look, &env, &mut io::stdout());
    ended.unwrap_or_else(|error| complain(&error, json, &look)).into()
}

/// Says on standard error what went wrong. Nothing is said where the reader of a pipe has seen enough.
fn complain(error: &CliError, json: bool, look: &Look) -> Exit {
    if error.exit == Exit::Ok {
        return Exit::Ok;
    }
    let look = Look { color: look.color && io::stderr().is_terminal(), ..*look };
    let text = if json { text::clean_json(&error.json()) + "\n" } else { error_page(error, &look).to_text(&look) };
    // Where even this cannot be written, the exit code still says it.
    let _ = io::stderr().write_all(text.as_bytes());
    error.exit
}

fn error_page(error: &CliError, look: &Look) -> page::Page {
    let mut page = page::Page::default();
    // An error of a TOML file shows the place in several lines.
    for (index, line) in error.message.trim_end().lines().enumerate() {
        page.line();
        if index == 0 {
            page.put(page::Tone::Bad, "error: ");
        }
        page.put(page::Tone::Plain, text::clean(line, look));
    }
    if let Some(hint) = &error.hint {
        page.say(page::Tone::Plain, format!("hint: {}", text::clean(hint, look)));
    }
    page
}
