//! JSON to messages.

use std::collections::HashMap;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::draft::{Allowance, Draft};
use super::scan::{Scanner, is_plain};
use crate::channel::Channel;
use crate::data::json_fault;
use crate::message::Message;
use crate::object::Key;

/// Turns bodies and frames into messages.
///
/// It remembers the channel names it has seen, so that a message on a known channel costs no allocation.
#[derive(Debug)]
pub struct Decoder {
    names: Names,
    nameless: Channel,
    /// How many messages a body may have.
    most: usize,
}

/// Channels by their names.
#[derive(Debug)]
struct Names {
    /// How many are remembered.
    most: usize,
    /// Each with its place among those that are known. To find one touches little memory: many may be in turn.
    places: HashMap<Channel, usize, foldhash::fast::RandomState>,
    known: Vec<Known>,
    /// The place of the one that was asked for last, which is often the next.
    last: usize,
}

#[derive(Debug)]
struct Known {
    channel: Channel,
    /// It stands in JSON as it is.
    is_plain: bool,
}

/// The messages of one body or frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The messages, in the order they stood in.
    pub messages: Vec<Message>,
    /// How many elements were not objects and were ignored.
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
    #[non_exhaustive]
    Utf8 {
        /// The first bad byte.
        at: usize,
    },
    /// Not JSON, or cut off.
    #[error("the body is not a JSON array of messages: {reason}; it begins {start:?}")]
    #[non_exhaustive]
    Json {
        /// The error of the parser, with line and column.
        reason: String,
        /// The first characters, to tell an HTML page from a truncated reply.
        start: String,
    },
    /// More messages than are allowed, or more elements of their lists and unknown fields.
    #[error("the body has more than {most} messages")]
    #[non_exhaustive]
    TooMany {
        /// How many are allowed.
        most: usize,
    },
}

