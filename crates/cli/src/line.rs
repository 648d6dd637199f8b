//! The lines that a pipe prints. `docs/pipe.md` describes them.

use bayeux::{CloseReason, Error, Event, Message};

use crate::command::Misunderstood;
use crate::json::Object;
use crate::report;

/// `{"type": …}`, the beginning of each.
pub(crate) fn typed(name: &str) -> Object {
    Object::new().with("type", name)
}

pub(crate) fn message(message: &Message) -> Object {
    typed("message").followed_by(&report::message(message))
}

pub(crate) fn event(event: &Event) -> Object {
    typed("event").followed_by(&report::event(event))
}

pub(crate) fn error(error: &Error) -> Object {
    typed("error").followed_by(&report::error(error))
}

pub(crate) fn misunderstood(wrong: &Misunderstood) -> Object {
    typed("error").with("kind", "command").with("text", &wrong.text).with_raw("tag", wrong.tag.as_deref())
}

pub(crate) fn closed(reason: &CloseReason) -> Object {
    typed("closed").with("reason", report::close_reason(reason)).with("text", reason.to_string())
}
