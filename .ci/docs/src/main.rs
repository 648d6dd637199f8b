//! Checks the documents of the repository. `.ci/run` runs both checks.
//!
//! ```text
//! cargo run -p bayeux-docs -- conformance [--write]
//! cargo run -p bayeux-docs -- links
//! ```

use std::path::Path;
use std::process::ExitCode;

use bayeux_docs::{conformance, links};

const USAGE: &str = "usage: bayeux-docs (conformance [--write] | links)";

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
