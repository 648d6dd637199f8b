//! A stream of JSON values: one per line, several per line, or spread over lines.

use std::io;

use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use crate::excerpt::beginning;
use crate::syntax::{Step, Syntax};

/// The values of a stream.
///
/// An invalid value is skipped with the rest of its line. If the error is inside an object or array, the lines after it
/// may belong to the value: they are skipped until a line without indentation begins like a value.
#[derive(Debug)]
pub(crate) struct Values<R> {
    reader: R,
    scanner: Scanner,
}

#[derive(Debug)]
struct Scanner {
    longest: usize,
    /// The current line, counted from one.
    line: u64,
    at_line_start: bool,
    /// The value that has begun, or the part of an invalid one.
    text: Vec<u8>,
    /// Where it began.
    began: u64,
    /// How many bytes of a byte order mark have been read.
    mark: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Between,
    Within(Syntax),
    /// The value is complete; the next byte decides whether it is separate from what follows.
    After,
    /// The value is invalid. The rest of the line belongs to it; the lines after it may.
    Wrong {
        why: Option<String>,
        rest_follows: bool,
    },
    /// The lines are the rest of what was wrong, from the line `from` on.
    Rest {
        from: u64,
    },
}

/// A value, or what stands in its place.
#[derive(Debug)]
pub(crate) struct Value {
    /// The line that it begins in.
    pub(crate) line: u64,
    /// The value as it came, or why it is none: `is no JSON: …`.
    pub(crate) json: Result<Box<RawValue>, String>,
}

const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// What is done with a byte.
enum Taken {
    Yes(Option<Value>),
    /// It belongs to what follows the value.
    Not(Value),
}

impl<R: AsyncBufRead + Unpin> Values<R> {
    /// Values of at most so many bytes.
    pub(crate) fn new(reader: R, longest: usize) -> Self {
        let scanner = Scanner {
            longest,
            line: 1,
            at_line_start: true,
            text: Vec::new(),
            began: 1,
            mark: 0,
            stage: Stage::Between,
        };
        Self { reader, scanner }
    }

    /// The next value; `None` at the end. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Value>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(self.scanner.end());
            }
            let mut taken = 0;
            let mut found = None;
            while taken < bytes.len() && found.is_none() {
                match self.scanner.take(bytes[taken]) {
                    Taken::Yes(value) => {
                        taken += 1;
                        found = value;
                    }
                    Taken::Not(value) => found = Some(value),
                }
            }
            self.reader.consume(taken);
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

impl Scanner {
    fn take(&mut self, byte: u8) -> Taken {
        let taken = self.step(byte);
        if let Taken::Yes(_) = taken {
            self.at_line_start = byte == b'\n';
            self.line += u64::from(byte == b'\n');
        }
        taken
    }

    fn step(&mut self, byte: u8) -> Taken {
        match &mut self.stage {
            Stage::Between => {
                if byte == MARK[self.mark] {
                    self.mark = (self.mark + 1) % MARK.len();
                    return Taken::Yes(None);
                }
                self.text.clear();
                self.began = self.line;
                if self.mark > 0 {
                    self.text.extend_from_slice(&MARK[..std::mem::take(&mut self.mark)]);
                    self.text.push(byte);
                    return self.wrong(None, false, byte);
                }
                if byte.is_ascii_whitespace() {
                    return Taken::Yes(None);
                }
                self.stage = Stage::Within(Syntax::default());
                self.step(byte)
            }
            Stage::Within(syntax) => match syntax.feed(byte) {
                Step::Wrong => {
                    let rest_follows = syntax.is_open();
                    if self.at_line_start && self.line > self.began && begins_a_value(byte) {
                        // A line that was cut off: the next one is whole.
                        return Taken::Not(self.failure(None));
                    }
                    self.text.push(byte);
                    self.wrong(None, rest_follows, byte)
                }
                Step::EndedBefore => match self.checked() {
                    Ok(()) => {
                        self.stage = Stage::After;
                        self.step(byte)
                    }
                    Err(why) => {
                        self.text.push(byte);
                        self.wrong(Some(why), false, byte)
                    }
                },
                step => {
                    self.text.push(byte);
                    if self.text.len() > self.longest {
                        let why = format!("is longer than {} bytes", self.longest);
                        self.text = Vec::new();
                        return self.wrong(Some(why), true, byte);
                    }
                    if let Step::Ended = step {
                        match self.checked() {
                            Ok(()) => self.stage = Stage::After,
                            Err(why) => return self.wrong(Some(why), false, byte),
                        }
                    }
                    Taken::Yes(None)
                }
            },
            Stage::After => match byte {
                b'\n' => Taken::Yes(Some(self.value())),
                b' ' | b'\t' | b'\r' => Taken::Yes(None),
                b',' | b':' | b']' | b'}' => {
                    self.text.push(byte);
                    let why = format!("is no JSON: {:?} stands after a value", char::from(byte));
                    self.wrong(Some(why), false, byte)
                }
                _ => Taken::Not(self.value()),
            },
            Stage::Wrong { why, rest_follows } => {
                let (why, rest_follows) = (why.take(), *rest_follows);
                // An excerpt is enough to recognise it.
                if byte != b'\n' && self.text.len() < 4096 {
                    self.text.push(byte);
                }
                self.wrong(why, rest_follows, byte)
            }
            Stage::Rest { from } => {
                let from = *from;
                if !self.at_line_start || !begins_a_value(byte) {
                    return Taken::Yes(None);
                }
                self.stage = Stage::Between;
                if from < self.line { Taken::Not(rest(from, self.line - 1)) } else { self.step(byte) }
            }
        }
    }

