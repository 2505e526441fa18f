//! Texts as they stand on a terminal: nothing from outside can move the cursor, and every column is as wide as it looks.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::look::Look;

/// How many characters without width may follow one another: enough for any script, too few to paint over other lines.
const MAX_MARKS: usize = 4;

/// Makes a text from outside safe to show.
///
/// Control, escape, bidirectional and invisible characters become `\u{..}`, and so does everything beyond ASCII where
/// the terminal cannot show it. A backslash stays itself: this is for people, `--json` is for programs.
pub(crate) fn clean(text: &str, look: &Look) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    let mut before = None;
    for c in text.chars() {
        let joiner = matches!(c, '\u{200c}' | '\u{200d}');
        let mark = c.width() == Some(0);
        marks = if mark { marks + 1 } else { 0 };
        // A joiner or a mark needs something to stand on; behind ASCII a joiner only hides a difference.
        let misplaced =
            mark && (marks > MAX_MARKS || before.is_none() || (joiner && before.is_some_and(|b: char| b.is_ascii())));
        if is_hazard(c) || misplaced || !(look.unicode || c.is_ascii()) {
            shown.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            shown.push(c);
        }
        before = Some(c);
    }
    shown
}

/// Makes a JSON text safe to show without changing what it means: hazards can only stand inside its strings.
pub(crate) fn clean_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Line ends and tabs between tokens are layout; inside strings JSON itself forbids them.
        if is_hazard(c) && !matches!(c, '\n' | '\r' | '\t') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character could change how the rest of the screen is read.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text with spaces behind it up to `columns`; longer texts stay whole.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text with spaces before it up to `columns`; longer texts stay whole.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text cut to `columns`, with an ellipsis where something is gone.
pub(crate) fn fit(text: &str, columns: usize, look: &Look) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let ellipsis = look.pick("…", "..");
    let room = columns.saturating_sub(width(ellipsis));
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        if width(&cut) > room {
            cut.pop();
            break;
        }
    }
    // A column too narrow even for the ellipsis shows a part of it.
    let ellipsis: String = ellipsis.chars().take(columns).collect();
    cut + &ellipsis
}

/// The text in lines of at most `columns`, broken at spaces, or inside a word that is longer than a line.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| width(line));
        if line > 0 && line.saturating_add(1 + width(word)) > columns {
            lines.push(String::new());
        }
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            let full =
                lines.last().is_some_and(|line| width(line) + c.width().unwrap_or(0) > columns && !line.is_empty());
            if full {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    lines
}

/// A duration for people: `850 µs`, `52 ms`, `2.255 s`, `3 min 12 s`, `2 h 5 min`.
///
/// Below 10 ms one digit follows the point; whole values stay whole.
pub(crate) fn duration(ms: f64, look: &Look) -> String {
    let (sign, ms) = split_sign(ms);
    let text = if ms >= 59_999.5 {
        let seconds = (ms / 1_000.0).round() as u64;
        match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
            (0, minutes, 0) => format!("{minutes} min"),
            (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
            (hours, 0, _) => format!("{hours} h"),
            (hours, minutes, _) => format!("{hours} h {minutes} min"),
        }
    } else if ms >= 999.5 {
        let seconds = format!("{:.3}", ms / 1_000.0);
        format!("{} s", seconds.trim_end_matches('0').trim_end_matches('.'))
    } else {
        short(ms, look)
    };
    format!("{sign}{text}")
}

/// A duration that goes on while one reads: whole seconds from 10 s on.
pub(crate) fn rough_duration(ms: f64, look: &Look) -> String {
    duration(if ms >= 10_000.0 { (ms / 1_000.0).round() * 1_000.0 } else { ms }, look)
}

/// A duration in a column of durations: milliseconds up to 10 s, so that neighbours compare at a glance.
pub(crate) fn column_duration(ms: f64, look: &Look) -> String {
    let (sign, size) = split_sign(ms);
    if (9.95..9_999.5).contains(&size) {
        return format!("{sign}{} ms", size.round());
    }
    if (9_999.5..59_950.0).contains(&size) {
        return format!("{sign}{:.1} s", size / 1_000.0);
    }
    duration(ms, look)
}

fn short(ms: f64, look: &Look) -> String {
    if ms == 0.0 {
        "0 ms".to_owned()
    } else if ms < 0.9995 {
        format!("{} {}", (ms * 1_000.0).round(), look.pick("µs", "us"))
    } else if ms < 9.95 {
        let text = format!("{ms:.1}");
        format!("{} ms", text.trim_end_matches(".0"))
    } else {
        format!("{} ms", ms.round())
    }
}

