//! JSON to messages and back: one pass, payloads left as views of the bytes they came in.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::advice::Advice;
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::message::{Fields, Message, Subscription};

/// Turns bodies and frames into messages.
///
/// It remembers the channel names it has seen, so that a message on a known channel costs no allocation.
#[derive(Debug, Default)]
pub struct Decoder {
    channels: HashMap<Box<str>, Channel>,
}

/// The messages of one body or frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The messages, in the order they stood in.
    pub messages: Vec<Message>,
    /// How many elements were no objects; they are passed over.
    pub skipped: usize,
}

/// Bytes that are not a batch of messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body is empty, which over HTTP means that the server had no answer.
    #[error("the body is empty")]
    Empty,
    /// Not UTF-8.
    #[error("the body is not UTF-8 (byte {at})")]
    Utf8 {
        /// The first bad byte.
        at: usize,
    },
    /// Not JSON, or cut off.
    #[error("the body is not a JSON array of messages: {reason}; it begins {start:?}")]
    Json {
        /// What the parser says, with line and column.
        reason: String,
        /// The first characters, to tell an HTML page from a truncated reply.
        start: String,
    },
}

impl Decoder {
    /// Names beyond this many are not remembered, so that a peer cannot fill the memory with them.
    const CHANNELS: usize = 1024;

    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes an array of messages; a lone object counts as an array of one.
    ///
    /// Fields of a wrong type count as absent and elements that are no objects are passed over, as PROTOCOL's
    /// tolerance asks: one odd message must not cost the others.
    ///
    /// # Errors
    /// When the body is empty, not UTF-8 or not JSON.
    pub fn decode(&mut self, body: &Bytes) -> Result<Batch, DecodeError> {
        let text =
            std::str::from_utf8(body).map_err(|error| DecodeError::Utf8 { at: error.valid_up_to() })?;
        if text.trim_ascii().is_empty() {
            return Err(DecodeError::Empty);
        }
        let mut batch = Batch::default();
        let mut json = serde_json::Deserializer::from_str(text);
        let reader = BatchReader { decoder: self, body, batch: &mut batch };
        reader.deserialize(&mut json).and_then(|()| json.end()).map_err(|error| DecodeError::Json {
            reason: error.to_string(),
            start: text.chars().take(40).collect(),
        })?;
        Ok(batch)
    }

    fn channel(&mut self, name: &str) -> Channel {
        if let Some(channel) = self.channels.get(name) {
            return channel.clone();
        }
        let channel = Channel::from_wire(name);
        if self.channels.len() < Self::CHANNELS && name.len() <= 256 {
            self.channels.insert(name.into(), channel.clone());
        }
        channel
    }
}

struct BatchReader<'a> {
    decoder: &'a mut Decoder,
    body: &'a Bytes,
    batch: &'a mut Batch,
}

impl<'de> DeserializeSeed<'de> for BatchReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BatchReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Self { decoder, body, batch } = self;
        while let Some(message) = array.next_element_seed(MessageReader { decoder, body })? {
            match message {
                Some(message) => batch.messages.push(message),
                None => batch.skipped += 1,
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        let message = MessageReader { decoder: self.decoder, body: self.body }.visit_map(object)?;
        self.batch.messages.extend(message);
        Ok(())
    }
}

struct MessageReader<'a> {
    decoder: &'a mut Decoder,
    body: &'a Bytes,
}

impl<'de> DeserializeSeed<'de> for MessageReader<'_> {
    type Value = Option<Message>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageReader<'_> {
    type Value = Option<Message>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut message = Message::new(Channel::from_wire(""));
        while let Some(field) = object.next_key::<Field<'de>>()? {
            let raw: &'de RawValue = object.next_value()?;
            self.field(&mut message, &field, raw);
        }
        Ok(Some(message))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl MessageReader<'_> {
    fn field(&mut self, message: &mut Message, field: &Field<'_>, raw: &RawValue) {
        let json = raw.get();
        match field {
            Field::Channel => {
                if let Some(name) = plain_string(json) {
                    message.set_channel(self.decoder.channel(name));
                } else if let Some(name) = string(json) {
                    message.set_channel(self.decoder.channel(&name));
                }
            }
            Field::Data => message.set_data(Some(Data::view(self.body, raw))),
            Field::Id => message.set_id(id(json)),
            Field::Ext if json == "null" => {}
            Field::Ext => message.set_ext(Some(Data::view(self.body, raw))),
            Field::Other(name) => fill(message.fields_mut(), name, raw, self.body),
        }
    }
}

