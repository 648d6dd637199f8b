//! The server's side: sessions, the tree of channels, and the engine that joins them.

mod channels;
mod config;
mod contract;
mod engine;
mod policy;
mod session;

pub use config::Config;
pub use contract::{Input, LinkId, LinkKind, Output, RemovedBecause, ServiceCall, ServiceToken};
pub use engine::Engine;
pub use policy::{AllowAll, Denial, Policy};
