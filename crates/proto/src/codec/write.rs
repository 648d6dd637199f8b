//! Messages to JSON.

use bytes::Bytes;

use super::scan::is_plain;
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::message::{Message, Subscription};

/// Encodes messages as the JSON array that every transport carries.
pub fn encode<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Bytes {
    let mut json = Vec::with_capacity(256);
    json.push(b'[');
    for message in messages {
        if json.len() > 1 {
            json.push(b',');
        }
        write_message(&mut json, message);
    }
    json.push(b']');
    json.into()
}

/// Encodes one message as an array of one, in no more memory than it needs.
pub(crate) fn encode_one(message: &Message) -> Vec<u8> {
    /// About what the names of the fields take.
    const NAMES: usize = 64;
    let ext = message.ext().map_or(0, |ext| ext.as_bytes().len());
    let data = if message.has_data() { message.data().as_bytes().len() } else { 0 };
    let mut json = Vec::with_capacity(NAMES + message.channel().as_str().len() + data + ext);
    json.push(b'[');
    write_message(&mut json, message);
    json.push(b']');
    json
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
            None => object.string("id", id.text().unwrap_or_default()),
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
    if is_plain(text) {
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
    use crate::channel::Channel;
    use crate::codec::Decoder;
    use crate::data::Data;
    use crate::id::MessageId;

    /// Texts are escaped where people read them; on the wire they are JSON strings.
    #[test]
    fn texts_travel_as_they_are_whatever_they_look_like_to_people() {
        let odd = "a\0b\u{9b}c\u{202e}\n";
        let mut message =
            Message::new(Channel::from_wire(&format!("/{odd}"))).with_data(Data::encode(odd).unwrap());
        message.set_id(Some(MessageId::new(odd)));
        message.fields_mut().client_id = Some(ClientId::new(odd));
        message.fields_mut().error = Some(BayeuxError::parse(odd));
        let written = encode(std::slice::from_ref(&message));
        assert_eq!(Decoder::new().decode(&written).unwrap().messages, [message]);
    }
}
