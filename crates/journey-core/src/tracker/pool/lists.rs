//! Which journey of a list was untouched longest: every kept journey is linked into one list, in the order of touching.

use super::{Pool, entry::ListKind};
use crate::{routes::RouteIndex, tracker::index::NONE};

/// Every journey is in one list, the one untouched longest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracker) enum ListName {
    /// Active journeys of a route.
    Active(RouteIndex),
    /// Stuck journeys of a route.
    Stuck(RouteIndex),
    /// Finished journeys of all routes.
    Finished,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    head: u32,
    tail: u32,
    len: usize,
}

/// The lists of a pool, all empty: active and stuck of every route, then finished.
pub(super) fn empty(routes: usize) -> Vec<List> {
    vec![List { head: NONE, tail: NONE, len: 0 }; routes * 2 + 1]
}

impl Pool {
    /// Moves a journey to the end of a list.
    pub(in crate::tracker) fn move_to(&mut self, place: u32, list: ListName) {
        self.unlink(place);
        self.append(place, list);
    }

    /// The journey untouched longest of a list.
    pub(in crate::tracker) fn head(&self, list: ListName) -> Option<u32> {
        Some(self.lists[self.index(list)].head).filter(|head| *head != NONE)
    }

    /// The journey after another in its list.
    pub(in crate::tracker) fn after(&self, place: u32) -> Option<u32> {
        Some(self.get(place).next).filter(|next| *next != NONE)
    }

    /// How many journeys a list has.
    pub(in crate::tracker) fn len(&self, list: ListName) -> usize {
        self.lists[self.index(list)].len
    }

    fn index(&self, list: ListName) -> usize {
        match list {
            ListName::Active(route) => usize::from(route.0) * 2,
            ListName::Stuck(route) => usize::from(route.0) * 2 + 1,
            ListName::Finished => self.lists.len() - 1,
        }
    }

    pub(super) fn append(&mut self, place: u32, name: ListName) {
        let index = self.index(name);
        let tail = self.lists[index].tail;
        let entry = self.get_mut(place);
        (entry.previous, entry.next) = (tail, NONE);
        entry.list = match name {
            ListName::Active(_) => ListKind::Active,
            ListName::Stuck(_) => ListKind::Stuck,
            ListName::Finished => ListKind::Finished,
        };
        if tail == NONE {
            self.lists[index].head = place;
        } else {
            self.get_mut(tail).next = place;
        }
        self.lists[index].tail = place;
        self.lists[index].len += 1;
    }

    pub(super) fn unlink(&mut self, place: u32) {
        let entry = self.get(place);
        let name = match entry.list {
            ListKind::Active => ListName::Active(entry.route),
            ListKind::Stuck => ListName::Stuck(entry.route),
            ListKind::Finished => ListName::Finished,
        };
        let (index, previous, next) = (self.index(name), entry.previous, entry.next);
        if previous == NONE {
            self.lists[index].head = next;
        } else {
            self.get_mut(previous).next = next;
        }
        if next == NONE {
            self.lists[index].tail = previous;
        } else {
            self.get_mut(next).previous = previous;
        }
        self.lists[index].len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::pool::tests::add;

    fn ids(pool: &Pool, list: ListName) -> Vec<u32> {
        std::iter::successors(pool.head(list), |place| pool.after(*place)).collect()
    }

    #[test]
    fn lists_keep_the_order_of_touching() {
        let mut pool = Pool::new(1);
        let active = ListName::Active(RouteIndex(0));
        let [a, b, c] = ["a", "b", "c"].map(|id| add(&mut pool, id, 1));
        pool.move_to(a, active);
        assert_eq!(ids(&pool, active), [b, c, a]);
        pool.move_to(c, ListName::Finished);
        assert_eq!((ids(&pool, active), ids(&pool, ListName::Finished)), (vec![b, a], vec![c]));
        pool.remove(b);
        pool.remove(a);
        assert_eq!((pool.head(active), pool.len(active)), (None, 0));
    }
}
