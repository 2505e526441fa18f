//! cargo run -p journey-http --example endpoint
//!
//! The debug endpoint over a tracker that is fed by hand, without `tracing`: a message every 20 ms until the input ends
//! (Ctrl-D). The first argument is the address to listen on.
#![expect(clippy::print_stdout, reason = "it says where to look")]

use std::{
    error::Error,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use journey_core::{Checkpoint, CorrelationId, Limits, Live, Routes, Source, TraceIdKey};
use journey_http::{Health, HttpConfig, HttpServer};

fn main() -> Result<(), Box<dyn Error>> {
    let own = Source { service: "example".into(), instance: "example-1".into(), ..Source::default() };
    let routes = Arc::new(Routes::default());
    let live = Live::new(Arc::clone(&routes), own, Limits::default(), TraceIdKey::default(), Arc::new(now));

    let mut config = HttpConfig::default();
    if let Some(addr) = std::env::args().nth(1) {
        config.addr = addr.parse()?;
    }
    let health = Arc::new(Health::new());
    health.register("work", Duration::from_secs(1), Duration::from_secs(1), || Ok("going on".to_owned()));
    let server = HttpServer::start(Arc::clone(&live), health, config)?;
    println!("listening on http://{}/", server.local_addr());

    let ended = Arc::new(AtomicBool::new(false));
    let of_input = Arc::clone(&ended);
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        of_input.store(true, Ordering::Relaxed);
    });
    for number in 0_i64.. {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let id = CorrelationId::new(&format!("msg_{number}"))?;
        live.write(|tracker, now| {
            for stage in 0..12 {
                let reached = routes.stages_named(&format!("T{stage}"))[0];
                // Some work takes long, now and then.
                let at = now - (12 - stage) * (1 + number % 40) * 700_000;
                let _ = tracker.record(Checkpoint::reached(id.clone(), reached, at), now);
            }
        });
        live.tick();
        thread::sleep(Duration::from_millis(20));
    }
    println!("ended {}", if server.shutdown(Duration::from_secs(5)) { "whole" } else { "at the deadline" });
    Ok(())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
