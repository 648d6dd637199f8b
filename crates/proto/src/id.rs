//! Identifiers: of messages, and of sessions.

use std::fmt;
use std::sync::Arc;

use crate::printable::{printable, write_printable};

/// The id of a message. Peers may send numbers; a number and its decimal string are the same id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageId(Repr);

/// Ids of our own are counted, so the common case needs no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Number(u64),
    Text(Arc<str>),
}

impl MessageId {
    /// The id of that text.
    pub fn new(text: &str) -> Self {
        let canonical = text.len() < 20 && (text == "0" || !text.starts_with(['0', '+']));
        match text.parse() {
            Ok(number) if canonical => Self(Repr::Number(number)),
            _ => Self(Repr::Text(text.into())),
        }
    }

    /// The number, when the id is a plain decimal one.
    pub fn number(&self) -> Option<u64> {
        match self.0 {
            Repr::Number(number) => Some(number),
            Repr::Text(_) => None,
        }
    }

    /// The text as it travels, if it is not a number.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Number(_) => None,
            Repr::Text(text) => Some(text),
        }
    }
}

impl From<u64> for MessageId {
    fn from(number: u64) -> Self {
        // Twenty digits are kept as text, so that equal ids are always represented alike.
        if number < 10_000_000_000_000_000_000 {
            Self(Repr::Number(number))
        } else {
            Self::new(&number.to_string())
        }
    }
}

/// The id, with the control and formatting characters escaped that a peer's id may have.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Number(number) => write!(f, "{number}"),
            Repr::Text(text) => write_printable(f, text),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{self}")
    }
}

/// The id of a session, which is a secret between the client and the server: `Debug` hides most of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The id of that text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(4).collect();
        write!(f, "{}…", printable(&shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_text_are_one_id() {
        assert_eq!(MessageId::from(7), MessageId::new("7"));
        for text in ["007", "+7", "a", "", "99999999999999999999", "18446744073709551615"] {
            assert_eq!(MessageId::new(text).to_string(), text);
        }
        assert_eq!(MessageId::from(u64::MAX), MessageId::new("18446744073709551615"));
        assert_ne!(MessageId::new("07"), MessageId::from(7));
    }

    #[test]
    fn debug_does_not_tell_a_client_id() {
        assert_eq!(format!("{:?}", ClientId::new("abcdefgh")), "abcd…");
    }
}