    /// What is wrong goes on to the end of the line.
    fn wrong(&mut self, why: Option<String>, rest_follows: bool, byte: u8) -> Taken {
        if byte != b'\n' {
            self.stage = Stage::Wrong { why, rest_follows };
            return Taken::Yes(None);
        }
        let value = self.failure(why);
        if rest_follows {
            self.stage = Stage::Rest { from: self.line + 1 };
        }
        Taken::Yes(Some(value))
    }

    /// What is left at the end of the input.
    fn end(&mut self) -> Option<Value> {
        match std::mem::replace(&mut self.stage, Stage::Between) {
            Stage::Between if self.mark == 0 => None,
            Stage::Between => {
                self.began = self.line;
                self.text = MARK[..std::mem::take(&mut self.mark)].to_vec();
                Some(self.failure(None))
            }
            Stage::After => Some(self.value()),
            Stage::Within(_) => Some(match self.checked() {
                Ok(()) => self.value(),
                Err(why) => self.failure(Some(why)),
            }),
            Stage::Wrong { why, .. } => Some(self.failure(why)),
            Stage::Rest { from } => {
                let last = if self.at_line_start { self.line - 1 } else { self.line };
                (from <= last).then(|| rest(from, last))
            }
        }
    }

    /// Whether the text is JSON, by the one who knows.
    fn checked(&self) -> Result<(), String> {
        let text = std::str::from_utf8(&self.text).map_err(|_| "is not UTF-8".to_owned())?;
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("is no JSON: {error}")),
        }
    }

    fn value(&mut self) -> Value {
        self.stage = Stage::Between;
        let text = String::from_utf8(std::mem::take(&mut self.text)).map_err(|_| "is not UTF-8".to_owned());
        let json =
            text.and_then(|text| RawValue::from_string(text).map_err(|error| format!("is no JSON: {error}")));
        Value { line: self.began, json }
    }

    fn failure(&mut self, why: Option<String>) -> Value {
        self.stage = Stage::Between;
        let why = why.or_else(|| self.checked().err());
        let why = why.unwrap_or_else(|| "is no JSON".to_owned());
        let text = String::from_utf8(std::mem::take(&mut self.text)).map_err(|_| ());
        let json = Err(match text {
            Ok(text) if text.trim().is_empty() => why,
            Ok(text) => format!("{why}: {}", beginning(text.trim())),
            Err(()) => "is not UTF-8".to_owned(),
        });
        Value { line: self.began, json }
    }
}

fn begins_a_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'{' | b'[' | b'"' | b'-') || byte == MARK[0]
}

