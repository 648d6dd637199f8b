//! The server's protocol: sessions, the channels between them, and the engine that contains both.

mod browsers;
mod channels;
mod config;
mod connect;
mod contract;
mod core;
mod delivery;
mod encoded;
mod ending;
mod engine;
mod handshake;
mod lanes;
mod memory;
mod policy;
mod publishing;
mod queue;
mod replies;
mod session;
mod sharded;
mod subscribing;
mod work;
mod writing;

pub use config::{Activity, Config, QueueOverflow, Seed};
pub use contract::{Input, LinkId, LinkKind, Output, RemovedBecause, ServiceCall, ServiceToken};
pub use encoded::Counter;
pub use engine::Engine;
pub use memory::Memory;
pub use policy::{AllowAll, Denial, Policy};
