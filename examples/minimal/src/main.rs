//! cargo run -p minimal
#![expect(clippy::print_stdout, reason = "an example says what happened")]

use std::{error::Error, thread::sleep, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let journey = tracing_journey::init()?;
    receive("msg_1");
    journey.flush(Duration::from_secs(1));
    let seen = journey.get("msg_1").ok_or("msg_1 was not seen")?;
    seen.legs.iter().for_each(|leg| println!("{} took {:.1} ms", leg.name, leg.ms));
    Ok(())
}

#[tracing::instrument(name = "event_consumed", skip_all, fields(correlation_id = id))]
fn receive(id: &str) {
    sleep(Duration::from_millis(5)); // work
    store();
}

#[tracing::instrument(name = "db_stored")] // its id is that of the span around it
fn store() {
    sleep(Duration::from_millis(20)); // more work
}
