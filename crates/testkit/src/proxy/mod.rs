//! What may stand between a client and a server: a network with faults, and the proxies of companies.

mod fault;
mod http;
mod socks;

pub use fault::FaultProxy;
pub use http::{HttpProxy, ProxiedRequest};
pub use socks::SocksProxy;
