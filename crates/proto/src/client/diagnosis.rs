//! What a refusal means: servers spell "I do not know you" in many ways.

use super::cause::server_error;
use crate::message::Message;

/// What the server's refusal says about the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diagnosis {
    /// The server has no such session (any more).
    SessionUnknown,
    /// The credentials are missing or no longer good.
    Credentials,
    /// It is about this request only.
    Plain,
}

/// Reads a refusal: by what it says first, because the code alone misleads. Faye says `401` for an unknown
/// session, Salesforce `403::Unknown client`, CometD `402`.
pub(super) fn diagnose(reply: &Message) -> Diagnosis {
    let error = server_error(reply);
    let text = error.as_str().to_ascii_lowercase();
    let unknown =
        ["unknown client", "session_unknown", "unknown session"].iter().any(|words| text.contains(words));
    match error.code() {
        _ if unknown => Diagnosis::SessionUnknown,
        Some(402) => Diagnosis::SessionUnknown,
        // Other credentials do not help.
        _ if is_limit(&text) => Diagnosis::Plain,
        Some(401) => Diagnosis::Credentials,
        Some(403) if reply.channel() == "/meta/handshake" => Diagnosis::Credentials,
        _ => Diagnosis::Plain,
    }
}

/// Whether the refusal is about a limit of the server: `403::Organization total events daily limit exceeded`, say.
pub(super) fn is_limit(text: &str) -> bool {
    text.to_ascii_lowercase().contains("limit exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BayeuxError;

    #[test]
    fn the_many_spellings_of_an_unknown_session() {
        for (channel, error, expected) in [
            ("/meta/connect", "402::session_unknown", Diagnosis::SessionUnknown),
            ("/meta/connect", "402::Unknown client", Diagnosis::SessionUnknown),
            ("/meta/connect", "402::", Diagnosis::SessionUnknown),
            ("/meta/connect", "403::Unknown client", Diagnosis::SessionUnknown),
            ("/meta/subscribe", "401:abc:Unknown client", Diagnosis::SessionUnknown),
            ("/meta/connect", "401::Authentication invalid", Diagnosis::Credentials),
            ("/meta/handshake", "403::Handshake denied", Diagnosis::Credentials),
            ("/meta/subscribe", "403:denied:create_denied", Diagnosis::Plain),
            ("/meta/connect", "403::Organization total events daily limit exceeded", Diagnosis::Plain),
            ("/meta/handshake", "403::Organization concurrent user limit exceeded", Diagnosis::Plain),
            ("/meta/connect", "", Diagnosis::Plain),
        ] {
            let mut reply = Message::meta(channel);
            reply.fields_mut().error = Some(BayeuxError::parse(error));
            assert_eq!(diagnose(&reply), expected, "{channel} {error}");
        }
    }
}