impl DecodeError {
    /// Returns what is wrong without quoting the body, for a reply to the peer that sent it.
    pub fn without_quotes(&self) -> String {
        match self {
            Self::Json { .. } => "the body is not a JSON array of messages".to_owned(),
            other => other.to_string(),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { names: Names::new(Names::MOST), nameless: Channel::from_wire(""), most: usize::MAX }
    }
}

impl Decoder {
    /// Returns a decoder without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a decoder for bodies of at most `most` messages, and twice as many elements of their lists and unknown fields. It
    /// stops at the next, so that a small body cannot become many times its size in memory.
    pub fn limited(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Returns a decoder for the requests of clients: a body may have `most` messages, and twice as many elements of their
    /// lists and unknown fields; it stops at the next. It remembers few names, because a server has a decoder for each
    /// socket.
    pub fn for_requests(most: usize) -> Self {
        Self { names: Names::new(Names::FEW), most, ..Self::default() }
    }

    /// Decodes an array of messages; a lone object counts as an array of one.
    ///
    /// Fields of a wrong type count as absent, and elements that are not objects are ignored, so
    /// that one invalid message does not cost the others.
    ///
    /// # Errors
    /// Returns an error if the body is empty, not UTF-8 or not JSON.
    pub fn decode(&mut self, body: &Bytes) -> Result<Batch, DecodeError> {
        let mut batch = Batch::default();
        self.decode_into(body, &mut batch)?;
        Ok(batch)
    }

    /// As [`Decoder::decode`], behind what is in `batch` already.
    ///
    /// # Errors
    /// As [`Decoder::decode`]; `batch` is then as it was.
    pub fn decode_into(&mut self, body: &Bytes, batch: &mut Batch) -> Result<(), DecodeError> {
        let text = match simdutf8::basic::from_utf8(body) {
            Ok(text) => text,
            // The quick check does not tell the place.
            Err(_) => {
                std::str::from_utf8(body).map_err(|error| DecodeError::Utf8 { at: error.valid_up_to() })?
            }
        };
        let before = (batch.messages.len(), batch.skipped);
        let mut allowance = Allowance::new(self.most);
        if self.plain(text, body, batch, &mut allowance).is_some() {
            return Ok(());
        }
        batch.messages.truncate(before.0);
        let outcome = if allowance.exceeded {
            Err(DecodeError::TooMany { most: self.most })
        } else {
            self.thorough(text, body, batch)
        };
        outcome.inspect_err(|_| {
            batch.messages.truncate(before.0);
            batch.skipped = before.1;
        })
    }

    /// Reads an array of objects whose keys have no escapes, as nearly all bodies are. `None` when it is anything else:
    /// what that is, and what is wrong with it, [`Decoder::thorough`] finds out.
    fn plain(
        &mut self,
        text: &str,
        body: &Bytes,
        batch: &mut Batch,
        allowance: &mut Allowance,
    ) -> Option<()> {
        /// About what the smallest event takes.
        const SMALL: usize = 64;
        let mut scanner = Scanner::new(text);
        if !scanner.take(b'[') {
            return None;
        }
        batch.messages.reserve((text.len() / SMALL).clamp(1, 64));
        loop {
            if !scanner.take(b'{') || !allowance.message() {
                return None;
            }
            let mut draft = Draft::default();
            loop {
                // What events have comes first, and without a comparison of names.
                if scanner.skip(b"\"channel\":") {
                    match self.names.last().filter(|last| scanner.skip_string(last.as_str())) {
                        Some(last) => draft.set_channel(last.clone()),
                        None => draft.read_channel(scanner.value()?.1, |name| self.names.channel(name)),
                    }
                } else if scanner.skip(b"\"data\":") {
                    draft.read_data(scanner.value()?, body);
                } else {
                    let key = scanner.key()?;
                    draft.field(key, scanner.value()?, body, allowance, |name| self.names.channel(name));
                    if allowance.exceeded {
                        return None;
                    }
                }
                if !scanner.take(b',') {
                    break;
                }
            }
            if !scanner.take(b'}') {
                return None;
            }
            batch.messages.push(draft.finish(&self.nameless));
            if !scanner.take(b',') {
                break;
            }
        }
        (scanner.take(b']') && scanner.is_at_end()).then_some(())
    }

    fn thorough(&mut self, text: &str, body: &Bytes, batch: &mut Batch) -> Result<(), DecodeError> {
        if text.trim_ascii().is_empty() {
            return Err(DecodeError::Empty);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let most = self.most;
        let mut allowance = Allowance::new(most);
        let reader = BatchReader { decoder: self, body, batch, allowance: &mut allowance };
        let outcome = reader.deserialize(&mut json).and_then(|()| json.end());
        if allowance.exceeded {
            return Err(DecodeError::TooMany { most });
        }
        outcome.map_err(|error| DecodeError::Json {
            reason: json_fault(&error),
            start: text.chars().take(40).collect(),
        })
    }
}

impl Names {
    /// Names beyond this many are not remembered, so that a peer cannot fill the memory with them.
    const MOST: usize = 1024;
    /// The same for a server, which has many peers.
    const FEW: usize = 64;

    fn new(most: usize) -> Self {
        Self { most, places: HashMap::default(), known: Vec::new(), last: 0 }
    }

    #[inline]
    fn last(&self) -> Option<&Channel> {
        self.known.get(self.last).filter(|known| known.is_plain).map(|known| &known.channel)
    }

    fn channel(&mut self, name: &str) -> Channel {
        if let Some((channel, place)) = self.places.get_key_value(name) {
            self.last = *place;
            return channel.clone();
        }
        let channel = Channel::from_wire(name);
        // A name that is not normal would not be found again by what was sent.
        if self.known.len() < self.most && name.len() <= 256 && channel.as_str() == name {
            self.last = self.known.len();
            self.places.insert(channel.clone(), self.last);
            self.known.push(Known { channel: channel.clone(), is_plain: is_plain(name) });
        }
        channel
    }
}

struct BatchReader<'a> {
    decoder: &'a mut Decoder,
    body: &'a Bytes,
    batch: &'a mut Batch,
    allowance: &'a mut Allowance,
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
        let Self { decoder, body, batch, allowance } = self;
        while let Some(message) = array.next_element_seed(MessageReader { decoder, body, allowance })? {
            match message {
                Some(message) => batch.messages.push(message),
                None => batch.skipped += 1,
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        let Self { decoder, body, batch, allowance } = self;
        let message = MessageReader { decoder, body, allowance }.visit_map(object)?;
        batch.messages.extend(message);
        Ok(())
    }
}

struct MessageReader<'a> {
    decoder: &'a mut Decoder,
    body: &'a Bytes,
    allowance: &'a mut Allowance,
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

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let Self { decoder, body, allowance } = self;
        let too_many = || A::Error::custom("too many messages");
        if !allowance.message() {
            return Err(too_many());
        }
        let mut draft = Draft::default();
        while let Some(Key(key)) = object.next_key::<Key<'de>>()? {
            let json = object.next_value::<&'de RawValue>()?.get();
            let start = json.as_ptr() as usize - body.as_ptr() as usize;
            draft.field(&key, (start, json), body, allowance, |name| decoder.names.channel(name));
            if allowance.exceeded {
                return Err(too_many());
            }
        }
        Ok(Some(draft.finish(&decoder.nameless)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::data::Data;
    use crate::error::BayeuxError;
    use crate::id::MessageId;

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
        let long = Decoder::new().decode(&Bytes::from(format!("\"{}\"", "x".repeat(100_000)))).unwrap_err();
        assert!(long.to_string().len() < 400, "{long}");
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
        for n in 0..2 * Names::MOST {
            decoder.decode(&Bytes::from(format!(r#"[{{"channel":"/a/{n}"}}]"#))).unwrap();
        }
        assert_eq!(decoder.names.known.len(), Names::MOST);
    }

    #[test]
    fn a_body_with_too_many_messages_or_names_is_refused_when_the_first_beyond_is_read() {
        let decode = |json: &str| Decoder::for_requests(3).decode(&Bytes::copy_from_slice(json.as_bytes()));
        let names = |count: usize| vec![r#""/a""#; count].join(",");
        let list = |field: &str, count| format!(r#"[{{"channel":"/a","{field}":[{}]}}]"#, names(count));
        let unknown = |count| {
            let fields: Vec<String> = (0..count).map(|n| format!(r#""x{n}":1"#)).collect();
            format!("[{{{}}}]", fields.join(","))
        };
        let most = 3 * 2 + 64;
        for json in [
            "[{},{},{}]",
            "[1,2,3,4,{},{},{}]",
            &list("subscription", most),
            &list("supportedConnectionTypes", most),
            &unknown(most),
        ] {
            assert!(decode(json).is_ok(), "{json}");
        }
        for json in [
            // What follows is not even read.
            "[{},{},{},{},",
            "[1,{},{},{},{},",
            &list("subscription", most + 1),
            &list("supportedConnectionTypes", most + 1),
            &unknown(most + 1),
            &unknown(most + 1).replace("x0", "\\u0078"),
        ] {
            assert_eq!(decode(json), Err(DecodeError::TooMany { most: 3 }), "{json}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_body_can_be_said_without_its_words() {
        for body in [r#""\u001bx""#, "[{\u{1b}", "<html>"] {
            let error = Decoder::new().decode(&Bytes::copy_from_slice(body.as_bytes())).unwrap_err();
            assert_eq!(error.without_quotes(), "the body is not a JSON array of messages");
        }
    }

    /// By both readers, the quick one where it understands.
    fn by_both(text: &str) -> (Option<Batch>, Option<Batch>) {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let text = std::str::from_utf8(&body).unwrap();
        let mut decoder = Decoder::new();
        let (mut plain, mut thorough) = (Batch::default(), Batch::default());
        let understood = decoder.plain(text, &body, &mut plain, &mut Allowance::new(usize::MAX)).is_some();
        let read = decoder.thorough(text, &body, &mut thorough).is_ok();
        (understood.then_some(plain), read.then_some(thorough))
    }

    #[test]
    fn the_quick_reader_takes_the_usual_and_reads_it_as_the_other_does() {
        for text in [
            r#"[{"channel":"/a","data":{"x":[1,"\u00e9\n",null]},"id":"7","ext":{"a":1}}]"#,
            r#" [ { "channel" : "/a" , "data" : -1.5e3 } , {"channel":"/b","channel":"/c","data":1,"data":2} ] "#,
            r#"[{"channel":"/meta/connect","successful":true,"advice":{"interval":5},"id":9,"ext":null}]"#,
            r#"[{"data":1,"id":"a","new":"é"}]"#,
            r#"[{"channel":"/a/"},{"channel":"/a"},{"channel":"/ab"},{"channel":"/a","channel":7}]"#,
            r#"[{"channel":"\/a\"b"},{"channel":"/a\"b"},{"channel":"/a"},{"channel":"/"}]"#,
        ] {
            let (plain, thorough) = by_both(text);
            assert!(plain.is_some(), "{text}");
            assert_eq!(plain, thorough, "{text}");
        }
    }

    #[test]
    fn a_name_that_needs_escapes_is_not_taken_for_a_text_that_lacks_them() {
        let mut decoder = Decoder::new();
        decoder.decode(&Bytes::from_static(br#"[{"channel":"/a\"b"}]"#)).unwrap();
        assert!(decoder.decode(&Bytes::from_static(br#"[{"channel":"/a"b"}]"#)).is_err());
    }

    #[test]
    fn a_body_that_is_wrong_leaves_nothing_behind() {
        let mut decoder = Decoder::new();
        let mut batch = Batch::default();
        decoder.decode_into(&Bytes::from_static(br#"[{"channel":"/a"},1]"#), &mut batch).unwrap();
        for bad in [r#"[{"channel":"/b"},{"channel":"/c"},]"#, r#"[2,{"channel":"/b"},x]"#] {
            decoder.decode_into(&Bytes::from_static(bad.as_bytes()), &mut batch).unwrap_err();
            assert_eq!((batch.messages.len(), batch.skipped), (1, 1), "{bad}");
        }
        decoder.decode_into(&Bytes::from_static(br#"[{"channel":"/b"}]"#), &mut batch).unwrap();
        assert_eq!(batch.messages[1].channel(), &"/b");
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
        fn the_quick_reader_never_reads_what_the_other_does_not(
            text in r#"\[\{("channel"|"data"|"id"|"ext"|"advice"|:|,|"/a"|"1"|7|\{|\}|\[|\]|null| |"\\n"|true){0,16}\}\]"#,
        ) {
            let (plain, thorough) = by_both(&text);
            if plain.is_some() {
                proptest::prop_assert_eq!(plain, thorough);
            }
        }

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
