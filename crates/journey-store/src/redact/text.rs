//! Which parts of a text look like a secret?

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};

use super::{REDACTED, cards::find_cards};

/// One form of secret.
struct Form {
    pattern: &'static str,
    /// What stands in its place.
    replace: fn(&Captures<'_>) -> String,
}

/// In this order: a header's value goes to the end of its line, before `key=value` could take a part of it.
const FORMS: [Form; 7] = [
    Form { pattern: r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*-----|\z)", replace: all },
    Form {
        pattern: r#"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s*[:=]\s*\\*["']?)[^\r\n"'\\]+"#,
        replace: value,
    },
    // A JSON Web Token: `{"` in base64 is `eyJ`.
    Form { pattern: r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}", replace: all },
    Form { pattern: r"(?i)\b(bearer|basic)(\s+)([A-Za-z0-9._~+/-]{6,}=*)", replace: scheme },
    Form { pattern: r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@?#]*)(:)[^\s/@?#]+@", replace: password_of_url },
    Form {
        pattern: concat!(
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{20,}",
            r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\b[prs]k_(?:live|test)_[A-Za-z0-9]{10,}|\bAIza[A-Za-z0-9_-]{30,}|\bsk-[A-Za-z0-9_-]{20,}",
        ),
        replace: all,
    },
    Form {
        pattern: concat!(
            r"(?i)((?:password|passwd|passphrase|passcode|pwd|secret|token|api[_. -]?key|private[_. -]?key|access[_. -]?key",
            r"|credential|credit[_. -]?card|cvv2?|cvc2?|\biban|\bssn)[a-z0-9_-]{0,32})",
            r#"(\\*["']?\s*[:=]\s*\\*)("(?:[^"\\]|\\.)*"?|'[^']*'?|\[redacted\]|[^\s&;,"'}\])]+)"#
        ),
        replace: value,
    },
];

/// No form without `:` or `=` is shorter, and no card.
const SHORTEST: usize = 11;

/// Which forms occur: one pass over the text.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    let any = RegexSet::new(FORMS.iter().map(|form| form.pattern));
    any.unwrap_or_else(|error| unreachable!("the patterns are constant: {error}"))
});

static EACH: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let regex = |form: &Form| Regex::new(form.pattern);
    FORMS
        .iter()
        .map(regex)
        .map(|regex| regex.unwrap_or_else(|error| unreachable!("the patterns are constant: {error}")))
        .collect()
});

/// The text without its secrets, and how many there were. `is_id`: numbers in it are no cards.
pub(super) fn clean_text(text: &str, is_id: bool) -> (Cow<'_, str>, u64) {
    let mut count = 0;
    let mut clean = Cow::Borrowed(text);
    if text.len() < SHORTEST && !text.contains([':', '=']) {
        return (clean, 0);
    }
    // What one form replaces can hide another, never make one: those that occurred at first are tried in order.
    for form in ANY.matches(text) {
        let replace = |captures: &Captures<'_>| {
            let replaced = (FORMS[form].replace)(captures);
            count += u64::from(replaced != captures[0]);
            replaced
        };
        if let Cow::Owned(replaced) = EACH[form].replace_all(&clean, replace) {
            clean = Cow::Owned(replaced);
        }
    }
    if !is_id {
        let cards = find_cards(&clean);
        if !cards.is_empty() {
            count += cards.len() as u64;
            let mut without = clean.into_owned();
            for card in cards.into_iter().rev() {
                without.replace_range(card, REDACTED);
            }
            clean = Cow::Owned(without);
        }
    }
    (clean, count)
}

fn all(_: &Captures<'_>) -> String {
    REDACTED.to_owned()
}

/// Key and separator stay.
fn value(found: &Captures<'_>) -> String {
    format!("{}{}{REDACTED}", &found[1], &found[2])
}

fn password_of_url(found: &Captures<'_>) -> String {
    format!("{}{}{REDACTED}@", &found[1], &found[2])
}

/// `Bearer` is always followed by a secret; `basic` is a word of plain English too, but base64 is not.
fn scheme(found: &Captures<'_>) -> String {
    let is_word = found[3].bytes().all(|byte| byte.is_ascii_lowercase());
    if is_word && found[1].eq_ignore_ascii_case("basic") {
        return found[0].to_owned();
    }
    format!("{}{}{REDACTED}", &found[1], &found[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        clean_text(text, false).0.into_owned()
    }

    #[test]
    fn secrets_go_and_the_sentence_around_them_stays() {
        for (text, expected) in [
            ("refused: Authorization: Bearer abc.def.ghi\nnext", "refused: Authorization: [redacted]\nnext"),
            ("sent bearer abcdef12", "sent bearer [redacted]"),
            ("Basic dXNlcjpwYXNz failed", "Basic [redacted] failed"),
            ("basic functionality failed", "basic functionality failed"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln ok", "jwt [redacted] ok"),
            ("postgres://app:hunter2@db:5432/x is away", "postgres://app:[redacted]@db:5432/x is away"),
            ("GET /x?token=abc&page=2", "GET /x?token=[redacted]&page=2"),
            ("login failed: password='hunter 2', user=ada", "login failed: password=[redacted], user=ada"),
            (r#"body {"api_key": "a\"b", "n": 1}"#, r#"body {"api_key": [redacted], "n": 1}"#),
            (r#"body {\"password\":\"x\"}"#, r#"body {\"password\":\[redacted]"#),
            ("Set-Cookie: sid=1; HttpOnly", "Set-Cookie: [redacted]"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x", "[redacted] x"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
            ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted] used"),
            ("with ghp_0123456789abcdefghij0123", "with [redacted]"),
            ("card 4111-1111-1111-1111 declined", "card [redacted] declined"),
            ("connection refused (os error 111)", "connection refused (os error 111)"),
            ("unexpected end of file at line 3 column 17", "unexpected end of file at line 3 column 17"),
        ] {
            assert_eq!(clean(text), expected);
            assert_eq!(clean(&clean(text)), expected, "twice");
        }
    }

    #[test]
    fn an_id_is_no_card_but_may_be_a_token() {
        assert_eq!(clean_text("4111111111111111", true).0, "4111111111111111");
        assert_eq!(clean_text("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", true).0, REDACTED);
    }
}
