//! Errors of messages that the application sends.

use bayeux_proto::{Channel, InvalidChannel};

/// Why a message of the application could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The channel name is invalid.
    #[error(transparent)]
    InvalidChannel(#[from] InvalidChannel),
    /// The channel is a pattern or a meta channel, which cannot be published to.
    #[error("{0} cannot be published to: it is a pattern or a meta channel")]
    WrongChannel(Channel),
    /// The payload cannot be encoded as JSON.
    #[error("the payload cannot be encoded as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}
