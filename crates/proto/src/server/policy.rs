//! Who may do what.

use crate::channel::Channel;
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::message::Message;

/// Decides what clients may do. Everything that is not overridden is allowed.
pub trait Policy: Send + 'static {
    /// Whether a client may have a session; its credentials are in the message's `ext`.
    ///
    /// # Errors
    /// A [`Denial`] is what the client is told.
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let _ = handshake;
        Ok(())
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
pub struct Denial(pub(super) Option<BayeuxError>);

impl Denial {
    /// A refusal with the reference's own words, `403:denied_by_security_policy:…`.
    pub fn new() -> Self {
        Self(None)
    }

    /// A refusal with other words.
    pub fn with(error: BayeuxError) -> Self {
        Self(Some(error))
    }

    pub(super) fn error(self, what: &str) -> BayeuxError {
        self.0.unwrap_or_else(|| BayeuxError::new(403, "denied_by_security_policy", what))
    }
}

impl Default for Denial {
    fn default() -> Self {
        Self::new()
    }
}
