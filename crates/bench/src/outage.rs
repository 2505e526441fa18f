//! How much memory an application needs whose collector is dead.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use crate::{
    Result,
    child::{self, Figures, figures, number, option},
    collector::{Behaviour, Collector},
    page, process,
    work::{self, Cursor, STAGES, one_step},
};

/// Journeys a second: 6 000 stages.
const RATE: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Measures an outage of `--seconds` (default 600) beside the same time with a healthy collector.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let seconds = option(arguments, "--seconds").unwrap_or("600");
    let mut text = format!(
        "### Memory while the collector is away for {seconds} s\n\n{} stages a second, all journeys complete; resident memory, MiB.\n\n\
         | collector | after a tenth of it | at the end | greatest | journeys | exported | dropped, counted |\n|---|---|---|---|---|---|---|\n",
        RATE * STAGES
    );
    let mut all = Figures::new();
    for (name, behaviour) in [("healthy", Behaviour::Healthy), ("dead", Behaviour::Dead)] {
        let seen = child::run(&["outage-run", &Collector::start(behaviour)?.address, seconds])?;
        let of = |figure: &str| seen.get(figure).copied().unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.1} | {:.1} | {} | {} | {} |",
            of("early_mib"),
            of("end_mib"),
            of("peak_mib"),
            of("journeys"),
            of("exported"),
            of("dropped")
        );
        all.insert(format!("outage_{name}_end_mib"), of("end_mib"));
    }
    page::keep_table("process", "outage", &text)?;
    page::keep("process", &all)
}

/// Child: an even pace for so many seconds. Words: collector, seconds.
pub(crate) fn paced(arguments: &[&str]) -> Result<Figures> {
    let endpoint = arguments.first().ok_or("needs a collector")?;
    let seconds = number(arguments, 1)? as u64;
    let journey = process::install(process::exporting(endpoint))?;
    let ids = RATE * seconds as usize;
    let (start, length) = (Instant::now(), Duration::from_secs(seconds));
    let (mut made, mut early, mut peak) = (0, 0.0, 0.0_f64);
    while start.elapsed() < length {
        let due = (start.elapsed().as_secs_f64() * RATE as f64) as usize;
        while made < due.min(ids) {
            // Texts are made as they are needed: a list of them would be most of the memory that is measured.
            let id = [work::id(made as u64)];
            let mut cursor = Cursor::new(0, 1, 0, 1);
            (0..STAGES).for_each(|_| one_step(&id, &mut cursor));
            made += 1;
        }
        let now = resident_mib()?;
        peak = peak.max(now);
        if early == 0.0 && start.elapsed() > length / 10 {
            early = now;
        }
        std::thread::sleep(PAUSE);
    }
    let end = resident_mib()?;
    let report = journey.shutdown(Duration::from_secs(5));
    Ok(figures([
        ("early_mib", early),
        ("end_mib", end),
        ("peak_mib", peak),
        ("journeys", made as f64),
        ("exported", report.exported as f64),
        ("dropped", report.dropped as f64),
    ]))
}

fn resident_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("there is no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().ok_or("VmRSS is empty")?.parse()?;
    Ok(kib / 1024.0)
}
