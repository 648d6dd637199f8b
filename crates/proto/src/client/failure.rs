//! What a transport reports when it could not carry messages.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::printable::printable;

/// Why messages could not be carried: a kind for programs, and a text for people.
///
/// Cheap to clone, because one broken connection fails many calls.
#[derive(Clone)]
pub struct Failure {
    kind: FailureKind,
    text: Arc<str>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The kinds of failure that a client treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The name of the host does not resolve: nothing was sent.
    UnknownHost,
    /// There is no answer from the address: nothing was sent.
    Unreachable,
    /// TLS could not be agreed on: a certificate that is not trusted, say. Nothing was sent.
    Tls,
    /// The proxy refused, or it cannot be reached. Nothing was sent.
    Proxy,
    /// A limit of this machine was reached: too many open files, say. Nothing was sent.
    LocalLimit,
    /// The server answered the WebSocket upgrade with this HTTP status.
    UpgradeRefused {
        /// The HTTP status.
        status: u16,
    },
    /// The server answered with an HTTP status that is not 200.
    Http {
        /// The HTTP status.
        status: u16,
    },
    /// The body or frame is larger than the configured cap.
    TooLarge,
    /// The body or frame is not an array of messages, or is empty.
    Malformed,
    /// No answer within the deadline.
    Timeout,
    /// The peer closed the WebSocket with this code (1005 when it gave none).
    Closed {
        /// The close code of the WebSocket.
        code: u16,
    },
    /// The connection broke.
    Lost,
}

impl Failure {
    /// Returns a failure with a text that names the URL, without secrets, and the cause. What a peer wrote into it cannot
    /// change how a terminal or a log shows it: control and formatting characters are escaped.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text: printable(&text).into(), retry_after: None, source: None }
    }

    /// Returns the same failure with the time that the server asks to wait before the next attempt (HTTP's `Retry-After`).
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Returns the same failure with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same failure with another text, such as one in which secrets are masked.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        Self { text: printable(text).into(), ..self }
    }

    /// Returns the kind of the failure.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns the HTTP status that the server answered with, if it answered.
    pub fn http_status(&self) -> Option<u16> {
        match self.kind {
            FailureKind::Http { status } | FailureKind::UpgradeRefused { status } => Some(status),
            _ => None,
        }
    }

    /// Returns how long the server asks to wait before the next attempt, if it does: the `Retry-After` of a response
    /// that is not 200, from the moment at which the response came.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether other transports to the same host and port would fail as well.
    pub(super) fn is_out_of_reach(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::UnknownHost
                | FailureKind::Unreachable
                | FailureKind::Tls
                | FailureKind::Proxy
                | FailureKind::LocalLimit
        )
    }

    /// Returns whether it is certain that the server has received nothing.
    pub fn is_before_sending(&self) -> bool {
        self.is_out_of_reach() || matches!(self.kind, FailureKind::UpgradeRefused { .. })
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.text == other.text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.text)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_kind_and_the_text() {
        let failure = Failure::new(FailureKind::Http { status: 503 }, "busy");
        assert_eq!(format!("{failure:?}"), "Http { status: 503 }(busy)");
        assert_eq!(failure.to_string(), "busy");
    }

    #[test]
    fn what_a_peer_wrote_is_escaped_wherever_it_is_shown() {
        let failure = Failure::new(FailureKind::Lost, "closed: \u{1b}]0;x\u{7}\nERROR forged\u{202e}");
        let shown = "closed: \\u{1b}]0;x\\u{7}\\nERROR forged\\u{202e}";
        assert_eq!(failure.to_string(), shown);
        assert_eq!(format!("{failure:?}"), format!("Lost({shown})"));
    }

    #[test]
    fn the_wait_that_the_server_asks_for_is_kept() {
        let failure = Failure::new(FailureKind::Http { status: 503 }, "busy");
        assert_eq!(failure.retry_after(), None);
        let wait = Some(Duration::from_secs(7));
        assert_eq!(failure.with_retry_after(wait).clone().retry_after(), wait);
    }

    #[test]
    fn failures_are_the_same_when_kind_and_text_are() {
        let failure = Failure::new(FailureKind::Lost, "gone");
        assert_eq!(failure, failure.clone().with_source(fmt::Error));
        assert_ne!(failure, Failure::new(FailureKind::Timeout, "gone"));
        assert_ne!(failure, Failure::new(FailureKind::Lost, "cut"));
    }

    #[test]
    fn the_error_it_came_from_is_kept() {
        let failure = Failure::new(FailureKind::Lost, "gone");
        assert!(failure.source().is_none());
        let failure = failure.with_source(fmt::Error);
        assert!(failure.source().is_some_and(|source| source.is::<fmt::Error>()));
    }
}
