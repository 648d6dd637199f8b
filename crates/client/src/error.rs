//! The one error of the client.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::client::{CallError, CloseReason, Failure, FailureKind, LostCause};
use bayeux_proto::{BayeuxError, Channel, InvalidChannel, Message, printable};

use crate::replay::StoreError;

/// An error of a [`Client`](crate::Client).
///
/// The text names the operation, the server (without secrets) and the cause. If a server or proxy repeats this client's
/// credentials in its answer, the text has `…` in their place. Programs decide by [`kind`](Error::kind), by
/// questions such as [`is_timeout`](Error::is_timeout) and [`is_retryable`](Error::is_retryable), and by the
/// [`code`](Error::code) of the server's error.
///
/// ```
/// # use bayeux_server::Server;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let running = Server::builder().build()?.bind("127.0.0.1:0").await?;
/// use bayeux::{Client, ErrorKind};
///
/// let client = Client::connect(&running.url()).await?;
/// let error = client.publish("not a channel", &1).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert!(!error.is_retryable());
/// # client.close().await?;
/// # Ok(()) }
/// ```
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    operation: Cow<'static, str>,
    cause: Cause,
    /// Cookies that were not sent to the server, which may be the reason for its answer.
    withheld: Vec<String>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option or a URL is invalid.
    Config,
    /// An argument of a call is invalid: the channel name, or a payload that is too large or cannot be encoded as JSON.
    Invalid,
    /// The connection could not be made, or it was lost.
    Transport,
    /// A timeout has passed.
    Timeout,
    /// The server refused the call, or it closed the session.
    Server,
    /// The client is closed, or was never opened.
    Closed,
    /// The queue of a receiver with [`Overflow::Close`](crate::Overflow::Close) overflowed. [`Error::channel`] names the
    /// channel of the receiver.
    Overflow,
    /// A received payload does not have the requested type.
    Decode,
    /// The [`Auth`](crate::Auth) of the client returned no credentials.
    Auth,
    /// An extension of the client vetoed the message.
    Vetoed,
    /// The [`ReplayStore`](crate::replay::ReplayStore) of the client failed. [`Error::store_error`] says how.
    Store,
    /// Too many calls wait for their reply already, or the client is open already.
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
    /// A desired subscription could not be restored; the session tries again.
    NotRestored {
        channel: Channel,
        error: CallError,
    },
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
    /// The store of replay markers failed.
    Store(Arc<StoreError>),
}

/// How a receiver ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The user closed the client.
    Wanted,
    /// The server closed the session, or the receiver's queue overflowed.
    Unwanted,
}

impl Error {
    pub(crate) fn new(operation: impl Into<Cow<'static, str>>, cause: Cause) -> Self {
        Self { inner: Box::new(Inner { operation: operation.into(), cause, withheld: Vec::new() }) }
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::new("configuration", Cause::Config(text.into()))
    }

    /// Names the `Secure` cookies that were withheld because the URL is without TLS, if the server answered with an error
    /// that their absence may explain.
    pub(crate) fn withheld(mut self, cookies: Vec<String>) -> Self {
        let server_answered = match &self.inner.cause {
            Cause::Call(CallError::Refused(_)) => true,
            Cause::Call(CallError::Transport { failure, .. }) => failure.http_status().is_some(),
            Cause::Call(CallError::Closed(reason)) | Cause::Close(reason) => {
                reason.server_error().is_some()
                    || reason.failure().is_some_and(|failure| failure.http_status().is_some())
            }
            _ => false,
        };
        if server_answered {
            self.inner.withheld = cookies;
        }
        self
    }

    /// How the receiver ends with this error, if it does.
    pub(crate) fn end(&self) -> Option<End> {
        match &self.inner.cause {
            Cause::Close(CloseReason::Requested | CloseReason::Suspended | CloseReason::NotOpen) => {
                Some(End::Wanted)
            }
            Cause::Close(_)
            | Cause::Overflow { .. }
            | Cause::NotRestored { error: CallError::ReplayUnavailable { .. }, .. } => Some(End::Unwanted),
            _ => None,
        }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match &self.inner.cause {
            Cause::Config(_) => ErrorKind::Config,
            Cause::Channel(_) | Cause::Encode(_) => ErrorKind::Invalid,
            Cause::Decode(_) => ErrorKind::Decode,
            Cause::Store(_) => ErrorKind::Store,
            Cause::Lost { .. } => ErrorKind::Timeout,
            Cause::Overflow { .. } => ErrorKind::Overflow,
            Cause::Close(reason) => close_kind(reason),
            Cause::Call(error) | Cause::NotRestored { error, .. } => call_kind(error),
        }
    }

