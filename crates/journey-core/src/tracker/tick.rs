//! What is due as time passes: in steps, each a bounded amount of work.

use std::sync::Arc;

use super::{
    Tracker,
    pool::{ListName, State},
};
use crate::{
    feed::FeedEvent,
    journey::Status,
    routes::{RouteIndex, StageRef},
    time::nanos,
};

/// Journeys that one step settles, expires, flags and forgets at most, each: the lock is held for a step.
const MOST_PER_STEP: usize = 16;
/// Gone ids that one step forgets at most; each is little work.
const MOST_TOMBS_PER_STEP: usize = 64;

impl Tracker {
    /// Lets time pass: settles, expires, flags as stuck, forgets. Everything that is due, however long it takes.
    pub fn tick(&mut self, now: i64) {
        while self.tick_step(now) {}
    }

    /// A bounded piece of [`Tracker::tick`], some twenty microseconds. `true` while more may be due.
    ///
    /// Within a route what is idle longest comes first, whatever the size of the pieces.
    pub fn tick_step(&mut self, now: i64) -> bool {
        let mut more = self.settle_due(now);
        let routes = Arc::clone(&self.routes);
        // Steps begin at different routes, so that much to do on one does not hold back the others.
        let first = self.steps % routes.len();
        self.steps = self.steps.wrapping_add(1);
        let (mut to_expire, mut to_flag) = (MOST_PER_STEP, MOST_PER_STEP);
        for turn in 0..routes.len() {
            let route = RouteIndex(((first + turn) % routes.len()) as u8);
            let expired = now.saturating_sub(nanos(routes.get(route).ttl()));
            for list in [ListName::Stuck(route), ListName::Active(route)] {
                while to_expire > 0
                    && let Some(place) = self.idle_since(list, expired)
                {
                    self.expire(place, now);
                    to_expire -= 1;
                }
            }
            let stuck = now.saturating_sub(nanos(self.limits.stuck_after));
            // What is about to expire is not called stuck first.
            while to_expire > 0
                && to_flag > 0
                && let Some(place) = self.idle_since(ListName::Active(route), stuck)
            {
                self.flag_stuck(place, now);
                to_flag -= 1;
            }
        }
        more |= to_expire == 0 || to_flag == 0;
        let old = now.saturating_sub(nanos(self.limits.retention));
        let mut to_forget = MOST_PER_STEP;
        while to_forget > 0
            && let Some(place) = self.idle_since(ListName::Finished, old)
        {
            self.forget(place, now);
            to_forget -= 1;
        }
        more |= to_forget == 0;
        more | self.tombs.sweep(now, MOST_TOMBS_PER_STEP)
    }

    /// Settles finished journeys that waited long enough; `true` where more may be due.
    fn settle_due(&mut self, now: i64) -> bool {
        for _ in 0..MOST_PER_STEP {
            let Some((place, number, _)) = self.settling.front().copied().filter(|(_, _, due)| *due <= now) else {
                return false;
            };
            self.settling.pop_front();
            self.settle(place, number, now);
        }
        true
    }

    /// Settles every finished journey at once, without waiting for checkpoints still on their way: for a shutdown.
    pub fn settle_all(&mut self, now: i64) {
        while self.settle_step(now) {}
    }

    /// A bounded piece of [`Tracker::settle_all`]. `true` while there is more.
    pub fn settle_step(&mut self, now: i64) -> bool {
        for _ in 0..MOST_PER_STEP {
            let Some((place, number, _)) = self.settling.pop_front() else { return false };
            self.settle(place, number, now);
        }
        true
    }

    /// The head of a list, if nothing happened to it since `then`.
    fn idle_since(&self, list: ListName, then: i64) -> Option<u32> {
        self.pool.head(list).filter(|place| self.pool.get(*place).last_seen <= then)
    }

    /// Ends a journey whose TTL is over: failed where a stage failed for good, else expired.
    fn expire(&mut self, place: u32, now: i64) {
        let route = self.pool.get(place).route;
        let declared = self.routes.get(route);
        let reason = self.pool.with_details(place, &mut self.in_hand, |sightings| {
            let (stage, error) = sightings.unrecovered(declared)?;
            let name = self.routes.stage_texts(StageRef { route, stage }).name;
            Some(match error.filter(|error| !error.message.is_empty()) {
                Some(error) => format!("{name} failed: {}", error.message),
                None => format!("{name} failed"),
            })
        });
        let status = if reason.is_some() { Status::Failed } else { Status::Expired };
        self.end(place, status, reason.as_deref(), now);
    }

    fn flag_stuck(&mut self, place: u32, now: i64) {
        self.leave_position(place);
        self.pool.get_mut(place).state = State::Stuck;
        self.take_position(place);
        let route = self.pool.get(place).route;
        self.pool.move_to(place, ListName::Stuck(route));
        if self.events_wanted {
            let view = self.stuck_view(place, now);
            self.events.push(FeedEvent::Stuck(view));
        }
    }
}
