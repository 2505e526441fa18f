//! Do instructions, allocations and bytes keep their budgets? Figures that repeat under 1 %, so that a rise is a change.

use std::{collections::BTreeMap, path::Path, process::Command};

use journey_core::{
    Checkpoint, CorrelationId, Limits, RouteIndex, Routes, Source, Sources, StageIndex, StageRef, TraceIdKey, Tracker,
};
use serde::Deserialize;

use crate::{
    Heap, Result,
    child::{self, Figures, figures, number, option},
    page, peer,
    work::{self, Cursor, Form, STAGES, work_journeys},
};

const BUDGETS: &str = "crates/bench/budgets.toml";
/// Two sizes: their difference holds neither the start nor first uses.
const SIZES: [usize; 2] = [6_000, 30_000];
/// Steps before that are not counted.
const WARM_UP: usize = 2_400;

/// One figure that is held.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// What is measured.
    pub(crate) what: String,
    pub(crate) unit: String,
    /// Its number in the list of budgets.
    pub(crate) budget: String,
    pub(crate) must: f64,
    pub(crate) goal: f64,
    /// More than this fails the gate.
    pub(crate) max: f64,
}

/// Peers and forms whose instructions are counted.
const COUNTED: [(&str, &str); 15] = [
    ("none", "foreign-span"),
    ("none", "foreign-event"),
    ("zero", "display"),
    ("zero", "text"),
    ("zero-zero", "foreign-span"),
    ("zero-zero", "foreign-event"),
    ("journey", "display"),
    ("journey", "text"),
    ("journey-filtered", "display"),
    ("journey-zero", "foreign-span"),
    ("journey-zero", "foreign-event"),
    ("journey-filtered", "foreign-span"),
    ("journey-filtered", "foreign-event"),
    ("zero-zero", "display"),
    ("journey-zero", "display"),
];

/// What a figure is made of: the first minus the second.
const ADDED: [(&str, [(&str, &str); 2]); 8] = [
    ("stage_display", [("journey", "display"), ("zero", "display")]),
    ("stage_text", [("journey", "text"), ("zero", "text")]),
    ("stage_display_filtered", [("journey-filtered", "display"), ("zero", "display")]),
    ("stage_display_beside", [("journey-zero", "display"), ("zero-zero", "display")]),
    ("foreign_span_beside", [("journey-zero", "foreign-span"), ("zero-zero", "foreign-span")]),
    ("foreign_event_beside", [("journey-zero", "foreign-event"), ("zero-zero", "foreign-event")]),
    ("foreign_span_unwanted", [("journey-filtered", "foreign-span"), ("none", "foreign-span")]),
    ("foreign_event_unwanted", [("journey-filtered", "foreign-event"), ("none", "foreign-event")]),
];

/// The command: measures, compares, says what rose. `false` where a figure is over its maximum.
pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let only = option(arguments, "--only").unwrap_or_default();
    let mut measured = Figures::new();
    if "instructions".contains(only) {
        measured.extend(instructions()?);
    }
    let counting = child::beside("journey-bench-counting")?
        .ok_or("journey-bench-counting is not built (try `cargo build --profile measure -p journey-bench`)")?;
    if "allocations".contains(only) {
        measured.extend(child::run_with(&counting, &["allocations"], &[])?);
        measured.extend(child::run_with(&counting, &["encode-allocations"], &[])?);
    }
    if "memory".contains(only) {
        for (name, journeys) in [("100k", "100000"), ("1m", "1000000")] {
            for (kind, stages, contexts) in [("bare", "6", "0"), ("contexts", "11", "1")] {
                let figures = child::run_with(&counting, &["memory", journeys, stages, contexts], &[])?;
                for of in ["live", "rss"] {
                    measured.insert(format!("{of}_{kind}_{name}"), figures.get(of).copied().unwrap_or(f64::NAN));
                }
            }
        }
    }
    page::keep("gate", &measured)?;
    keep_shown(&measured)?;
    compare(&budgets()?, &measured)
}

/// The figures that are held, by name.
pub(crate) fn budgets() -> Result<BTreeMap<String, Budget>> {
    let text = std::fs::read_to_string(BUDGETS)
        .map_err(|error| format!("`{BUDGETS}`: {error} (run from the root of the repository)"))?;
    Ok(toml::from_str(&text)?)
}

