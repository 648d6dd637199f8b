//! What we want to reach, and what was measured of it.

use std::fmt::Write as _;

use crate::figure::number;
use crate::results::{Entry, Report, Row};
use crate::works::{IDLE, LONG, PUBLISH, RECEIVE, SUBSCRIPTIONS, VARIANTS};

const OURS: &str = "bayeux";
/// The only other client in Rust, which has goals of its own.
const RUST: &str = "cometd-client";

/// A table of the goals that something was measured of; nothing if there are none.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for (what, goal, measured) in all(&Table { report }) {
        let Some(measured) = measured else { continue };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {what} | {goal} | {} |", number(measured));
    }
    if text.is_empty() { text } else { format!("| what | goal | measured |\n|---|--:|--:|\n{text}") }
}

type Goal = (String, &'static str, Option<f64>);

fn all(table: &Table<'_>) -> Vec<Goal> {
    const POLL: &str = "long-polling, 100 a reply, 200 B";
    let mut goals: Vec<Goal> = Vec::new();
    let mut goal = |what: &str, goal, measured| goals.push((what.to_owned(), goal, measured));
    for work in ["websocket, 1 a frame, 200 B", "websocket, 10 a frame, 200 B"] {
        goal(&format!("{work}: messages/s, of the floor"), "≥ 0.90", table.rate_of_floor(RECEIVE, work));
        goal(&format!("{work}: CPU a message, of the floor"), "≤ 1.11", table.cpu_of_floor(RECEIVE, work));
        goal(
            &format!("{work}: messages/s, of the fastest other"),
            "≥ 8",
            table.rate_of_others(RECEIVE, work),
        );
        // Rates wander on a busy machine; what a message takes does not.
        let thrifty = table.cpu_of_others(RECEIVE, work);
        goal(&format!("{work}: CPU a message, of the thriftiest other"), "≤ 0.13", thrifty);
    }
    goal(&format!("{POLL}: CPU a message, of the floor"), "≤ 1.10", table.cpu_of_floor(RECEIVE, POLL));
    goal(
        &format!("{POLL}: messages/s, of the fastest other that is not Rust"),
        "≥ 3",
        table.rate_of_others(RECEIVE, POLL),
    );
    goal(
        &format!("{POLL}: CPU a message, of the thriftiest other that is not Rust"),
        "≤ 0.33",
        table.cpu_of_others(RECEIVE, POLL),
    );
    goal(&format!("{POLL}: messages/s, of cometd-client"), "> 1", table.rate_of_rust(RECEIVE, POLL));
    for (work, plain) in [
        ("websocket, 10 a frame, decoded by the user", "websocket, 10 a frame, 200 B"),
        ("long-polling, 100 a reply, decoded by the user", POLL),
    ] {
        goal(
            &format!("{work}: CPU that this adds, of what it adds to the floor"),
            "≤ 1",
            table.added(work, plain),
        );
    }
    for transport in ["websocket", "long-polling"] {
        let work = format!("{transport}, one publish after the other");
        goal(&format!("{work}: CPU a publish, of the floor"), "≤ 1.20", table.cpu_of_floor(PUBLISH, &work));
        goal(
            &format!("{work}: median time, of the fastest other"),
            "≤ 1",
            table.call_of_others(PUBLISH, &work),
        );
        let work = format!("{transport}, 256 publishes at once");
        goal(&format!("{work}: messages/s, of the floor"), "≥ 1", table.rate_of_floor(PUBLISH, &work));
        goal(
            &format!("{work}: messages/s, of the fastest other"),
            "≥ 5",
            table.rate_of_others(PUBLISH, &work),
        );
        let thrifty = table.cpu_of_others(PUBLISH, &work);
        goal(&format!("{work}: CPU a publish, of the thriftiest other"), "≤ 0.20", thrifty);
    }
    for (transport, limit) in [("websocket", "≤ 16"), ("long-polling", "≤ 24")] {
        for count in ["200", "10,000"] {
            let work = format!("{transport}, {count} clients");
            goal(&format!("{work}: KiB an idle client"), limit, table.kib(&work));
        }
    }
    goal(
        "1,000 subscriptions: messages a CPU second, of those with 1",
        "≥ 0.90",
        table.lasting(SUBSCRIPTIONS, "websocket, 1 subscription", "websocket, 1,000 subscriptions"),
    );
    for transport in ["websocket", "long-polling"] {
        let after = |count| format!("{transport}, after {count} messages");
        let (young, old) = (after("1,000"), after("10,000,000"));
        let name = format!("{transport}, after 10,000,000 messages");
        goal(
            &format!("{name}: messages a CPU second, of those after 1,000"),
            "≥ 0.90",
            table.lasting(LONG, &young, &old),
        );
        goal(&format!("{name}: peak memory, of that after 1,000"), "1", table.grown(LONG, &young, &old));
    }
    goals
}

struct Table<'a> {
    report: &'a Report,
}

