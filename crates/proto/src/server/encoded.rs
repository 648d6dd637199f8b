//! Messages as they go over the wire, encoded once for all who get them.

use bytes::Bytes;

use super::memory::{Charge, Meter};
use crate::codec;
use crate::message::Message;

/// One encoded message. It is kept as an array of one, because most frames and bodies are just that: then all its
/// receivers share the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Encoded(Bytes);

/// Bytes that are counted once, until the last who shares them drops them.
struct Counted {
    json: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

/// Counts the bytes that a shell keeps for clients besides, among [`Memory::messages`](super::Memory::messages).
#[derive(Clone, Debug)]
pub struct Counter(Meter);

impl Counter {
    pub(super) fn new(meter: &Meter) -> Self {
        Self(meter.clone())
    }

    /// The same bytes, which are counted until the last who shares them drops them.
    pub fn count(&self, bytes: Vec<u8>) -> Bytes {
        counted(bytes, &self.0)
    }
}

impl Encoded {
    pub(super) fn new(message: &Message, meter: &Meter) -> Self {
        Self(counted(codec::encode_one(message), meter))
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The array of these messages.
    pub(super) fn join(messages: &[Self], meter: &Meter) -> Bytes {
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
                counted(json, meter)
            }
        }
    }
}

fn counted(json: Vec<u8>, meter: &Meter) -> Bytes {
    /// The allocation that is shared, besides the text.
    const SHARED: usize = 96;
    let charge = meter.charge(json.capacity() + SHARED);
    Bytes::from_owner(Counted { json, _charge: charge })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;

    #[test]
    fn one_message_is_shared_and_several_are_joined() {
        let meter = Meter::default();
        let a = Encoded::new(&Message::meta(Channel::CONNECT), &meter);
        let b = Encoded::new(&Message::meta(Channel::DISCONNECT), &meter);
        assert_eq!(Encoded::join(std::slice::from_ref(&a), &meter).as_ptr(), a.0.as_ptr());
        let joined = Encoded::join(&[a, b], &meter);
        assert_eq!(joined, r#"[{"channel":"/meta/connect"},{"channel":"/meta/disconnect"}]"#);
        assert_eq!(Encoded::join(&[], &meter), "[]");
        assert!(meter.bytes() >= joined.len(), "what is under way is counted");
        drop(joined);
        assert_eq!(meter.bytes(), 0);
    }
}
