//! How long a stage takes on the application's thread: ours and the peers' in paired rounds.
//!
//! The no-drop mode: timed bursts that are smaller than every queue, flushed outside of the timed part. Dropping is a
//! cost of its own, and a cheaper one.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Result,
    child::{self, Figures, Spread, beside, figures, number, option},
    collector::{Behaviour, Collector},
    page, peer,
    work::{self, Cursor, Form, STAGES, work_journeys},
};

/// Bursts before the timed ones: enough to open every journey of the largest window.
const WARM_UP: usize = 100;
const BURSTS: usize = 200;
/// Threads that use tracing between the two that are measured: the registry keeps what it knows of neighbouring threads
/// in one cache line.
const SPACERS: usize = 5;
/// Of the 2048 spans that OpenTelemetry's batch processor holds.
const SPANS_PER_BURST: usize = 1_920;

/// One table: the same work under several peers.
struct Setting {
    key: &'static str,
    title: &'static str,
    form: &'static str,
    threads: usize,
    window: usize,
    alternating: bool,
    peers: &'static [&'static str],
}

const ALL: &[&str] = &[
    "zero",
    "journey",
    "journey-filtered",
    "fmt",
    "fmt-close",
    "otel",
    "otel-otlp",
    "journey-otlp",
    "otel-journey",
    "timing",
    "histogram",
    "fastrace",
];

const SETTINGS: [Setting; 6] = [
    Setting {
        key: "a1",
        title: "Work A: twelve stage spans a journey, one thread",
        form: "display",
        threads: 1,
        window: 1,
        alternating: false,
        peers: ALL,
    },
    Setting {
        key: "a2",
        title: "Work A, two threads",
        form: "display",
        threads: 2,
        window: 1,
        alternating: false,
        peers: ALL,
    },
    Setting {
        key: "b1",
        title: "Work B: four spans of others inside each stage, one thread",
        form: "busy",
        threads: 1,
        window: 1,
        alternating: false,
        peers: &["zero", "journey", "journey-filtered", "fmt", "otel", "timing"],
    },
    Setting {
        key: "b2",
        title: "Work B, two threads",
        form: "busy",
        threads: 2,
        window: 1,
        alternating: false,
        peers: &["zero", "journey", "otel"],
    },
    Setting {
        key: "many",
        title: "Work A, 100 000 journeys open, interleaved, one thread",
        form: "display",
        threads: 1,
        window: 100_000,
        alternating: false,
        peers: &["zero", "journey", "otel"],
    },
    Setting {
        key: "alternating",
        title: "Work A, stages alternate between two threads, 10 000 journeys open",
        form: "display",
        threads: 2,
        window: 10_000,
        alternating: true,
        peers: &["zero", "journey", "otel"],
    },
];

/// Nanoseconds per stage by setting and peer, one value per round.
type Times = BTreeMap<(&'static str, &'static str), Vec<f64>>;

/// The command.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let rounds = option(arguments, "--rounds").unwrap_or("7").parse::<usize>()?;
    let only = option(arguments, "--only").unwrap_or_default();
    let settings: Vec<&Setting> = SETTINGS.iter().filter(|setting| setting.key.contains(only)).collect();
    let linked = beside("journey-bench-linked")?;
    let mut times = Times::new();
    let mut lost: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for setting in &settings {
            for peer in setting.peers {
                // Both installed means that ours reads the others' ids, and the OTLP exporter brings an HTTP client: both
                // are features of the build.
                let program = match (*peer, &linked) {
                    ("otel-journey" | "otel-otlp", None) => continue,
                    ("otel-journey" | "otel-otlp", Some(linked)) => linked.clone(),
                    _ => child::own()?,
                };
                let collector = Collector::start(Behaviour::Healthy)?;
                let words = words(setting, peer);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let mut measured = child::run_with(&program, &words, &[(peer::COLLECTOR, &collector.address)])?;
                if matches!(*peer, "otel-otlp" | "journey-otlp") {
                    let made = measured.get("spans").copied().unwrap_or(f64::NAN);
                    let missing = (made - collector.spans.load(Ordering::Relaxed) as f64).abs();
                    *measured.entry("lost".to_owned()).or_default() += missing;
                }
                times.entry((setting.key, peer)).or_default().push(measured.get("ns").copied().unwrap_or(f64::NAN));
                *lost.entry((setting.key, peer)).or_default() += measured.get("lost").copied().unwrap_or(0.0);
            }
        }
    }
    for setting in settings {
        page::keep_table("time", setting.key, &table(setting, &times, &lost, rounds))?;
    }
    page::keep("time", &shares(&times))
}

