//! Text with tones: written once, shown as plain text, with terminal colours, or inside the full-screen view.

use std::fmt::Write as _;

use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use crate::{
    look::Look,
    text::{width, wrap},
};

/// Lines of text with tones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    lines: Vec<Vec<Piece>>,
}

/// What a piece of text means. The characters say it too: a tone only helps the eye.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// Of less interest.
    Faint,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Failed or lost.
    Bad,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    tone: Tone,
    text: String,
}

impl Page {
    /// Starts a new line.
    pub(crate) fn line(&mut self) -> &mut Self {
        self.lines.push(Vec::new());
        self
    }

    /// Adds to the last line.
    pub(crate) fn put(&mut self, tone: Tone, text: impl Into<String>) -> &mut Self {
        let text = text.into();
        if self.lines.is_empty() {
            self.line();
        }
        if let Some(line) = self.lines.last_mut().filter(|_| !text.is_empty()) {
            line.push(Piece { tone, text });
        }
        self
    }

    /// A whole line of one tone.
    pub(crate) fn say(&mut self, tone: Tone, text: impl Into<String>) -> &mut Self {
        self.line().put(tone, text)
    }

    /// A text in lines of at most `columns`, all of one tone.
    pub(crate) fn paragraph(&mut self, tone: Tone, text: &str, columns: usize) -> &mut Self {
        for line in wrap(text, columns) {
            self.say(tone, line);
        }
        self
    }

    /// Adds parts with something between them to a new line, and goes on beneath where the terminal ends.
    pub(crate) fn parts(&mut self, indent: usize, parts: Vec<(Tone, String)>, look: &Look) -> &mut Self {
        let between = look.pick(" · ", " - ");
        let mut column = indent;
        self.line().put(Tone::Plain, " ".repeat(indent));
        for (index, (tone, part)) in parts.into_iter().enumerate() {
            if index > 0 {
                self.put(Tone::Faint, between);
                column += width(between);
                if column.saturating_add(width(&part)) > look.width {
                    self.line().put(Tone::Plain, " ".repeat(indent));
                    column = indent;
                }
            }
            column += width(&part);
            self.put(tone, part);
        }
        self
    }

    /// Adds all lines of another page.
    pub(crate) fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The page as text, each line with its end and without spaces before it.
    pub(crate) fn to_text(&self, look: &Look) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let start = text.len();
            for piece in line {
                match piece.tone.sgr().filter(|_| look.color) {
                    Some(sgr) => {
                        let _ = write!(text, "\x1b[{sgr}m{}\x1b[0m", piece.text);
                    }
                    None => text.push_str(&piece.text),
                }
            }
            text.truncate(start + text[start..].trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }

    /// The page for the full-screen view.
    pub(crate) fn to_lines(&self, look: &Look) -> Vec<Line<'static>> {
        let spans = |line: &Vec<Piece>| -> Vec<Span<'static>> {
            line.iter().map(|piece| Span::styled(piece.text.clone(), piece.tone.style(look))).collect()
        };
        self.lines.iter().map(|line| Line::from(spans(line))).collect()
    }
}

impl Tone {
    /// The tone as a style of the full-screen view.
    pub(crate) fn style(self, look: &Look) -> Style {
        let style = match self {
            Self::Plain => return Style::new(),
            Self::Strong => return Style::new().add_modifier(Modifier::BOLD),
            Self::Faint => Style::new().add_modifier(Modifier::DIM),
            Self::Good => Style::new().fg(Color::Green),
            Self::Warn => Style::new().fg(Color::Yellow),
            Self::Bad => Style::new().fg(Color::Red),
        };
        if look.color { style } else { Style::new() }
    }

    fn sgr(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_around_the_same_characters() {
        let mut page = Page::default();
        page.put(Tone::Good, "ok").put(Tone::Plain, " rest   ").line().say(Tone::Bad, "lost");
        let plain = Look { width: 80, color: false, unicode: true };
        let coloured = Look { color: true, ..plain };
        assert_eq!(page.to_text(&plain), "ok rest\n\nlost\n");
        assert_eq!(page.to_text(&coloured), "\x1b[32mok\x1b[0m rest\n\n\x1b[31mlost\x1b[0m\n");
        assert_eq!(page.to_lines(&plain)[0].spans[0].style, Style::new());
    }
}
