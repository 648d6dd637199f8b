//! Peers that ask for as much as they can: whatever they send, what the engine keeps and does for them is bounded.
//!
//! Memory is what the allocator says, so the tests run one after the other; work is what the engine counts.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod budget;
mod decoding;
mod harness;
mod memory;
mod order;
mod requests;
mod work;

#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
