//! Where is the item with this hash? An index that is never rehashed as a whole.

use super::chunks::Chunks;

/// No place.
pub(super) const NONE: u32 = u32::MAX;

/// Items that an [`Index`] finds: each has a hash that stays and a link to the next item of its bucket.
pub(super) trait Chained {
    fn hash(&self, place: u32) -> u32;
    fn next(&self, place: u32) -> u32;
    fn set_next(&mut self, place: u32, next: u32);
}

/// Linear hashing (Litwin 1980): buckets are chains through the items themselves, and when there are too few buckets one
/// of them is divided. So no call does more than a few steps however many items there are, and the index takes some five
/// bytes for each item and the item's link.
#[derive(Debug)]
pub(super) struct Index {
    /// First item of every bucket.
    heads: Chunks<u32>,
    len: usize,
}

impl Index {
    pub(super) fn new() -> Self {
        let mut heads = Chunks::new();
        heads.push(NONE);
        Self { heads, len: 0 }
    }

    /// The item with a hash that is the same as what is looked for.
    pub(super) fn find(&self, items: &impl Chained, hash: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = *self.heads.get(self.bucket(hash));
        while place != NONE {
            if items.hash(place) == hash && same(place) {
                return Some(place);
            }
            place = items.next(place);
        }
        None
    }

    /// Adds an item that is not there.
    pub(super) fn insert(&mut self, items: &mut impl Chained, place: u32) {
        // Twice at most: a bucket more than there are items was added with each of them.
        while self.len * 4 >= self.heads.len() * 3 {
            self.divide(items);
        }
        self.len += 1;
        self.link(items, place);
    }

    /// Removes an item that is there.
    pub(super) fn remove(&mut self, items: &mut impl Chained, place: u32) {
        let head = self.heads.get_mut(self.bucket(items.hash(place)));
        let after = items.next(place);
        self.len -= 1;
        if *head == place {
            *head = after;
            return;
        }
        let mut before = *head;
        while items.next(before) != place {
            before = items.next(before);
        }
        items.set_next(before, after);
    }

    fn link(&mut self, items: &mut impl Chained, place: u32) {
        let bucket = self.bucket(items.hash(place));
        let head = self.heads.get_mut(bucket);
        items.set_next(place, *head);
        *head = place;
    }

    /// Adds a bucket, and gives it its part of the one whose turn it is.
    fn divide(&mut self, items: &mut impl Chained) {
        let whole = 1 << self.heads.len().ilog2();
        let old = (self.heads.len() - whole) as u32;
        let mut place = std::mem::replace(self.heads.get_mut(old), NONE);
        self.heads.push(NONE);
        while place != NONE {
            let next = items.next(place);
            self.link(items, place);
            place = next;
        }
    }

    /// Buckets from the last power of two on are those that were divided off since.
    fn bucket(&self, hash: u32) -> u32 {
        let buckets = self.heads.len();
        let mask = buckets.next_power_of_two() - 1;
        let bucket = hash as usize & mask;
        (if bucket < buckets { bucket } else { bucket & (mask >> 1) }) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Hash and link of each item.
    struct Items(Vec<(u32, u32)>);

    impl Chained for Items {
        fn hash(&self, place: u32) -> u32 {
            self.0[place as usize].0
        }

        fn next(&self, place: u32) -> u32 {
            self.0[place as usize].1
        }

        fn set_next(&mut self, place: u32, next: u32) {
            self.0[place as usize].1 = next;
        }
    }

    proptest! {
        #[test]
        fn an_item_is_found_from_when_it_is_added_until_it_is_removed(
            steps in prop::collection::vec((any::<bool>(), 0_u32..5_000, prop_oneof![0_u32..4, any::<u32>()]), 1..3_000),
        ) {
            let mut items = Items(vec![(0, NONE); 5_000]);
            let (mut index, mut there) = (Index::new(), BTreeMap::new());
            for (add, place, hash) in steps {
                match (add, there.contains_key(&place)) {
                    (true, false) => {
                        items.0[place as usize].0 = hash;
                        index.insert(&mut items, place);
                        there.insert(place, hash);
                    }
                    (false, true) => {
                        index.remove(&mut items, place);
                        there.remove(&place);
                    }
                    _ => {}
                }
                let hash = items.0[place as usize].0;
                let found = index.find(&items, hash, |found| found == place);
                prop_assert_eq!(found.is_some(), there.contains_key(&place));
            }
            for (place, hash) in &there {
                prop_assert_eq!(index.find(&items, *hash, |found| found == *place), Some(*place));
            }
            prop_assert!(there.len() * 4 <= index.heads.len() * 3 + 4);
        }
    }
}
