//! The rows of `docs/conformance.md` and the tests must belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::numbered::{Number, functions};
use crate::{Outcome, files};

const PAGE: &str = "docs/conformance.md";
/// Where tests with numbers may stand.
const FOLDERS: [&str; 4] = ["crates", "interop", "benches", "fuzz"];

/// Compares both, or writes the tests into the rows.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn check(root: &Path, write: bool) -> Outcome {
    let mut tests = BTreeSet::new();
    for folder in FOLDERS {
        for file in files::below(&root.join(folder), "rs")? {
            tests.extend(functions(&std::fs::read_to_string(file)?).map(str::to_owned));
        }
    }
    let page = std::fs::read_to_string(root.join(PAGE))?;
    let (new, complaints) = compare(&page, &tests);
    if write && new != page {
        std::fs::write(root.join(PAGE), &new)?;
    } else if new != page {
        let hint = format!("{PAGE} does not list the tests as they are; write it anew with --write");
        return Ok(complaints.into_iter().chain([hint]).collect());
    }
    Ok(complaints)
}

/// The page with the tests of each row, and what cannot be put right by writing it.
fn compare(page: &str, tests: &BTreeSet<String>) -> (String, Vec<String>) {
    let mut by_number: BTreeMap<Number, BTreeSet<&str>> = BTreeMap::new();
    for test in tests {
        for number in Number::of_test(test) {
            by_number.entry(number).or_default().insert(test);
        }
    }
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    let mut new = String::new();
    for line in page.lines() {
        let Some((number, cells)) = row(line) else {
            new += &format!("{line}\n");
            continue;
        };
        if !seen.insert(number) {
            complaints.push(format!("{number} has two rows"));
        }
        let listed = cells[cells.len() - 1];
        let mut of_row = by_number.get(&number).cloned().unwrap_or_default();
        for name in listed.split('`').skip(1).step_by(2) {
            // Those with this number are known already; one that has it no longer is dropped.
            if tests.contains(name) {
                of_row.insert(name);
            } else if Number::of_test(name).is_empty() {
                complaints.push(format!("{number} names the test {name}, which does not exist"));
            }
        }
        if of_row.is_empty() {
            complaints.push(format!("{number} has no test"));
        }
        let names: Vec<String> = of_row.iter().map(|name| format!("`{name}`")).collect();
        new += &format!("|{}| {} |\n", cells[..cells.len() - 1].join("|"), names.join(" "));
    }
    for (number, tests) in &by_number {
        if !seen.contains(number) {
            let names: Vec<&str> = tests.iter().copied().collect();
            complaints.push(format!("{number} has no row in {PAGE}: {}", names.join(", ")));
        }
    }
    (new, complaints)
}

/// The number and the cells of a row, if it is one.
fn row(line: &str) -> Option<(Number, Vec<&str>)> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
    Some((Number::of_row(cells[0])?, cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(page: &str, tests: &[&str]) -> (String, Vec<String>) {
        compare(page, &tests.iter().map(|&test| test.to_owned()).collect())
    }

    #[test]
    fn tests_are_put_into_their_rows_and_others_stay() {
        let page = "# Page\n| case 1 | in | out | | `by_hand` `case_1_old` |\n| law 2 | | | | |\n";
        let (new, complaints) = compared(page, &["case_1_new", "case_1_law_2_both", "by_hand", "other"]);
        assert_eq!(
            new,
            "# Page\n| case 1 | in | out | | `by_hand` `case_1_law_2_both` `case_1_new` |\n\
             | law 2 | | | | `case_1_law_2_both` |\n"
        );
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(compared(&new, &["case_1_new", "case_1_law_2_both", "by_hand"]).0, new);
    }

    #[test]
    fn what_belongs_to_nothing_is_complained_of() {
        let page = "| case 1 | | | | `no_such_test` |\n| case 2 | | | | |\n| case 2 | | | | |\n";
        let (_, complaints) = compared(page, &["case_3_x"]);
        assert_eq!(
            complaints,
            [
                "case 1 names the test no_such_test, which does not exist",
                "case 1 has no test",
                "case 2 has no test",
                "case 2 has two rows",
                "case 2 has no test",
                "case 3 has no row in docs/conformance.md: case_3_x",
            ]
        );
    }
}
