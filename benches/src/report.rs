//! From measurements to tables.

use std::fmt::Write;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::goals;
use crate::job::Measured;
use crate::servers::Load;
use crate::works::IDLE;

/// All that was measured in a run, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    #[serde(default)]
    pub(crate) rows: Vec<Row>,
    /// What servers did under load.
    #[serde(default)]
    pub(crate) servers: Vec<Load>,
}

/// One work.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// What one racer did of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) racer: String,
    pub(crate) runs: Vec<Measured>,
    pub(crate) failure: Option<String>,
}

impl Entry {
    pub(crate) fn median(&self, of: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.runs.iter().map(of))
    }

    /// Messages a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.median(|run| run.messages / run.seconds)
    }

    /// CPU time a message, in microseconds.
    pub(crate) fn cpu(&self) -> Option<f64> {
        self.median(|run| run.cpu_seconds / run.messages * 1e6)
    }

    pub(crate) fn is_floor(&self) -> bool {
        self.racer.starts_with("floor")
    }

    pub(crate) fn is_peer(&self) -> bool {
        !self.is_floor() && self.racer != "bayeux"
    }
}

impl Row {
    /// The best of those, by what is better the more there is of it.
    pub(crate) fn best(
        &self,
        whose: impl Fn(&Entry) -> bool,
        of: impl Fn(&Entry) -> Option<f64>,
    ) -> Option<f64> {
        self.entries.iter().filter(|entry| whose(entry)).filter_map(of).max_by(f64::total_cmp)
    }

    pub(crate) fn floor_rate(&self) -> Option<f64> {
        self.best(Entry::is_floor, Entry::rate)
    }

    pub(crate) fn floor_cpu(&self) -> Option<f64> {
        self.best(Entry::is_floor, |entry| entry.cpu().map(|cpu| -cpu)).map(|cpu| -cpu)
    }

    fn peer_rate(&self) -> Option<f64> {
        self.best(Entry::is_peer, Entry::rate)
    }
}

impl Report {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self { machine: machine(), versions: versions(), rows, servers: Vec::new() }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("Machine: {}. Versions: {}.\n", self.machine, self.versions.join(", "));
        let goals = goals::markdown(self);
        if !goals.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n### Goals\n\n{goals}");
        }
        let mut groups: Vec<&str> = self.rows.iter().map(|row| row.group.as_str()).collect();
        groups.dedup();
        for group in groups {
            let rows = self.rows.iter().filter(|row| row.group == group);
            // Writing to a string cannot fail.
            let _ = write!(text, "\n### {group}\n\n");
            if group == IDLE {
                text.push_str("| work | client | KiB a client | peak MiB |\n|---|---|--:|--:|\n");
                rows.for_each(|row| idle_lines(&mut text, row));
            } else {
                text.push_str(
                    "| work | client | messages/s | of the floor | of the best other | CPU µs a message | of the floor | median call, µs | peak MiB |\n\
                     |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
                );
                rows.for_each(|row| lines(&mut text, row));
            }
        }
        for row in &self.rows {
            for entry in &row.entries {
                if let Some(failure) = &entry.failure {
                    let _ = write!(text, "\n{}, {}, {}: {failure}.\n", row.group, row.name, entry.racer);
                }
            }
        }
        text
    }
}

fn lines(text: &mut String, row: &Row) {
    for entry in &row.entries {
        let Row { name, .. } = row;
        let racer = &entry.racer;
        if entry.failure.is_some() || entry.runs.is_empty() {
            let _ = writeln!(text, "| {name} | {racer} | failed | | | | | | |");
            continue;
        }
        let ratio = |ours: Option<f64>, theirs: Option<f64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) if theirs > 0.0 => number(ours / theirs),
            _ => "-".to_owned(),
        };
        let call = entry.median(|run| run.p50_us).filter(|call| *call > 0.0);
        let _ = writeln!(
            text,
            "| {name} | {racer} | {} | {} | {} | {} | {} | {} | {} |",
            shown(entry.rate()),
            ratio(entry.rate(), row.floor_rate()),
            if entry.is_peer() { "-".to_owned() } else { ratio(entry.rate(), row.peer_rate()) },
            shown(entry.cpu()),
            ratio(entry.cpu(), row.floor_cpu()),
            shown(call),
            shown(entry.median(|run| run.peak_kib / 1024.0)),
        );
    }
}