    /// Whether a timeout has passed.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Whether the client is closed, or was never opened.
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// Whether the queue of a receiver with [`Overflow::Close`](crate::Overflow::Close) overflowed.
    pub fn is_overflow(&self) -> bool {
        self.kind() == ErrorKind::Overflow
    }

    /// Whether the server refused the call, or closed the session.
    pub fn is_server(&self) -> bool {
        self.kind() == ErrorKind::Server
    }

    /// Whether an extension of the client vetoed the message.
    pub fn is_vetoed(&self) -> bool {
        self.kind() == ErrorKind::Vetoed
    }

    /// Whether a replayed stream cannot begin, or go on, where it should: the server does not keep the event any more, or does not
    /// support replay.
    pub fn is_replay_unavailable(&self) -> bool {
        matches!(
            &self.inner.cause,
            Cause::Call(CallError::ReplayUnavailable { .. })
                | Cause::NotRestored { error: CallError::ReplayUnavailable { .. }, .. }
        )
    }

    /// What is wrong with the [`ReplayStore`](crate::replay::ReplayStore), if that is the cause.
    pub fn store_error(&self) -> Option<&StoreError> {
        match &self.inner.cause {
            Cause::Store(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the connection could not be made, or was lost.
    pub fn is_transport(&self) -> bool {
        self.kind() == ErrorKind::Transport
    }

    /// Whether the same call can succeed later, although neither the program nor the configuration of the server changes.
    ///
    /// True for timeouts, for most failures of the connection, for calls that found too many others waiting, and for
    /// temporary errors of the server: a Bayeux error code or an HTTP status of 408, 425, 429, 500, 502, 503 or 504, such
    /// as `503::server_busy`. False for everything else, certificates that are not trusted and refusals such as `403`
    /// among it.
    pub fn is_retryable(&self) -> bool {
        match &self.inner.cause {
            Cause::Lost { .. } => true,
            Cause::Call(error) | Cause::NotRestored { error, .. } => match error {
                CallError::Offline | CallError::Timeout { .. } | CallError::TooManyPending { .. } => true,
                CallError::Transport { failure, .. } => is_temporary_failure(failure),
                CallError::Closed(reason) => is_temporary_end(reason),
                CallError::Refused(_) => is_temporary_error(error.server_error()),
                _ => false,
            },
            Cause::Close(reason) => is_temporary_end(reason),
            _ => false,
        }
    }

    /// Whether the server may have acted on the call although it failed: the connection was lost after the message had
    /// been sent, or no reply came in time.
    pub fn is_fate_unknown(&self) -> bool {
        matches!(
            self.inner.cause,
            Cause::Call(
                CallError::Transport { fate_unknown: true, .. }
                    | CallError::Timeout { fate_unknown: true, .. }
            )
        )
    }

    /// The channel or pattern of the subscription that the error is about: of the stream whose queue overflowed, or of the
    /// subscription that could not be restored. `None` for other errors, and for the inbox.
    pub fn channel(&self) -> Option<&Channel> {
        match &self.inner.cause {
            Cause::Overflow { channel, .. } => channel.as_ref(),
            Cause::NotRestored { channel, .. } => Some(channel),
            _ => None,
        }
    }

    /// The error that the server returned, split into code, arguments and text; `None` if it returned none.
    pub fn server_error(&self) -> Option<BayeuxError> {
        match &self.inner.cause {
            Cause::Call(error) | Cause::NotRestored { error, .. } => error.server_error(),
            Cause::Close(reason) => reason.server_error(),
            _ => None,
        }
    }

    /// The server's reply that is the cause: the one that refused the call or the last attempt to connect, or that closed the
    /// session. `None` if there is none.
    pub fn reply(&self) -> Option<&Message> {
        match &self.inner.cause {
            Cause::Call(CallError::Refused(reply))
            | Cause::NotRestored { error: CallError::Refused(reply), .. } => Some(reply),
            _ => match self.close_reason()? {
                CloseReason::Server(reply) => Some(reply),
                CloseReason::GaveUp { cause, .. } | CloseReason::OpenTimeout { last: Some(cause), .. } => {
                    match &**cause {
                        LostCause::Refused(reply) | LostCause::SessionLost(reply) => Some(reply),
                        _ => None,
                    }
                }
                _ => None,
            },
        }
    }

    /// Why the session ended, if the call or the receiver ended with it.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match &self.inner.cause {
            Cause::Call(CallError::Closed(reason))
            | Cause::NotRestored { error: CallError::Closed(reason), .. }
            | Cause::Close(reason) => Some(reason),
            _ => None,
        }
    }

    /// The code of the server's error, such as `403`; `None` if the server returned no error, or one without a code.
    pub fn code(&self) -> Option<u16> {
        self.server_error()?.code()
    }

    /// The HTTP status of the response, if the request failed because of it.
    pub fn http_status(&self) -> Option<u16> {
        self.failure()?.http_status()
    }

    /// The failure of the connection, if that is the cause. For a call that timed out it is the failure of its last
    /// attempt, or, if the call was never sent, the failure that kept the connection from being made.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.inner.cause {
            Cause::Call(error) | Cause::NotRestored { error, .. } => error.failure(),
            Cause::Close(reason) => reason.failure(),
            _ => None,
        }
    }
}

