//! A record of a lifetime that a person can read.

use std::fmt;

use bayeux_proto::{Message, Time};

/// All that happened in a lifetime: a line each, with the time, who did it, and what.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Option<Vec<(Time, String)>>,
}

impl Trace {
    /// A trace that keeps lines, or that costs nothing.
    pub(crate) fn new(keep: bool) -> Self {
        Self { lines: keep.then(Vec::new) }
    }

    /// Adds a line, which is only made when it is kept.
    pub(crate) fn line(&mut self, at: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push((at, line()));
        }
    }

    /// The lines, each with its time.
    pub fn lines(&self) -> impl Iterator<Item = (Time, &str)> {
        self.lines.iter().flatten().map(|(at, line)| (*at, line.as_str()))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines() {
            writeln!(f, "{:>11.3}  {line}", at.since_origin().as_secs_f64())?;
        }
        Ok(())
    }
}

/// A few words for each message.
pub(crate) fn brief(messages: &[Message]) -> String {
    let words: Vec<String> = messages.iter().map(brief_one).collect();
    words.join(", ")
}

fn brief_one(message: &Message) -> String {
    let fields = message.fields();
    let mut text = message.channel().as_str().to_owned();
    if let Some(id) = message.id() {
        text += &format!("#{id}");
    }
    for name in fields.subscription.iter().flat_map(|subscription| subscription.names()) {
        text += &format!(" {name}");
    }
    if let Some(ack) = message.ext_value("ack") {
        text += &format!(" ack={ack}");
    }
    match fields.successful {
        Some(true) => text += " ok",
        Some(false) => {
            text += &format!(" refused {}", fields.error.as_ref().map_or("", |error| error.as_str()));
        }
        None => {}
    }
    if message.has_data() {
        text += &format!(" {:.24}", message.data().as_str());
    }
    if let Some(reconnect) = fields.advice.as_ref().and_then(|advice| advice.reconnect) {
        text += &format!(" advice={}", reconnect.as_str());
    }
    text
}
