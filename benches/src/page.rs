//! The page of the docs: tables and plots of the reports of several runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::report::{Report, machine, versions};
use crate::{Fallible, plot, works};

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Prints a report again, and puts it into a page.
pub(crate) fn show(files: &[PathBuf], page: Option<&Path>) -> Fallible {
    let mut report = Report { machine: machine(), versions: versions(), rows: Vec::new() };
    for file in files {
        let more: Report = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        for row in more.rows {
            if !report.rows.iter().any(|known| (&known.group, &known.name) == (&row.group, &row.name)) {
                report.rows.push(row);
            }
        }
        (report.machine, report.versions) = (more.machine, more.versions);
    }
    let order: Vec<(String, String)> =
        works::all().into_iter().map(|work| (work.group.to_owned(), work.name)).collect();
    report.rows.sort_by_key(|row| {
        order.iter().position(|(group, name)| (group, name) == (&row.group, &row.name)).unwrap_or(order.len())
    });
    let tables = report.markdown();
    let Some(page) = page else {
        println!("{tables}");
        return Ok(());
    };
    let text = std::fs::read_to_string(page)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the page has no marker for the begin")?;
    let (_, after) = rest.split_once(END).ok_or("the page has no marker for the end")?;
    let mut shown = String::new();
    for plot in plot::all(&report) {
        std::fs::write(page.with_file_name(&plot.file), plot.svg)?;
        let _ = write!(shown, "![{}]({})\n\n", plot.title, plot.file);
    }
    std::fs::write(page, format!("{before}{BEGIN}\n\n{shown}{tables}\n{END}{after}"))?;
    Ok(())
}
