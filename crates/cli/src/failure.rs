//! Failures of a command: text, hint and exit code.

use std::io;

use bayeux::{CloseReason, Error, ErrorKind, FailureKind};

use crate::output;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client returned an error.
    Client(Error),
    /// The client returned an error, for which there is a hint.
    ClientHint(Error, &'static str),
    /// The command line, a file or the input is invalid.
    Usage(String),
    /// The same, with a hint.
    UsageHint(String, &'static str),
    /// The connection was not restored in time.
    Lost(String),
    /// The reader of standard output closed it. The exit code is 0.
    ClosedPipe,
    /// A signal ended the command; this is its exit code.
    Interrupted(u8),
    /// The failure has been reported already; this is its exit code.
    Reported(u8),
}

impl Failure {
    /// Prints the failure on standard error and returns the exit code.
    pub(crate) fn report(self) -> u8 {
        match &self {
            Self::Client(error) => {
                output::error(&error.to_string());
                if let Some(hint) = hint(error) {
                    output::hint(&hint);
                }
            }
            Self::ClientHint(error, hint) => {
                output::error(&error.to_string());
                output::hint(hint);
            }
            Self::Usage(text) => output::error(text),
            Self::UsageHint(text, hint) => {
                output::error(text);
                output::hint(hint);
            }
            Self::Lost(text) => {
                output::error(text);
                output::hint("--outage-timeout sets how long it may stay lost; \"none\" waits without limit");
            }
            Self::ClosedPipe | Self::Interrupted(_) | Self::Reported(_) => {}
        }
        self.code()
    }

    /// The exit code, as `--help` lists them.
    fn code(&self) -> u8 {
        match self {
            Self::Client(error) | Self::ClientHint(error, _) => code(error),
            Self::Usage(_) | Self::UsageHint(..) => 2,
            Self::Lost(_) => 4,
            Self::ClosedPipe => 0,
            Self::Interrupted(code) | Self::Reported(code) => *code,
        }
    }
}

/// The exit code of an error.
pub(crate) fn code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Config | ErrorKind::Invalid => 2,
        ErrorKind::Server | ErrorKind::Auth => 3,
        ErrorKind::Timeout => 4,
        ErrorKind::Transport
        | ErrorKind::Closed
        | ErrorKind::Decode
        | ErrorKind::Vetoed
        | ErrorKind::Overflow
        | ErrorKind::Busy
        | _ => 1,
    }
}

/// The exit code of the end of a session.
pub(crate) fn close_code(reason: &CloseReason) -> u8 {
    match reason {
        CloseReason::Requested => 0,
        CloseReason::Server(_) | CloseReason::NoTransport { .. } | CloseReason::NoCredentials(_) => 3,
        CloseReason::OpenTimeout { .. } => 4,
        _ => match reason.failure().map(bayeux::Failure::kind) {
            Some(FailureKind::Timeout) => 4,
            None if reason.server_error().is_some() => 3,
            _ => 1,
        },
    }
}

