//! How a command fails: a text, a hint, an exit code.

use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use bayeux::{Error, ErrorKind, FailureKind};

/// Why a command ends before it is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client said so.
    Client(Error),
    /// The command line, a file or the input is wrong.
    Usage(String),
    /// Whoever read our output has gone: that is no error.
    ClosedPipe,
    /// The user has had enough.
    Interrupted,
    /// Something was refused, and was told already.
    Told(u8),
}

impl Failure {
    /// Says it on standard error, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        const ERROR: Style = AnsiColor::Red.on_default().bold();
        const HINT: Style = AnsiColor::Cyan.on_default();
        match &self {
            Self::Client(error) => {
                anstream::eprintln!("{ERROR}error:{ERROR:#} {error}");
                if let Some(hint) = hint(error) {
                    anstream::eprintln!("{HINT} hint:{HINT:#} {hint}");
                }
            }
            Self::Usage(text) => anstream::eprintln!("{ERROR}error:{ERROR:#} {text}"),
            Self::ClosedPipe | Self::Interrupted | Self::Told(_) => {}
        }
        ExitCode::from(self.code())
    }

    /// The exit codes, as `--help` names them.
    fn code(&self) -> u8 {
        match self {
            Self::Client(error) => code(error),
            Self::Usage(_) => 2,
            Self::ClosedPipe => 0,
            Self::Interrupted => 130,
            Self::Told(code) => *code,
        }
    }
}

/// The exit code of an error.
pub(crate) fn code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Server | ErrorKind::Auth => 3,
        ErrorKind::Timeout => 4,
        ErrorKind::Config | ErrorKind::Invalid | ErrorKind::Decode => 2,
        _ => 1,
    }
}

fn hint(error: &Error) -> Option<&'static str> {
    if let Some(failure) = error.failure() {
        return Some(match failure.kind() {
            FailureKind::Unreachable => "check the address, and that the server runs",
            FailureKind::Tls => "--ca FILE trusts a certificate authority of your own",
            FailureKind::Proxy => {
                "check --proxy, and the proxy variables of the environment (--proxy none ignores them)"
            }
            FailureKind::Http { status: 401 | 403 } | FailureKind::UpgradeRefused { status: 401 | 403 } => {
                "the server wants credentials: --header \"Authorization: Bearer …\", or --cookie"
            }
            FailureKind::Http { status: 404 } | FailureKind::UpgradeRefused { status: 404 } => {
                "check the path: CometD servers usually listen at /cometd"
            }
            FailureKind::UpgradeRefused { .. } => {
                "the server may not speak WebSocket here: --transport long-polling"
            }
            FailureKind::Malformed => "is this the URL of a CometD server? They usually listen at /cometd",
            FailureKind::Timeout => "the server does not answer in time; -v shows what travels",
            _ => return None,
        });
    }
    match error.code() {
        Some(401) => Some("the server wants credentials: --header \"Authorization: Bearer …\""),
        Some(403) => {
            Some("the server's policy forbids it; credentials may help: --header \"Authorization: Bearer …\"")
        }
        _ => None,
    }
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
