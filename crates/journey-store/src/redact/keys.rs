//! Which keys name a secret, and which an id?

use std::collections::BTreeSet;

/// A key that contains one of these names a secret, wherever in it they stand. Lower case, letters and digits only.
const ANYWHERE: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "apikey",
    "authorization",
    "cookie",
    "creditcard",
    "cardnumber",
    "cardno",
    "cvv",
    "cvc",
    "privatekey",
    "accesskey",
    "signingkey",
    "encryptionkey",
    "socialsecurity",
    "credential",
    "bearer",
];

/// These stand inside innocent words (`className`), so they count as a word of their own, or at either end.
const AT_AN_END: &[&str] = &["ssn", "iban"];

/// These count as a whole word only: `pin_code`, but not `shipping`.
const WHOLE_WORD: &[&str] = &["pin", "otp", "jwt", "csrf", "xsrf"];

/// These count as the whole key only.
const WHOLE_KEY: &[&str] = &["auth", "pan", "pass"];

/// These hold an id though their name does not end in that word: `compensates` is the span that is undone, and one span in
/// some 20 000 has digits that satisfy Luhn's check.
const IDS: &[&str] = &["compensates"];

/// What the key of a value says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// Its value must go.
    Secret,
    /// Its value must go, but a number is a count of tokens.
    Token,
    /// An id: a number in it is no card.
    Id,
    /// Nothing special.
    Plain,
}

/// Words that were added, and keys that are left alone; both squeezed.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyRules {
    more: BTreeSet<String>,
    allowed: BTreeSet<String>,
}

impl KeyRules {
    pub(super) fn redact<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        // The empty word is part of every key.
        self.more.extend(words.into_iter().map(squeezed).filter(|word| !word.is_empty()));
    }

    pub(super) fn allow<'a>(&mut self, keys: impl IntoIterator<Item = &'a str>) {
        self.allowed.extend(keys.into_iter().map(squeezed));
    }

    pub(super) fn kind(&self, key: &str) -> KeyKind {
        let squeezed = squeezed(key);
        let is_id = last_word_is_id(key) || IDS.contains(&squeezed.as_str());
        let innocent = if is_id { KeyKind::Id } else { KeyKind::Plain };
        if self.allowed.contains(&squeezed) {
            return innocent;
        }
        let has = |word: &&str| squeezed.contains(*word);
        let ends = |word: &&str| squeezed.starts_with(*word) || squeezed.ends_with(*word);
        if ANYWHERE.iter().any(has)
            || AT_AN_END.iter().any(ends)
            || WHOLE_KEY.contains(&squeezed.as_str())
            || self.more.iter().any(|word| squeezed.contains(word))
            || words(key).iter().any(|word| WHOLE_WORD.contains(&word.as_str()) || AT_AN_END.contains(&word.as_str()))
        {
            return KeyKind::Secret;
        }
        if names_a_token(&squeezed) { KeyKind::Token } else { innocent }
    }
}

/// `token`, `accessToken`, `tokens`; not `tokenizer` and `tokenise`.
fn names_a_token(squeezed: &str) -> bool {
    squeezed.match_indices("token").any(|(at, token)| {
        let rest = &squeezed[at + token.len()..];
        !rest.starts_with("iz") && !rest.starts_with("is")
    })
}

fn last_word_is_id(key: &str) -> bool {
    let key = key.trim_end_matches(|c: char| !c.is_alphanumeric());
    let lower = |text: &str| text.to_ascii_lowercase();
    for id in ["id", "ids", "uuid", "uuids"] {
        let Some(before) = key.len().checked_sub(id.len()).and_then(|at| key.is_char_boundary(at).then_some(at)) else {
            continue;
        };
        let (head, tail) = key.split_at(before);
        if lower(tail) != id {
            continue;
        }
        // A word of its own: the key, `order_id`, `orderId`, `orderID`; not `paid` and `VALID`.
        let before = head.chars().next_back();
        let starts_upper = tail.starts_with(|c: char| c.is_ascii_uppercase());
        match before {
            None => return true,
            Some(c) if !c.is_alphanumeric() => return true,
            Some(c) if starts_upper && !c.is_uppercase() => return true,
            Some(_) => {}
        }
    }
    false
}

/// Lower case, letters and digits only.
fn squeezed(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The words of a key, lower case: split at separators and at humps (`userSSN`, `SSNOfUser`).
fn words(key: &str) -> Vec<String> {
    let chars: Vec<char> = key.chars().collect();
    let mut words = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        let hump = c.is_uppercase()
            && before.is_some_and(|before| !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()));
        if !c.is_alphanumeric() || hump {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_secrets_are_known_in_every_spelling() {
        let rules = KeyRules::default();
        for key in [
            "password",
            "PASSWORD",
            "pass-word",
            "user_password_hash",
            "Passwd",
            "X-Api-Key",
            "api key",
            "apiKey",
            "Authorization",
            "Set-Cookie",
            "creditCard",
            "credit_card_number",
            "CVV",
            "cvv2",
            "iban",
            "IBAN_code",
            "myIban",
            "privateKey",
            "PRIVATE-KEY",
            "ssn",
            "userSSN",
            "SSNOfUser",
            "user.ssn",
            "userssn",
            "client_secret",
            "pin",
            "pinCode",
            "auth",
            "pass",
            "aws_secret_access_key",
            "Pass\u{200b}word",
        ] {
            assert_eq!(rules.kind(key), KeyKind::Secret, "{key}");
        }
        for key in ["token", "accessToken", "csrf token value", "TOKENS", "promptTokens"] {
            assert!(matches!(rules.kind(key), KeyKind::Token | KeyKind::Secret), "{key}");
        }
    }

    #[test]
    fn innocent_keys_and_ids_are_left_alone() {
        let rules = KeyRules::default();
        for key in [
            "className",
            "shipping",
            "tokenizer",
            "lessNoise",
            "author",
            "passed",
            "compass",
            "spin",
            "paid",
            "valid",
            "GRID",
        ] {
            assert_eq!(rules.kind(key), KeyKind::Plain, "{key}");
        }
        for key in [
            "id",
            "ID",
            "_id",
            "correlationId",
            "order_id",
            "orderID",
            "trace-id",
            "messageIds",
            "user.uuid",
            "ids",
            "id_",
        ] {
            assert_eq!(rules.kind(key), KeyKind::Id, "{key}");
        }
        // An id of a secret may be the secret.
        assert_eq!(rules.kind("creditCardId"), KeyKind::Secret);
    }

    #[test]
    fn rules_can_be_added_and_lifted() {
        let mut rules = KeyRules::default();
        rules.redact(["e-mail", ""]);
        rules.allow(["cookie_consent", "secretId"]);
        assert_eq!(rules.kind("user_email"), KeyKind::Secret);
        assert_eq!(rules.kind("name"), KeyKind::Plain);
        assert_eq!(rules.kind("cookieConsent"), KeyKind::Plain);
        assert_eq!(rules.kind("cookie"), KeyKind::Secret);
        assert_eq!(rules.kind("SECRET-ID"), KeyKind::Id);
    }
}
