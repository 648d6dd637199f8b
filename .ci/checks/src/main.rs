//! Checks the documents of the repository. `.ci/run` runs both checks.
//!
//! ```text
//! cargo run -p bayeux-checks -- conformance [--write]
//! cargo run -p bayeux-checks -- links
//! ```

mod conformance;
mod files;
mod links;
mod numbered;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: bayeux-checks (conformance [--write] | links)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let outcome = match args[..] {
        ["conformance"] => conformance::check(&root, false),
        ["conformance", "--write"] => conformance::check(&root, true),
        ["links"] => links::check(&root),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// What is wrong, a line each; or why it could not be found out.
type Outcome = Result<Vec<String>, Box<dyn std::error::Error>>;
