//! The page that shows the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reasons::{self, Reason};
use super::scenario::{ALL, Scenario};
use super::verdict::Verdict;
use super::{COLUMNS, columns};
use crate::outcome::Outcome;
use crate::peers::Peer;
use crate::table;

/// The page.
const DOCUMENT: &str = "docs/misbehaviour.md";

/// One cell.
pub(super) struct Cell {
    pub(super) scenario: &'static Scenario,
    pub(super) client: &'static Peer,
    /// `None` when it could not be played to its end.
    pub(super) verdict: Option<Verdict>,
    /// What passed, or what kept it from being played, where it is not right.
    pub(super) trace: String,
}

impl Cell {
    pub(super) fn new(scenario: &'static Scenario, client: &'static Peer, verdict: Option<Verdict>) -> Self {
        Self { scenario, client, verdict, trace: String::new() }
    }

    pub(super) fn broken(
        scenario: &'static Scenario,
        client: &'static Peer,
        error: &dyn std::fmt::Display,
    ) -> Self {
        Self { trace: format!("  {error}\n"), ..Self::new(scenario, client, None) }
    }

    fn seen(&self) -> &'static str {
        self.verdict.map_or("FAIL", Verdict::text)
    }

    fn reason(&self) -> Option<&'static Reason> {
        reasons::find(self.client.name, self.scenario.name, self.seen())
    }

    fn complaint(&self) -> Option<String> {
        let what = match self.verdict {
            None => "could not be played to its end".to_owned(),
            Some(Verdict::Wrong(seen)) if self.reason().is_none() => {
                format!("no reason is known for: {seen}")
            }
            _ => return None,
        };
        Some(format!("{}, {}: {what}\n{}", self.client.name, self.scenario.name, self.trace))
    }
}

/// All that was seen.
pub(super) struct Page<'a> {
    pub(super) cells: Vec<Cell>,
    pub(super) versions: &'a BTreeMap<&'static str, String>,
}

impl Page<'_> {
    /// The table, with its notes.
    pub(super) fn table(&self) -> String {
        let mut text = format!("| scenario | transport | {} |\n", COLUMNS.join(" | "));
        let _ = writeln!(text, "|---|---|{}", ":-:|".repeat(COLUMNS.len()));
        let mut notes: Vec<&str> = Vec::new();
        for scenario in ALL {
            let cells: Vec<String> =
                COLUMNS.iter().map(|client| self.entry(scenario, client, &mut notes)).collect();
            let _ = writeln!(text, "| {} | {} | {} |", scenario.name, scenario.way.text(), cells.join(" | "));
        }
        for (number, note) in notes.iter().enumerate() {
            let _ = write!(text, "\n{}. {note}", number + 1);
        }
        text
    }

    fn entry(&self, scenario: &Scenario, client: &str, notes: &mut Vec<&'static str>) -> String {
        let Some(cell) =
            self.cells.iter().find(|cell| cell.scenario.name == scenario.name && cell.client.name == client)
        else {
            return String::new();
        };
        match cell.reason() {
            None => cell.seen().to_owned(),
            Some(reason) => {
                let at = notes.iter().position(|note| *note == reason.why).unwrap_or_else(|| {
                    notes.push(reason.why);
                    notes.len() - 1
                });
                format!("{} ({})", cell.seen(), at + 1)
            }
        }
    }

    /// What makes the run fail, whatever is on the page.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.cells.iter().filter_map(Cell::complaint).collect()
    }

    /// Puts it into the document; what is wrong with that, if it has another.
    pub(super) fn put(&self, write: bool) -> Outcome<Option<String>> {
        let tables = [("table", self.table()), ("scenarios", legend()), ("versions", self.who())];
        table::put(DOCUMENT, &tables, write)
    }

    fn who(&self) -> String {
        let mut text = "| name | what it is | version |\n|---|---|---|\n".to_owned();
        for peer in columns() {
            let version = self.versions.get(peer.name).map_or("", String::as_str);
            let _ = writeln!(text, "| {} | {} | {version} |", peer.name, peer.what);
        }
        text
    }
}

fn legend() -> String {
    let mut text = "| scenario | what the server does | what is right |\n|---|---|---|\n".to_owned();
    for scenario in ALL {
        let _ = writeln!(text, "| {} | {} | {} |", scenario.name, scenario.does, scenario.right);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::CLIENTS;

    fn page<'a>(verdict: Option<Verdict>, versions: &'a BTreeMap<&'static str, String>) -> Page<'a> {
        let client = CLIENTS.iter().find(|peer| peer.name == "cometd-js").unwrap_or(&CLIENTS[0]);
        let scenario = ALL.iter().find(|scenario| scenario.name == "no id").unwrap_or(&ALL[0]);
        Page { cells: vec![Cell::new(scenario, client, verdict)], versions }
    }

    #[test]
    fn what_is_not_right_needs_a_reason_for_what_was_seen() {
        let versions = BTreeMap::new();
        let complaints = |verdict| page(verdict, &versions).complaints().len();
        assert_eq!(complaints(Some(Verdict::Right)), 0);
        assert_eq!(complaints(Some(Verdict::Wrong("stops in silence"))), 0);
        assert_eq!(complaints(Some(Verdict::Wrong("explodes"))), 1);
        assert_eq!(complaints(None), 1);
    }

    #[test]
    fn a_reason_stands_below_the_table() {
        let versions = BTreeMap::new();
        let table = page(Some(Verdict::Wrong("stops in silence")), &versions).table();
        assert!(table.contains("stops in silence (1)") && table.contains("\n1. "), "{table}");
    }

    #[test]
    fn the_names_of_the_rows_differ() {
        for (place, scenario) in ALL.iter().enumerate() {
            assert!(ALL[..place].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
        }
    }
}