/// A hint for the user, if there is one for this error.
pub(crate) fn hint(error: &Error) -> Option<String> {
    const CREDENTIALS: &str =
        "the server requires credentials: --header \"Authorization: Bearer …\", or --cookie name=value";
    if let Some(failure) = error.failure() {
        return Some(match failure.kind() {
            FailureKind::UnknownHost => {
                let text = failure.to_string();
                format!(
                    "no address was found for {}: check the spelling and the DNS settings",
                    host(&text)
                )
            }
            FailureKind::Unreachable => "check the address and the port, and whether the server is running".to_owned(),
            FailureKind::Tls => {
                "--ca FILE trusts a certificate of your own; for a server without TLS, use http://"
                    .to_owned()
            }
            FailureKind::Proxy => {
                "check --proxy and the proxy variables of the environment (--proxy none ignores them)"
                    .to_owned()
            }
            FailureKind::LocalLimit => {
                "this machine permits no more open files or sockets: `ulimit -n 65536` raises the limit of the shell"
                    .to_owned()
            }
            FailureKind::Http { status: 401 | 403 } | FailureKind::UpgradeRefused { status: 401 | 403 } => {
                CREDENTIALS.to_owned()
            }
            FailureKind::Http { status: 404 } | FailureKind::UpgradeRefused { status: 404 } => {
                "check the path, which is usually /cometd".to_owned()
            }
            FailureKind::Http { status: 413 } | FailureKind::Closed { code: 1009 } => {
                "the message is too large for the server; for bayeux serve, --max-message-size sets the limit".to_owned()
            }
            FailureKind::TooLarge => "--max-message-size raises the limit".to_owned(),
            FailureKind::Http { status: 407 } | FailureKind::UpgradeRefused { status: 407 } => {
                "the proxy requires credentials: --proxy http://USER:PASSWORD@HOST:PORT".to_owned()
            }
            FailureKind::Http { status: 429 } | FailureKind::UpgradeRefused { status: 429 } => {
                "the server refuses so many requests: wait, or try again later with --wait".to_owned()
            }
            FailureKind::Http { status: 500.. } | FailureKind::UpgradeRefused { status: 500.. } => {
                "the server, or a proxy before it, is failing or overloaded: try again later, or with --wait"
                    .to_owned()
            }
            FailureKind::Http { status: 300..=399 } | FailureKind::UpgradeRefused { status: 300..=399 } => {
                "redirects to other URLs are not followed: use the URL that is named".to_owned()
            }
            FailureKind::UpgradeRefused { .. } => {
                "the server may not support WebSocket at this URL: try --transport long-polling".to_owned()
            }
            FailureKind::Malformed | FailureKind::Http { .. } => {
                "check that this is the URL of a CometD server; the path is usually /cometd".to_owned()
            }
            FailureKind::Timeout if failure.to_string().contains("max_advised_wait") => {
                "--max-advised-wait sets the longest wait that the server may ask for".to_owned()
            }
            FailureKind::Timeout => {
                "the server does not respond in time; -v logs the messages, --connect-timeout sets the limit"
                    .to_owned()
            }
            _ => return None,
        });
    }
    match error.code() {
        None if error.is_timeout() => Some("-v logs the messages".to_owned()),
        Some(401) => Some(CREDENTIALS.to_owned()),
        Some(403) => Some(
            "the server does not permit this; it may require credentials: --header \"Authorization: Bearer …\""
                .to_owned(),
        ),
        _ => None,
    }
}

/// The host in a text that names a URL.
fn host(text: &str) -> &str {
    let after = text.split_once("://").map_or(text, |(_, after)| after);
    after.split(['/', ':', '?']).next().unwrap_or(after)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Usage(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_session_has_the_exit_code_of_its_cause() {
        let failed = |kind| bayeux::Failure::new(kind, "");
        let gave_up = |cause| CloseReason::gave_up(3, std::time::Duration::ZERO, cause);
        let refusal = || Box::new(bayeux::Message::new(bayeux::Channel::parse("/meta/connect").unwrap()));
        for (reason, code) in [
            (CloseReason::Requested, 0),
            (CloseReason::Failed(failed(FailureKind::Unreachable)), 1),
            (CloseReason::Failed(failed(FailureKind::Timeout)), 4),
            (CloseReason::Server(refusal()), 3),
            (CloseReason::no_transport(vec![], vec![]), 3),
            (CloseReason::NoCredentials(String::new()), 3),
            (CloseReason::open_timeout(std::time::Duration::ZERO, None), 4),
            (gave_up(bayeux::LostCause::Transport(failed(FailureKind::Lost))), 1),
            (gave_up(bayeux::LostCause::Transport(failed(FailureKind::Timeout))), 4),
            (gave_up(bayeux::LostCause::Refused(refusal())), 3),
        ] {
            assert_eq!(close_code(&reason), code, "{reason:?}");
        }
    }

    #[test]
    fn the_host_is_found_in_a_text() {
        assert_eq!(host("cannot reach https://nowhere.invalid:8443/cometd: unknown host"), "nowhere.invalid");
        assert_eq!(host("cannot reach http://nowhere.invalid/?a=…: unknown host"), "nowhere.invalid");
    }
}
