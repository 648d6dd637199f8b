//! Extensions: code of the user that sees every message.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bayeux_proto::Message;
use http::HeaderMap;

/// Code that sees all outgoing and incoming messages, meta messages included, and can change or veto them.
///
/// Outgoing messages pass the extensions in the reverse order of their registration, incoming ones in that order, as in CometD. An
/// extension cannot change the id of an outgoing message. The methods are called by the driver task of the client and must not
/// block. If one panics, the panic is logged and the extension is skipped.
///
/// ```
/// use bayeux::{Extension, Message, Veto};
///
/// /// Adds a token to the `ext` field of each message.
/// struct Token(String);
///
/// impl Extension for Token {
///     fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
///         message.set_ext_value("token", self.0.clone().into());
///         Ok(())
///     }
/// }
/// ```
pub trait Extension: Send + Sync + 'static {
    /// Called for each message before it is sent.
    ///
    /// # Errors
    /// A [`Veto`] prevents sending. The call fails with [`ErrorKind::Vetoed`](crate::ErrorKind::Vetoed).
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        let _ = message;
        Ok(())
    }

    /// Called for each received message before the client handles it.
    ///
    /// # Errors
    /// A [`Veto`] drops the message. A call whose reply is vetoed ends with its timeout.
    fn incoming(&self, message: &mut Message) -> Result<(), Veto> {
        let _ = message;
        Ok(())
    }

    /// Called with the headers of each HTTP request, the WebSocket upgrade included, before it is sent.
    fn headers(&self, headers: &mut HeaderMap) {
        let _ = headers;
    }
}

/// The veto of a message by an extension, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Veto(String);

impl Veto {
    /// Creates a veto with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The extensions of a client, in the order of their registration.
#[derive(Clone, Default)]
pub(crate) struct Extensions(Vec<Arc<dyn Extension>>);

impl Extensions {
    pub(crate) fn add(&mut self, extension: impl Extension) {
        self.0.push(Arc::new(extension));
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        for extension in &self.0 {
            unless_it_panics(|| extension.headers(headers));
        }
    }

    /// Removes and returns the messages that an extension vetoed, with the reason.
    pub(crate) fn outgoing(&self, messages: &mut Vec<Message>) -> Vec<(Message, String)> {
        let mut vetoed = Vec::new();
        if !self.0.is_empty() {
            messages.retain_mut(|message| {
                let id = message.id().cloned();
                let passed = pass(self.0.iter().rev(), message, Extension::outgoing);
                message.set_id(id);
                match passed {
                    Ok(()) => true,
                    Err(reason) => {
                        vetoed.push((message.clone(), reason));
                        false
                    }
                }
            });
        }
        vetoed
    }

    /// Removes the messages that an extension vetoed.
    pub(crate) fn incoming(&self, messages: &mut Vec<Message>) {
        if !self.0.is_empty() {
            messages.retain_mut(|message| pass(self.0.iter(), message, Extension::incoming).is_ok());
        }
    }
}

/// Calls the extensions in turn, until one vetoes the message.
fn pass<'a>(
    mut extensions: impl Iterator<Item = &'a Arc<dyn Extension>>,
    message: &mut Message,
    look: impl Fn(&dyn Extension, &mut Message) -> Result<(), Veto>,
) -> Result<(), String> {
    extensions.try_for_each(|extension| match unless_it_panics(|| look(&**extension, message)) {
        Some(Err(veto)) => Err(veto.to_string()),
        Some(Ok(())) | None => Ok(()),
    })
}

/// Runs code of the user, whose panic must not end the client.
fn unless_it_panics<T>(code: impl FnOnce() -> T) -> Option<T> {
    // A panic can leave the message or the headers changed in part, but they are valid values at any time.
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(code));
    if outcome.is_err() {
        tracing::error!("an extension panicked and was skipped");
    }
    outcome.ok()
}
