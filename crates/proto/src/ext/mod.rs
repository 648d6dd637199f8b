//! The wire form of each extension, for either side.
//!
//! Extensions speak through the `ext` object of a message. These modules only read and write that object; what follows
//! from it is decided in [`client`](crate::client) and [`server`](crate::server). Values of a wrong type count as
//! absent, because `ext` is no place for a peer's fault to end a session.

pub mod ack;
pub mod binary;
pub mod replay;
pub mod timestamp;
pub mod timesync;
mod z85;