fn words(setting: &Setting, peer: &str) -> Vec<String> {
    let form = if matches!(peer, "histogram" | "fastrace") { peer } else { setting.form };
    let alternating = usize::from(setting.alternating);
    ["burst", peer, form]
        .map(str::to_owned)
        .into_iter()
        .chain([setting.threads, setting.window, alternating].map(|n| n.to_string()))
        .collect()
}

fn table(setting: &Setting, times: &Times, lost: &BTreeMap<(&str, &str), f64>, rounds: usize) -> String {
    let mut text = format!(
        "### {}\n\n| peer | ns per stage | added ns | share of otel's added | lost |\n|---|---|---|---|---|\n",
        setting.title
    );
    for peer in setting.peers {
        let Some(all) = times.get(&(setting.key, peer)) else {
            let _ = writeln!(text, "| {} | not built | | | |", name(peer));
            continue;
        };
        let no_registry = matches!(*peer, "histogram" | "fastrace");
        let (added, share) = match no_registry || *peer == "zero" {
            true => (String::new(), String::new()),
            false => (
                Spread::of(&added(times, setting.key, peer)).text(0),
                Spread::of(&ratio(&added(times, setting.key, peer), &added(times, setting.key, "otel"))).text(3),
            ),
        };
        let lost = lost.get(&(setting.key, peer)).copied().unwrap_or(0.0);
        let _ = writeln!(text, "| {} | {} | {added} | {share} | {lost} |", name(peer), Spread::of(all).text(0));
    }
    let _ = writeln!(text, "\nMedian (least..greatest) of {rounds} rounds; shares are formed inside of a round.");
    text
}

fn name(peer: &str) -> &str {
    match peer {
        "zero" => "registry and a layer that does nothing (zero line)",
        "journey" => "**Journey**, `build`",
        "journey-filtered" => "**Journey**, `build_filtered`",
        "fmt" => "fmt, JSON, into a sink",
        "fmt-close" => "fmt, JSON, into a sink, with close events",
        "otel" => "tracing-opentelemetry, batch, discarding exporter",
        "otel-otlp" => "tracing-opentelemetry, batch, OTLP over HTTP to a receiver process",
        "journey-otlp" => "**Journey**, `build`, OTLP over HTTP to a receiver process",
        "otel-journey" => "tracing-opentelemetry and **Journey**, linked",
        "timing" => "tracing-timing, close events, two digits",
        "histogram" => "one SDK histogram record (no span, no registry)",
        "fastrace" => "fastrace, a root and twelve local spans (no registry)",
        other => other,
    }
}

/// What a peer adds to the zero line, round by round.
fn added(times: &Times, setting: &'static str, peer: &'static str) -> Vec<f64> {
    difference(times.get(&(setting, peer)), times.get(&(setting, "zero")))
}

fn difference(all: Option<&Vec<f64>>, less: Option<&Vec<f64>>) -> Vec<f64> {
    let (Some(all), Some(less)) = (all, less) else { return Vec::new() };
    all.iter().zip(less).map(|(all, less)| all - less).collect()
}

