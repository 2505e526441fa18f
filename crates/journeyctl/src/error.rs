//! How a command ends: one list of exit codes, and errors that say what to do next.

use std::{fmt, io, process::ExitCode};

/// How a command ended. The one list behind the process exit code, `--help` and `docs/command-line.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked; a reader that closes the pipe early is no error.
    Ok,
    /// The thing asked for is not there, or a check failed.
    NotFound,
    /// The command line or an environment variable is wrong.
    Usage,
    /// Nothing answers at the address, or no store is there.
    Unreachable,
    /// The server answered and refused, or the store cannot answer.
    Refused,
    /// The answer makes no sense, or something failed here.
    Unexpected,
    /// Stopped by Ctrl-C.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

/// Why a command could not do what was asked.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Which exit code it means.
    pub(crate) exit: Exit,
    /// What went wrong, with name and value. One line, lower case, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whether it may go away by itself, so that trying again makes sense.
    pub(crate) passing: bool,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub(crate) const ALL: [Self; 8] = [
        Self::Ok,
        Self::NotFound,
        Self::Usage,
        Self::Unreachable,
        Self::Refused,
        Self::Unexpected,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The process exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotFound => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Unexpected => 5,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The word in errors as JSON.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Unexpected => "unexpected",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// What the code means, for people.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done (also when the reader of a pipe closed it early)",
            Self::NotFound => "not found, or a check failed",
            Self::Usage => "wrong command line, environment variable or value",
            Self::Unreachable => "nothing answers at the address, or no store is there",
            Self::Refused => "the server refused (401, 403, 429, 501, 503), or the store cannot answer",
            Self::Unexpected => "unexpected answer, or a failure of this program's input or output",
            Self::Interrupted => "stopped by Ctrl-C",
            Self::Terminated => "stopped by SIGTERM",
        }
    }

    /// The list as it stands at the end of `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            text.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl CliError {
    /// An error without a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, passing: exit == Exit::Unreachable }
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that it may go away by itself.
    #[must_use]
    pub(crate) fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// The error as one JSON object, for `--json`.
    pub(crate) fn json(&self) -> String {
        let error = serde_json::json!({
            "kind": self.exit.kind(),
            "message": self.message,
            "hint": self.hint,
            "exitCode": self.exit.code(),
        });
        serde_json::json!({ "error": error }).to_string()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n{hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

impl From<io::Error> for CliError {
    /// A closed pipe is no error: the reader has seen enough.
    fn from(error: io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::Ok } else { Exit::Unexpected };
        Self::new(exit, format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_listed_once_in_help() {
        let help = Exit::help();
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes.len(), Exit::ALL.len());
        for exit in Exit::ALL {
            assert_eq!(help.matches(&format!("{:>3}  {}", exit.code(), exit.meaning())).count(), 1, "{help}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert_eq!(CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, Exit::Ok);
        assert_eq!(CliError::from(io::Error::from(io::ErrorKind::StorageFull)).exit, Exit::Unexpected);
    }
}
