//! What clients may do.

use crate::advice::Reconnect;
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::message::Message;

/// Decides what clients may do. Everything that is not overridden is allowed.
///
/// The engine waits for each answer, and its driver serves no other client meanwhile: a method must not wait for
/// anything, such as a database or a lock that is held for long, and must not call the server that calls it, which
/// would never return.
pub trait Policy: Send + 'static {
    /// Decides whether a client may open a session; its credentials are in the `ext` of the message.
    ///
    /// # Errors
    /// Return a [`Denial`] to refuse; the client gets it as its error.
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let _ = handshake;
        Ok(())
    }

    /// Returns the messages that a new session receives first, in order. They are sent with the first connect, or with
    /// the handshake reply if [`messages_during_handshake`](super::Config::messages_during_handshake) is set.
    fn welcome(&mut self, session: &ClientId, handshake: &Message) -> Vec<(Channel, Data)> {
        let _ = (session, handshake);
        Vec::new()
    }

    /// Decides whether a session may subscribe to a channel or pattern.
    ///
    /// # Errors
    /// Return a [`Denial`] to refuse; the client gets it as its error.
    fn may_subscribe(&mut self, session: &ClientId, channel: &Channel) -> Result<(), Denial> {
        let _ = (session, channel);
        Ok(())
    }

    /// Decides whether a session may publish to a channel.
    ///
    /// # Errors
    /// Return a [`Denial`] to refuse; the client gets it as its error.
    fn may_publish(&mut self, session: &ClientId, message: &Message) -> Result<(), Denial> {
        let _ = (session, message);
        Ok(())
    }
}

/// The policy that allows everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {}

/// A refusal, with the error that the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    error: Option<BayeuxError>,
    reconnect: Reconnect,
}

impl Denial {
    /// Returns a refusal with CometD's error, `403:denied_by_security_policy:…` or `403::handshake_denied`.
    pub fn new() -> Self {
        Self { error: None, reconnect: Reconnect::None }
    }

    /// Returns a refusal with another error.
    pub fn with(error: BayeuxError) -> Self {
        Self { error: Some(error), ..Self::new() }
    }

    /// Sets the advice to a client whose handshake is refused. Default: not to try again, because it would be refused
    /// again. [`Reconnect::Handshake`] asks for other credentials.
    #[must_use]
    pub fn advise(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    pub(super) fn error(self, what: &str) -> BayeuxError {
        self.error.unwrap_or_else(|| BayeuxError::new(403, "denied_by_security_policy", what))
    }

    pub(super) fn handshake_error(self) -> (BayeuxError, Reconnect) {
        let error = self.error.unwrap_or_else(|| BayeuxError::parse("403::handshake_denied"));
        (error, self.reconnect)
    }
}

impl Default for Denial {
    fn default() -> Self {
        Self::new()
    }
}
