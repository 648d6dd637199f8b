//! The page of the docs: tables and plots of the reports of several runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::results::Report;
use crate::{Fallible, plot, report, servers, works};

/// Prints a report again, and puts it into a page.
pub(crate) fn show(files: &[PathBuf], page: Option<&Path>) -> Fallible {
    let read =
        |file: &PathBuf| -> Fallible<Report> { Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?) };
    let (first, others) = files.split_first().ok_or("no file")?;
    let mut results = read(first)?;
    for file in others {
        let more = read(file)?;
        // The machine stands below the table of clients.
        if results.rows.is_empty() {
            (results.machine, results.versions) = (more.machine, more.versions);
        }
        for row in more.rows {
            if !results.rows.iter().any(|known| (&known.group, &known.name) == (&row.group, &row.name)) {
                results.rows.push(row);
            }
        }
        if results.servers.is_empty() {
            results.servers = more.servers;
        }
    }
    let order: Vec<(String, String)> =
        works::all().into_iter().map(|work| (work.group.to_owned(), work.name)).collect();
    results.rows.sort_by_key(|row| {
        order.iter().position(|(group, name)| (group, name) == (&row.group, &row.name)).unwrap_or(order.len())
    });
    let (tables, loads) = (report::markdown(&results), servers::markdown(&results));
    let Some(page) = page else {
        println!("{tables}\n{loads}");
        return Ok(());
    };
    let mut text = std::fs::read_to_string(page)?;
    if !results.rows.is_empty() {
        let mut shown = String::new();
        for plot in plot::all(&results) {
            std::fs::write(page.with_file_name(&plot.file), plot.svg)?;
            let _ = write!(shown, "![{}]({})\n\n", plot.title, plot.file);
        }
        text = put(&text, "measured", &(shown + &tables))?;
    }
    if !loads.is_empty() {
        text = put(&text, "servers", &loads)?;
    }
    std::fs::write(page, text)?;
    // Beside it, so that the next run can measure a part anew.
    std::fs::write(page.with_extension("json"), serde_json::to_string(&results)? + "\n")?;
    Ok(())
}

fn put(page: &str, name: &str, what: &str) -> Fallible<String> {
    bayeux_docs::markers::put(page, name, what)
        .ok_or_else(|| format!("the page lacks the markers of {name}").into())
}
