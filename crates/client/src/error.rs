//! The one error of the client.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bayeux_proto::client::{CallError, CloseReason, Failure, FailureKind};
use bayeux_proto::{BayeuxError, Channel, InvalidChannel};

/// What went wrong, where, and whether trying again can help.
///
/// The text names the operation, the server (without secrets) and the cause. To decide by, take
/// [`kind`](Error::kind) or the questions such as [`is_timeout`](Error::is_timeout).
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    operation: Cow<'static, str>,
    cause: Cause,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option or a URL cannot be used.
    Config,
    /// The arguments of a call cannot be used: a bad channel name, a payload that is too large or no JSON.
    Invalid,
    /// The connection could not be made, or broke.
    Transport,
    /// Something took too long.
    Timeout,
    /// The server refused, or ended the session.
    Server,
    /// The client is closed, or was never opened.
    Closed,
    /// A received payload does not fit the type that was asked for.
    Decode,
    /// No credentials could be had.
    Auth,
    /// An extension refused the message.
    Refused,
    /// Too many calls wait already, or the client is open already.
    Busy,
}

#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Config(String),
    Channel(InvalidChannel),
    Encode(String),
    Decode(String),
    Call(CallError),
    Close(CloseReason),
    /// The connection stays lost.
    Lost {
        after: Duration,
        endpoint: String,
    },
    /// The receiver's queue was full and its policy is to close.
    Overflow {
        /// The channel of a stream; `None` for the inbox.
        channel: Option<Channel>,
        /// How many messages were dropped so far.
        dropped: u64,
    },
}

/// How a receiver ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its user closed the client.
    Wanted,
    /// The server did, or its queue was full.
    Unwanted,
}

impl Error {
    pub(crate) fn new(operation: impl Into<Cow<'static, str>>, cause: Cause) -> Self {
        Self { inner: Box::new(Inner { operation: operation.into(), cause }) }
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::new("configuration", Cause::Config(text.into()))
    }

    /// Whether this is the end of a receiver.
    pub(crate) fn end(&self) -> Option<End> {
        match &self.inner.cause {
            Cause::Close(CloseReason::Requested | CloseReason::Suspended | CloseReason::NotOpen) => {
                Some(End::Wanted)
            }
            Cause::Close(_) | Cause::Overflow { .. } => Some(End::Unwanted),
            _ => None,
        }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        match &self.inner.cause {
            Cause::Config(_) => ErrorKind::Config,
            Cause::Channel(_) | Cause::Encode(_) => ErrorKind::Invalid,
            Cause::Decode(_) => ErrorKind::Decode,
            Cause::Lost { .. } => ErrorKind::Timeout,
            Cause::Overflow { .. } => ErrorKind::Closed,
            Cause::Close(reason) => close_kind(reason),
            Cause::Call(error) => match error {
                CallError::Refused(_) => ErrorKind::Server,
                CallError::Transport { failure, .. } => failure_kind(failure),
                CallError::Timeout { .. } => ErrorKind::Timeout,
                CallError::Closed(reason) => close_kind(reason),
                CallError::Offline => ErrorKind::Transport,
                CallError::AlreadyOpen | CallError::TooManyPending { .. } => ErrorKind::Busy,
                CallError::Vetoed(_) => ErrorKind::Refused,
                CallError::NoCredentials(_) => ErrorKind::Auth,
                _ => ErrorKind::Invalid,
            },
        }
    }

    /// Whether something took too long.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Whether the client is closed, or was never opened.
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// Whether the server said so.
    pub fn is_server(&self) -> bool {
        self.kind() == ErrorKind::Server
    }

    /// Whether the connection could not be made, or broke.
    pub fn is_transport(&self) -> bool {
        self.kind() == ErrorKind::Transport
    }

