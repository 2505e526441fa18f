//! How the connection stands: shown to whoever asks, and said once per change.

use parking_lot::Mutex;

use crate::quiet::aloud;

/// The longest reason that is kept or said, in characters.
const MAX_REASON: usize = 200;

/// How a publisher stands with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveState {
    /// No connection yet.
    Connecting,
    /// Events go out.
    Up,
    /// Events go out and reach only who watches now: this NATS server keeps nothing, it has no JetStream.
    Unkept,
    /// The server is there and refuses events for good: why, as it says.
    Refusing(String),
    /// The server is not reached, hangs or cannot take events now: why. Events wait, and then are dropped and counted.
    Away(String),
}

/// The state of one publisher.
#[derive(Debug)]
pub(crate) struct State {
    place: String,
    now: Mutex<LiveState>,
}

impl State {
    pub(crate) fn new(place: String) -> Self {
        Self { place, now: Mutex::new(LiveState::Connecting) }
    }

    pub(crate) fn get(&self) -> LiveState {
        self.now.lock().clone()
    }

    /// Notes a state. One line where it is another than before; another reason for the same is none.
    pub(crate) fn set(&self, state: LiveState) {
        let before = std::mem::replace(&mut *self.now.lock(), state.clone());
        if std::mem::discriminant(&before) == std::mem::discriminant(&state) {
            return;
        }
        let place = &self.place;
        aloud(|| match state {
            LiveState::Connecting => {}
            LiveState::Up => tracing::info!(target: "journey", "live events go to {place}"),
            LiveState::Unkept => {
                tracing::warn!(target: "journey", "live events reach only who watches now: {place} has no JetStream");
            }
            LiveState::Refusing(why) => tracing::warn!(target: "journey", "{place} refuses live events: {why}"),
            LiveState::Away(why) => {
                tracing::warn!(target: "journey", "live events wait, and are dropped when the queue is full: {place}: {why}");
            }
        });
    }
}

/// A reason as it may be shown: what a server says ends no line and is not endless.
pub(crate) fn reason(error: impl std::fmt::Display) -> String {
    let text: String = error.to_string().chars().take(MAX_REASON).collect();
    text.escape_debug().to_string()
}
