//! Replies: what each kind of request is answered with.

use std::time::Duration;

use crate::advice::{Advice, Interval, Reconnect};
use crate::channel::Channel;
use crate::error::BayeuxError;
use crate::id::MessageId;
use crate::message::{Message, Subscription};

/// Names and ids beyond this length are refused: they are echoed, kept and taken apart.
const LONGEST: usize = 1024;

/// What is wrong with a message in itself.
pub(super) fn invalid(message: &Message) -> Option<BayeuxError> {
    let name = message.channel().as_str();
    if name.is_empty() {
        return Some(BayeuxError::parse("400::channel_missing"));
    }
    if name.len() > LONGEST || Channel::parse_standard(name).is_err() {
        return Some(BayeuxError::parse("405::channel_invalid"));
    }
    let valid = |id: &MessageId| {
        id.text()
            .is_none_or(|text| text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    (!message.id().is_none_or(valid)).then(|| BayeuxError::parse("405::message_id_invalid"))
}

/// A channel to subscribe to or unsubscribe from.
pub(super) fn subscription(name: &str) -> Result<Channel, BayeuxError> {
    let channel = if name.len() > LONGEST { None } else { Channel::parse_standard(name).ok() };
    channel.ok_or_else(|| BayeuxError::parse("403::subscription_invalid"))
}

/// The beginning of every reply.
pub(super) fn reply_to(message: &Message) -> Message {
    let mut reply = Message::new(message.channel().clone());
    reply.set_id(message.id().cloned());
    if let Some(subscription) = message.fields().subscription.as_ref().filter(|names| is_readable(names)) {
        reply.fields_mut().subscription = Some(subscription.clone());
    }
    reply
}

/// Whether names are such that they may be repeated: what no channel has in its name is not sent back.
fn is_readable(names: &Subscription) -> bool {
    let is_text =
        |name: &String| name.len() <= LONGEST && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    names.names().iter().all(is_text)
}

pub(super) fn granted(message: &Message) -> Message {
    let mut reply = reply_to(message);
    reply.fields_mut().successful = Some(true);
    reply
}

pub(super) fn refused(message: &Message, error: BayeuxError, advice: Option<Advice>) -> Message {
    // What is wrong with a message need not be sent back.
    let mut reply = if invalid(message).is_some() {
        let mut reply = Message::new(message.channel().clone());
        reply.set_id(message.id().filter(|id| id.text().is_none_or(|text| text.len() <= LONGEST)).cloned());
        if message.channel().as_str().len() > LONGEST {
            reply.set_channel(Channel::from_wire(""));
        }
        reply
    } else {
        reply_to(message)
    };
    let fields = reply.fields_mut();
    fields.successful = Some(false);
    fields.error = Some(error);
    fields.advice = advice;
    reply
}

pub(super) fn confirmation(message: &Message, outcome: Result<(), BayeuxError>) -> Message {
    match outcome {
        Ok(()) => granted(message),
        Err(error) => refused(message, error, None),
    }
}

/// The message that ends the session of a client.
pub(super) fn last_message(reason: Option<BayeuxError>) -> Message {
    let mut message = Message::meta(Channel::DISCONNECT);
    let fields = message.fields_mut();
    fields.successful = Some(true);
    fields.error = reason;
    message
}

/// The server has no memory left for what is asked for. It may have some later.
pub(super) fn server_busy() -> BayeuxError {
    BayeuxError::parse("503::server_busy")
}

pub(super) fn unknown_session() -> BayeuxError {
    BayeuxError::parse("402::session_unknown")
}

pub(super) fn rehandshake() -> Advice {
    Advice {
        reconnect: Some(Reconnect::Handshake),
        interval: Some(Interval::Wait(Duration::ZERO)),
        ..Advice::default()
    }
}

pub(super) fn stop() -> Advice {
    Advice { reconnect: Some(Reconnect::None), ..Advice::default() }
}
