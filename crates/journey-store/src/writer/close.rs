//! How does the writer end, in time?

use std::{task::Context, thread, time::Instant};

use super::{
    fate::Origin,
    lane::{Lane, Piece},
    settings::GRACE,
    work::Writer,
};
use crate::store::Batch;

impl Writer {
    /// What is still in memory goes to the spill file or is lost; then the last account is put, and the books are closed.
    pub(super) fn close(mut self, context: &mut Context<'_>) {
        // The grace begins at the deadline, or now where there was less to do.
        let until = Instant::now() + GRACE;
        // Where somebody else closed the books already, all this is counted as lost.
        if !self.shared.lock().is_ended {
            self.keep_what_is_left();
        }
        self.shared.end("it was not stored by the deadline of the shutdown");
        self.say_last(context, until);
        if let Some(keeper) = self.keeper.take() {
            keeper.finish(&*self.store, &self.shared, until, context);
        }
    }

    fn keep_what_is_left(&mut self) {
        let pieces: Vec<Piece> = self.urgent.take_all().into_iter().chain(self.background.take_all()).collect();
        for piece in pieces.iter().filter(|piece| piece.origin == Origin::Queue) {
            self.append(piece.events(), "the emitter was shut down");
        }
        let mut state = self.shared.lock();
        let left: Vec<_> = state.urgent.drain(..).collect();
        let rest: Vec<_> = state.background.drain(..).collect();
        drop(state);
        self.append(&left, "the emitter was shut down");
        self.append(&rest, "the emitter was shut down");
    }

    fn say_last(&mut self, context: &mut Context<'_>, until: Instant) {
        let now = (self.clock)();
        let account = self.shared.account(&self.shared.lock(), now);
        let batch = Batch { events: Vec::new(), account: Some(account), now };
        let mut lane = Lane::default();
        lane.pieces.push_back(Piece::new(batch, Origin::Queue));
        // A try that hangs leaves time for others.
        let timeout = self.shared.settings.put_timeout.min(GRACE / 3);
        loop {
            let now = Instant::now();
            lane.start(&*self.store, now);
            match lane.poll(context, now, timeout) {
                Some((_, Ok(_))) => return,
                // Whatever the error: there is nothing to lose by another try.
                Some((piece, Err(_))) => {
                    lane.pieces.push_back(piece);
                    lane.postpone(now, &self.shared.settings, (self.random)());
                }
                None => {}
            }
            if now >= until {
                break;
            }
            let wake = lane.next_instant(timeout, timeout, now).map_or(until, |at| at.min(until));
            thread::park_timeout(wake.saturating_duration_since(Instant::now()));
        }
        // The next start puts it from the spill file.
        self.append(&[], "");
    }
}
