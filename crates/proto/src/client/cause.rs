//! Why messages stop flowing, and the server's error.

use super::failure::{Failure, FailureKind};
use crate::error::BayeuxError;
use crate::message::Message;

/// Why messages stopped flowing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LostCause {
    /// The transport failed.
    #[error("{0}")]
    Transport(Failure),
    /// The server answered a handshake or connect with a refusal.
    #[error("the server refused: {}", server_error(.0))]
    Refused(Box<Message>),
    /// The server does not know the session any more, or asks for a new one.
    #[error("{}", session_lost(.0))]
    SessionLost(Box<Message>),
}

impl LostCause {
    /// Returns whether another attempt fails as well until the configuration is changed: a certificate that is not
    /// trusted, a host name that does not exist, credentials that the server refuses.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Transport(failure) => matches!(
                failure.kind(),
                FailureKind::Tls
                    | FailureKind::UnknownHost
                    | FailureKind::Http { status: 401 | 403 }
                    | FailureKind::UpgradeRefused { status: 401 | 403 }
            ),
            Self::Refused(reply) => matches!(server_error(reply).code(), Some(401 | 403)),
            Self::SessionLost(_) => false,
        }
    }

    /// Returns the failure of the transport, if that is the cause.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Transport(failure) => Some(failure),
            Self::Refused(_) | Self::SessionLost(_) => None,
        }
    }
}

/// A server that goes down in good order answers what it holds without an error, and advises a new handshake.
fn session_lost(reply: &Message) -> String {
    match (server_error(reply), reply.is_successful()) {
        (error, true) if error.as_str().is_empty() => {
            "the server ended the session and asks for a new one, as it does before it shuts down".to_owned()
        }
        (error, _) => format!("the server has forgotten the session: {error}"),
    }
}

/// The error of a refusing reply. Salesforce hides the real reason of a refused handshake in its `ext`.
pub(super) fn server_error(message: &Message) -> BayeuxError {
    if let Some(reason) =
        message.ext_value("sfdc").and_then(|sfdc| Some(sfdc.get("failureReason")?.as_str()?.to_owned()))
    {
        return BayeuxError::parse(reason);
    }
    message.fields().error.clone().unwrap_or_else(|| {
        let text = if message.channel() == "/meta/disconnect" { "disconnected by the server" } else { "" };
        BayeuxError::parse(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orderly_end_is_not_shown_as_a_forgotten_session() {
        let mut reply = Message::meta("/meta/connect");
        reply.fields_mut().successful = Some(true);
        let text = LostCause::SessionLost(Box::new(reply.clone())).to_string();
        assert!(text.contains("shuts down") && !text.contains("no reason given"), "{text}");
        reply.fields_mut().successful = Some(false);
        reply.fields_mut().error = Some(BayeuxError::parse("402::session_unknown"));
        let text = LostCause::SessionLost(Box::new(reply)).to_string();
        assert_eq!(text, "the server has forgotten the session: 402::session_unknown");
    }
}
