//! From kept figures to docs/performance.md.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use crate::{Result, child::Figures, gate};

/// Sections in the order of the page.
const SECTIONS: [&str; 4] = ["gate", "time", "tracker", "process"];
const PAGE: &str = "docs/performance.md";
const HEAD: &str = include_str!("page_head.md");
const TAIL: &str = include_str!("page_tail.md");

/// A budget that is no gate: what must and should be, and which figure tells.
struct Aim {
    budget: &'static str,
    what: &'static str,
    figure: &'static str,
    must: f64,
    goal: f64,
    unit: &'static str,
}

const fn aim(
    budget: &'static str,
    what: &'static str,
    figure: &'static str,
    must: f64,
    goal: f64,
    unit: &'static str,
) -> Aim {
    Aim { budget, what, figure, must, goal, unit }
}

const AIMS: [Aim; 20] = [
    aim("B1", "a stage span, share of otel's added time (as `build`)", "share_plain", 0.10, 0.06, ""),
    aim("B1", "the same, behind a filter of tracing-subscriber (`build_filtered`)", "share_filtered", 0.10, 0.06, ""),
    aim("B5", "added per thread, two threads over one", "two_over_one", 1.5, 1.3, "x"),
    aim(
        "B6",
        "stages alternate between two threads, 10 000 open, share of otel's",
        "share_alternating",
        0.13,
        0.06,
        "",
    ),
    aim("B7", "100 000 open, interleaved, over few open", "open_100k_over_few", 2.3, 1.2, "x"),
    aim("B9", "longest call while 1 000 000 open: a record (growth, rehash)", "hold_record_us", 1_000.0, 20.0, "us"),
    aim("B9", "the same: a tick that expires", "hold_tick_us", 1_000.0, 20.0, "us"),
    aim("B9", "the same: a summary", "hold_summary_us", 1_000.0, 20.0, "us"),
    aim("B10", "idle, all our threads, of every second", "idle_ms", 1.0, 0.1, "ms"),
    aim("B12", "finished journey to OTLP, share of twelve spans through the SDK", "share_otlp", 0.05, 0.017, ""),
    aim("B13", "added on top of tracing-opentelemetry, of its total", "share_on_top", 0.10, 0.05, ""),
    aim("B14", "a hook's p99.9 with a hung collector, over healthy", "hung_over_healthy", 2.0, 1.1, "x"),
    aim("B14", "the same with a dead collector", "dead_over_healthy", 2.0, 1.1, "x"),
    aim("B15", "lookup at 100 000 open while one core records flat out, p99", "lookup_ms", 1.0, 0.2, "ms"),
    aim("B15", "summary, the same", "summary_ms", 2.0, 0.5, "ms"),
    aim("B15", "`/metrics` over HTTP, the same", "metrics_ms", 5.0, 2.0, "ms"),
    aim(
        "B16",
        "a hook's median with 100 event streams, ten stopped, over none",
        "streams_over_none_p50",
        1.1,
        1.0,
        "x",
    ),
    aim("B16", "a hook's p99.9, the same", "streams_over_none_p999", 2.0, 1.0, "x"),
    aim("B16", "checkpoints lost by it", "streams_lost", 0.0, 0.0, ""),
    aim("B18", "shutdown, hung collector: beyond the deadline", "shutdown_beyond_ms", 500.0, 500.0, "ms"),
];

/// Where figures are kept between commands.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = PathBuf::from("target/bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Keeps the figures of a section, beside those of earlier runs that measured others.
pub(crate) fn keep(section: &str, figures: &Figures) -> Result<()> {
    let path = folder()?.join(format!("{section}.figures"));
    let mut all = crate::child::parse(&std::fs::read_to_string(&path).unwrap_or_default());
    all.extend(figures.clone());
    let text: String = all.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
    Ok(std::fs::write(path, text)?)
}

/// Keeps a table as Markdown, and shows it.
pub(crate) fn keep_table(section: &str, name: &str, table: &str) -> Result<()> {
    println!("{table}");
    Ok(std::fs::write(folder()?.join(format!("{section}.{name}.md")), table)?)
}

/// Writes the page from what was kept.
pub(crate) fn write() -> Result<()> {
    let folder = folder()?;
    let mut figures = Figures::new();
    let mut tables = BTreeMap::new();
    for section in SECTIONS {
        let text = std::fs::read_to_string(folder.join(format!("{section}.figures"))).unwrap_or_default();
        figures.extend(crate::child::parse(&text));
    }
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let section = SECTIONS.iter().position(|section| name.starts_with(section));
            tables.insert((section, name), std::fs::read_to_string(path)?);
        }
    }
    let mut page = HEAD.replace("{{machine}}", &machine()?);
    page.push_str("\n## Budgets\n\n| # | what | must | goal | measured | |\n|---|---|---|---|---|---|\n");
    let mut rows: Vec<(String, String)> = Vec::new();
    for (name, budget) in gate::budgets()? {
        let unit = format!(" {}", budget.unit);
        rows.push((
            budget.budget.clone(),
            row(&budget.budget, &budget.what, budget.must, budget.goal, figures.get(&name), &unit, true),
        ));
    }
    for aim in &AIMS {
        rows.push((
            aim.budget.to_owned(),
            row(aim.budget, aim.what, aim.must, aim.goal, figures.get(aim.figure), &format!(" {}", aim.unit), false),
        ));
    }
    if let Some(rates) = figures.get("checkpoints_per_second_1") {
        let verdict = verdict(*rates >= 1e6, *rates >= 4e6);
        rows.push(("B11".to_owned(), format!("| B11 | checkpoints a second through the tracker, one core, nothing dropped | 1 000 000 | 4 000 000 | {rates:.0} | {verdict} |\n")));
    }
    rows.push(("B17".to_owned(), "| B17 | a quantile's relative error | 0.54 % | 0.54 % | a property of the buckets | held by the tests of `histogram.rs` |\n".to_owned()));
    let order = |budget: &str| budget.trim_start_matches('B').parse::<u32>().unwrap_or(u32::MAX);
    rows.sort_by_key(|(budget, _)| order(budget));
    rows.iter().for_each(|(_, row)| page.push_str(row));
    for (_, table) in tables {
        let _ = write!(page, "\n{table}");
    }
    page.push('\n');
    page.push_str(TAIL);
    std::fs::write(PAGE, &page)?;
    println!("wrote {PAGE}");
    Ok(())
}

fn row(budget: &str, what: &str, must: f64, goal: f64, measured: Option<&f64>, unit: &str, gate: bool) -> String {
    let unit = unit.trim_end();
    let gate = if gate { ", gate" } else { "" };
    let (measured, verdict) = match measured {
        Some(value) => (format!("{}{unit}", number(*value)), verdict(*value <= must, *value <= goal)),
        None => ("not measured".to_owned(), ""),
    };
    format!("| {budget} | {what} | {}{unit} | {}{unit} | {measured} | {verdict}{gate} |\n", number(must), number(goal))
}

fn verdict(must: bool, goal: bool) -> &'static str {
    match (must, goal) {
        (true, true) => "goal met",
        (true, false) => "met",
        (false, _) => "**missed**",
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The machine in a few words.
fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value).to_owned()
    };
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let virtual_machine = if field("flags").contains("hypervisor") { "virtual machine, " } else { "" };
    Ok(format!(
        "{virtual_machine}{cores} x {} (family {}, model {}), {} GiB, Linux {}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        kib >> 20,
        kernel.trim()
    ))
}
