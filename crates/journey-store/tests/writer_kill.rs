//! `kill -9` at any moment: what was said to be kept is there afterwards.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod writer_support;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use journey_store::{Emitter, Event};

use self::writer_support::{Fault, FaultyStore, assert_adds_up};

const SPILL_FILE: &str = "JOURNEY_TEST_SPILL_FILE";

/// The process that is killed: not a test of its own. Its store is away, so everything goes to the spill file.
#[test]
#[ignore = "started by the other test"]
fn child() {
    let Ok(file) = std::env::var(SPILL_FILE) else { return };
    let store = FaultyStore::new(|_, _| Fault::Away);
    let emitter = Emitter::builder(store).batch(50, Duration::from_millis(1)).spill(file, 1 << 30);
    let emitter = emitter.retry(Duration::from_micros(10), Duration::from_micros(100)).start().unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nemitter {}", emitter.number()).unwrap();
    // It ends by being killed, or when nobody reads.
    for round in 0_u64.. {
        let before = emitter.stats().emitted;
        let waiting: Vec<_> = (0..20).map(|_| emitter.emit(Event::completed("stage:test"))).collect();
        (0..20).for_each(|_| emitter.record(Event::completed("stage:test").data("round", round)));
        for (seq, emit) in (before + 1..).zip(waiting) {
            let kept = emit.wait().is_err_and(|error| error.is_kept());
            if writeln!(out, "{} {seq}", if kept { "kept" } else { "lost" }).is_err() {
                return;
            }
        }
        out.flush().unwrap();
    }
}

#[test]
fn what_was_kept_before_a_kill_is_stored_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spill");
    let store = FaultyStore::new(|_, _| Fault::None);
    let mut torn = 0;
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child", "--ignored", "--nocapture"]).env(SPILL_FILE, &file);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let number = lines.find_map(|line| line.strip_prefix("emitter ")?.parse::<u64>().ok()).unwrap();
        // Killed after so many answers, at whatever it is doing then.
        let mut said: Vec<String> = lines.by_ref().take(17 + round * 13).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        let kept: BTreeSet<u64> = said.iter().filter_map(|line| line.strip_prefix("kept ")?.parse().ok()).collect();
        // The last line may have been cut off.
        assert!(kept.len() + 1 >= said.len() && kept.len() >= 17, "round {round}: {said:?}");

        let next = Emitter::builder(store.clone()).spill(&file, 1 << 30).start().unwrap();
        let stats = next.shutdown(Duration::from_secs(20));
        assert_adds_up(&stats);
        torn += stats.damaged;
        assert!(stats.damaged <= 1, "round {round}: {stats:?}");
        let stored: BTreeSet<u64> = store.seqs(number).into_iter().collect();
        let missing: Vec<&u64> = kept.difference(&stored).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} were kept and are not stored");
        // Never more than it was said to have emitted, as far as its last account reached.
        let account = store.account(number);
        assert!(account.emitted >= kept.iter().copied().max().unwrap_or(0), "round {round}: {account:?}");
    }
    println!("20 kills, {torn} torn records");
}
