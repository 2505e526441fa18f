//! A queue between two threads, with places that can be reserved.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Items on their way from one group of threads to another.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    reserved: usize,
    closed: bool,
}

/// A reserved place: the item can be put there later without waiting. Dropping it gives the place back.
#[derive(Debug)]
#[must_use]
pub(super) struct Place<T>(Arc<Queue<T>>);

impl<T> Queue<T> {
    /// A queue that never makes a sender wait.
    pub(super) fn unbounded() -> Arc<Self> {
        Self::bounded(usize::MAX)
    }

    pub(super) fn bounded(capacity: usize) -> Arc<Self> {
        let state = State { items: VecDeque::new(), reserved: 0, closed: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), capacity })
    }

    /// Waits for a place. `None` once the queue is closed.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Place<T>> {
        let full = |state: &mut State<T>| !state.closed && state.items.len() + state.reserved >= self.capacity;
        let mut state = self.changed.wait_while(lock(&self.state), full).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state.reserved += 1;
        Some(Place(Arc::clone(self)))
    }

    /// Waits for a place and fills it. `false` once the queue is closed.
    pub(super) fn push(self: &Arc<Self>, item: T) -> bool {
        self.reserve().map(|place| place.send(item)).is_some()
    }

    /// Waits for an item. `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let waiting = |state: &mut State<T>| !state.closed && state.items.is_empty();
        let mut state = self.changed.wait_while(lock(&self.state), waiting).unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front();
        self.changed.notify_all();
        item
    }

    /// Takes no more items; those inside can still be taken.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.state).items.len()
    }
}

impl<T> Place<T> {
    pub(super) fn send(self, item: T) {
        lock(&self.0.state).items.push_back(item);
        // Dropping `self` gives the reservation back and wakes the others.
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        lock(&self.0.state).reserved -= 1;
        self.0.changed.notify_all();
    }
}

/// Locks whatever happened: the data of the demo is whole after every statement that changes it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_place_counts_as_taken_until_it_is_given_back() {
        let queue = Queue::bounded(1);
        let place = queue.reserve().unwrap();
        let waiting = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.push(2)
        });
        assert_eq!(queue.len(), 0);
        drop(place);
        assert!(waiting.join().unwrap());
        assert_eq!(queue.take(), Some(2));
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_no_more() {
        let queue = Queue::unbounded();
        assert!(queue.push(1));
        queue.close();
        assert!(!queue.push(2));
        assert_eq!((queue.take(), queue.take()), (Some(1), None));
    }
}
