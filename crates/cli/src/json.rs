//! JSON objects on one line, with fields in insertion order and payloads unchanged.

use std::fmt;

use bayeux::Data;
use serde::Serialize;
use serde_json::value::RawValue;

/// An object under construction. A number in a payload keeps all of its digits, and nesting has no limit, because
/// payloads are copied and not parsed.
#[derive(Clone, Debug)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Every value that is passed here can be encoded.
        let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
        self.push(name, &value);
        self
    }

    pub(crate) fn with_some(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn with_object(mut self, name: &str, object: &Self) -> Self {
        self.push(name, &object.to_string());
        self
    }

    pub(crate) fn with_objects(mut self, name: &str, objects: &[Self]) -> Self {
        let items: Vec<_> = objects.iter().map(ToString::to_string).collect();
        self.push(name, &format!("[{}]", items.join(",")));
        self
    }

    /// A value that is JSON already.
    pub(crate) fn with_json(mut self, name: &str, json: &str) -> Self {
        self.push(name, &one_line(json));
        self
    }

    /// A payload as it came, on one line.
    pub(crate) fn with_data(mut self, name: &str, data: &Data) -> Self {
        self.push(name, &one_line(data.as_str()));
        self
    }

    /// A value that the user gave.
    pub(crate) fn with_raw(mut self, name: &str, value: Option<&RawValue>) -> Self {
        if let Some(value) = value {
            self.push(name, &one_line(value.get()));
        }
        self
    }

    /// The fields of another object after these.
    pub(crate) fn followed_by(mut self, other: &Self) -> Self {
        if other.0.len() > 1 {
            self.separate();
            self.0.push_str(&other.0[1..]);
        }
        self
    }

    fn push(&mut self, name: &str, value: &str) {
        self.separate();
        self.0.push_str(&serde_json::Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(value);
    }

    fn separate(&mut self) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}}}", self.0)
    }
}

/// JSON on one line. A line break in JSON is always outside of strings, where a space means the same.
pub(crate) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_digits_and_lose_their_line_breaks() {
        let data = Data::from_json("{\"n\":\n 12345678901234567890.10}").unwrap();
        let line = Object::new().with("channel", "/a").with_data("data", &data).to_string();
        assert_eq!(line, r#"{"channel":"/a","data":{"n":  12345678901234567890.10}}"#);
    }

    #[test]
    fn objects_join_with_commas_only_between_fields() {
        let empty = Object::new();
        let one = Object::new().with("a", 1);
        assert_eq!(empty.clone().followed_by(&one).to_string(), r#"{"a":1}"#);
        assert_eq!(one.clone().followed_by(&empty).to_string(), r#"{"a":1}"#);
        assert_eq!(
            one.clone().followed_by(&Object::new().with("b", "x\n")).to_string(),
            r#"{"a":1,"b":"x\n"}"#
        );
        assert_eq!(Object::new().with_objects("all", &[one, empty]).to_string(), r#"{"all":[{"a":1},{}]}"#);
    }
}
