//! The client's side of a session.

mod ack;
mod backoff;
mod calls;
mod cause;
mod config;
mod connect;
mod contract;
mod core;
mod delivery;
mod diagnosis;
mod event;
mod failover;
mod failure;
mod handshake;
mod liveness;
mod outcome;
mod receiving;
mod requests;
mod resume;
mod retry;
mod rooms;
mod servers;
mod session;
mod snapshot;
mod subscriptions;
mod transports;

pub use backoff::Backoff;
pub use cause::LostCause;
pub use config::{Config, Delivery, Offline};
pub use contract::{AuthReason, CallId, ExchangeId, Input, Lane, Operation, Output, SinkId, Transmit};
pub use event::{Event, State};
pub use failure::{Failure, FailureKind};
pub use outcome::{CallError, CallResult, CloseReason};
pub use retry::{FailedAttempt, Retry, Verdict};
pub use session::Session;
pub use snapshot::SessionSnapshot;
