//! A scripted peer: a server that sends exactly what a test specifies.

mod answer;
mod connection;
mod frame;
mod request;
mod script;

pub use answer::Answer;
pub use request::{Request, RequestKind};
pub use script::Peer;
