//! The tables, and the documents that show them.

use std::fmt::{self, Write as _};

use bayeux_docs::markers;

use crate::outcome::Outcome;
use crate::peers::{self, OURS, PYTHON};
use crate::scenarios;

/// One row: a client, a server, a transport.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) client: &'static str,
    pub(crate) server: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) entries: Vec<Entry>,
    /// What failed that should not, each with a headline and what was seen.
    pub(crate) failures: Vec<String>,
}

/// How one cell went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Pass,
    Fail,
    /// It fails for this known reason.
    Known(&'static str),
    /// One of the two lacks what it needs, or it was not asked for.
    NotTried,
}

impl Row {
    pub(crate) fn new(client: &'static str, server: &'static str, transport: &'static str) -> Self {
        Self { client, server, transport, entries: Vec::new(), failures: Vec::new() }
    }

    /// Whether our client or our server has a part in it.
    pub(crate) fn is_ours(&self) -> bool {
        self.client == PYTHON || [self.client, self.server].contains(&OURS)
    }

    /// How many cells passed.
    pub(crate) fn passed(&self) -> usize {
        self.entries.iter().filter(|entry| **entry == Entry::Pass).count()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} over {}", self.client, self.server, self.transport)
    }
}

/// A table of scenarios with notes; `name` says which side of a row is named.
pub(crate) fn scenarios_table<'a>(
    rows: impl Iterator<Item = &'a Row>,
    head: &str,
    name: fn(&Row) -> &'static str,
) -> String {
    let names: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    let mut text = format!("| {head} | transport | {} |\n", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}", ":-:|".repeat(names.len()));
    let mut notes: Vec<&str> = Vec::new();
    for row in rows {
        let cells: Vec<String> = row.entries.iter().map(|entry| cell(*entry, &mut notes)).collect();
        let _ = writeln!(text, "| {} | {} | {} |", name(row), row.transport, cells.join(" | "));
    }
    for (number, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n{}. {note}", number + 1);
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    text
}

fn cell(entry: Entry, notes: &mut Vec<&'static str>) -> String {
    match entry {
        Entry::Pass => "✓".to_owned(),
        Entry::Fail => "FAIL".to_owned(),
        Entry::NotTried => "–".to_owned(),
        Entry::Known(reason) => {
            let at = notes.iter().position(|note| *note == reason).unwrap_or_else(|| {
                notes.push(reason);
                notes.len() - 1
            });
            format!("no ({})", at + 1)
        }
    }
}

/// What the columns mean.
pub(crate) fn legend() -> String {
    let mut text = "| column | what it shows |\n|---|---|\n".to_owned();
    for scenario in scenarios::ALL {
        let _ = writeln!(text, "| {} | {} |", scenario.name, scenario.shows);
    }
    text
}

/// Puts tables into a document, each between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, or only compares them. What
/// is wrong with a document that has others and is not to be written.
pub(crate) fn put(document: &str, tables: &[(&str, String)], write: bool) -> Outcome<Option<String>> {
    let path = peers::root().join(document);
    let old = std::fs::read_to_string(&path)?;
    let mut new = old.clone();
    for (name, table) in tables {
        let replaced = markers::put(&new, name, table);
        new = replaced.ok_or_else(|| format!("{document} lacks the markers of {name}"))?;
    }
    if new == old {
        return Ok(None);
    }
    if !write {
        return Ok(Some(format!("{document} is out of date: --write renews it")));
    }
    std::fs::write(path, new)?;
    println!("{document} is written");
    Ok(None)
}