fn call_kind(error: &CallError) -> ErrorKind {
    match error {
        CallError::Refused(_) | CallError::ReplayUnavailable { .. } => ErrorKind::Server,
        CallError::Transport { failure, .. } => failure_kind(failure),
        CallError::Timeout { .. } => ErrorKind::Timeout,
        CallError::Closed(reason) => close_kind(reason),
        CallError::Offline => ErrorKind::Transport,
        CallError::AlreadyOpen | CallError::TooManyPending { .. } => ErrorKind::Busy,
        CallError::Vetoed(_) => ErrorKind::Vetoed,
        CallError::NoCredentials(_) => ErrorKind::Auth,
        _ => ErrorKind::Invalid,
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

fn is_temporary_end(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::OpenTimeout { .. })
        || reason.failure().is_some_and(is_temporary_failure)
        || is_temporary_error(reason.server_error())
}

fn is_temporary_failure(failure: &Failure) -> bool {
    match failure.kind() {
        FailureKind::Tls | FailureKind::Proxy | FailureKind::TooLarge => false,
        FailureKind::Http { status } | FailureKind::UpgradeRefused { status } => is_temporary(status),
        _ => true,
    }
}

fn is_temporary_error(error: Option<BayeuxError>) -> bool {
    error.and_then(|error| error.code()).is_some_and(is_temporary)
}

/// Whether an HTTP status, or the code of a Bayeux error, which means the same, can be another one later.
fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// One line: control and formatting characters from peers and payloads are escaped, so that they cannot change a terminal or
/// a log.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}: {}", self.inner.operation, self.inner.cause);
        if !self.inner.withheld.is_empty() {
            text = format!(
                "{text}; cookies that the server marked as Secure were not sent, because the URL is without TLS: {}; \
                 the option secure_cookies_over_http sends them",
                self.inner.withheld.join(", ")
            );
        }
        f.write_str(&printable(&text))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Config(text) | Cause::Encode(text) | Cause::Decode(text) => f.write_str(text),
            Cause::Channel(error) => error.fmt(f),
            Cause::Call(error) => error.fmt(f),
            Cause::Close(reason) => reason.fmt(f),
            Cause::Store(error) => error.fmt(f),
            Cause::NotRestored { channel, error: error @ CallError::ReplayUnavailable { .. } } => {
                write!(f, "the subscription to {channel} has ended: {error}")
            }
            Cause::NotRestored { channel, error } => {
                write!(
                    f,
                    "the subscription to {channel} could not be restored and will be tried again: {error}"
                )
            }
            Cause::Lost { after, endpoint } => {
                write!(
                    f,
                    "the connection to {endpoint} has been lost for {after:.1?}; the client is still trying to restore it"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(error: &str) -> Box<Message> {
        let mut reply = Message::meta(Channel::CONNECT);
        reply.fields_mut().error = Some(BayeuxError::parse(error));
        Box::new(reply)
    }

    /// The error with that text of the server's, in every place in which it can be.
    fn with_error(text: &str) -> Vec<Error> {
        let gave_up = |cause| CloseReason::gave_up(1, Duration::ZERO, cause);
        let refused = CallError::Refused(refusal(text));
        let reasons = [
            CloseReason::Server(refusal(text)),
            gave_up(LostCause::Refused(refusal(text))),
            gave_up(LostCause::SessionLost(refusal(text))),
        ];
        let channel = Channel::parse("/a").unwrap();
        let calls = reasons.iter().cloned().map(CallError::Closed).chain([refused.clone()]).map(Cause::Call);
        calls
            .chain(reasons.iter().cloned().map(Cause::Close))
            .chain([Cause::NotRestored { channel, error: refused }])
            .map(|cause| Error::new("test", cause))
            .collect()
    }

    fn with_failure(kind: FailureKind) -> Vec<Error> {
        let failure = Failure::new(kind, "test");
        let call = CallError::transport(failure.clone(), false);
        [Cause::Call(call), Cause::Close(CloseReason::Failed(failure))]
            .map(|cause| Error::new("test", cause))
            .into()
    }

    #[test]
    fn temporary_errors_of_the_server_are_retryable_and_others_are_not() {
        const TEMPORARY: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];
        for error in
            ["503::too_many_calls", "503::server_busy", "429:60:slow_down"].map(with_error).iter().flatten()
        {
            assert!(error.is_retryable() && error.is_server(), "{error:?}");
            let reply = error.reply().expect("each is a refusal");
            assert_eq!(reply.fields().error, error.server_error(), "{error:?}");
        }
        for error in ["403::denied", "no code", "", "5031::x"].map(with_error).iter().flatten() {
            assert!(!error.is_retryable() && error.is_server(), "{error:?}");
        }
        for status in 400..600 {
            let errors = with_error(&format!("{status}::x"));
            let failures =
                [FailureKind::Http { status }, FailureKind::UpgradeRefused { status }].map(with_failure);
            assert!(failures.iter().flatten().all(|failure| failure.reply().is_none()));
            for error in errors.iter().chain(failures.iter().flatten()) {
                assert_eq!(error.is_retryable(), TEMPORARY.contains(&status), "{status} {error:?}");
            }
        }
    }

    #[test]
    fn each_kind_answers_one_question() {
        let channel = Channel::parse("/a").unwrap();
        let failure = Failure::new(FailureKind::Lost, "cut");
        let causes = [
            (Cause::Call(CallError::Vetoed("no".to_owned())), ErrorKind::Vetoed),
            (Cause::Call(CallError::Refused(refusal("403::no"))), ErrorKind::Server),
            (Cause::Overflow { channel: Some(channel.clone()), dropped: 1 }, ErrorKind::Overflow),
            (Cause::Close(CloseReason::Requested), ErrorKind::Closed),
            (Cause::Call(CallError::Offline), ErrorKind::Transport),
            (Cause::Call(CallError::transport(failure, true)), ErrorKind::Transport),
            (Cause::Lost { after: Duration::ZERO, endpoint: String::new() }, ErrorKind::Timeout),
        ];
        for (cause, kind) in causes {
            let error = Error::new("test", cause);
            assert_eq!(error.kind(), kind);
            let answers = [
                (error.is_vetoed(), ErrorKind::Vetoed),
                (error.is_server(), ErrorKind::Server),
                (error.is_overflow(), ErrorKind::Overflow),
                (error.is_closed(), ErrorKind::Closed),
                (error.is_transport(), ErrorKind::Transport),
                (error.is_timeout(), ErrorKind::Timeout),
            ];
            for (answer, of) in answers {
                assert_eq!(answer, of == kind, "{error:?} {of:?}");
            }
            assert_eq!(error.channel(), (kind == ErrorKind::Overflow).then_some(&channel));
        }
    }
}
