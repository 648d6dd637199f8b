//! A server that does something wrong, and what our client and three others make of it: the second table.
//!
//! Each cell has a scripted server of its own. The clients are used with their defaults, as their documentation has
//! it. What is judged is what was seen on the wire, and what the user saw.

mod decent;
mod dialects;
mod judge;
mod outages;
mod page;
pub(crate) mod play;
mod reasons;
pub(crate) mod scenario;
mod sessions;
mod stage;
mod verdict;
mod volume;
mod way;

use crate::peers::{CLIENTS, OURS, Peer};

/// What `interop/run` knows the table by.
pub(crate) const NAME: &str = "misbehaviour";
/// The columns.
pub(crate) const COLUMNS: [&str; 4] = [OURS, "cometd-java", "cometd-js", "aiocometd"];

/// The clients in them.
fn columns() -> impl Iterator<Item = &'static Peer> {
    COLUMNS.iter().filter_map(|name| CLIENTS.iter().find(|peer| peer.name == *name))
}
