//! What the programs of this repository do with its documents. `.ci/run` checks them with the program of the same name.

pub mod conformance;
mod files;
pub mod links;
pub mod markers;
mod numbered;

/// What is wrong, a line each; or why it could not be found out.
pub type Outcome = Result<Vec<String>, Box<dyn std::error::Error>>;

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
