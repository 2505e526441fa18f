//! Where in a text is the number of a payment card?

use std::ops::Range;

/// Digits of a card number, ISO/IEC 7812.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// More characters than this between two digits separate two numbers.
const MAX_SEPARATORS: usize = 3;

/// Digits that stand together without a separator.
struct Group {
    /// Bytes of the text.
    place: Range<usize>,
    /// Which digits of the run.
    digits: Range<usize>,
}

/// Groups of digits with nothing but separators between them.
#[derive(Default)]
struct Run {
    digits: Vec<u8>,
    groups: Vec<Group>,
    /// Separators since the last digit.
    separators: usize,
}

/// The places of card numbers in a text, in order and apart from each other.
///
/// A number is taken for a card if whole groups of digits together have 13 to 19 digits, satisfy Luhn's check and begin as
/// cards do. Of a group that is longer than any card, its beginning counts too: a card with its expiry date run together.
pub(super) fn find_cards(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // Most texts have fewer digits than a card: one pass over bytes settles it.
    if text.is_ascii() && text.bytes().filter(u8::is_ascii_digit).count() < *CARD_DIGITS.start() {
        return found;
    }
    let mut run = Run::default();
    for (at, c) in text.char_indices() {
        if let Some(digit) = digit(c) {
            run.push(digit, at..at + c.len_utf8());
        } else if is_separator(c) && run.separators < MAX_SEPARATORS {
            run.separators += 1;
        } else {
            run.finish(&mut found);
        }
    }
    run.finish(&mut found);
    found
}

/// Whether digits alone are a card number.
pub(super) fn is_card(digits: &[u8]) -> bool {
    CARD_DIGITS.contains(&digits.len()) && begins_like_a_card(digits) && satisfies_luhn(digits)
}

impl Run {
    fn push(&mut self, digit: u8, place: Range<usize>) {
        let at = self.digits.len();
        self.digits.push(digit);
        match self.groups.last_mut() {
            Some(group) if self.separators == 0 => {
                group.place.end = place.end;
                group.digits.end = at + 1;
            }
            _ => self.groups.push(Group { place, digits: at..at + 1 }),
        }
        self.separators = 0;
    }

    fn finish(&mut self, found: &mut Vec<Range<usize>>) {
        if self.digits.len() >= *CARD_DIGITS.start() {
            let mut first = 0;
            while first < self.groups.len() {
                match self.last_of_card(first) {
                    Some(last) => {
                        found.push(self.groups[first].place.start..self.groups[last].place.end);
                        first = last + 1;
                    }
                    None => first += 1,
                }
            }
        }
        self.digits.clear();
        self.groups.clear();
        self.separators = 0;
    }

    /// The last group of the longest card that begins with this group.
    fn last_of_card(&self, first: usize) -> Option<usize> {
        let start = self.groups[first].digits.start;
        let alone = &self.digits[self.groups[first].digits.clone()];
        if alone.len() > *CARD_DIGITS.end() {
            return CARD_DIGITS.into_iter().any(|count| is_card(&alone[..count])).then_some(first);
        }
        let within = |(_, group): &(usize, &Group)| group.digits.end - start <= *CARD_DIGITS.end();
        let groups = self.groups.iter().enumerate().skip(first).take_while(within);
        let cards = groups.filter(|(_, group)| is_card(&self.digits[start..group.digits.end]));
        cards.map(|(last, _)| last).last()
    }
}

/// Cards begin with 2 to 9. With 1 begin only airline accounts, of fifteen digits; instants of this century and ids of chat
/// platforms begin with it too, and one in ten of them satisfies Luhn's check. Nothing begins with 0.
fn begins_like_a_card(digits: &[u8]) -> bool {
    match digits.first() {
        Some(1) => digits.len() == 15,
        Some(2..=9) => true,
        _ => false,
    }
}

/// Luhn's check (ISO/IEC 7812-1, annex B): from the right, every second digit doubled; the digits' sum is a multiple of ten.
fn satisfies_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (u32::from(*digit), place % 2) {
            (digit, 0) => digit,
            (digit @ 0..=4, _) => digit * 2,
            (digit, _) => digit * 2 - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A digit of the scripts in which people type numbers.
fn digit(c: char) -> Option<u8> {
    let zero = match c {
        '0'..='9' => '0',
        '\u{660}'..='\u{669}' => '\u{660}',    // Arabic-Indic
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',    // Persian, Urdu
        '\u{966}'..='\u{96f}' => '\u{966}',    // Devanagari
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}', // full width
        _ => return None,
    };
    u8::try_from(u32::from(c) - u32::from(zero)).ok()
}

/// What people, and text processors, put between the groups of a card number.
fn is_separator(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '-' | '\u{a0}' | '\u{ad}' | '\u{2000}'..='\u{200d}' | '\u{2010}'..='\u{2015}' | '\u{202f}' | '\u{2212}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        find_cards(text).into_iter().map(|place| &text[place]).collect()
    }

    #[test]
    fn published_test_numbers_are_found_in_every_form() {
        for card in [
            "4111111111111111",
            "4222222222222",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "30569309025904",
            "6011111111111117",
            "3530111333300000",
            "6200000000000005",
            "4111 1111 1111 1111",
            "3782-822463-10005",
            "4111\u{a0}1111\u{2011}1111 - 1111",
            "４１１１１１１１１１１１１１１１",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(cut(card), [card]);
            assert_eq!(cut(&format!("card:{card}, 12/27")), [card]);
            assert_eq!(cut(&format!("x{card}y")), [card]);
        }
        assert_eq!(cut("4111 1111 1111 1111 12 27"), ["4111 1111 1111 1111"]);
        assert_eq!(cut("7 4111 1111 1111 1111"), ["4111 1111 1111 1111"]);
        assert_eq!(cut("41111111111111111227123"), ["41111111111111111227123"], "with its expiry date");
    }

    #[test]
    fn instants_ids_and_other_numbers_are_not_cards() {
        // Each satisfies Luhn's check, so only the first digit tells.
        for innocent in ["1700000000004", "1573518827562467429", "0000000000000000"] {
            let digits: Vec<u8> = innocent.bytes().map(|digit| digit - b'0').collect();
            assert_eq!((satisfies_luhn(&digits), cut(innocent)), (true, vec![]), "{innocent}");
        }
        for innocent in
            ["4111111111111112", "2026-11-20T10:00:00.123456789Z", "411111111111111", "4111, 1111, 1111, 1111"]
        {
            assert_eq!(cut(innocent), Vec::<&str>::new(), "{innocent}");
        }
    }
}
