//! What was measured, and where.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::job::Measured;

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

    pub(crate) fn peer_rate(&self) -> Option<f64> {
        self.best(Entry::is_peer, Entry::rate)
    }
}

/// What a server did over a transport.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) server: String,
    pub(crate) transport: String,
    /// By how much it grew while the sessions were opened, for each.
    pub(crate) session_kib: f64,
    pub(crate) runs: Vec<Loaded>,
}

/// One run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) expected: f64,
    pub(crate) received: f64,
    pub(crate) seconds: f64,
    pub(crate) server_cpu_seconds: f64,
    pub(crate) client_cpu_seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The memory of the server at the end, with all sessions.
    pub(crate) server_kib: f64,
}

impl Report {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self { machine: machine(), versions: versions(), rows, servers: Vec::new() }
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().filter(|value| value.is_finite())
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
