//! The commands of a pipe: one JSON object each.

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::excerpt::beginning;

/// What a line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Command(Command),
    /// To end the session when all that was asked before is done.
    Close,
}

/// Something to be done, with an outcome.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) verb: Verb,
    /// `None` when the line had none.
    pub(crate) data: Option<Box<RawValue>>,
    /// Whatever the program gave; the outcome repeats it.
    pub(crate) tag: Option<Box<RawValue>>,
}

/// The verbs, with their channel.
#[derive(Debug)]
pub(crate) enum Verb {
    Subscribe(String),
    Unsubscribe(String),
    Publish(String),
    Request(String),
}

/// A line that is no command.
#[derive(Debug)]
pub(crate) struct Misunderstood {
    pub(crate) text: String,
    /// Its tag, if it has one.
    pub(crate) tag: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    subscribe: Option<String>,
    unsubscribe: Option<String>,
    publish: Option<String>,
    request: Option<String>,
    close: Option<bool>,
    data: Option<Box<RawValue>>,
    tag: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Tagged {
    tag: Option<Box<RawValue>>,
}

impl Command {
    /// The channel that is subscribed to or unsubscribed from.
    pub(crate) fn subscription(&self) -> Option<&str> {
        match &self.verb {
            Verb::Subscribe(channel) | Verb::Unsubscribe(channel) => Some(channel),
            Verb::Publish(_) | Verb::Request(_) => None,
        }
    }
}

/// Reads a line.
pub(crate) fn parse(line: &str) -> Result<Asked, Misunderstood> {
    const VERBS: &str = "a command is an object with one of subscribe, unsubscribe, publish, request, close";
    let wrong = |text: String| {
        let tag = serde_json::from_str(line).ok().and_then(|Tagged { tag }| tag);
        Misunderstood { text, tag }
    };
    let fields = match serde_json::from_str::<Fields>(line) {
        Ok(fields) if line.starts_with('{') => fields,
        Err(error) if error.classify() != Category::Data => {
            return Err(wrong(format!("it is no JSON: {error}: {}", beginning(line))));
        }
        Err(error) if line.starts_with('{') => return Err(wrong(format!("{error}; {VERBS}"))),
        _ => return Err(wrong(format!("it is {}; {VERBS}", beginning(line)))),
    };
    let verbs = [
        fields.subscribe.map(Verb::Subscribe),
        fields.unsubscribe.map(Verb::Unsubscribe),
        fields.publish.map(Verb::Publish),
        fields.request.map(Verb::Request),
    ];
    let mut given = verbs.into_iter().flatten();
    let wants_close = fields.close == Some(true);
    match (given.next(), given.next()) {
        (None, _) if wants_close && fields.data.is_none() => Ok(Asked::Close),
        (None, _) if !wants_close => Err(wrong(VERBS.to_owned())),
        (Some(_), None) if wants_close => Err(wrong(format!("it has more than one verb; {VERBS}"))),
        (Some(_), Some(_)) => Err(wrong(format!("it has more than one verb; {VERBS}"))),
        (Some(verb @ (Verb::Publish(_) | Verb::Request(_))), None) => {
            Ok(Asked::Command(Command { verb, data: fields.data, tag: fields.tag }))
        }
        (Some(verb), None) if fields.data.is_none() => {
            Ok(Asked::Command(Command { verb, data: None, tag: fields.tag }))
        }
        _ => Err(wrong("only publish and request take data".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_data_and_tag_as_they_are() {
        let line = r#"{"publish": "/a", "data": {"n": 1.10}, "tag": [ 7 ]}"#;
        let Asked::Command(command) = parse(line).unwrap() else { panic!("it does not close") };
        assert!(matches!(command.verb, Verb::Publish(channel) if channel == "/a"));
        assert_eq!(command.data.unwrap().get(), r#"{"n": 1.10}"#);
        assert_eq!(command.tag.unwrap().get(), "[ 7 ]");
    }

    #[test]
    fn what_is_no_command_is_reported_with_its_tag() {
        for (line, text) in [
            ("hello", "it is no JSON: expected value at line 1 column 1: hello"),
            ("[1]", "it is [1]; a command is an object"),
            ("17", "it is 17; a command is an object"),
            (r#"{"subscribe": 1}"#, "invalid type: integer `1`, expected a string"),
            (r#"{"shout": "/a"}"#, "unknown field `shout`"),
            (r#"{"publish": "/a", "request": "/service/b"}"#, "it has more than one verb"),
            (r#"{"close": false}"#, "a command is an object"),
            (r#"{"close": true, "publish": "/a"}"#, "it has more than one verb"),
            (r#"{"close": true, "data": 1}"#, "only publish and request take data"),
            (r#"{"subscribe": "/a", "data": 1}"#, "only publish and request take data"),
        ] {
            let wrong = parse(line).unwrap_err();
            assert!(wrong.text.starts_with(text), "{line}: {}", wrong.text);
        }
        assert_eq!(parse(r#"{"shout": "/a", "tag": 3}"#).unwrap_err().tag.unwrap().get(), "3");
    }
}