impl Table<'_> {
    fn row(&self, group: &str, name: &str) -> Option<&Row> {
        self.report.rows.iter().find(|row| row.group == group && row.name == name)
    }

    fn ours(&self, group: &str, name: &str) -> Option<&Entry> {
        self.row(group, name)?.entries.iter().find(|entry| entry.racer == OURS)
    }

    fn rate_of_floor(&self, group: &str, name: &str) -> Option<f64> {
        Some(self.ours(group, name)?.rate()? / self.row(group, name)?.floor_rate()?)
    }

    fn cpu_of_floor(&self, group: &str, name: &str) -> Option<f64> {
        Some(self.ours(group, name)?.cpu()? / self.row(group, name)?.floor_cpu()?)
    }

    fn rate_of(&self, group: &str, name: &str, whose: impl Fn(&Entry) -> bool) -> Option<f64> {
        let theirs = self.row(group, name)?.best(|entry| entry.is_peer() && whose(entry), Entry::rate)?;
        Some(self.ours(group, name)?.rate()? / theirs)
    }

    fn rate_of_others(&self, group: &str, name: &str) -> Option<f64> {
        self.rate_of(group, name, |entry| !entry.racer.starts_with(RUST))
    }

    fn rate_of_rust(&self, group: &str, name: &str) -> Option<f64> {
        self.rate_of(group, name, |entry| entry.racer.starts_with(RUST))
    }

    fn cpu_of_others(&self, group: &str, name: &str) -> Option<f64> {
        self.least_of_others(group, name, Entry::cpu)
    }

    fn call_of_others(&self, group: &str, name: &str) -> Option<f64> {
        self.least_of_others(group, name, |entry| entry.median(|run| run.p50_us))
    }

    /// Ours of something that is the better the less there is of it, beside the least of the others that are not Rust.
    fn least_of_others(&self, group: &str, name: &str, of: impl Fn(&Entry) -> Option<f64>) -> Option<f64> {
        let other = |entry: &Entry| entry.is_peer() && !entry.racer.starts_with(RUST);
        let theirs = self.row(group, name)?.best(other, |entry| of(entry).map(|value| -value))?;
        Some(of(self.ours(group, name)?)? / -theirs)
    }

    /// What a variant adds to our CPU time, beside what it adds to the floor's.
    fn added(&self, variant: &str, plain: &str) -> Option<f64> {
        let ours = self.ours(VARIANTS, variant)?.cpu()? - self.ours(RECEIVE, plain)?.cpu()?;
        let floors = self.row(VARIANTS, variant)?.floor_cpu()? - self.row(RECEIVE, plain)?.floor_cpu()?;
        Some(ours / floors)
    }

    /// Messages a CPU second of one work, beside those of another.
    fn lasting(&self, group: &str, first: &str, last: &str) -> Option<f64> {
        Some(self.ours(group, first)?.cpu()? / self.ours(group, last)?.cpu()?)
    }

    fn grown(&self, group: &str, first: &str, last: &str) -> Option<f64> {
        let peak = |name| self.ours(group, name)?.median(|run| run.peak_kib);
        Some(peak(last)? / peak(first)?)
    }

    fn kib(&self, name: &str) -> Option<f64> {
        self.ours(IDLE, name)?.median(|run| run.client_kib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Measured;
    use crate::works;

    /// Each racer of `who`, on each work, with the messages and CPU time that it has there.
    fn report(who: &[(&str, f64, f64)]) -> Report {
        let entry = |(racer, messages, cpu_seconds): &(&str, f64, f64)| Entry {
            racer: (*racer).to_owned(),
            runs: vec![Measured {
                messages: *messages,
                seconds: 1.0,
                cpu_seconds: *cpu_seconds,
                client_kib: 9.0,
                p50_us: cpu_seconds * 10.0,
                peak_kib: 1.0,
                ..Measured::default()
            }],
            failure: None,
        };
        let row = |work: works::Work| Row {
            group: work.group.to_owned(),
            name: work.name,
            entries: who.iter().map(entry).collect(),
        };
        let rows = works::all().into_iter().map(row).collect();
        Report { machine: String::new(), versions: Vec::new(), rows, servers: Vec::new() }
    }

    #[test]
    fn each_goal_finds_its_work() {
        let report = report(&[
            ("bayeux", 900.0, 0.9),
            ("floor", 1000.0, 0.5),
            ("other", 90.0, 1.0),
            ("cometd-client 1", 300.0, 1.0),
        ]);
        let goals = all(&Table { report: &report });
        let missing: Vec<_> = goals.iter().filter(|(_, _, measured)| measured.is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let text = markdown(&report);
        for line in [
            "| websocket, 1 a frame, 200 B: messages/s, of the floor | ≥ 0.90 | 0.90 |",
            "| long-polling, 100 a reply, 200 B: messages/s, of the fastest other that is not Rust | ≥ 3 | 10.0 |",
            "| long-polling, 100 a reply, 200 B: messages/s, of cometd-client | > 1 | 3.00 |",
            "| long-polling, 100 a reply, 200 B: CPU a message, of the floor | ≤ 1.10 | 2.00 |",
            "| websocket, 256 publishes at once: CPU a publish, of the thriftiest other | ≤ 0.20 | 0.09 |",
            "| websocket, one publish after the other: median time, of the fastest other | ≤ 1 | 0.90 |",
            "| long-polling, 10,000 clients: KiB an idle client | ≤ 24 | 9.00 |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_told() {
        let nothing =
            Report { machine: String::new(), versions: Vec::new(), rows: Vec::new(), servers: Vec::new() };
        assert_eq!(markdown(&nothing), "");
    }
}
