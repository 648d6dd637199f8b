//! How calls end, and why a session does.

use std::time::Duration;

use super::cause::{LostCause, server_error};
use super::failure::{Failure, FailureKind};
use crate::channel::Channel;
use crate::error::BayeuxError;
use crate::message::Message;

/// The outcome of a call: the server's reply, or why there is none.
pub type CallResult = Result<Message, CallError>;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused; this is its reply. A message that was sent more than once, as with delivery at least once, was
    /// refused the last time.
    #[error("the server refused: {}", server_error(.0))]
    Refused(Box<Message>),
    /// The connection failed while the call was on its way.
    #[error("{failure}")]
    #[non_exhaustive]
    Transport {
        /// What happened.
        failure: Failure,
        /// Whether the server may have acted on it all the same.
        fate_unknown: bool,
    },
    /// No reply came in time.
    #[error("{}", timed_out(*after, *fate_unknown, last.as_deref()))]
    #[non_exhaustive]
    Timeout {
        /// How long the call waited.
        after: Duration,
        /// Whether the server may have acted on it all the same; false when it was never sent.
        fate_unknown: bool,
        /// What the last attempt to send it failed with; if it was never sent, what keeps the connection from being
        /// made.
        last: Option<Box<Failure>>,
    },
    /// The session has ended, or was never opened.
    #[error("{0}")]
    Closed(CloseReason),
    /// There is no connection, and [`Offline::Refuse`](super::Offline::Refuse) is set.
    #[error("there is no connection at the moment, and calls are not to wait for one")]
    Offline,
    /// The session is open already.
    #[error("the client is open already")]
    AlreadyOpen,
    /// Too many calls wait for their reply.
    #[error("{cap} calls are waiting for their reply already")]
    #[non_exhaustive]
    TooManyPending {
        /// How many may wait.
        cap: usize,
    },
    /// The message is larger than may be sent.
    #[error(
        "the message takes {size} bytes, more than the {cap} that may be sent; max_send_size sets the limit"
    )]
    #[non_exhaustive]
    TooLarge {
        /// Its size in bytes, as it would be sent.
        size: usize,
        /// The cap in bytes.
        cap: usize,
    },
    /// The channel cannot be used for this.
    #[error("{channel} {why}")]
    #[non_exhaustive]
    WrongChannel {
        /// The channel.
        channel: Channel,
        /// The rule.
        why: &'static str,
    },
    /// There is no such subscription.
    #[error("not subscribed to {0}")]
    NotSubscribed(Channel),
    /// The server does not keep the event after which the subscription was to begin, and
    /// [`ReplayFallback::Fail`](super::ReplayFallback::Fail) is set; or it does not support replay.
    #[error("{}", unavailable(channel, *after, reply.as_deref()))]
    ReplayUnavailable {
        /// The channel.
        channel: Channel,
        /// The id of the event; `None` if the server does not support replay.
        after: Option<i64>,
        /// The server's refusal; `None` if the server does not support replay.
        reply: Option<Box<Message>>,
    },
    /// An extension vetoed the message.
    #[error("an extension vetoed the message: {0}")]
    Vetoed(String),
    /// No credentials could be obtained.
    #[error("no credentials: {0}")]
    NoCredentials(String),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was never opened.
    #[error("the client is not open")]
    NotOpen,
    /// The client was closed by its user.
    #[error("the client was closed")]
    Requested,
    /// The client was suspended by its user; the server still knows the session.
    #[error("the client was suspended")]
    Suspended,
    /// The server ended the session: by advice, by refusing the handshake for good, or by a disconnect.
    #[error("the server closed the session: {}", server_error(.0))]
    Server(Box<Message>),
    /// The two sides have no transport in common.
    #[error("405:c{client:?},s{server:?}:no_transport: client and server have no transport in common")]
    #[non_exhaustive]
    NoTransport {
        /// What this client may use.
        client: Vec<String>,
        /// What the server offers.
        server: Vec<String>,
    },
    /// No transport could connect.
    #[error("{0}")]
    Failed(Failure),
    /// Attempts to connect failed as often or as long as [`Retry`](super::Retry) permits, or the cause permits no further attempt.
    #[error("given up after {failures} failed {}: {cause}", if *failures == 1 { "attempt" } else { "attempts" })]
    #[non_exhaustive]
    GaveUp {
        /// How many attempts failed in a row.
        failures: u32,
        /// For how long.
        elapsed: Duration,
        /// What the last one failed with.
        cause: Box<LostCause>,
    },
    /// Opening took too long.
    #[error("not connected within {after:.1?}{}", last.as_ref().map(|last| format!(": {last}")).unwrap_or_default())]
    #[non_exhaustive]
    OpenTimeout {
        /// How long it was tried.
        after: Duration,
        /// What the last attempt failed with, if one did.
        last: Option<Box<LostCause>>,
    },
    /// No credentials could be obtained.
    #[error("no credentials: {0}")]
    NoCredentials(String),
}

fn unavailable(channel: &Channel, after: Option<i64>, reply: Option<&Message>) -> String {
    match (after, reply) {
        (Some(after), Some(reply)) => {
            format!(
                "the server does not keep the event {after} of {channel} any more: {}",
                server_error(reply)
            )
        }
        _ => format!("the server does not support replay, so that {channel} cannot begin in the past"),
    }
}

