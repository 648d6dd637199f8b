//! What came of a run, for the terminal and for the documents.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::networks;
use crate::outcome::Outcome;
use crate::peers::{self, CLIENTS, OURS, SERVERS};
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
        for part in [self.servers(), self.clients(), self.networks()] {
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

    pub(crate) fn is_well(&self) -> bool {
        let (passed, failed, _) = self.numbers();
        passed > 0 && failed == 0
    }

    /// The last line.
    pub(crate) fn counts(&self) -> String {
        let (passed, failed, elsewhere) = self.numbers();
        let more = if elsewhere > 0 { format!("; between others {elsewhere} failed") } else { String::new() };
        format!("\n{passed} passed, {failed} failed{more}")
    }

    /// How many cells passed, how many failed, and how many failed in which we have no part.
    fn numbers(&self) -> (usize, usize, usize) {
        let (mut passed, mut failed, mut elsewhere) = (0, self.missing.len(), 0);
        for row in &self.rows {
            let (good, bad) = row.count();
            passed += good;
            *(if row.is_ours() { &mut failed } else { &mut elsewhere }) += bad;
        }
        for entry in self.networks.iter().flat_map(|row| &row.entries) {
            passed += usize::from(*entry == Entry::Pass);
            failed += usize::from(*entry == Entry::Fail);
        }
        (passed, failed, elsewhere)
    }

    /// Puts the tables into the documents; returns those that had others.
    pub(crate) fn put(&self, write: bool) -> Outcome<Vec<&'static str>> {
        let mut changed = Vec::new();
        let parts = [
            ("servers", self.servers()),
            ("clients", self.clients()),
            ("networks", self.networks()),
            ("versions", self.peers()),
            ("legend", table::legend()),
        ];
        let document = "docs/interop.md";
        for (name, text) in parts {
            if table::put(&peers::root().join(document), name, &text, write)? && !changed.contains(&document)
            {
                changed.push(document);
            }
        }
        Ok(changed)
    }

    fn servers(&self) -> String {
        let rows = self.rows.iter().filter(|row| row.client == OURS);
        table::scenarios_table(rows, "server, with our client", |row| row.server)
    }

    fn clients(&self) -> String {
        let rows = self.rows.iter().filter(|row| row.client != OURS);
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
