//! How output looks here: width, colour and characters of this terminal, decided once.

use std::io::IsTerminal as _;

use clap::ValueEnum;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Width, colour and characters of the place where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns; [`Look::UNLIMITED`] where output is not a terminal.
    pub(crate) width: usize,
    /// Whether to colour. Colour never says anything that the characters do not.
    pub(crate) color: bool,
    /// Whether characters beyond ASCII can be shown.
    pub(crate) unicode: bool,
}

impl Look {
    /// Nothing is cut: a file or a pipe has no width.
    pub(crate) const UNLIMITED: usize = usize::MAX;

    /// How standard output looks.
    pub(crate) fn of_stdout(when: ColorWhen, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let columns = terminal.then(|| ratatui::crossterm::terminal::size().ok()).flatten().map(|(columns, _)| columns);
        Self::resolve(when, terminal, columns, env)
    }

    /// Decides from facts that are passed in. An empty variable counts as unset.
    fn resolve(when: ColorWhen, terminal: bool, columns: Option<u16>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let color = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto if env("NO_COLOR").is_some() => false,
            ColorWhen::Auto if env("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            ColorWhen::Auto => terminal && env("TERM").is_none_or(|term| term != "dumb"),
        };
        // `COLUMNS` set by hand wins, so that a report can be made for another width.
        let asked = env("COLUMNS").and_then(|value| value.parse::<usize>().ok());
        let width = asked.or(columns.map(usize::from)).filter(|width| *width > 0).unwrap_or(Self::UNLIMITED);
        // The first of the three that is set decides, as in every other program.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(env).unwrap_or_default().to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8") || (cfg!(windows) && locale.is_empty());
        Self { width, color, unicode }
    }

    /// The first text where it can be shown, else the second.
    pub(crate) fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(when: ColorWhen, terminal: bool, env: &[(&str, &str)]) -> Look {
        Look::resolve(when, terminal, terminal.then_some(100), &|name| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn color_follows_flag_then_no_color_then_force_then_terminal() {
        use ColorWhen::{Always, Auto, Never};
        for (when, terminal, env, expected) in [
            (Auto, true, &[][..], true),
            (Auto, false, &[], false),
            (Auto, true, &[("NO_COLOR", "1")], false),
            (Auto, true, &[("NO_COLOR", "")], true),
            (Auto, true, &[("TERM", "dumb")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Auto, false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (Always, false, &[("NO_COLOR", "1")], true),
            (Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ] {
            assert_eq!(look(when, terminal, env).color, expected, "{when:?} {terminal} {env:?}");
        }
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides_the_characters() {
        for (env, expected) in [
            (&[][..], cfg!(windows)),
            (&[("LANG", "en_US.UTF-8")], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")], false),
            (&[("LANG", "en_US.UTF-8"), ("LC_CTYPE", "de_DE.ISO-8859-1")], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], true),
        ] {
            assert_eq!(look(ColorWhen::Auto, true, env).unicode, expected, "{env:?}");
        }
    }

    #[test]
    fn a_pipe_has_no_width_unless_it_is_given() {
        assert_eq!(look(ColorWhen::Auto, false, &[]).width, Look::UNLIMITED);
        assert_eq!(look(ColorWhen::Auto, true, &[]).width, 100);
        assert_eq!(look(ColorWhen::Auto, false, &[("COLUMNS", "60")]).width, 60);
        assert_eq!(look(ColorWhen::Auto, true, &[("COLUMNS", "wide")]).width, 100);
    }
}