    /// Whether the same call can succeed later without a change of the program or of the server's mind.
    pub fn is_retryable(&self) -> bool {
        match &self.inner.cause {
            Cause::Lost { .. } => true,
            Cause::Call(CallError::Offline) => true,
            Cause::Call(CallError::Timeout { .. } | CallError::TooManyPending { .. }) => true,
            Cause::Call(CallError::Transport { failure, .. }) => retryable(failure),
            Cause::Close(CloseReason::OpenTimeout { .. }) => true,
            Cause::Call(CallError::Closed(CloseReason::OpenTimeout { .. })) => true,
            Cause::Close(reason) | Cause::Call(CallError::Closed(reason)) => {
                reason.failure().is_some_and(retryable)
            }
            _ => false,
        }
    }

    /// Whether the server may have acted on the call although it failed: it was on its way when the connection
    /// broke, or its reply did not come in time.
    pub fn is_fate_unknown(&self) -> bool {
        matches!(
            self.inner.cause,
            Cause::Call(
                CallError::Transport { fate_unknown: true, .. }
                    | CallError::Timeout { fate_unknown: true, .. }
            )
        )
    }

    /// The error that the server gave, taken apart into code, arguments and text; `None` when it gave none.
    pub fn server_error(&self) -> Option<BayeuxError> {
        match &self.inner.cause {
            Cause::Call(error) => error.server_error(),
            Cause::Close(reason) => reason.server_error(),
            _ => None,
        }
    }

    /// The code of the server's error, `403` for a refusal.
    pub fn code(&self) -> Option<u16> {
        self.server_error()?.code()
    }

    /// The HTTP status that the server answered with, when that was the failure.
    pub fn http_status(&self) -> Option<u16> {
        self.failure()?.http_status()
    }

    /// What happened to the connection, if that was the failure. For a call that timed out it is what its last attempt
    /// failed with, or, if it was never sent, what kept the connection from being made.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.inner.cause {
            Cause::Call(error) => error.failure(),
            Cause::Close(reason) => reason.failure(),
            _ => None,
        }
    }
}

fn close_kind(reason: &CloseReason) -> ErrorKind {
    match reason {
        CloseReason::Server(_) | CloseReason::NoTransport { .. } => ErrorKind::Server,
        CloseReason::Failed(failure) => failure_kind(failure),
        CloseReason::GaveUp { cause, .. } => cause.failure().map_or(ErrorKind::Server, failure_kind),
        CloseReason::OpenTimeout { .. } => ErrorKind::Timeout,
        CloseReason::NoCredentials(_) => ErrorKind::Auth,
        _ => ErrorKind::Closed,
    }
}

fn failure_kind(failure: &Failure) -> ErrorKind {
    match failure.kind() {
        FailureKind::Timeout => ErrorKind::Timeout,
        _ => ErrorKind::Transport,
    }
}

fn retryable(failure: &Failure) -> bool {
    match failure.kind() {
        FailureKind::Tls | FailureKind::Proxy | FailureKind::TooLarge => false,
        FailureKind::Http { status } | FailureKind::UpgradeRefused { status } => {
            matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
        }
        _ => true,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.inner.operation)?;
        match &self.inner.cause {
            Cause::Config(text) | Cause::Encode(text) | Cause::Decode(text) => f.write_str(text),
            Cause::Channel(error) => error.fmt(f),
            Cause::Call(error) => error.fmt(f),
            Cause::Close(reason) => reason.fmt(f),
            Cause::Lost { after, endpoint } => {
                write!(
                    f,
                    "the connection to {endpoint} has been lost for {after:.1?}; it is still being tried"
                )
            }
            Cause::Overflow { channel, dropped } => {
                match channel {
                    Some(channel) => write!(f, "the queue of {channel}")?,
                    None => f.write_str("the inbox")?,
                }
                let messages = if *dropped == 1 { "message was" } else { "messages were" };
                write!(f, " was full, and its policy is to close; {dropped} {messages} dropped")
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, {:?})", self.kind(), self.to_string())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure().and_then(std::error::Error::source)
    }
}

impl From<InvalidChannel> for Error {
    fn from(error: InvalidChannel) -> Self {
        Self::new("channel", Cause::Channel(error))
    }
}