fn split_sign(ms: f64) -> (&'static str, f64) {
    if !ms.is_finite() {
        return ("", 0.0);
    }
    if ms < 0.0 { ("-", -ms) } else { ("", ms) }
}

/// A share from 0 to 1: `48 %`; a small share that is not 0 is `<1 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = (share * 100.0).round();
    if share > 0.0 && percent == 0.0 { "<1 %".to_owned() } else { format!("{percent} %") }
}

/// A number with thousands apart: `12 345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// What a window is called in a sentence: `the last 5 min`, `since start`.
pub(crate) fn window(name: &str) -> &str {
    match name {
        "1m" => "the last minute",
        "5m" => "the last 5 min",
        "15m" => "the last 15 min",
        "1h" => "the last hour",
        "start" => "the time since start",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTF8: Look = Look { width: 100, color: false, unicode: true };
    const ASCII: Look = Look { unicode: false, ..UTF8 };

    #[test]
    fn nothing_from_outside_moves_the_cursor_or_turns_the_line() {
        for (hostile, shown) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r\tc", "a\\u{a}b\\u{d}\\u{9}c"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("a\u{202e}txt", "a\\u{202e}txt"),
            ("a\u{2066}b\u{200b}\u{feff}", "a\\u{2066}b\\u{200b}\\u{feff}"),
            ("msg\u{200d}_1", "msg\\u{200d}_1"),
            ("\u{301}a", "\\u{301}a"),
            ("👩\u{200d}💻 ok", "👩\u{200d}💻 ok"),
            ("é日本", "é日本"),
        ] {
            assert_eq!(clean(hostile, &UTF8), shown);
        }
        assert_eq!(clean("é", &ASCII), "\\u{e9}");
        let piled = format!("a{}", "\u{301}".repeat(50));
        assert_eq!(clean(&piled, &UTF8).matches('\u{301}').count(), MAX_MARKS);
    }

    #[test]
    fn json_keeps_its_meaning_when_hazards_are_written_as_escapes() {
        let value = serde_json::json!({ "id": "a\u{202e}\u{9b}\u{7f}\u{e0041}é\u{1b}" });
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shown = clean_json(&json);
        assert!(!shown.chars().any(|c| is_hazard(c) && c != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn wide_characters_count_as_they_look() {
        assert_eq!(pad("日本", 6), "日本  ");
        assert_eq!(fit("日本語です", 6, &UTF8), "日本…");
        assert_eq!(fit("abcdef", 4, &ASCII), "ab..");
        assert_eq!(fit("abcdef", 1, &ASCII), ".");
        assert_eq!(fit("abcdef", 6, &UTF8), "abcdef");
    }

    #[test]
    fn long_lines_break_at_spaces_and_long_words_inside() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 5), ["abcde", "fgh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("a b", usize::MAX), ["a b"]);
    }

    #[test]
    fn durations_read_the_same_everywhere() {
        for (ms, text, column) in [
            (0.0, "0 ms", "0 ms"),
            (0.0004, "0 µs", "0 µs"),
            (0.85, "850 µs", "850 µs"),
            (0.9996, "1 ms", "1 ms"),
            (1.24, "1.2 ms", "1.2 ms"),
            (9.96, "10 ms", "10 ms"),
            (127.4, "127 ms", "127 ms"),
            (-35.0, "-35 ms", "-35 ms"),
            (1000.0, "1 s", "1000 ms"),
            (2255.0, "2.255 s", "2255 ms"),
            (12_345.0, "12.345 s", "12.3 s"),
            (59_999.9, "1 min", "1 min"),
            (192_000.0, "3 min 12 s", "3 min 12 s"),
            (7_500_000.0, "2 h 5 min", "2 h 5 min"),
            (f64::NAN, "0 ms", "0 ms"),
        ] {
            assert_eq!((duration(ms, &UTF8).as_str(), column_duration(ms, &UTF8).as_str()), (text, column), "{ms}");
        }
        assert_eq!(duration(0.85, &ASCII), "850 us");
        assert_eq!(
            (rough_duration(49_807.0, &UTF8), rough_duration(9_807.0, &UTF8)),
            ("50 s".into(), "9.807 s".into())
        );
    }

    #[test]
    fn numbers_and_shares_read_well() {
        assert_eq!((count(7), count(12_345), count(1_234_567)), ("7".into(), "12 345".into(), "1 234 567".into()));
        assert_eq!((percent(0.483), percent(0.001), percent(0.0)), ("48 %".into(), "<1 %".into(), "0 %".into()));
    }
}
