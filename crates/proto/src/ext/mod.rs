//! The wire form of each extension.

pub mod ack;
