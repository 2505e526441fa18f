//! A tracker behind a real debug endpoint, with journeys of known latencies.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use journey_core::{
    Checkpoint, Clock, CorrelationId, FinishedSink, Journey, Limits, Live, Route, Routes, Source, TraceIdKey,
};
use journey_http::{Health, HttpConfig, HttpServer, StoredEvents};

/// Legs of the `message` route.
pub const LEGS: usize = 11;

/// A tracker and its endpoint on a free loopback port.
pub struct Service {
    /// The tracker.
    pub live: Arc<Live>,
    server: HttpServer,
}

/// Everything is exported, so metrics may carry exemplars; nothing is sent.
struct Exported;

impl FinishedSink for Exported {
    fn finished(&self, _: &Journey) -> bool {
        true
    }
}

impl Service {
    /// Starts it with the `message` route and the wall clock.
    pub fn start() -> Self {
        Self::with_clock(Arc::new(now))
    }

    /// Starts it with the `message` route and another clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self::with_store(clock, None)
    }

    /// Starts it with the `message` route, another clock, and a store of events.
    pub fn with_store(clock: Clock, store: Option<StoredEvents>) -> Self {
        let own = Source {
            service: "gateway".to_owned(),
            version: "1.0.0".to_owned(),
            instance: "gateway-1".to_owned(),
            clock_domain: "test".to_owned(),
        };
        let routes = Arc::new(Routes::default());
        let live = Live::new(routes, own, Limits::default(), TraceIdKey::default(), clock);
        live.add_sink(Arc::new(Exported));
        let config = HttpConfig { addr: SocketAddr::from(([127, 0, 0, 1], 0)), store, ..HttpConfig::default() };
        let server = HttpServer::start(Arc::clone(&live), Arc::new(Health::new()), config)
            .unwrap_or_else(|error| panic!("the endpoint does not start: {error}"));
        Self { live, server }
    }

    /// Where the endpoint listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The endpoint as a URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Records stages of one journey of the `message` route: the stage of index `i` at `instants[i]`.
    ///
    /// # Panics
    ///
    /// The tracker refuses one.
    pub fn record(&self, id: &str, instants: &[i64]) {
        let id = CorrelationId::new(id).expect("a correlation id");
        let route = self.live.routes().find("message").expect("the built-in route");
        let stages: Vec<_> = (0..instants.len())
            .map(|index| self.live.routes().stage(route, &format!("T{index}")).expect("a stage of the route"))
            .collect();
        self.live.write(|tracker, now| {
            for (stage, at) in stages.iter().zip(instants) {
                let recorded = tracker.record(Checkpoint::reached(id.clone(), *stage, *at), now);
                recorded.unwrap_or_else(|reason| panic!("dropped: {}", reason.as_str()));
            }
        });
    }

    /// Records `count` complete journeys `msg_0`, `msg_1`, ... that ended within the last second, and returns their
    /// latencies by leg, nanoseconds.
    pub fn record_journeys(&self, count: usize) -> Vec<[i64; LEGS]> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let journeys: Vec<[i64; LEGS]> = (0..count).map(|_| latencies(&mut random)).collect();
        for (number, legs) in journeys.iter().enumerate() {
            let end = now() - 1_000_000;
            let mut at = end - legs.iter().sum::<i64>();
            let mut instants = vec![at];
            for leg in legs {
                at += leg;
                instants.push(at);
            }
            self.record(&format!("msg_{number}"), &instants);
        }
        journeys
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.shutdown(Duration::from_secs(1));
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

/// The names of the legs of the `message` route, in its order.
pub fn leg_names() -> Vec<String> {
    Route::message().legs().iter().map(|leg| leg.name.clone()).collect()
}

/// The wall clock, unix nanoseconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_nanos()).expect("a clock before 2262")
}

/// The smallest recorded value that at least a share `quantile` of all values does not exceed.
///
/// # Panics
///
/// There are no values.
pub fn exact_quantile(values: &mut [i64], quantile: f64) -> i64 {
    values.sort_unstable();
    let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
    values[rank - 1]
}

/// A small generator with a fixed seed, so that every run records the same latencies.
struct Random(u64);

impl Random {
    /// The next number in 0..1 (SplitMix64).
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Latencies of one journey: each leg has its own median from 0.2 ms to 200 ms and a long tail, as real ones do.
fn latencies(random: &mut Random) -> [i64; LEGS] {
    std::array::from_fn(|leg| {
        let median = 200_000.0 * 2.0_f64.powi(leg as i32);
        // The sum of twelve uniform numbers is near enough to normal.
        let normal: f64 = (0..12).map(|_| random.next()).sum::<f64>() - 6.0;
        (median * (0.6 * normal).exp()) as i64
    })
}
