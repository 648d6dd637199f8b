//! What came of a run, for the terminal and for the documents.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::networks;
use crate::outcome::Outcome;
use crate::peers::{CLIENTS, OURS, PYTHON, SERVERS};
use crate::table::{self, Entry, Row};

/// All rows, and who took part.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) networks: Vec<networks::Row>,
    pub(crate) versions: BTreeMap<&'static str, String>,
    pub(crate) missing: Vec<&'static str>,
}

impl Report {
    /// For the terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for part in [self.servers(), self.python(), self.clients(), self.networks()] {
            if part.lines().count() > 2 {
                let _ = writeln!(text, "\n{part}");
            }
        }
        for (name, version) in &self.versions {
            let _ = writeln!(text, "{name} {version}");
        }
        for name in &self.missing {
            let _ = writeln!(text, "{name} is MISSING");
        }
        text
    }

    /// What keeps the run from being good, each with a headline and what was seen.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = self.ours().cloned().collect();
        if self.passed() == 0 {
            failures.push("nothing passed".to_owned());
        }
        failures
    }

    /// How many cells passed, how many failed, and how many failed in which we have no part.
    pub(crate) fn counts(&self) -> String {
        let others = self.rows.iter().filter(|row| !row.is_ours());
        let elsewhere: usize = others.map(|row| row.failures.len()).sum();
        let more = if elsewhere > 0 { format!("; between others {elsewhere} failed") } else { String::new() };
        format!("\n{} passed, {} failed{more}", self.passed(), self.ours().count())
    }

    /// The failures in which our client or our server has a part.
    fn ours(&self) -> impl Iterator<Item = &String> {
        let rows = self.rows.iter().filter(|row| row.is_ours()).flat_map(|row| &row.failures);
        rows.chain(self.networks.iter().flat_map(|row| &row.failures))
    }

    fn passed(&self) -> usize {
        let networks = self.networks.iter().flat_map(|row| &row.entries);
        let networks = networks.filter(|entry| **entry == Entry::Pass).count();
        self.rows.iter().map(Row::passed).sum::<usize>() + networks
    }

    /// Puts the tables into their document; what is wrong with it, if it has others.
    pub(crate) fn put(&self, write: bool) -> Outcome<Option<String>> {
        let tables = [
            ("servers", self.servers()),
            ("python", self.python()),
            ("clients", self.clients()),
            ("networks", self.networks()),
            ("versions", self.peers()),
            ("legend", table::legend()),
        ];
        table::put("docs/interop.md", &tables, write)
    }

    fn servers(&self) -> String {
        let rows = self.rows.iter().filter(|row| row.client == OURS);
        table::scenarios_table(rows, "server, with our client", |row| row.server)
    }

    fn python(&self) -> String {
        let rows = self.rows.iter().filter(|row| row.client == PYTHON);
        table::scenarios_table(rows, "server, with our package for Python", |row| row.server)
    }

    fn clients(&self) -> String {
        let rows = self.rows.iter().filter(|row| ![OURS, PYTHON].contains(&row.client));
        table::scenarios_table(rows, "client, with our server", |row| row.client)
    }

    fn networks(&self) -> String {
        let transports: Vec<&str> = networks::TRANSPORTS.iter().map(|transport| transport.as_str()).collect();
        let mut text =
            format!("| on the way | before the server | what it shows | {} |\n", transports.join(" | "));
        let _ = writeln!(text, "|---|---|---|{}", ":-:|".repeat(transports.len()));
        for row in &self.networks {
            let entries: Vec<&str> =
                row.entries.iter().map(|entry| if *entry == Entry::Pass { "✓" } else { "FAIL" }).collect();
            let (tool, shows) = (row.setup.tool, row.setup.shows);
            let _ = writeln!(text, "| {tool} | {} | {shows} | {} |", row.server, entries.join(" | "));
        }
        text
    }

    /// Who took part.
    fn peers(&self) -> String {
        let mut text = "| name | what it is | version |\n|---|---|---|\n".to_owned();
        for (peers, role) in [(SERVERS, "server"), (CLIENTS, "client")] {
            for peer in peers {
                if let Some(version) = self.versions.get(peer.name) {
                    let _ = writeln!(text, "| {} ({role}) | {} | {version} |", peer.name, peer.what);
                }
            }
        }
        for name in ["chromium", "haproxy", "nginx", "tinyproxy"] {
            if self.versions.contains_key(name) {
                // Debian's newest of the day, which changes more often than it matters.
                let _ = writeln!(text, "| {name} | Debian's | |");
            }
        }
        text
    }
}
