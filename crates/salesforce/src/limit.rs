//! The limits of an org.

use std::time::Duration;

use bayeux::{BayeuxError, CloseReason, Error, Event};

/// A limit that an error of a client is about. Trying again at once does not help, and counts against the org.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// The org has delivered all events that it may deliver in 24 h (`403::Organization total events daily limit exceeded`).
    DailyEvents,
    /// The org has as many clients as it may have (2,000, 1,000 or 20, depending on the edition).
    ConcurrentClients,
    /// The server is too busy (`503::`).
    ServerBusy,
}

impl Limit {
    /// The limit that an error of a [`Client`](bayeux::Client) is about; `None` if it is about none.
    pub fn of(error: &Error) -> Option<Self> {
        Self::of_server_error(&error.server_error()?)
    }

    /// The limit that an event is about: the reason for which the client was closed, or why an attempt failed.
    pub fn of_event(event: &Event) -> Option<Self> {
        match event {
            Event::Closed(reason) => Self::of_reason(reason),
            Event::Lost { cause, .. } | Event::Retrying { cause, .. } => Self::of_cause(cause),
            _ => None,
        }
    }

    /// The limit for which a client was closed.
    pub fn of_reason(reason: &CloseReason) -> Option<Self> {
        Self::of_server_error(&reason.server_error()?)
    }

    pub(crate) fn of_cause(cause: &bayeux::LostCause) -> Option<Self> {
        match cause {
            bayeux::LostCause::Refused(reply) | bayeux::LostCause::SessionLost(reply) => {
                Self::of_server_error(reply.fields().error.as_ref()?)
            }
            bayeux::LostCause::Transport(failure) => {
                (failure.http_status() == Some(503)).then_some(Self::ServerBusy)
            }
            _ => None,
        }
    }

    /// The limit that an error of the server is about.
    pub fn of_server_error(error: &BayeuxError) -> Option<Self> {
        let text = error.as_str().to_ascii_lowercase();
        match error.code() {
            Some(503) => Some(Self::ServerBusy),
            _ if text.contains("daily limit") || text.contains("total events") => Some(Self::DailyEvents),
            _ if text.contains("limit exceeded")
                && (text.contains("concurrent") || text.contains("client")) =>
            {
                Some(Self::ConcurrentClients)
            }
            _ => None,
        }
    }

    /// How long [`Salesforce::client`](crate::Salesforce::client) waits at least before the next attempt: 15 min, 5 min and 30 s.
    pub fn pause(self) -> Duration {
        Duration::from_secs(match self {
            Self::DailyEvents => 900,
            Self::ConcurrentClients => 300,
            Self::ServerBusy => 30,
        })
    }
}
