//! Extensions: code of the user's that sees every message.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bayeux_proto::Message;
use http::HeaderMap;

/// Sees each outgoing and incoming message, meta messages too, and may change it or refuse it.
///
/// Outgoing messages pass the extensions in the reverse order of their registration, incoming ones in that order
/// (as CometD's `AbstractClientSession`). The id of a message is put back when an extension changes it. The methods
/// are called on the client's own task and should not block.
///
/// ```
/// use bayeux::{Extension, Message, Veto};
///
/// /// Puts a token into the `ext` of each message.
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
    /// Sees a message before it is sent.
    ///
    /// # Errors
    /// A [`Veto`] keeps the message back; its call fails with [`ErrorKind::Vetoed`](crate::ErrorKind::Vetoed).
    fn outgoing(&self, message: &mut Message) -> Result<(), Veto> {
        let _ = message;
        Ok(())
    }

    /// Sees a message before the client does.
    ///
    /// # Errors
    /// A [`Veto`] makes the client act as if the message had not come. A call whose reply is refused so runs into
    /// its timeout.
    fn incoming(&self, message: &mut Message) -> Result<(), Veto> {
        let _ = message;
        Ok(())
    }

    /// Sees the headers of each HTTP request, the WebSocket upgrade among them, before it is sent.
    fn headers(&self, headers: &mut HeaderMap) {
        let _ = headers;
    }
}

/// An extension's refusal of a message, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Veto(String);

impl Veto {
    /// A refusal with that reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The user's extensions, in the order of their registration.
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

    /// Those that are refused are taken out and returned, with the reason.
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

    /// Those that are refused are taken out.
    pub(crate) fn incoming(&self, messages: &mut Vec<Message>) {
        if !self.0.is_empty() {
            messages.retain_mut(|message| pass(self.0.iter(), message, Extension::incoming).is_ok());
        }
    }
}

/// Shows a message to extensions in turn, until one refuses it.
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

/// Runs code of the user's; its panic must not end the client.
fn unless_it_panics<T>(code: impl FnOnce() -> T) -> Option<T> {
    // What a panic leaves half done is the message or the headers, and those are whole values at any time.
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(code));
    if outcome.is_err() {
        tracing::error!("an extension panicked; it is passed over");
    }
    outcome.ok()
}
