//! From measurements to tables.

use std::fmt::Write;

use crate::figure::{number, shown};
use crate::goals;
use crate::results::{Report, Row};
use crate::works::IDLE;

/// The tables of the clients.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = format!("Machine: {}. Versions: {}.\n", report.machine, report.versions.join(", "));
    let goals = goals::markdown(report);
    if !goals.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n### Goals\n\n{goals}");
    }
    let mut groups: Vec<&str> = report.rows.iter().map(|row| row.group.as_str()).collect();
    groups.dedup();
    for group in groups {
        let rows = report.rows.iter().filter(|row| row.group == group);
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
    for row in &report.rows {
        for entry in &row.entries {
            if let Some(failure) = &entry.failure {
                let _ = write!(text, "\n{}, {}, {}: {failure}.\n", row.group, row.name, entry.racer);
            }
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Measured;
    use crate::results::Entry;

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
        assert!(markdown(&report).contains("| some | bayeux | 900 | 0.90 | 10.0 |"), "{}", markdown(&report));
    }
}
