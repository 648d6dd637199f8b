//! The page of the docs: tables and plots of the reports of several runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::report::Report;
use crate::{Fallible, plot, servers, works};

/// Prints a report again, and puts it into a page.
pub(crate) fn show(files: &[PathBuf], page: Option<&Path>) -> Fallible {
    let read =
        |file: &PathBuf| -> Fallible<Report> { Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?) };
    let (first, others) = files.split_first().ok_or("no file")?;
    let mut report = read(first)?;
    for file in others {
        let more = read(file)?;
        // The machine stands below the table of clients.
        if report.rows.is_empty() {
            (report.machine, report.versions) = (more.machine, more.versions);
        }
        for row in more.rows {
            if !report.rows.iter().any(|known| (&known.group, &known.name) == (&row.group, &row.name)) {
                report.rows.push(row);
            }
        }
        if report.servers.is_empty() {
            report.servers = more.servers;
        }
    }
    let order: Vec<(String, String)> =
        works::all().into_iter().map(|work| (work.group.to_owned(), work.name)).collect();
    report.rows.sort_by_key(|row| {
        order.iter().position(|(group, name)| (group, name) == (&row.group, &row.name)).unwrap_or(order.len())
    });
    let (tables, loads) = (report.markdown(), servers::markdown(&report));
    let Some(page) = page else {
        println!("{tables}\n{loads}");
        return Ok(());
    };
    let mut text = std::fs::read_to_string(page)?;
    if !report.rows.is_empty() {
        let mut shown = String::new();
        for plot in plot::all(&report) {
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
    std::fs::write(page.with_extension("json"), serde_json::to_string(&report)? + "\n")?;
    Ok(())
}

/// Puts something between two markers of a page, in the place of what is there.
fn put(page: &str, name: &str, what: &str) -> Fallible<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin).ok_or_else(|| format!("the page lacks {begin}"))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("the page lacks {end}"))?;
    Ok(format!("{before}{begin}\n\n{what}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_between_the_markers_goes() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let put_in = put(page, "x", "new\n").unwrap();
        assert_eq!(put_in, "a\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nb\n");
        assert_eq!(put(&put_in, "x", "new\n").unwrap(), put_in);
        assert!(put(page, "y", "").is_err());
    }
}
