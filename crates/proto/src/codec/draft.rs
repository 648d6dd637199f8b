//! A message while its fields are read, in whatever order they come.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::advice::Advice;
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::message::{Fields, Message, Subscription};

/// How much a body may still have: each message takes memory, and so does each element of their lists and each unknown
/// field; far more than they have bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    messages: usize,
    parts: usize,
    /// Whether there were more.
    pub(super) exceeded: bool,
}

impl Allowance {
    /// So many messages, and twice as many parts of them.
    pub(super) fn new(messages: usize) -> Self {
        /// Few messages may have some, too.
        const FEW: usize = 64;
        Self { messages, parts: messages.saturating_mul(2).saturating_add(FEW), exceeded: false }
    }

    /// Whether there may be one more message.
    #[inline]
    pub(super) fn message(&mut self) -> bool {
        match self.messages.checked_sub(1) {
            Some(left) => self.messages = left,
            None => self.exceeded = true,
        }
        !self.exceeded
    }

    /// Whether there may be one more element of a list or unknown field.
    fn part(&mut self) -> bool {
        match self.parts.checked_sub(1) {
            Some(left) => self.parts = left,
            None => self.exceeded = true,
        }
        !self.exceeded
    }
}

/// The fields so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    channel: Option<Channel>,
    id: Option<MessageId>,
    data: Option<Data>,
    ext: Option<Data>,
    fields: Option<Box<Fields>>,
}

impl Draft {
    /// Takes in a field, whose value stands at `start` in the body; `channel` knows the channels by their names. A
    /// value of a wrong type counts as absent.
    #[inline]
    pub(super) fn field(
        &mut self,
        name: &str,
        (start, json): (usize, &str),
        body: &Bytes,
        allowance: &mut Allowance,
        channel: impl FnOnce(&str) -> Channel,
    ) {
        match name {
            "channel" => self.read_channel(json, channel),
            "data" => self.read_data((start, json), body),
            "id" => self.id = id(json),
            "ext" if json == "null" => {}
            "ext" => self.ext = Some(Data::part(body, start, json.len())),
            _ => fill(self.fields.get_or_insert_default(), name, (start, json), body, allowance),
        }
    }

    #[inline]
    pub(super) fn set_channel(&mut self, channel: Channel) {
        self.channel = Some(channel);
    }

    /// The value of the field `channel`.
    #[inline]
    pub(super) fn read_channel(&mut self, json: &str, channel: impl FnOnce(&str) -> Channel) {
        if let Some(name) = plain_string(json) {
            self.channel = Some(channel(name));
        } else if let Some(name) = string(json) {
            self.channel = Some(channel(&name));
        }
    }

    /// The value of the field `data`.
    #[inline]
    pub(super) fn read_data(&mut self, (start, json): (usize, &str), body: &Bytes) {
        self.data = Some(Data::part(body, start, json.len()));
    }

    /// The message; without a channel it gets the one that stands for none.
    #[inline]
    pub(super) fn finish(self, nameless: &Channel) -> Message {
        let channel = self.channel.unwrap_or_else(|| nameless.clone());
        Message::from_parts(channel, self.id, self.data, self.ext, self.fields)
    }
}

fn fill(
    fields: &mut Fields,
    name: &str,
    (start, json): (usize, &str),
    body: &Bytes,
    allowance: &mut Allowance,
) {
    match name {
        "successful" => fields.successful = parse(json),
        "clientId" => fields.client_id = string(json).map(|id| ClientId::new(&id)),
        "error" => fields.error = string(json).map(BayeuxError::parse),
        "advice" => fields.advice = Advice::from_json(json),
        "subscription" => {
            fields.subscription =
                string(json).map(Subscription::One).or_else(|| list(json, allowance).map(Subscription::Many));
        }
        "connectionType" => fields.connection_type = string(json),
        "supportedConnectionTypes" => fields.supported_connection_types = list(json, allowance),
        "version" => fields.version = string(json),
        "minimumVersion" => fields.minimum_version = string(json),
        "timestamp" => fields.timestamp = string(json),
        "x-messages" => fields.handshake_messages = parse(json),
        _ if allowance.part() => fields.unknown.push((name.to_owned(), Data::part(body, start, json.len()))),
        _ => {}
    }
}

/// An element of a list of strings; anything else is passed over.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|json| Self(string(json.get())))
    }
}

/// A list of strings, as far as it is allowed.
fn list(json: &str, allowance: &mut Allowance) -> Option<Vec<String>> {
    struct List<'a>(&'a mut Allowance);

    impl<'de> Visitor<'de> for List<'_> {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of strings")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(text) = array.next_element::<Text>()? {
                if !self.0.part() {
                    break;
                }
                list.extend(text.0);
            }
            Ok(list)
        }
    }

    serde_json::Deserializer::from_str(json).deserialize_seq(List(allowance)).ok()
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}

fn string(json: &str) -> Option<String> {
    match plain_string(json) {
        Some(text) => Some(text.to_owned()),
        None => parse(json),
    }
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
