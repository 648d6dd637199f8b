//! What can be wrong with a message that the application sends.

use bayeux_proto::{Channel, InvalidChannel};

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The channel has no valid name.
    #[error(transparent)]
    InvalidChannel(#[from] InvalidChannel),
    /// A pattern or a meta channel cannot be published to.
    #[error("{0} cannot be published to: it is a pattern or a meta channel")]
    WrongChannel(Channel),
    /// The payload is no JSON.
    #[error("the payload is no JSON: {0}")]
    Encode(#[from] serde_json::Error),
}
