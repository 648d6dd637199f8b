//! The client's side of a session.

mod failure;

pub use failure::{Failure, FailureKind};
