//! How much may wait, how long, how often?

use std::{fmt, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::event::Event;

/// The tries after the first of an event that somebody waits for.
pub(crate) const RETRIES: u32 = 3;

/// After the deadline of a shutdown, the last account may take so long.
pub(super) const GRACE: Duration = Duration::from_millis(350);

/// Whoever waits for a shutdown waits at most so much longer than its deadline.
pub(crate) const LONGEST_GRACE: Duration = Duration::from_millis(450);

/// Somebody who wants every event as it is emitted.
pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// The bounds of a writer.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Who else is given each event.
    pub(crate) also: Option<Listener>,
    /// Events in memory, those that are with the store included.
    pub(crate) queue_rows: usize,
    /// Their bytes.
    pub(crate) queue_bytes: usize,
    /// Events that are put at once.
    pub(crate) batch_rows: usize,
    /// How long an event waits for others.
    pub(crate) batch_wait: Duration,
    /// A store that has not answered by then is taken to be away.
    pub(crate) put_timeout: Duration,
    /// The least delay before the first retry.
    pub(crate) retry_first: Duration,
    /// The most that the least delay grows to, by doubling.
    pub(crate) retry_most: Duration,
    /// How often the store is looked after; `None` where somebody else does.
    pub(crate) upkeep: Option<Upkeep>,
}

/// How often a store is looked after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upkeep {
    /// Its statistics are recomputed, where new events have come.
    pub(crate) recompute: Duration,
    /// Days beyond its retention are dropped.
    pub(crate) expire: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            also: None,
            queue_rows: 20_000,
            queue_bytes: 32 << 20,
            batch_rows: 1_000,
            batch_wait: Duration::from_millis(50),
            put_timeout: Duration::from_secs(10),
            retry_first: Duration::from_millis(50),
            retry_most: Duration::from_secs(5),
            upkeep: Some(Upkeep { recompute: Duration::from_secs(60), expire: Duration::from_secs(3_600) }),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Settings");
        debug.field("queue_rows", &self.queue_rows).field("queue_bytes", &self.queue_bytes);
        debug.field("batch_rows", &self.batch_rows).field("batch_wait", &self.batch_wait);
        debug.finish_non_exhaustive()
    }
}

impl Settings {
    /// Delays without an end: each is twice the last, up to a most, and up to twice that at random, so that many processes
    /// do not come back at once.
    pub(crate) fn delays(&self, seed: u64) -> ExponentialBackoff {
        let delays = ExponentialBuilder::new().with_min_delay(self.retry_first).with_max_delay(self.retry_most);
        delays.with_factor(2.0).without_max_times().with_jitter().with_jitter_seed(seed).build()
    }

    /// Half of what may wait: beyond, the spill file takes over while there is still room for what comes meanwhile.
    pub(crate) fn crowded(&self) -> usize {
        (self.queue_rows / 2).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_most_with_jitter_and_without_an_end() {
        let settings = Settings::default();
        for seed in 0..100 {
            let delays: Vec<Duration> = settings.delays(seed).take(50).collect();
            assert_eq!(delays.len(), 50, "seed {seed}");
            for (attempt, delay) in delays.iter().enumerate() {
                let least = (settings.retry_first * 2_u32.pow(attempt.min(20) as u32)).min(settings.retry_most);
                assert!((least..=least * 2).contains(delay), "seed {seed}, attempt {attempt}: {delay:?}");
            }
        }
        let firsts = (0..100).filter_map(|seed| settings.delays(seed).next());
        assert!(firsts.collect::<std::collections::HashSet<_>>().len() > 50);
    }
}
