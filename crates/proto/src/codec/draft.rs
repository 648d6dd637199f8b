//! A message while its fields are read, in whatever order they come.

use bytes::Bytes;
use serde::Deserialize;

use crate::advice::Advice;
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::message::{Fields, Message, Subscription};

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
        channel: impl FnOnce(&str) -> Channel,
    ) {
        match name {
            "channel" => self.read_channel(json, channel),
            "data" => self.read_data((start, json), body),
            "id" => self.id = id(json),
            "ext" if json == "null" => {}
            "ext" => self.ext = Some(Data::part(body, start, json.len())),
            _ => fill(self.fields.get_or_insert_default(), name, (start, json), body),
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

fn fill(fields: &mut Fields, name: &str, (start, json): (usize, &str), body: &Bytes) {
    match name {
        "successful" => fields.successful = parse(json),
        "clientId" => fields.client_id = string(json).map(|id| ClientId::new(&id)),
        "error" => fields.error = string(json).map(BayeuxError::parse),
        "advice" => fields.advice = Advice::from_json(json),
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
        _ => fields.unknown.push((name.to_owned(), Data::part(body, start, json.len()))),
    }
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
