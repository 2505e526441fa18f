//! What was probably meant by a name that nobody knows.

/// The known name closest to one that nobody knows, where it is close enough to be a slip of the hand.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, closest) = known.map(|known| (distance(name, known), known)).min()?;
    // A third of the letters wrong is another word, but two that changed places count as two; of three letters any is near.
    let most = if closest.len() < 4 { 0 } else { (closest.len() / 3).max(2) };
    (distance <= most).then_some(closest)
}

/// Levenshtein distance over the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_told_from_another_word() {
        let known = || ["db_stored", "agent_started"].into_iter();
        assert_eq!(closest("db_sotred", known()), Some("db_stored"));
        assert_eq!(closest("archive", known()), None);
        assert_eq!(closest("", known()), None);
        assert_eq!(closest("x", std::iter::empty()), None);
    }
}
