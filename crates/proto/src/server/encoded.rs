//! Messages as they go over the wire, encoded once for all who get them.

use bytes::Bytes;

use crate::codec;
use crate::message::Message;

/// One encoded message. It is kept as an array of one, because most frames and bodies are just that: then all its
/// receivers share the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Encoded(Bytes);

impl Encoded {
    pub(super) fn new(message: &Message) -> Self {
        Self(codec::encode([message]))
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The array of these messages.
    pub(super) fn join(messages: &[Self]) -> Bytes {
        match messages {
            [one] => one.0.clone(),
            many => {
                let size = many.iter().map(Self::len).sum::<usize>() + 2;
                let mut json = Vec::with_capacity(size);
                for message in many {
                    json.push(if json.is_empty() { b'[' } else { b',' });
                    json.extend_from_slice(&message.0[1..message.0.len() - 1]);
                }
                if json.is_empty() {
                    json.push(b'[');
                }
                json.push(b']');
                json.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;

    #[test]
    fn one_message_is_shared_and_several_are_joined() {
        let a = Encoded::new(&Message::meta(Channel::CONNECT));
        let b = Encoded::new(&Message::meta(Channel::DISCONNECT));
        assert_eq!(Encoded::join(std::slice::from_ref(&a)).as_ptr(), a.0.as_ptr());
        assert_eq!(Encoded::join(&[a, b]), r#"[{"channel":"/meta/connect"},{"channel":"/meta/disconnect"}]"#);
        assert_eq!(Encoded::join(&[]), "[]");
    }
}
