//! The command `bayeux`.

use pyo3::prelude::*;

/// Runs the command with these arguments, without its name, and returns its exit code.
#[pyfunction]
pub(crate) fn run_cli(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| bayeux_cli::run(std::iter::once("bayeux".into()).chain(arguments)))
}
