//! Errors of what the application sets and sends.

use bayeux_proto::{Channel, InvalidChannel};

/// Why a server could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The name of a channel is invalid.
    #[error(transparent)]
    InvalidChannel(#[from] InvalidChannel),
    /// A [service](crate::Builder::service) cannot have this channel.
    #[error("{0} is not a service channel: their names begin with /service/")]
    NoServiceChannel(Channel),
    /// A [subprotocol](crate::Builder::websocket_protocol) cannot have this name.
    #[error("{0:?} is not the name of a subprotocol: use letters, digits and !#$%&'*+-.^_`|~")]
    InvalidProtocol(String),
    /// A [cookie](crate::SessionCookie::name) cannot have this name.
    #[error("{0:?} is not the name of a cookie: use letters, digits and !#$%&'*+-.^_`|~")]
    InvalidCookieName(String),
    /// A cookie cannot have this path or domain.
    #[error(
        "{0:?} cannot be the path or domain of a cookie: it is empty, or contains a semicolon or a control character"
    )]
    InvalidCookieAttribute(String),
    /// The server was built outside of a tokio runtime, which has to run the task that keeps its time.
    #[error("a server is built inside a tokio runtime: call build() from an async function")]
    NoRuntime,
    /// The operating system provides no random numbers, which session ids are made of.
    #[error("the operating system provides no random numbers: {0}")]
    NoRandomness(String),
}

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