fn fill(fields: &mut Fields, name: &str, raw: &RawValue, body: &Bytes) {
    let json = raw.get();
    match name {
        "successful" => fields.successful = parse(json),
        "clientId" => fields.client_id = string(json).map(|id| ClientId::new(&id)),
        "error" => fields.error = string(json).map(BayeuxError::parse),
        "advice" => fields.advice = Advice::from_raw(raw),
        "subscription" => {
            fields.subscription =
                string(json).map(Subscription::One).or_else(|| parse(json).map(Subscription::Many));
        }
        "connectionType" => fields.connection_type = string(json),
        "supportedConnectionTypes" => fields.supported_connection_types = parse(json),
        "version" => fields.version = string(json),
        "minimumVersion" => fields.minimum_version = string(json),
        "timestamp" => fields.timestamp = string(json),
        "x-messages" => fields.handshake_messages = parse(json),
        _ => fields.unknown.push((name.to_owned(), Data::view(body, raw))),
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}

fn string(json: &str) -> Option<String> {
    parse(json)
}

/// The inside of a JSON string that has no escapes, which is nearly every channel name and id.
fn plain_string(json: &str) -> Option<&str> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains('\\')).then_some(inside)
}

fn id(json: &str) -> Option<MessageId> {
    if let Some(text) = plain_string(json) {
        return Some(MessageId::new(text));
    }
    match parse(json)? {
        serde_json::Value::String(text) => Some(MessageId::new(&text)),
        serde_json::Value::Number(number) => Some(MessageId::new(&number.to_string())),
        _ => None,
    }
}

/// The key of a field; those of an event are told apart without a copy.
enum Field<'de> {
    Channel,
    Data,
    Id,
    Ext,
    Other(std::borrow::Cow<'de, str>),
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor;

        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = Field<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(known(name).unwrap_or(Field::Other(name.into())))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(known(name).unwrap_or_else(|| Field::Other(name.to_owned().into())))
            }
        }

        fn known<'a>(name: &str) -> Option<Field<'a>> {
            match name {
                "channel" => Some(Field::Channel),
                "data" => Some(Field::Data),
                "id" => Some(Field::Id),
                "ext" => Some(Field::Ext),
                _ => None,
            }
        }

        deserializer.deserialize_identifier(FieldVisitor)
    }
}

/// Encodes messages as the JSON array that every transport carries.
pub fn encode<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Bytes {
    let mut json = vec![b'['];
    for message in messages {
        if json.len() > 1 {
            json.push(b',');
        }
        write_message(&mut json, message);
    }
    json.push(b']');
    json.into()
}

/// Encodes one message as a JSON object, to be put into several arrays.
pub fn encode_message(message: &Message) -> Bytes {
    let mut json = Vec::with_capacity(128);
    write_message(&mut json, message);
    json.into()
}

/// Joins encoded messages to an array.
pub fn join<'a>(messages: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
    let mut json = vec![b'['];
    for message in messages {
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend_from_slice(message);
    }
    json.push(b']');
    json.into()
}

fn write_message(json: &mut Vec<u8>, message: &Message) {
    let mut object = ObjectWriter { json, empty: true };
    if !message.channel().as_str().is_empty() {
        object.string("channel", message.channel().as_str());
    }
    if let Some(id) = message.id() {
        match id.number() {
            Some(number) => object.raw("id", format_args!("\"{number}\"")),
            None => object.string("id", &id.to_string()),
        }
    }
    let fields = message.fields();
    object.optional_string("clientId", fields.client_id.as_ref().map(ClientId::as_str));
    if let Some(successful) = fields.successful {
        object.raw("successful", format_args!("{successful}"));
    }
    object.optional_string("error", fields.error.as_ref().map(BayeuxError::as_str));
    match &fields.subscription {
        Some(Subscription::One(name)) => object.string("subscription", name),
        Some(Subscription::Many(names)) => object.strings("subscription", names),
        None => {}
    }
    object.optional_string("connectionType", fields.connection_type.as_deref());
    if let Some(types) = &fields.supported_connection_types {
        object.strings("supportedConnectionTypes", types);
    }
    object.optional_string("version", fields.version.as_deref());
    object.optional_string("minimumVersion", fields.minimum_version.as_deref());
    object.optional_string("timestamp", fields.timestamp.as_deref());
    if let Some(count) = fields.handshake_messages {
        object.raw("x-messages", format_args!("{count}"));
    }
    if let Some(advice) = &fields.advice {
        object.raw("advice", format_args!("{}", advice.to_json()));
    }
    if message.has_data() {
        object.bytes("data", message.data().as_bytes());
    }
    if let Some(ext) = message.ext() {
        object.bytes("ext", ext.as_bytes());
    }
    for (name, value) in &fields.unknown {
        object.key(name);
        object.json.extend_from_slice(value.as_bytes());
    }
    object.end();
}

