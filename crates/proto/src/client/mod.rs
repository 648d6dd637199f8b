//! The client's side of a session.

mod backoff;
mod calls;
mod config;
mod connect;
mod contract;
mod core;
mod diagnosis;
mod event;
mod failure;
mod handshake;
mod outcome;
mod requests;
mod session;
mod subscriptions;
mod transports;

pub use backoff::Backoff;
pub use config::Config;
pub use contract::{AuthReason, CallId, ExchangeId, Input, Lane, Operation, Output, SinkId, Transmit};
pub use event::{Event, LostCause, State};
pub use failure::{Failure, FailureKind};
pub use outcome::{CallError, CallResult, CloseReason};
pub use session::Session;
