//! How is text from outside shown safely, and how are durations and lists said in words?

use serde_json::Value;

/// The longest name shown, in characters.
pub(crate) const NAME: usize = 96;
/// The longest sentence from outside shown, in characters.
pub(crate) const SENTENCE: usize = 300;
/// How deep a nested value is shown; deeper parts are `...`.
const DEEPEST: usize = 3;

const MILLI: f64 = 1e6;

/// Text from outside, cut to `most` characters, on one line, with nothing in it that moves a cursor or hides.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most) + 4);
    for (index, c) in text.chars().enumerate() {
        if index == most {
            shown.push('…');
            break;
        }
        push_clean(c, &mut shown);
    }
    shown
}

fn push_clean(c: char, shown: &mut String) {
    // Besides control characters: those that turn the direction of the text, have no width or start a new line.
    let hides = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    match c {
        '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
        _ if c.is_control() || hides => shown.extend(c.escape_unicode()),
        _ => shown.push(c),
    }
}

/// A name in backticks.
pub(crate) fn named(name: &str) -> String {
    format!("`{}`", name.replace('`', "'"))
}

/// What somebody or something said, in quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "'"))
}

/// A value in plain words: a text as it is, numbers, lists as `a, b`, objects as `{key: value}`.
pub(crate) fn plain(value: &Value, most: usize) -> String {
    let mut text = String::new();
    write_plain(value, DEEPEST, most.saturating_add(1), &mut text);
    clean(&text, most)
}

fn write_plain(value: &Value, depth: usize, most: usize, text: &mut String) {
    match value {
        // Cut at the start already: it may be a megabyte.
        Value::String(value) => text.extend(value.chars().take(most)),
        Value::Array(_) | Value::Object(_) if depth == 0 => text.push_str("..."),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                if text.len() > most * 4 {
                    return;
                }
                text.push_str(if index > 0 { ", " } else { "" });
                write_plain(value, depth - 1, most, text);
            }
        }
        Value::Object(values) => {
            text.push('{');
            for (index, (key, value)) in values.iter().enumerate() {
                if text.len() > most * 4 {
                    return;
                }
                text.push_str(if index > 0 { ", " } else { "" });
                text.extend(key.chars().take(most));
                text.push_str(": ");
                write_plain(value, depth - 1, most, text);
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

/// Nanoseconds as milliseconds.
pub(crate) fn millis(nanos: i64) -> f64 {
    nanos as f64 / MILLI
}

/// Milliseconds in words, with about three digits: `0.35 ms`, `310 ms`, `1.84 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`.
pub(crate) fn long(ms: f64) -> String {
    let parts = |whole: f64, per: f64, big: &str, small: &str| {
        let (big_count, rest) = ((whole / per).trunc(), (whole % per).trunc());
        if rest == 0.0 { format!("{big_count} {big}") } else { format!("{big_count} {big} {rest} {small}") }
    };
    let size = ms.abs();
    let seconds = size / 1e3;
    let text = match size {
        _ if size == 0.0 => "0 ms".to_owned(),
        ..0.01 => "less than 0.01 ms".to_owned(),
        ..999.5 => format!("{} ms", digits(size)),
        ..59_950.0 => format!("{} s", digits(seconds)),
        ..3_599_500.0 => parts(seconds.round(), 60.0, "min", "s"),
        ..86_370_000.0 => parts((seconds / 60.0).round(), 60.0, "h", "min"),
        _ => parts((seconds / 3_600.0).round(), 24.0, "d", "h"),
    };
    if ms < 0.0 { format!("minus {text}") } else { text }
}

/// Three digits, without zeros at the end of a fraction.
fn digits(number: f64) -> String {
    let decimals = match number {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An instant in words: `2026-11-20 at 10:00:02.255 UTC`.
pub(crate) fn when(rfc3339: &str) -> String {
    rfc3339.replacen('T', " at ", 1).replace('Z', " UTC")
}

/// `a`, `a and b`, `a, b and c`, `a, b and 7 more`: at most `most` of them, or one more.
pub(crate) fn list(entries: &[String], most: usize) -> String {
    // Naming the last one takes no more room than saying that there is one more.
    let most = if entries.len() == most + 1 { entries.len() } else { most };
    let more = entries.len().saturating_sub(most);
    let mut shown: Vec<String> = entries.iter().take(most).cloned().collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// `1 step`, `3 steps`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_move_a_cursor_is_shown_and_not_done() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\u{202e}d", 99), r"a\u{1b}[2Jb\r\nc\u{202e}d");
        assert_eq!(clean("größer", 99), "größer");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
    }

    #[test]
    fn values_are_said_plainly_whatever_their_size_and_depth() {
        assert_eq!(plain(&json!("air"), 9), "air");
        assert_eq!(plain(&json!({"carrier": "dhl", "days": [1, 2]}), 99), "{carrier: dhl, days: 1, 2}");
        assert_eq!(plain(&json!([[[[1]]]]), 99), "...");
        assert_eq!(plain(&json!("x".repeat(1 << 20)), 4), "xxxx…");
        let long = Value::Array(vec![json!("entry"); 1_000_000]);
        assert_eq!(plain(&long, 8), "entry, e…");
    }

    #[test]
    fn durations_read_like_a_person_says_them() {
        let said = [
            (0.0, "0 ms"),
            (0.001, "less than 0.01 ms"),
            (0.35, "0.35 ms"),
            (12.0, "12 ms"),
            (12.44, "12.4 ms"),
            (999.4, "999 ms"),
            (999.6, "1 s"),
            (1_840.0, "1.84 s"),
            (59_960.0, "1 min"),
            (125_000.0, "2 min 5 s"),
            (3_599_600.0, "1 h"),
            (11_520_000.0, "3 h 12 min"),
            (187_200_000.0, "2 d 4 h"),
            (-5.0, "minus 5 ms"),
        ];
        for (ms, text) in said {
            assert_eq!(long(ms), text, "{ms}");
        }
    }

    #[test]
    fn lists_end_with_and() {
        let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!(list(&names[..1], 9), "a");
        assert_eq!(list(&names[..2], 9), "a and b");
        assert_eq!(list(&names, 3), "a, b, c and d");
        assert_eq!(list(&names, 2), "a, b and 2 more");
        assert_eq!(list(&[], 2), "");
    }
}