struct ObjectWriter<'a> {
    json: &'a mut Vec<u8>,
    empty: bool,
}

impl ObjectWriter<'_> {
    fn key(&mut self, name: &str) {
        self.json.push(if std::mem::take(&mut self.empty) { b'{' } else { b',' });
        write_string(self.json, name);
        self.json.push(b':');
    }

    fn string(&mut self, name: &str, value: &str) {
        self.key(name);
        write_string(self.json, value);
    }

    fn optional_string(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(name, value);
        }
    }

    fn strings(&mut self, name: &str, values: &[String]) {
        self.key(name);
        self.json.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.json.push(b',');
            }
            write_string(self.json, value);
        }
        self.json.push(b']');
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        self.key(name);
        self.json.extend_from_slice(value);
    }

    fn raw(&mut self, name: &str, value: std::fmt::Arguments<'_>) {
        use std::io::Write;
        self.key(name);
        // Writing to a vector cannot fail.
        let _ = self.json.write_fmt(value);
    }

    fn end(self) {
        if self.empty {
            self.json.push(b'{');
        }
        self.json.push(b'}');
    }
}

fn write_string(json: &mut Vec<u8>, text: &str) {
    let plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        // Neither a string nor a vector can make this fail.
        let _ = serde_json::to_writer(json, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(json: &str) -> Vec<Message> {
        Decoder::new().decode(&Bytes::copy_from_slice(json.as_bytes())).unwrap().messages
    }

    #[test]
    fn case_25_a_lone_object_counts_as_an_array_of_one() {
        let messages = decode(r#" {"channel":"/a","data":1} "#);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].channel(), &"/a");
    }

    #[test]
    fn case_26_bad_json_is_an_error_that_shows_how_it_begins() {
        for bad in ["<html>", "[{\"channel\":\"/a\"", "[1", "[]]", "nonsense", "{\"channel\":\"/a\"} x"] {
            let error = Decoder::new().decode(&Bytes::copy_from_slice(bad.as_bytes())).unwrap_err();
            assert!(matches!(error, DecodeError::Json { .. }), "{bad}: {error:?}");
        }
        let html = Decoder::new().decode(&Bytes::from_static(b"<html>busy</html>")).unwrap_err();
        assert!(html.to_string().contains("<html>"), "{html}");
        assert_eq!(Decoder::new().decode(&Bytes::from_static(b" \n")), Err(DecodeError::Empty));
        assert_eq!(
            Decoder::new().decode(&Bytes::from_static(b"[\"\xff\"]")),
            Err(DecodeError::Utf8 { at: 2 })
        );
    }

    #[test]
    fn case_27_nulls_unknown_fields_and_numeric_ids_are_tolerated() {
        let message = &decode(
            r#"[{"channel":"/meta/connect","id":12,"ext":null,"advice":null,"error":null,"successful":true,
                 "clientId":null,"subscription":null,"new":{"a":[1]},"timestamp":5}]"#,
        )[0];
        assert_eq!(message.id(), Some(&MessageId::from(12)));
        assert!(message.is_successful());
        assert_eq!(message.fields().advice, None);
        assert_eq!(message.ext(), None);
        assert_eq!(message.fields().unknown[0].0, "new");
        assert_eq!(message.fields().unknown[0].1.as_str(), r#"{"a":[1]}"#);
        let again = decode(std::str::from_utf8(&encode([message])).unwrap());
        assert_eq!(again[0], *message);
    }

    #[test]
    fn case_28_a_message_without_channel_leaves_the_others_alone() {
        let messages = decode(r#"[{"error":"401::no","successful":false},{"channel":"/a","data":1}]"#);
        assert_eq!(messages[0].channel(), &"");
        assert_eq!(messages[1].channel(), &"/a");
    }

    #[test]
    fn case_31_falsy_data_is_data() {
        for json in ["false", "0", "\"\"", "null", "[]", "{}"] {
            let message = &decode(&format!(r#"[{{"channel":"/a","data":{json}}}]"#))[0];
            assert!(message.has_data(), "{json}");
            assert_eq!(message.data().as_str(), json);
        }
        assert!(!decode(r#"[{"channel":"/a"}]"#)[0].has_data());
    }

    #[test]
    fn elements_that_are_no_objects_are_passed_over_and_counted() {
        let batch = Decoder::new()
            .decode(&Bytes::from_static(br#"[1,null,"x",true,-1,2.5,[[],{}],{"channel":"/a"}]"#))
            .unwrap();
        assert_eq!((batch.messages.len(), batch.skipped), (1, 7));
    }

    #[test]
    fn data_is_a_view_of_the_body_unless_it_would_pin_a_large_one() {
        let body = Bytes::from_static(br#"[{"channel":"/a","data":{"x":1}}]"#);
        let batch = Decoder::new().decode(&body).unwrap();
        let data = batch.messages[0].data().as_bytes();
        assert!(body.as_ptr_range().contains(&data.as_ptr()));

        let large =
            format!(r#"[{{"channel":"/a","data":1}},{{"channel":"/b","data":"{}"}}]"#, "x".repeat(1 << 20));
        let body = Bytes::from(large);
        let batch = Decoder::new().decode(&body).unwrap();
        assert!(!body.as_ptr_range().contains(&batch.messages[0].data().as_bytes().as_ptr()));
        assert!(body.as_ptr_range().contains(&batch.messages[1].data().as_bytes().as_ptr()));
    }

    #[test]
    fn nesting_a_hundred_thousand_deep_costs_no_stack() {
        let deep = format!(r#"[{{"channel":"/a","data":{}{}}}]"#, "[".repeat(100_000), "]".repeat(100_000));
        let messages = decode(&deep);
        assert!(messages[0].data().decode::<serde_json::Value>().is_err());
        let bare = Bytes::from("[".repeat(100_000));
        assert!(Decoder::new().decode(&bare).is_err());
    }

    #[test]
    fn escaped_names_and_keys_are_read() {
        let messages = decode(r#"[{"ch\u0061nnel":"\/a\/b","data":1,"id":"\u0031"}]"#);
        assert_eq!(messages[0].channel(), &"/a/b");
        assert_eq!(messages[0].id(), Some(&MessageId::from(1)));
    }

    #[test]
    fn names_are_remembered_but_not_without_bound() {
        let mut decoder = Decoder::new();
        for n in 0..2 * Decoder::CHANNELS {
            decoder.decode(&Bytes::from(format!(r#"[{{"channel":"/a/{n}"}}]"#))).unwrap();
        }
        assert_eq!(decoder.channels.len(), Decoder::CHANNELS);
    }

    #[test]
    fn lists_are_read_and_written_as_they_are() {
        for json in [
            r#"[{"channel":"/meta/subscribe","subscription":["/a","/b"]}]"#,
            r#"[{"channel":"/meta/subscribe","subscription":"/a"}]"#,
            r#"[{"channel":"/meta/handshake","id":"x\"y","supportedConnectionTypes":["streaming","websocket"],"version":"1.0","x-messages":3}]"#,
        ] {
            assert_eq!(std::str::from_utf8(&encode(&decode(json))).unwrap(), json);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(body: Vec<u8>) {
            let _ = Decoder::new().decode(&Bytes::from(body));
        }

        #[test]
        fn what_is_written_can_be_read(channel in "/[a-z]{1,8}", id: u64, text: String, key: String) {
            let mut message = Message::new(Channel::parse(&channel).unwrap())
                .with_id(id)
                .with_data(Data::encode(&text).unwrap());
            message.fields_mut().error = Some(BayeuxError::parse(text.clone()));
            if known_key(&key) {
                message.fields_mut().unknown.push((key, Data::encode(&text).unwrap()));
            }
            let read = Decoder::new().decode(&encode([&message])).unwrap();
            proptest::prop_assert_eq!(&read.messages[0], &message);
        }
    }

    fn known_key(key: &str) -> bool {
        !["channel", "data", "id", "ext", "error", "advice", "version"].contains(&key)
    }
}