/// The text of a call that timed out.
fn timed_out(after: Duration, fate_unknown: bool, last: Option<&Failure>) -> String {
    match (fate_unknown, last) {
        (false, None) => format!("never sent: no connection and no turn within {after:.1?}"),
        (false, Some(last)) => format!("never sent within {after:.1?}: {last}"),
        // Silence needs no cause.
        (true, Some(last)) if last.kind() != FailureKind::Timeout => {
            format!("no reply within {after:.1?}; the last attempt failed: {last}")
        }
        (true, _) => format!("no reply within {after:.1?}"),
    }
}

impl CallError {
    /// Returns a [`CallError::Transport`].
    pub fn transport(failure: Failure, fate_unknown: bool) -> Self {
        Self::Transport { failure, fate_unknown }
    }

    /// Returns a [`CallError::Timeout`].
    pub fn timeout(after: Duration, fate_unknown: bool, last: Option<Failure>) -> Self {
        Self::Timeout { after, fate_unknown, last: last.map(Box::new) }
    }

    /// Returns a [`CallError::TooManyPending`].
    pub fn too_many_pending(cap: usize) -> Self {
        Self::TooManyPending { cap }
    }

    /// Returns a [`CallError::TooLarge`].
    pub fn too_large(size: usize, cap: usize) -> Self {
        Self::TooLarge { size, cap }
    }

    /// Returns a [`CallError::WrongChannel`].
    pub fn wrong_channel(channel: Channel, why: &'static str) -> Self {
        Self::WrongChannel { channel, why }
    }

    /// Returns the failure of the transport, if that is the reason.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Transport { failure, .. } => Some(failure),
            Self::Timeout { last, .. } => last.as_deref(),
            Self::Closed(reason) => reason.failure(),
            _ => None,
        }
    }

    /// Returns the server's error, if there is one.
    pub fn server_error(&self) -> Option<BayeuxError> {
        match self {
            Self::Refused(reply) | Self::ReplayUnavailable { reply: Some(reply), .. } => {
                Some(server_error(reply))
            }
            Self::Closed(reason) => reason.server_error(),
            _ => None,
        }
    }
}

impl CloseReason {
    /// Returns a [`CloseReason::NoTransport`].
    pub fn no_transport(client: Vec<String>, server: Vec<String>) -> Self {
        Self::NoTransport { client, server }
    }

    /// Returns a [`CloseReason::GaveUp`].
    pub fn gave_up(failures: u32, elapsed: Duration, cause: LostCause) -> Self {
        Self::GaveUp { failures, elapsed, cause: Box::new(cause) }
    }

    /// Returns a [`CloseReason::OpenTimeout`].
    pub fn open_timeout(after: Duration, last: Option<LostCause>) -> Self {
        Self::OpenTimeout { after, last: last.map(Box::new) }
    }

    /// Returns the server's error, if there is one.
    pub fn server_error(&self) -> Option<BayeuxError> {
        match self {
            Self::Server(reply) => Some(server_error(reply)),
            Self::GaveUp { cause, .. } | Self::OpenTimeout { last: Some(cause), .. } => match &**cause {
                LostCause::Refused(reply) | LostCause::SessionLost(reply) => Some(server_error(reply)),
                LostCause::Transport(_) => None,
            },
            _ => None,
        }
    }

    /// Returns the failure of the transport, if that is the reason.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::GaveUp { cause, .. } | Self::OpenTimeout { last: Some(cause), .. } => cause.failure(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gave_up(cause: LostCause) -> CloseReason {
        CloseReason::GaveUp { failures: 3, elapsed: Duration::ZERO, cause: Box::new(cause) }
    }

    #[test]
    fn the_servers_error_is_found_wherever_it_stands() {
        let mut reply = Message::meta(Channel::CONNECT);
        reply.fields_mut().error = Some(BayeuxError::parse("403::no"));
        let reply = Box::new(reply);
        for reason in [
            CloseReason::Server(reply.clone()),
            gave_up(LostCause::Refused(reply.clone())),
            gave_up(LostCause::SessionLost(reply)),
        ] {
            assert_eq!(reason.server_error().and_then(|error| error.code()), Some(403), "{reason}");
            assert_eq!(reason.failure(), None);
            assert_eq!(CallError::Closed(reason.clone()).server_error(), reason.server_error());
        }
    }

    #[test]
    fn so_is_what_happened_to_the_transport() {
        let failure = Failure::new(FailureKind::Tls, "no trust");
        let cause = LostCause::Transport(failure.clone());
        for reason in [CloseReason::Failed(failure.clone()), gave_up(cause)] {
            assert_eq!(reason.failure(), Some(&failure));
            assert_eq!(reason.server_error(), None);
        }
    }

    #[test]
    fn a_disconnect_without_error_is_shown_as_what_it_is() {
        let reason = CloseReason::Server(Box::new(Message::meta(Channel::DISCONNECT)));
        assert_eq!(reason.to_string(), "the server closed the session: disconnected by the server");
        let reason = CloseReason::Server(Box::new(Message::meta(Channel::CONNECT)));
        assert!(!reason.to_string().contains("disconnected by"), "{reason}");
    }
}