fn idle_lines(text: &mut String, row: &Row) {
    for entry in &row.entries {
        if entry.failure.is_some() || entry.runs.is_empty() {
            let _ = writeln!(text, "| {} | {} | failed | |", row.name, entry.racer);
            continue;
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            row.name,
            entry.racer,
            shown(entry.median(|run| run.client_kib)),
            shown(entry.median(|run| run.peak_kib / 1024.0))
        );
    }
}

/// A row in short, to be seen while the race goes on.
pub(crate) fn line(row: &Row) -> String {
    let mut text = format!("{}: {}:", row.group, row.name);
    for entry in &row.entries {
        let dropped = entry.median(|run| run.dropped).filter(|dropped| *dropped > 0.0);
        let dropped = dropped.map_or_else(String::new, |dropped| format!(", {} dropped", number(dropped)));
        let idle = entry.median(|run| run.client_kib).filter(|kib| *kib > 0.0);
        let _ = match idle {
            Some(kib) => write!(text, "  {} {} KiB", entry.racer, number(kib)),
            None => {
                write!(text, "  {} {}/s {} µs{dropped}", entry.racer, shown(entry.rate()), shown(entry.cpu()))
            }
        };
    }
    text
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().filter(|value| value.is_finite())
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Three digits, with commas between thousands.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        unknown if unknown.is_nan() => "-".to_owned(),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        large => {
            let step = 10f64.powi((large.log10().floor() as i32 - 2).max(0));
            let digits = format!("{:.0}", (value / step).round() * step);
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    // How busy it is with other things matters.
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!("{cores} cores of {model}, {}, with a load of {load} before the run", std::env::consts::OS)
}

fn versions() -> Vec<String> {
    let mut versions = vec![format!("bayeux {}", env!("CARGO_PKG_VERSION"))];
    for (name, command, flag) in [
        ("", "rustc", "--version"),
        ("Java ", "java", "--version"),
        ("Node.js ", "node", "--version"),
        ("", "python3", "--version"),
    ] {
        if let Ok(output) = Command::new(command).arg(flag).output() {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let first = text.lines().next().unwrap_or_default();
            let first = first.split(" (").next().unwrap_or_default();
            versions.push(format!("{name}{first}"));
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_commas() {
        for (value, text) in [
            (0.1234, "0.12"),
            (12.34, "12.3"),
            (999.4, "999"),
            (1_234_567.0, "1,230,000"),
            (10_000.0, "10,000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_floor_is_the_best_of_its_loops_and_ratios_are_to_it() {
        let entry = |racer: &str, messages, cpu_seconds| Entry {
            racer: racer.to_owned(),
            runs: vec![Measured { messages, seconds: 1.0, cpu_seconds, ..Measured::default() }],
            failure: None,
        };
        let row = Row {
            group: "Receive".to_owned(),
            name: "some".to_owned(),
            entries: vec![
                entry("bayeux", 900.0, 1.0),
                entry("floor", 1000.0, 1.0),
                entry("floor on tokio", 800.0, 0.5),
                entry("other", 90.0, 1.0),
            ],
        };
        assert_eq!(row.floor_rate(), Some(1000.0));
        assert!((row.floor_cpu().unwrap() - 625.0).abs() < 1e-9);
        assert_eq!(row.peer_rate(), Some(90.0));
        let report =
            Report { machine: String::new(), versions: Vec::new(), rows: vec![row], servers: Vec::new() };
        assert!(report.markdown().contains("| some | bayeux | 900 | 0.90 | 10.0 |"), "{}", report.markdown());
    }
}