fn ratio(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

/// The figures that budgets are about.
fn shares(times: &Times) -> Figures {
    let median = |values: Vec<f64>| Spread::of(&values).median;
    let share = |setting, peer| median(ratio(&added(times, setting, peer), &added(times, setting, "otel")));
    let on_top = difference(times.get(&("a1", "otel-journey")), times.get(&("a1", "otel")));
    let of_total = times.get(&("a1", "otel")).map(|otel| median(ratio(&on_top, otel))).unwrap_or(f64::NAN);
    let over = |more, less| median(ratio(&added(times, more, "journey"), &added(times, less, "journey")));
    let mut all = figures([
        ("share_plain", share("a1", "journey")),
        ("share_filtered", share("a1", "journey-filtered")),
        ("share_two", share("a2", "journey")),
        ("share_busy", share("b1", "journey")),
        ("share_alternating", share("alternating", "journey")),
        ("two_over_one", over("a2", "a1")),
        ("open_100k_over_few", over("many", "a1")),
        ("share_on_top", of_total),
    ]);
    all.retain(|_, value| !value.is_nan());
    all
}

/// Child: bursts of work under a peer, timed by the thread that does them.
pub(crate) fn burst(arguments: &[&str]) -> Result<Figures> {
    let [peer, form, ..] = arguments else { return Err("needs a peer and a form".into()) };
    let form = Form::parse(form)?;
    let (threads, window, alternating) = (number(arguments, 2)?, number(arguments, 3)?, number(arguments, 4)? == 1);
    let installed = peer::install(peer)?;
    let steps = (SPANS_PER_BURST / form.spans() / threads).min(1_200) / STAGES * STAGES;
    let needed = (WARM_UP + BURSTS) * steps * threads / STAGES;
    // Whole windows: an id that comes again is late for its first journey, not the start of a new one.
    let ids = work::ids(needed.next_multiple_of(window));
    let line = Line { waiting: AtomicUsize::new(0), threads };
    let (arrived, done) =
        (Barrier::new(threads + (threads - 1) * SPACERS), Barrier::new(threads + (threads - 1) * SPACERS));
    let spent = std::thread::scope(|scope| {
        let mut measured = Vec::new();
        for thread in 0..threads {
            let cursor = match alternating {
                true => Cursor::new(0, window, thread, 2),
                false => Cursor::new(thread * ids.len() / threads, window, 0, 1),
            };
            let (claimed, claim) = std::sync::mpsc::channel();
            let (installed, ids, line, arrived, done) = (&installed, &ids, &line, &arrived, &done);
            measured.push(scope.spawn(move || {
                claim_thread(&claimed);
                arrived.wait();
                let spent = bursts(form, ids, cursor, steps, line, || {
                    if thread == 0 {
                        installed.flush()
                    }
                });
                done.wait();
                spent
            }));
            // In this order: threads are numbered as they come.
            let _ = claim.recv();
            for _ in 0..if thread + 1 < threads { SPACERS } else { 0 } {
                let (claimed, claim) = std::sync::mpsc::channel();
                scope.spawn(move || {
                    claim_thread(&claimed);
                    arrived.wait();
                    done.wait();
                });
                let _ = claim.recv();
            }
        }
        measured.into_iter().map(|thread| thread.join().unwrap_or_default()).max().unwrap_or_default()
    });
    let made = (WARM_UP + BURSTS) * steps * threads;
    let claims = threads + (threads - 1) * SPACERS;
    let lost = installed.lost(form, made as u64, claims as u64);
    // A journey of twelve stages is a root and eleven legs; what claims a thread is a span of its own for others.
    let spans = if peer.starts_with("journey") { made } else { made * form.spans() + claims };
    Ok(figures([
        ("spans", spans as f64),
        ("ns", spent.as_nanos() as f64 / (BURSTS * steps) as f64),
        ("lost", lost as f64),
    ]))
}

/// Uses tracing once, so that this thread has its number.
fn claim_thread(claimed: &std::sync::mpsc::Sender<()>) {
    tracing::info_span!("claim").in_scope(|| ());
    let _ = claimed.send(());
}

fn bursts(form: Form, ids: &[String], mut cursor: Cursor, steps: usize, line: &Line, flush: impl Fn()) -> Duration {
    let mut spent = Duration::ZERO;
    for burst in 0..WARM_UP + BURSTS {
        line.wait();
        let start = Instant::now();
        work_journeys(form, ids, &mut cursor, steps);
        if burst >= WARM_UP {
            spent += start.elapsed();
        }
        line.wait();
        flush();
    }
    spent
}

/// Where threads wait for each other without going to sleep: a wake-up would be longer than a burst.
struct Line {
    waiting: AtomicUsize,
    threads: usize,
}

impl Line {
    fn wait(&self) {
        let ticket = self.waiting.fetch_add(1, Ordering::AcqRel);
        let all = (ticket / self.threads + 1) * self.threads;
        let mut looks = 0_u32;
        while self.waiting.load(Ordering::Acquire) < all {
            looks += 1;
            if looks.is_multiple_of(1_000) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}