fn compare(budgets: &BTreeMap<String, Budget>, measured: &Figures) -> Result<bool> {
    let mut kept = true;
    println!("{:<26} {:>10} {:>10} {:>10}  verdict", "figure", "measured", "max", "must");
    for (name, value) in measured {
        let Some(budget) = budgets.get(name) else {
            println!("{name:<26} {value:>10.3} {:>10} {:>10}  shown only", "", "");
            continue;
        };
        let over = *value > budget.max || value.is_nan();
        kept &= !over;
        let verdict = match (over, *value > budget.must) {
            (true, _) => {
                let rise = value - budget.max;
                // Over nothing there is no percentage.
                let percent =
                    if budget.max > 0.0 { format!(" ({:.1} %)", rise / budget.max * 100.0) } else { String::new() };
                format!("ROSE: {rise:.3} {}{percent} over the maximum", budget.unit)
            }
            (false, true) => format!("kept, but misses {} must {}", budget.budget, budget.must),
            (false, false) => "met".to_owned(),
        };
        println!("{name:<26} {value:>10.3} {:>10} {:>10}  {verdict}", budget.max, budget.must);
    }
    Ok(kept)
}

/// Everything that was measured, for the page: the budgets are a part of it.
fn keep_shown(measured: &Figures) -> Result<()> {
    let rows: String = measured.iter().map(|(name, value)| format!("| {name} | {value:.3} |\n")).collect();
    let head = "### Figures of the gate\n\nInstructions of the application's thread, allocations, bytes.\n\n| figure | value |\n|---|---|\n";
    page::keep_table("gate", "figures", &format!("{head}{rows}"))
}

