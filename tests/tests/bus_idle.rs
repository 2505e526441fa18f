//! A watch that nobody reads costs no processor time, whatever the server does.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use journey_bus::{LiveConfig, LivePublisher, LiveWatcher, Watched};
use journey_tests::{PATIENCE, bus::Kind, events::numbered, wait_for};

/// How long is measured, and the most that may be used of it: the clients' pings and a busy machine.
const MEASURED: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_millis(250);

// One test: what is measured is the processor time of the whole process.
#[test]
fn a_watch_that_is_not_read_rests_also_while_the_server_is_away() {
    for kind in [Kind::Redis, Kind::Nats] {
        let Some(mut server) = kind.started() else { continue };
        let config = LiveConfig::parse(&server.address("", "")).unwrap();
        let publisher = LivePublisher::start(config.clone()).unwrap();
        let mut watch = LiveWatcher::start(config).unwrap().watch_all().unwrap();
        assert_eq!(watch.next_within(PATIENCE), Some(Watched::Live));
        // More than is read ahead, so that the reading waits for us.
        let events = numbered(7, 1..2_001);
        events.iter().for_each(|event| publisher.publish(event));
        assert!(publisher.flush(PATIENCE));
        publisher.shutdown(PATIENCE);
        server.kill();
        let mut longest = Duration::ZERO;
        wait_for("it rests", || {
            // Measured again where the machine, or the end of the connection, was still at work.
            let before = processor_time();
            let began = Instant::now();
            std::thread::park_timeout(MEASURED);
            let used = processor_time() - before;
            longest = longest.max(used);
            (began.elapsed() >= MEASURED && used < MOST).then_some(())
        });
        // And all that was published comes, once the server is back.
        server.start();
        let mut next = 0;
        while next < events.len() {
            if let Watched::Event(event) = watch.next_within(PATIENCE).expect("the rest of the events") {
                assert_eq!(*event, events[next], "{kind:?}, the most in a second was {longest:?}");
                next += 1;
            }
        }
    }
}

/// Of this process, all threads; zero where the system does not say.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: fields 14 and 15, in hundredths of a second.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
