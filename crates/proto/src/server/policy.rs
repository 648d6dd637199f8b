//! Who may do what.

use crate::advice::Reconnect;
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::message::Message;

/// Decides what clients may do. Everything that is not overridden is allowed.
///
/// The engine waits for each answer, and a shell around it serves nobody else meanwhile: a method must not wait for anything,
/// such as a database or a lock that is held for long, and must not call into the server that asks it, which would never
/// return.
pub trait Policy: Send + 'static {
    /// Whether a client may have a session; its credentials are in the message's `ext`.
    ///
    /// # Errors
    /// A [`Denial`] is what the client is told.
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let _ = handshake;
        Ok(())
    }

    /// What a new session is sent first, in order. It comes with the first connect, or with the handshake reply if
    /// [`messages_during_handshake`](super::Config::messages_during_handshake) says so.
    fn welcome(&mut self, session: &ClientId, handshake: &Message) -> Vec<(Channel, Data)> {
        let _ = (session, handshake);
        Vec::new()
    }

    /// Whether a session may receive the messages of a channel or pattern.
    ///
    /// # Errors
    /// A [`Denial`] is what the client is told.
    fn may_subscribe(&mut self, session: &ClientId, channel: &Channel) -> Result<(), Denial> {
        let _ = (session, channel);
        Ok(())
    }

    /// Whether a session may send on a channel.
    ///
    /// # Errors
    /// A [`Denial`] is what the client is told.
    fn may_publish(&mut self, session: &ClientId, message: &Message) -> Result<(), Denial> {
        let _ = (session, message);
        Ok(())
    }
}

/// The policy that allows everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {}

/// A refusal, in the client's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    error: Option<BayeuxError>,
    reconnect: Reconnect,
}

impl Denial {
    /// A refusal with the reference's own words, `403:denied_by_security_policy:…` or `403::handshake_denied`.
    pub fn new() -> Self {
        Self { error: None, reconnect: Reconnect::None }
    }

    /// A refusal with other words.
    pub fn with(error: BayeuxError) -> Self {
        Self { error: Some(error), ..Self::new() }
    }

    /// What a client whose handshake is refused is advised to do. Default: nothing more, because it would be refused
    /// again. [`Reconnect::Handshake`] asks for better credentials.
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
