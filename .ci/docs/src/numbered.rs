//! Tests whose names begin with the numbers of what they prove: `case_12_…`, `bug_b04_…`, `request_03_…`, `law_7_…`.

use std::fmt;

/// What the name of a test, or a row of the table, stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number {
    kind: Kind,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Case,
    Law,
    Bug,
    Request,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "case" => Self::Case,
            "law" => Self::Law,
            "bug" => Self::Bug,
            "request" => Self::Request,
            _ => return None,
        })
    }
}

impl Number {
    /// The first cell of a row: `case 12`.
    pub(crate) fn of_row(cell: &str) -> Option<Self> {
        let (kind, number) = cell.trim().split_once(' ')?;
        Some(Self { kind: Kind::parse(kind)?, number: number.parse().ok()? })
    }

    /// The numbers that a name begins with; none if it is the name of another test.
    pub(crate) fn of_test(name: &str) -> Vec<Self> {
        let mut numbers = Vec::new();
        let mut last = None;
        for word in name.split('_') {
            if let Some(kind) = Kind::parse(word) {
                last = Some(kind);
                continue;
            }
            // The numbers of bugs are written b04.
            let digits = if last == Some(Kind::Bug) { word.strip_prefix('b').unwrap_or("") } else { word };
            match (last, digits.parse()) {
                (Some(kind), Ok(number)) => numbers.push(Self { kind, number }),
                _ => break,
            }
        }
        numbers
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Case => "case",
            Kind::Law => "law",
            Kind::Bug => "bug",
            Kind::Request => "request",
        };
        write!(f, "{kind} {}", self.number)
    }
}

/// The names of all functions in a Rust file; the tests are among them.
pub(crate) fn functions(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let words = line.trim_start();
        let words = words.strip_prefix("pub ").unwrap_or(words);
        let words = words.strip_prefix("async ").unwrap_or(words).strip_prefix("fn ")?;
        let end = words.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
        Some(&words[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str) -> String {
        let numbers: Vec<String> = Number::of_test(name).iter().map(ToString::to_string).collect();
        numbers.join(", ")
    }

    #[test]
    fn a_name_says_what_it_proves() {
        assert_eq!(numbers("case_12_a_lost_session"), "case 12");
        assert_eq!(numbers("case_23_24_26_no_answer"), "case 23, case 24, case 26");
        assert_eq!(numbers("case_51_bug_b10_the_server_ends_it"), "case 51, bug 10");
        assert_eq!(numbers("bug_b12_request_08_websocket_only"), "bug 12, request 8");
        assert_eq!(numbers("law_7_2_requests"), "law 7, law 2");
        assert_eq!(numbers("request_the_token"), "");
        assert_eq!(numbers("a_case_12"), "");
    }

    #[test]
    fn functions_are_found_wherever_they_stand() {
        let code = "fn one() {}\nmod tests {\n    #[test]\n    async fn case_1_x() {\n    pub fn two<T>(t: T) {}\n// fn none()";
        assert_eq!(functions(code).collect::<Vec<_>>(), ["one", "case_1_x", "two"]);
    }
}
