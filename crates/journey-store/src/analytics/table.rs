//! How are rows counted by key without end, in bounded memory? The largest are kept, the rest become one row.

use std::{collections::HashMap, hash::Hash};

/// A row that counts.
pub(super) trait Row: Default {
    /// How much it is worth to be kept.
    fn weight(&self) -> u64;

    /// Adds what another counted.
    fn merge(&mut self, other: Self);
}

/// At most twice `most` rows in memory and `most` in the report. Totals stay exact; a key that was folded into the rest
/// and comes back starts anew, so that its own row may be low.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    most: usize,
    rows: HashMap<K, V>,
    other: V,
    folded: u64,
}

/// The largest rows, the largest first, and the rest as one row with how many were folded into it.
pub(super) struct Rows<K, V> {
    pub(super) rows: Vec<(K, V)>,
    pub(super) other: Option<V>,
    pub(super) folded: u64,
}

impl<K: Clone + Eq + Hash + Ord, V: Row> Table<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, rows: HashMap::new(), other: V::default(), folded: 0 }
    }

    /// The row of a key.
    pub(super) fn at(&mut self, key: K) -> &mut V {
        if self.rows.len() >= self.most * 2 && !self.rows.contains_key(&key) {
            let kept = self.take_largest();
            self.rows.extend(kept);
        }
        self.rows.entry(key).or_default()
    }

    /// Every row, the rest included.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.rows.values_mut().chain(std::iter::once(&mut self.other))
    }

    pub(super) fn into_rows(mut self) -> Rows<K, V> {
        let rows = self.take_largest();
        Rows { rows, other: (self.folded > 0).then_some(self.other), folded: self.folded }
    }

    /// Adds all that another counted.
    pub(super) fn absorb(&mut self, other: Self) {
        let Rows { rows, other: rest, folded } = other.into_rows();
        for (key, row) in rows {
            self.at(key).merge(row);
        }
        if let Some(rest) = rest {
            self.other.merge(rest);
            self.folded += folded;
        }
    }

    /// Takes the largest rows out, the largest first, and folds the others.
    fn take_largest(&mut self) -> Vec<(K, V)> {
        let mut rows: Vec<(K, V)> = self.rows.drain().collect();
        rows.sort_unstable_by(|(key, row), (other_key, other)| {
            other.weight().cmp(&row.weight()).then_with(|| key.cmp(other_key))
        });
        for (_, row) in rows.drain(self.most.min(rows.len())..) {
            self.other.merge(row);
            self.folded += 1;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(u64);

    impl Row for Count {
        fn weight(&self) -> u64 {
            self.0
        }

        fn merge(&mut self, other: Self) {
            self.0 += other.0;
        }
    }

    #[test]
    fn the_largest_rows_stay_and_the_total_is_exact_whatever_comes() {
        let mut table: Table<u32, Count> = Table::new(10);
        for round in 0..1_000_u32 {
            table.at(0).0 += 5;
            table.at(1 + round).0 += 1;
        }
        assert!(table.rows.len() <= 20);
        let Rows { rows, other, folded } = table.into_rows();
        assert_eq!((rows.len(), rows[0].0, rows[0].1.0), (10, 0, 5_000));
        let rest = other.map_or(0, |other| other.0);
        assert_eq!(rows.iter().map(|(_, row)| row.0).sum::<u64>() + rest, 6_000);
        assert_eq!(folded, 991);
    }
}
