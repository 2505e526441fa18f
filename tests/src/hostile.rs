//! Texts that try to break out of every place where they could be shown.

/// A text and what it attacks.
#[derive(Clone, Copy, Debug)]
pub struct Hostile {
    /// What it attacks.
    pub attacks: &'static str,
    /// The text.
    pub text: &'static str,
    /// Whether it is a correlation id: at most 128 bytes, no control characters.
    pub is_id: bool,
}

const fn id(attacks: &'static str, text: &'static str) -> Hostile {
    Hostile { attacks, text, is_id: true }
}

const fn no_id(attacks: &'static str, text: &'static str) -> Hostile {
    Hostile { attacks, text, is_id: false }
}

/// All of them.
pub const CORPUS: &[Hostile] = &[
    id("html", "<script>alert(1)</script>"),
    id("html attribute", "\" onmouseover=\"alert(1)"),
    id("html entity", "&lt;&#60;&amp;"),
    id("json string", "a\"b\\c\\u0000"),
    id("json end", "\"}],\"status\":\"completed\",\"x\":[{\""),
    id("prometheus label", "a\"} 1 journey_fake{x=\"\\"),
    id("prometheus escape", "back\\slash\\nand\\\"quote"),
    id("open metrics exemplar", "x # {trace_id=\"0\"} 1"),
    id("log line", "level=error msg=forged correlation_id=other"),
    id("sse field", "data: forged"),
    id("url path", "../../../../etc/passwd"),
    id("url query", "a?b=c&d=e#f%2e%2e%2f"),
    id("url encoding", "%00%0d%0a%ff%zz"),
    id("sql", "'; DROP TABLE events; --"),
    id("shell", "$(touch /tmp/x)`id`;|&"),
    id("format string", "%s%n%x{}{0}{:?}"),
    id("command option", "--help"),
    id("right to left override", "abc\u{202e}gpj.exe"),
    id("zero width", "a\u{200b}b\u{2060}c\u{feff}"),
    id("combining marks", "e\u{301}\u{302}\u{303}\u{304}\u{305}"),
    id("wide characters", "消息編號一二三🦀👩‍👩‍👧‍👦"),
    id("line separator", "a\u{2028}b\u{2029}c"),
    id("noncharacter", "a\u{fffe}b\u{10ffff}"),
    id("only spaces", "   "),
    id("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    id("object key", "__proto__"),
    id(
        "longest",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
    no_id("terminal colour", "\u{1b}[31mred\u{1b}[0m"),
    no_id("terminal title", "\u{1b}]0;owned\u{7}"),
    no_id("terminal clear", "\u{1b}[2J\u{1b}[H"),
    no_id("terminal C1", "a\u{9b}31mb"),
    no_id("line feed", "a\nlevel=error forged"),
    no_id("carriage return", "real\rforged"),
    no_id("sse event", "x\n\nevent: journey\ndata: {}\n\n"),
    no_id("http header", "a\r\nSet-Cookie: x=1\r\n\r\n<html>"),
    no_id("nul", "a\0b"),
    no_id("delete", "a\u{7f}b"),
    no_id("backspace", "real\u{8}\u{8}\u{8}\u{8}forged"),
    no_id("empty", ""),
    no_id(
        "too long",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
];

/// Texts that are taken as correlation ids.
pub fn ids() -> impl Iterator<Item = Hostile> {
    CORPUS.iter().copied().filter(|hostile| hostile.is_id)
}

/// Texts that must be refused as correlation ids.
pub fn refused() -> impl Iterator<Item = Hostile> {
    CORPUS.iter().copied().filter(|hostile| !hostile.is_id)
}

/// The first character that does something to a terminal, apart from line feeds.
pub fn terminal_control(output: &str) -> Option<char> {
    output.chars().find(|c| c.is_control() && *c != '\n')
}

#[cfg(test)]
mod tests {
    use journey_core::CorrelationId;

    use super::*;

    #[test]
    fn the_corpus_says_right_which_texts_are_ids() {
        for hostile in CORPUS {
            assert_eq!(CorrelationId::new(hostile.text).is_ok(), hostile.is_id, "{}", hostile.attacks);
        }
    }
}