fn instructions() -> Result<Figures> {
    let mut per_step: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let halves: Vec<_> = COUNTED.chunks(COUNTED.len().div_ceil(2)).collect();
    // Two at a time: counts do not depend on who else runs.
    let counted = std::thread::scope(|scope| {
        let threads: Vec<_> = halves.iter().map(|half| scope.spawn(|| count_all(half))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a counting thread panicked".into())))
            .collect::<Result<Vec<_>>>()
    })?;
    per_step.extend(counted.into_iter().flatten());
    let of = |key: &(&str, &str)| per_step.get(key).copied().unwrap_or(f64::NAN);
    let mut figures: Figures =
        ADDED.iter().map(|(name, [with, without])| ((*name).to_owned(), of(with) - of(without))).collect();
    for (peer, form) in
        [("zero", "display"), ("none", "foreign-span"), ("none", "foreign-event"), ("zero-zero", "foreign-span")]
    {
        figures.insert(format!("of_{peer}_{form}"), of(&(peer, form)));
    }
    Ok(figures)
}

type Counted<'a> = Vec<((&'a str, &'a str), f64)>;

fn count_all<'a>(cases: &[(&'a str, &'a str)]) -> Result<Counted<'a>> {
    cases.iter().map(|case| Ok((*case, per_step(case.0, case.1)?))).collect()
}

fn per_step(peer: &str, form: &str) -> Result<f64> {
    let [small, large] = SIZES;
    Ok((callgrind(peer, form, large)? - callgrind(peer, form, small)?) / (large - small) as f64)
}

/// Instructions inside of the measured function, in its thread.
fn callgrind(peer: &str, form: &str, steps: usize) -> Result<f64> {
    let out = page::folder()?.join(format!("callgrind.{peer}.{form}.{steps}"));
    let program = child::own()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--toggle-collect=*work_journeys*"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
    let output = valgrind.args(["steps", peer, form, &steps.to_string()]).output()?;
    if !output.status.success() {
        return Err(format!("valgrind failed for {peer} {form}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    if let Some(lost) = child::parse(&String::from_utf8_lossy(&output.stdout)).get("lost").filter(|lost| **lost != 0.0)
    {
        return Err(format!("{peer} {form}: {lost} stages were lost, so that the count proves nothing").into());
    }
    total(&out).ok_or_else(|| format!("`{}` has no total", out.display()).into())
}

/// The total that callgrind wrote.
fn total(out: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(out).ok()?;
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok().filter(|total| *total > 0.0)
}

/// Child: some steps of a form under a peer, for callgrind.
pub(crate) fn steps(arguments: &[&str]) -> Result<Figures> {
    let [peer, form, ..] = arguments else { return Err("needs a peer, a form and a number of steps".into()) };
    let (form, steps) = (Form::parse(form)?, number(arguments, 2)?);
    let installed = peer::install(peer)?;
    let ids = work::ids((WARM_UP + steps) / STAGES);
    let mut cursor = Cursor::new(0, 1, 0, 1);
    work::warm_up(form, &ids, &mut cursor, WARM_UP);
    work_journeys(form, &ids, &mut cursor, steps);
    let lost = installed.lost(form, (WARM_UP + steps) as u64, 0);
    Ok(figures([("lost", lost as f64)]))
}

/// Child: allocations of all threads per stage, once everything that is bounded is at its bound: finished journeys that
/// are kept, ids of gone ones, vectors for attribution.
pub(crate) fn allocations(heap: fn() -> Heap) -> Result<Figures> {
    const BURST: usize = 100 * STAGES;
    const PARTS: usize = 7;
    let (warm_up, measured) = (1_200, 60);
    let installed = peer::install("journey-bounded")?;
    let ids = work::ids((warm_up + PARTS * measured) * BURST / STAGES);
    let mut cursor = Cursor::new(0, 1, 0, 1);
    let burst = |cursor: &mut Cursor| {
        work_journeys(Form::Display, &ids, cursor, BURST);
        installed.flush();
    };
    (0..warm_up).for_each(|_| burst(&mut cursor));
    // A flush is a signal that is ours alone.
    let before = heap().allocations;
    (0..measured).for_each(|_| installed.flush());
    let by_flushes = heap().allocations - before;
    let mut own: Vec<u64> = (0..PARTS)
        .map(|_| {
            let before = heap().allocations;
            (0..measured).for_each(|_| burst(&mut cursor));
            (heap().allocations - before).saturating_sub(by_flushes)
        })
        .collect();
    let lost = installed.lost(Form::Display, ((warm_up + PARTS * measured) * BURST) as u64, 0);
    if lost != 0 {
        return Err(format!("{lost} stages were lost").into());
    }
    // What comes with a stage or a journey comes in every part. A histogram that widens for a latency longer than all
    // before, or begins another slot of ten seconds, does not.
    own.sort_unstable();
    let per_stage = |allocations: u64| allocations as f64 / (measured * BURST) as f64;
    Ok(figures([
        ("allocations_per_stage", per_stage(own[0])),
        ("allocations_per_stage_most", per_stage(own[PARTS - 1])),
    ]))
}

/// Child: bytes per open journey through the tracker.
pub(crate) fn memory(arguments: &[&str], heap: fn() -> Heap) -> Result<Figures> {
    let (journeys, stages, contexts) = (number(arguments, 0)?, number(arguments, 1)?, number(arguments, 2)? == 1);
    let start = 1_800_000_000_000_000_000;
    let limits = Limits { max_active: journeys + 1, ..Limits::default() };
    let sources = Sources::new(Source::default());
    let mut tracker =
        Tracker::new(std::sync::Arc::new(Routes::default()), sources, limits, TraceIdKey::default(), start);
    // Statistics have their memory before; they do not grow with journeys.
    let offer = |tracker: &mut Tracker, number: usize, stage: usize| -> Result<()> {
        let id = CorrelationId::new(&work::id(number as u64))?;
        let stage_ref = StageRef { route: RouteIndex(0), stage: StageIndex(stage as u16) };
        let at = start + (stage as i64) * 1_000_000 + (number as i64 % 1_000) * 1_000;
        let mut checkpoint = Checkpoint::reached(id, stage_ref, at);
        if contexts {
            checkpoint.trace_id = (number as u128) << 64 | 1;
            checkpoint.span_id = (number * STAGES + stage + 1) as u64;
        }
        tracker.record(checkpoint, start).map_err(|reason| format!("refused: {reason:?}").into())
    };
    let run = |tracker: &mut Tracker, from: usize, to: usize| -> Result<()> {
        for stage in 0..stages {
            for number in from..to {
                offer(tracker, number, stage)?;
            }
        }
        Ok(())
    };
    run(&mut tracker, journeys, journeys + 1)?;
    let (before, rss_before) = (heap(), resident()?);
    run(&mut tracker, 0, journeys)?;
    let (after, rss_after) = (heap(), resident()?);
    if tracker.active() != journeys + 1 {
        return Err(format!("{} journeys are open instead of {}", tracker.active(), journeys + 1).into());
    }
    let per_journey = |bytes: i64| bytes as f64 / journeys as f64;
    Ok(figures([("live", per_journey(after.live - before.live)), ("rss", per_journey(rss_after - rss_before))]))
}

/// Resident bytes of this process.
fn resident() -> Result<i64> {
    const PAGE: i64 = 4_096;
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: i64 = text.split_whitespace().nth(1).ok_or("statm has no second word")?.parse()?;
    Ok(pages * PAGE)
}
