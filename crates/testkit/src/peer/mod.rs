//! A scripted peer: a server that says what a test wants it to say.

mod answer;
mod connection;
mod frame;
mod request;
mod script;

pub use answer::Answer;
pub use request::{Request, RequestKind};
pub use script::Peer;
