//! What the targets have in common: scripts, and the worlds in which they run.
//!
//! A script is text, so that a seed can be written and a finding be read: one step a line, the first word says what
//! happens. Lines that make no sense are passed over.

/// Counts what is allocated, so that a target can say how much an input may cost.
#[global_allocator]
pub static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

pub mod client;
pub mod server;
pub mod wire;

/// The steps of a script: the word, and the rest of the line.
pub fn steps(script: &str) -> impl Iterator<Item = (&str, &str)> {
    const LONGEST: usize = 400;
    script.lines().take(LONGEST).map(|line| line.split_once(' ').unwrap_or((line, "")))
}
