//! Where a JSON value ends: as much of the grammar as that takes, byte by byte.

/// What has been read of a value. It finds the end of each value that is JSON, and most errors at once; whether the
/// whole is JSON is for a parser to say.
#[derive(Debug, Default)]
pub(crate) struct Syntax {
    /// The objects and arrays that are open, the innermost last.
    open: Vec<Container>,
    expected: Expected,
    token: Token,
}

/// What a byte does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The value goes on.
    More,
    /// It is the last byte of the value.
    Ended,
    /// The value ended before this byte.
    EndedBefore,
    /// No JSON goes on like this.
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Clone, Copy, Debug, Default)]
enum Expected {
    #[default]
    Value,
    ElementOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
}

#[derive(Clone, Copy, Debug, Default)]
enum Token {
    #[default]
    None,
    String {
        is_key: bool,
        escaped: bool,
    },
    /// A number, `true`, `false`, `null`, or something like it.
    Word,
}

impl Syntax {
    /// Whether an object or array is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Reads the next byte.
    pub(crate) fn feed(&mut self, byte: u8) -> Step {
        match self.token {
            Token::String { is_key, escaped } => self.in_string(byte, is_key, escaped),
            Token::Word if is_of_word(byte) => Step::More,
            Token::Word => {
                self.token = Token::None;
                match self.value_ended() {
                    Step::Ended => Step::EndedBefore,
                    _ => self.between_tokens(byte),
                }
            }
            Token::None => self.between_tokens(byte),
        }
    }

    fn in_string(&mut self, byte: u8, is_key: bool, escaped: bool) -> Step {
        match byte {
            0..0x20 => return Step::Wrong,
            b'"' if !escaped => {
                self.token = Token::None;
                if !is_key {
                    return self.value_ended();
                }
                self.expected = Expected::Colon;
            }
            byte => self.token = Token::String { is_key, escaped: byte == b'\\' && !escaped },
        }
        Step::More
    }

    fn between_tokens(&mut self, byte: u8) -> Step {
        use Expected::{Colon, CommaOrEnd, ElementOrEnd, Key, KeyOrEnd, Value};
        let is_object = self.open.last() == Some(&Container::Object);
        match (self.expected, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (KeyOrEnd, b'}') | (ElementOrEnd, b']') => return self.close(),
            (CommaOrEnd, b'}') if is_object => return self.close(),
            (CommaOrEnd, b']') if !is_object => return self.close(),
            (CommaOrEnd, b',') => self.expected = if is_object { Key } else { Value },
            (Key | KeyOrEnd, b'"') => self.token = Token::String { is_key: true, escaped: false },
            (Colon, b':') => self.expected = Value,
            (Value | ElementOrEnd, b'"') => self.token = Token::String { is_key: false, escaped: false },
            (Value | ElementOrEnd, b'{') => {
                self.open.push(Container::Object);
                self.expected = KeyOrEnd;
            }
            (Value | ElementOrEnd, b'[') => {
                self.open.push(Container::Array);
                self.expected = ElementOrEnd;
            }
            (Value | ElementOrEnd, byte) if is_of_word(byte) => self.token = Token::Word,
            _ => return Step::Wrong,
        }
        Step::More
    }

    fn close(&mut self) -> Step {
        self.open.pop();
        self.value_ended()
    }

    fn value_ended(&mut self) -> Step {
        self.expected = Expected::CommaOrEnd;
        if self.open.is_empty() { Step::Ended } else { Step::More }
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are read until the value ends or is wrong.
    fn read(text: &str) -> (usize, Step) {
        let mut syntax = Syntax::default();
        for (at, byte) in text.bytes().enumerate() {
            match syntax.feed(byte) {
                Step::More => {}
                step => return (at + 1, step),
            }
        }
        (text.len(), Step::More)
    }

    #[test]
    fn the_end_of_a_value_is_found() {
        for (text, end) in [
            ("{} ", 2),
            (r#"{"a":[1,{"b":"]}"}],"c":-1.5e3} "#, 31),
            (r#""a\"\\" "#, 7),
            ("[[],[ ],{}]]", 11),
            (r#"{"a":{"b":1 } } "#, 15),
        ] {
            assert_eq!(read(text), (end, Step::Ended), "{text}");
        }
        assert_eq!(read("true,"), (5, Step::EndedBefore));
        assert_eq!(read("[1"), (2, Step::More));
    }

    #[test]
    fn errors_are_found_where_they_are() {
        for (text, at) in [
            ("{bad", 2),
            ("[1 2", 4),
            ("{\"a\" 1", 6),
            ("{\"a\":1,}", 8),
            ("[}", 2),
            ("{\"a\":1]", 7),
            ("\"a\nb\"", 3),
        ] {
            assert_eq!(read(text), (at, Step::Wrong), "{text}");
        }
    }
}
