//! cargo run -p saga
//!
//! An order of twelve steps that is told to a store of events: what was done, what was decided and why, what failed, what
//! was undone. `cargo run -p saga -- --fail-at 9 --cannot-undo reserve_stock` lets the ninth step fail, and one of those
//! before it stay as it is. What happened is then asked of the store alone: `journey why`, `journey trace`.
//!
//! | module | question it answers |
//! |---|---|
//! | `options` | what may be said on the command line? |
//! | `shop` | what is there to be changed? |
//! | `steps` | what does each step do, and what undoes it? |
//! | `saga` | how does an order run, and how is it undone? |
//! | `trouble` | what is wrong, so that a chosen step fails? |
#![allow(clippy::print_stdout, reason = "an example says what happened")]

mod options;
mod saga;
mod shop;
mod steps;
#[cfg(test)]
mod tests;
mod trouble;

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser as _;
use journey_store::{Emitter, EventStore, TraceContext};

use self::{
    options::Options,
    saga::Outcome,
    shop::{Order, Shop},
};

/// The nearest department answers after so long.
const PACE: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "that is where errors go")]
            {
                eprintln!("saga: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let place = options.store().map_err(|error| format!("`--store`: {error}"))?;
    let store = place.open(&journey_store::StoreOptions::default())?;
    let emitter = Emitter::builder(Arc::clone(&store)).service("saga").start()?;
    let (mut shop, mut order) =
        (Shop::open(PACE), Order::of_ada(format!("order-{:06x}", emitter.number() & 0xff_ffff)));
    if let Some(step) = options.fail_at() {
        trouble::let_it_fail(step, &mut shop, &mut order);
    }
    for step in &options.cannot_undo {
        trouble::let_it_stay(*step, &mut shop);
    }

    let trace = TraceContext::start(&emitter, "order", &order.id)?.tagged("shop", "harbour");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let outcome = runtime.block_on(saga::run(&mut shop, &mut order, &trace));
    let stats = emitter.shutdown(Duration::from_secs(5));

    tell(&order, &outcome);
    println!("{} secrets were taken out before anything left the process", stats.redacted);
    println!("{}", account(&*store, stats.emitter)?);
    println!("trace {}", trace.trace_id());
    for question in ["why", "trace"] {
        println!("  journey {question} {} --store {place}", trace.trace_id());
    }
    Ok(())
}

/// What really happened, as the shop knows it.
fn tell(order: &Order, outcome: &Outcome) {
    println!("{}: {} of 12 steps done", order.id, outcome.done.len());
    if let Some((step, error)) = &outcome.failure {
        println!("  {} failed: {}", step.name(), error.to_string().replace(&order.card, "[card]"));
    }
    for step in &outcome.undone {
        println!("  {} was undone", step.name());
    }
    for (step, error) in &outcome.left {
        println!("  {} could not be undone: {error}", step.name());
    }
}

/// What the store itself knows of this process: nothing is missing without a reason.
fn account(store: &dyn EventStore, emitter: u64) -> Result<String, Box<dyn Error>> {
    let accounts = journey_store::wait(store.accounts())?;
    let account = accounts
        .into_iter()
        .find(|account| account.emitter == emitter)
        .ok_or("the store has no account of this process")?;
    let dropped: u64 = account.dropped.values().sum();
    let reasons: Vec<String> = account.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    Ok(format!("emitted {} = stored {} + dropped {dropped}{why}", account.emitted, account.stored))
}
