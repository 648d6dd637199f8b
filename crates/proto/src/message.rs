//! The message: every field that the protocol knows.

use serde_json::Value;

use crate::advice::Advice;
use crate::channel::Channel;
use crate::data::{Data, NULL};
use crate::error::BayeuxError;
use crate::id::{ClientId, MessageId};
use crate::object;
use crate::transport::Transport;

/// A Bayeux message (specification, section 3), in either direction.
///
/// What an event has stands first; all that only requests and replies have is in [`Fields`].
#[derive(Clone, Debug)]
pub struct Message {
    channel: Channel,
    id: Option<MessageId>,
    data: Option<Data>,
    ext: Option<Data>,
    fields: Option<Box<Fields>>,
}

/// Whether other fields are allocated but all absent makes no difference.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.channel == other.channel
            && self.id == other.id
            && self.data == other.data
            && self.ext == other.ext
            && self.fields() == other.fields()
    }
}

impl Eq for Message {}

/// The fields of meta messages and replies, and unknown fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fields {
    /// The session.
    pub client_id: Option<ClientId>,
    /// Whether the request was granted; on replies only.
    pub successful: Option<bool>,
    /// Why it was not.
    pub error: Option<BayeuxError>,
    /// What to do next.
    pub advice: Option<Advice>,
    /// The channels to subscribe to or unsubscribe from.
    pub subscription: Option<Subscription>,
    /// The transport that a connect uses.
    pub connection_type: Option<String>,
    /// The transports that the sender of a handshake or of its reply supports.
    pub supported_connection_types: Option<Vec<String>>,
    /// The version of the protocol, `1.0`.
    pub version: Option<String>,
    /// The oldest version that is understood.
    pub minimum_version: Option<String>,
    /// When the message was sent, in the sender's own format.
    pub timestamp: Option<String>,
    /// How many events follow a handshake reply (CometD's `x-messages`).
    pub handshake_messages: Option<u64>,
    /// Fields that the protocol does not have, as they came.
    pub unknown: Vec<(String, Data)>,
}

/// What the `subscription` field names: one channel or a list of them, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// A string.
    One(String),
    /// A list of strings.
    Many(Vec<String>),
}

impl Subscription {
    /// The names, in order.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

static NO_FIELDS: Fields = Fields {
    client_id: None,
    successful: None,
    error: None,
    advice: None,
    subscription: None,
    connection_type: None,
    supported_connection_types: None,
    version: None,
    minimum_version: None,
    timestamp: None,
    handshake_messages: None,
    unknown: Vec::new(),
};

impl Message {
    /// A message with nothing but a channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel, id: None, data: None, ext: None, fields: None }
    }

    /// A message of these parts.
    #[inline]
    pub(crate) fn from_parts(
        channel: Channel,
        id: Option<MessageId>,
        data: Option<Data>,
        ext: Option<Data>,
        fields: Option<Box<Fields>>,
    ) -> Self {
        Self { channel, id, data, ext, fields }
    }

    /// A message on a meta channel.
    pub fn meta(channel: &'static str) -> Self {
        Self::new(Channel::from_wire(channel))
    }

    /// The channel; an empty name when a peer sent none.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The id.
    pub fn id(&self) -> Option<&MessageId> {
        self.id.as_ref()
    }

    /// Returns the payload; `null` if there is none.
    pub fn data(&self) -> &Data {
        self.data.as_ref().unwrap_or(&NULL)
    }

    /// Whether there is a payload, be it `null`. A reply to a publish has none.
    pub fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn cost(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| size_of::<String>() + text.len()).sum::<usize>();
        let fields = self.fields.as_ref().map_or(0, |fields| {
            let names = fields.subscription.as_ref().map_or(0, |names| texts(names.names()));
            let types = fields.supported_connection_types.as_deref().map_or(0, texts);
            size_of::<Fields>() + names + types + fields.unknown.len() * size_of::<(String, Data)>()
        });
        let data = [&self.data, &self.ext].into_iter().flatten().map(|data| data.as_bytes().len());
        size_of::<Self>() + fields + data.sum::<usize>()
    }

    /// How many steps it is to handle it, before it is handed to anybody.
    pub(crate) fn work(&self) -> u64 {
        const STEP: usize = 1024;
        let data = [&self.data, &self.ext].into_iter().flatten().map(|data| data.as_bytes().len());
        1 + (data.sum::<usize>() / STEP) as u64 + Channel::work_of(self.channel.as_str())
    }

    /// Whether it has a payload and none of the fields that tell anything else: the message of a publisher then, or the
    /// answer of a service.
    pub(crate) fn is_bare(&self) -> bool {
        self.data.is_some() && self.fields.is_none()
    }

    /// The extensions' object, as it came.
    pub fn ext(&self) -> Option<&Data> {
        self.ext.as_ref()
    }

    /// The value of one key of `ext`.
    pub fn ext_value(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.ext_json(key)?).ok()
    }

    /// The JSON of one key of `ext`.
    pub(crate) fn ext_json(&self, key: &str) -> Option<&str> {
        object::field(self.ext.as_ref()?.as_str(), key)
    }

    /// All other fields.
    pub fn fields(&self) -> &Fields {
        self.fields.as_deref().unwrap_or(&NO_FIELDS)
    }

    /// All other fields, to be changed.
    pub fn fields_mut(&mut self) -> &mut Fields {
        self.fields.get_or_insert_default()
    }

    /// Whether the reply grants the request; a missing `successful` counts as refusal.
    pub fn is_successful(&self) -> bool {
        self.fields().successful.unwrap_or(false)
    }

    /// The same message with that id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<MessageId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The same message with that payload.
    #[must_use]
    pub fn with_data(mut self, data: Data) -> Self {
        self.data = Some(data);
        self
    }

    /// Replaces the channel.
    pub fn set_channel(&mut self, channel: Channel) {
        self.channel = channel;
    }

    /// Replaces or takes away the id.
    pub fn set_id(&mut self, id: Option<MessageId>) {
        self.id = id;
    }

    /// Replaces or takes away the payload.
    pub fn set_data(&mut self, data: Option<Data>) {
        self.data = data;
    }

    /// Replaces or takes away the whole `ext`, which should be an object.
    pub fn set_ext(&mut self, ext: Option<Data>) {
        self.ext = ext;
    }

    /// Sets one key of `ext` and leaves the others.
    pub fn set_ext_value(&mut self, key: &str, value: Value) {
        let mut fields = match self.ext.as_ref().map(Data::decode) {
            Some(Ok(Value::Object(fields))) => fields,
            _ => serde_json::Map::new(),
        };
        fields.insert(key.to_owned(), value);
        self.ext = Some(Value::Object(fields).into());
    }
}

impl Fields {
    /// The connection types that we know, in the order given.
    pub fn known_transports(&self) -> impl Iterator<Item = Transport> {
        self.supported_connection_types.iter().flatten().filter_map(|name| Transport::from_wire(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_all_absent_make_no_difference() {
        let plain = Message::meta(Channel::CONNECT);
        let mut other = plain.clone();
        other.fields_mut().successful = Some(true);
        assert_ne!(plain, other);
        other.fields_mut().successful = None;
        assert_eq!(plain, other);
    }
}
