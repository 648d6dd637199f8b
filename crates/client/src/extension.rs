//! Extensions: code of the user's that sees every message.

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
    /// A [`Veto`] keeps the message back; its call fails with [`ErrorKind::Refused`](crate::ErrorKind::Refused).
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
