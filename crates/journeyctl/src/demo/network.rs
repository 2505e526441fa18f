//! The simulated way between platforms and plugins: what is sent arrives later.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::queue::{Queue, lock};

/// Everything that is under way.
#[derive(Debug, Default)]
pub(super) struct Network {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: BinaryHeap<Reverse<Parcel>>,
    sent: u64,
    closed: bool,
}

#[derive(Debug)]
struct Parcel {
    due: Instant,
    number: u64,
    to: Arc<Queue<String>>,
    payload: String,
}

impl Network {
    /// Starts the thread that delivers. It ends after [`Network::close`].
    pub(super) fn start() -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let network = Arc::new(Self::default());
        let courier = Arc::clone(&network);
        let thread = std::thread::Builder::new().name("demo-network".to_owned()).spawn(move || courier.deliver())?;
        Ok((network, thread))
    }

    pub(super) fn send(&self, to: &Arc<Queue<String>>, payload: String, delay: Duration) {
        let mut state = lock(&self.state);
        state.sent += 1;
        let parcel = Parcel { due: Instant::now() + delay, number: state.sent, to: Arc::clone(to), payload };
        state.under_way.push(Reverse(parcel));
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the thread; what is still under way is lost.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    fn deliver(&self) {
        let mut state = lock(&self.state);
        while !state.closed {
            let now = Instant::now();
            let wait = state.under_way.peek().map(|Reverse(next)| next.due.saturating_duration_since(now));
            state = match wait {
                Some(Duration::ZERO) => {
                    if let Some(Reverse(parcel)) = state.under_way.pop() {
                        drop(state);
                        parcel.to.push(parcel.payload);
                        state = lock(&self.state);
                    }
                    state
                }
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Parcel {}

impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parcel {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_way_arrives_first() {
        let (network, thread) = Network::start().unwrap();
        let arrivals = Queue::unbounded();
        network.send(&arrivals, "far".to_owned(), Duration::from_millis(40));
        network.send(&arrivals, "near".to_owned(), Duration::from_millis(1));
        assert_eq!([arrivals.take(), arrivals.take()], [Some("near".to_owned()), Some("far".to_owned())]);
        network.close();
        thread.join().unwrap();
    }
}