fn rest(from: u64, to: u64) -> Value {
    let lines = if from == to { "is passed over" } else { "and what follows it" };
    let to = if from == to { String::new() } else { format!(" to line {to} are passed over") };
    Value { line: from, json: Err(format!("{lines}{to}: it may belong to what is no JSON")) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, BufReader};

    use super::*;

    /// Each value, or the line and the beginning of the error in its place.
    async fn all(input: &[u8], at_once: usize) -> Vec<String> {
        let mut values = Values::new(BufReader::with_capacity(at_once, input), 64);
        let mut found = Vec::new();
        while let Some(Value { line, json }) = values.next().await.unwrap() {
            found.push(match json {
                Ok(json) => json.get().to_owned(),
                Err(why) => format!("{line}: {why}"),
            });
        }
        found
    }

    async fn check(input: impl AsRef<[u8]>, expected: &[&str]) {
        let input = input.as_ref();
        for at_once in [1, 2, 3, 7, 1000] {
            let found = all(input, at_once).await;
            let text = String::from_utf8_lossy(input);
            assert_eq!(found.len(), expected.len(), "{text:?}: {found:#?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{text:?}: {found:?} is not {expected:?}");
            }
        }
    }

    #[tokio::test]
    async fn values_stand_on_lines_in_lines_and_over_lines() {
        check("", &[]).await;
        check(" \n\r\n\t", &[]).await;
        check("1\n\n\"two\"\r\n[3]", &["1", "\"two\"", "[3]"]).await;
        check("1 2\ttrue null", &["1", "2", "true", "null"]).await;
        check("{\"a\":1}{\"b\":[]}[2]\"x\"\"y\"", &["{\"a\":1}", "{\"b\":[]}", "[2]", "\"x\"", "\"y\""])
            .await;
        check(
            "{\n  \"a\": [\n    1,\r\n    2\n  ]\n}\n{\n}\n",
            &["{\n  \"a\": [\n    1,\r\n    2\n  ]\n}", "{\n}"],
        )
        .await;
        check(r#"{"a": "}\"]{", "b": "\\"} 7"#, &[r#"{"a": "}\"]{", "b": "\\"}"#, "7"]).await;
        check("1e400 1.0 12345678901234567890.10", &["1e400", "1.0", "12345678901234567890.10"]).await;
    }

    #[tokio::test]
    async fn byte_order_marks_are_passed_over() {
        check(b"\xef\xbb\xbf1\n2\n\xef\xbb\xbf{\"a\":1}\n", &["1", "2", "{\"a\":1}"]).await;
        check(b"\xef\xbb\xbf", &[]).await;
        check(b"\xef\xbb1\n2", &["1: is not UTF-8", "2"]).await;
        check(b"\xef", &["1: is not UTF-8"]).await;
    }

    #[tokio::test]
    async fn what_is_wrong_is_reported_and_the_rest_goes_on() {
        check(
            b"1\n\n{bad\n\"two\"\n\xff\xfe\n[3]",
            &["1", "3: is no JSON: key must be", "\"two\"", "5: is not UTF-8", "[3]"],
        )
        .await;
        check("hello world\n1", &["1: is no JSON: expected value at line 1 column 1: hello world", "1"])
            .await;
        check(
            "01\n+1\nNaN\n'a'\n2",
            &["1: is no JSON", "2: is no JSON", "3: is no JSON", "4: is no JSON", "2"],
        )
        .await;
        check("\"cut\nnext\"\n{\"b\":2}\n", &["1: is no JSON: ", "2: is no JSON: ", "{\"b\":2}"]).await;
        // A line that was cut off, and a whole one.
        check("{\"a\": 1\n{\"b\":2}\n3", &["1: is no JSON: EOF", "{\"b\":2}", "3"]).await;
        check("[1,\n", &["1: is no JSON: EOF"]).await;
        check("1,\n2]\n3", &["1: is no JSON: ", "2: is no JSON: ", "3"]).await;
    }

    #[tokio::test]
    async fn no_part_of_a_wrong_value_is_taken_for_a_value() {
        check(
            "{\n  \"a\": x y,\n  \"b\": {\"c\": 1},\n  \"d\": [\n    2\n  ]\n}\n5",
            &["1: is no JSON: expected value", "3: and what follows it to line 7 are passed over: ", "5"],
        )
        .await;
        check(
            "{\n  \"a\": 1 1,\n  \"b\": {\"c\": 1}\n}\n5\n",
            &["1: is no JSON: ", "3: and what follows it to line 4 are passed over: ", "5"],
        )
        .await;
        check("{\"a\" 1,\n  2\n5", &["1: is no JSON: ", "2: is passed over: ", "5"]).await;
        check(
            "{\n\"a\": 1 1,\n\"b\": 2\n}\n5",
            &["1: is no JSON: ", "3: is no JSON: ':' stands after", "4: is no", "5"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_value_that_is_too_long_is_reported_and_passed_over() {
        let long = format!("\"{}\"\n1", "x".repeat(100));
        check(&long, &["1: is longer than 64 bytes", "1"]).await;
        let long = format!("[\n{}  1\n]\n2", "  1,\n".repeat(100));
        check(
            &long,
            &["1: is longer than 64 bytes", "15: and what follows it to line 103 are passed over", "2"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_value_is_there_when_its_line_ends_and_survives_a_dropped_future() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut values = Values::new(BufReader::new(reader), 100);
        writer.write_all(b"{\"a\":").await.unwrap();
        for _ in 0..3 {
            tokio::select! {
                biased;
                value = values.next() => panic!("half a value is none: {value:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        writer.write_all(b" 1}\n2").await.unwrap();
        let value = values.next().await.unwrap().unwrap();
        assert_eq!((value.line, value.json.unwrap().get()), (1, "{\"a\": 1}"));
        drop(writer);
        let value = values.next().await.unwrap().unwrap();
        assert_eq!((value.line, value.json.unwrap().get()), (2, "2"));
        assert!(values.next().await.unwrap().is_none());
    }
}
