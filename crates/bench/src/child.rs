//! One case in a process of its own: started by a driver, answers with lines `name value`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Heap, Result, gate, outage, process, time, tracker};

/// What a case measured.
pub(crate) type Figures = BTreeMap<String, f64>;

/// Runs a case of this program as a child.
pub(crate) fn main(case: &str, arguments: &[&str], heap: Option<fn() -> Heap>) -> Result<()> {
    let figures = match (case, heap) {
        ("burst", None) => time::burst(arguments)?,
        ("steps", None) => gate::steps(arguments)?,
        ("allocations", Some(heap)) => gate::allocations(heap)?,
        ("memory", Some(heap)) => gate::memory(arguments, heap)?,
        ("encode-allocations", Some(heap)) => process::encode_allocations(heap)?,
        ("throughput", None) => tracker::throughput(arguments)?,
        ("holds", None) => tracker::holds()?,
        ("readers", None) => tracker::readers()?,
        ("outage-run", None) => outage::paced(arguments)?,
        ("paced", None) => process::paced(arguments)?,
        ("idle", None) => process::idle(arguments)?,
        ("export", None) => process::export(arguments)?,
        ("encode", None) => process::encode()?,
        ("sdk-export", None) => process::sdk_export()?,
        ("shutdown", None) => process::shutdown(arguments)?,
        (_, Some(_)) => {
            return Err("only `allocations`, `encode-allocations` and `memory` run under the counting allocator".into());
        }
        (_, None) => return Err("is no case (try `journey-bench --help`)".into()),
    };
    for (name, value) in figures {
        println!("{name} {value}");
    }
    Ok(())
}

/// Runs a case with this program and reads its figures.
pub(crate) fn run(arguments: &[&str]) -> Result<Figures> {
    run_with(&own()?, arguments, &[])
}

/// The same with another program of ours.
pub(crate) fn run_with(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Figures> {
    let variables = variables.iter().copied();
    let output = Command::new(program).args(arguments).envs(variables).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed: {}", arguments.join(" "), output.status).into());
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines `name value`; others are none of ours.
pub(crate) fn parse(text: &str) -> Figures {
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// This program.
pub(crate) fn own() -> Result<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// A program that is built beside this one, where it is there.
pub(crate) fn beside(name: &str) -> Result<Option<PathBuf>> {
    let path = own()?.with_file_name(name);
    Ok(path.exists().then_some(path))
}

/// Figures of one child as a map.
pub(crate) fn figures<const N: usize>(all: [(&str, f64); N]) -> Figures {
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of values in any order; not a number where there is none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let half = sorted.len() / 2;
        let median =
            if sorted.len().is_multiple_of(2) && half > 0 { (at(half - 1) + at(half)) / 2.0 } else { at(half) };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }

    /// `0.081 (0.075..0.102)`.
    pub(crate) fn text(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}..{:.digits$})", self.median, self.min, self.max)
    }
}

/// The value at a quantile of values in any order.
pub(crate) fn quantile(values: &mut [u64], q: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((q * last as f64).round() as usize).copied().unwrap_or(0)
}

/// The number after an option, or all other words.
pub(crate) fn option<'a>(arguments: &[&'a str], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|word| *word == name)?;
    arguments.get(at + 1).copied()
}

/// A word of a child's command line as a number.
pub(crate) fn number(arguments: &[&str], at: usize) -> Result<usize> {
    let word = arguments.get(at).ok_or_else(|| format!("word {at} is missing"))?;
    Ok(word.parse().map_err(|_| format!("`{word}` is no number (try `1000`)"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_seven_is_the_fourth_with_both_ends() {
        let spread = Spread::of(&[7.0, 1.0, 6.0, 2.0, 5.0, 3.0, 4.0]);
        assert_eq!(spread.text(1), "4.0 (1.0..7.0)");
        assert_eq!(Spread::of(&[1.0, 2.0]).median, 1.5);
        assert!(Spread::of(&[]).median.is_nan());
    }

    #[test]
    fn figures_are_lines_of_a_name_and_a_number() {
        let figures = parse("ns 12.5\nlost 0\nsome noise here\n");
        assert_eq!(figures, super::figures([("ns", 12.5), ("lost", 0.0)]));
    }
}
