//! `ext.binary`, the binary extension: bytes as the payload of a message.
//!
//! Such a message carries `"ext": {"binary": {}}` and `"data": {"data": "…", "last": true, "meta": {…}}`; the inner
//! `data` is the bytes in Z85, which takes five characters for four bytes. A large blob may be sent in several messages,
//! of which the final one says `last`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::z85;
use crate::data::{Data, json_fault};
use crate::message::Message;

const KEY: &str = "binary";

/// Bytes that travel as the payload of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Binary {
    /// The bytes.
    pub data: Bytes,
    /// Whether these are the last bytes of a blob that is sent in parts. If it is absent on the wire it counts as true: most blobs
    /// are sent whole.
    pub last: bool,
    /// Metadata of the bytes, such as a file's name; a JSON object, or nothing.
    pub meta: Option<Data>,
}

/// Why the payload of a message that is marked as binary could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BinaryError {
    /// `data` is not an object with a string `data`.
    #[error("a binary message needs a string in data.data: {0}")]
    Shape(String),
    /// `data.data` is not valid Z85.
    #[error("the bytes are no Z85: {what} at byte {at}")]
    #[non_exhaustive]
    Encoding {
        /// What is wrong.
        what: &'static str,
        /// The byte offset in the text.
        at: usize,
    },
}

#[derive(Serialize)]
struct Payload<'a> {
    data: &'a str,
    last: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a Data>,
}

#[derive(Deserialize)]
struct ReceivedPayload<'a> {
    // Not borrowed: the string may have escapes.
    data: String,
    #[serde(default)]
    last: Option<bool>,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
}

impl Binary {
    /// Returns a whole blob without metadata.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), last: true, meta: None }
    }

    /// Writes this as the payload of a message, and marks the message as binary.
    ///
    /// # Errors
    /// Never in practice; the JSON library declares one.
    pub fn write(&self, message: &mut Message) -> Result<(), serde_json::Error> {
        let text = z85::encode(&self.data);
        let payload = Payload { data: &text, last: self.last, meta: self.meta.as_ref() };
        message.set_data(Some(Data::encode(&payload)?));
        message.set_ext_value(KEY, json!({}));
        Ok(())
    }

    /// Returns the bytes of a message; `None` if the message is not marked as binary, or is a meta message.
    ///
    /// # Errors
    /// Returns an error if the message is marked and its bytes cannot be read.
    pub fn read(message: &Message) -> Option<Result<Self, BinaryError>> {
        let marked =
            !message.channel().is_meta() && message.ext_json(KEY).is_some_and(|json| json.starts_with('{'));
        marked.then(|| Self::from_data(message.data()))
    }

    fn from_data(data: &Data) -> Result<Self, BinaryError> {
        // The JSON library would take an array for the fields in their order.
        if !data.as_str().starts_with('{') {
            return Err(BinaryError::Shape("data is no object".to_owned()));
        }
        let payload: ReceivedPayload<'_> = serde_json::from_slice(data.as_bytes())
            .map_err(|error| BinaryError::Shape(json_fault(&error)))?;
        let bytes = z85::decode(&payload.data).map_err(|invalid| match invalid {
            z85::Invalid::Character(at) => {
                BinaryError::Encoding { what: "a character that is none of it", at }
            }
            z85::Invalid::Overflow(at) => BinaryError::Encoding { what: "a group that is too large", at },
            z85::Invalid::Length => {
                BinaryError::Encoding { what: "a character too many", at: payload.data.len() - 1 }
            }
        })?;
        let meta = payload.meta.map(|raw| Data::view(data.as_bytes(), raw)).filter(|meta| !meta.is_null());
        Ok(Self { data: bytes, last: payload.last.unwrap_or(true), meta })
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}

/// Payloads can be private and large: only their size is shown.
impl std::fmt::Debug for Binary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binary")
            .field("bytes", &self.data.len())
            .field("last", &self.last)
            .field("meta", &self.meta)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::codec::{Decoder, encode};

    fn message(data: &str, ext: &str) -> Message {
        let mut message =
            Message::new(Channel::parse("/files").unwrap()).with_data(Data::from_json(data).unwrap());
        message.set_ext(Some(Data::from_json(ext).unwrap()));
        message
    }

    #[test]
    fn the_wire_form_is_that_of_the_reference() {
        let mut message = Message::new(Channel::parse("/files").unwrap());
        let hello = Binary {
            data: Bytes::from_static(&[0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]),
            last: false,
            meta: Some(Data::from_json(r#"{"name":"x"}"#).unwrap()),
        };
        hello.write(&mut message).unwrap();
        assert_eq!(message.data().as_str(), r#"{"data":"HelloWorld","last":false,"meta":{"name":"x"}}"#);
        assert_eq!(message.ext().unwrap().as_str(), r#"{"binary":{}}"#);
        assert_eq!(Binary::read(&message), Some(Ok(hello)));
    }

    #[test]
    fn case_64_marked_as_binary_without_a_string_is_an_error() {
        for data in [
            "null",
            "1",
            "\"HelloWorld\"",
            "[]",
            r#"["HelloWorld"]"#,
            "{}",
            r#"{"data":1}"#,
            r#"{"data":null}"#,
            r#"{"data":{"data":""}}"#,
            r#"{"data":"HelloWorld","last":"yes"}"#,
        ] {
            let read = Binary::read(&message(data, r#"{"binary":{}}"#));
            assert!(matches!(read, Some(Err(BinaryError::Shape(_)))), "{data}: {read:?}");
        }
        let read = Binary::read(&message(r#"{"data":"Hel\u006coé","last":true}"#, r#"{"binary":{}}"#));
        assert_eq!(read, Some(Err(BinaryError::Encoding { what: "a character that is none of it", at: 5 })));
    }

    #[test]
    fn an_error_does_not_quote_a_payload_whole() {
        let data = format!(r#"{{"data":"","last":"{}"}}"#, "x".repeat(100_000));
        let Some(Err(error)) = Binary::read(&message(&data, r#"{"binary":{}}"#)) else {
            panic!("it is no binary payload")
        };
        let text = error.to_string();
        assert!(text.len() < 400 && text.contains("column"), "{text}");
    }

    #[test]
    fn what_is_not_marked_is_not_binary() {
        let data = r#"{"data":"HelloWorld","last":true}"#;
        for ext in ["{}", "[]", r#"{"binary":true}"#, r#"{"binary":null}"#] {
            assert_eq!(Binary::read(&message(data, ext)), None, "{ext}");
        }
        let mut meta = message(data, r#"{"binary":{}}"#);
        meta.set_channel(Channel::from_wire(Channel::CONNECT));
        assert_eq!(Binary::read(&meta), None);
    }

    #[test]
    fn absent_parts_have_their_plain_meaning() {
        for data in [r#"{"data":""}"#, r#"{"data":"","last":null,"meta":null,"more":[1]}"#] {
            assert_eq!(
                Binary::read(&message(data, r#"{"binary":{"x":1}}"#)),
                Some(Ok(Binary::new(Bytes::new()))),
                "{data}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_survive_the_wire(data: Vec<u8>, last: bool, name: Option<String>) {
            let meta = name.map(|name| Data::encode(&serde_json::json!({ "name": name })).unwrap());
            let sent = Binary { data: data.into(), last, meta };
            let mut message = Message::new(Channel::parse("/files").unwrap());
            sent.write(&mut message).unwrap();
            let received = Decoder::new().decode(&encode([&message])).unwrap().messages;
            proptest::prop_assert_eq!(Binary::read(&received[0]), Some(Ok(sent)));
        }
    }
}
