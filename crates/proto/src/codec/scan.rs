//! A scanner that steps over JSON values: most of what is received is a payload that only its reader looks into.
//!
//! It knows the whole grammar, as serde_json does, and takes nothing that serde_json would not; but it says only
//! whether it understood, not why it did not: whoever wants to know asks serde_json. Values that are nested deeper than
//! [`DEPTH`] it does not understand either.

/// One bit each says whether that level is an array or an object.
const DEPTH: u32 = u64::BITS;

/// A place in a JSON text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over white space.
    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Steps over white space, and over `byte` if it comes then.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    /// Steps over `text`, if that stands here.
    #[inline]
    pub(super) fn skip<const N: usize>(&mut self, text: &[u8; N]) -> bool {
        let found = self.text.as_bytes()[self.at..].first_chunk() == Some(text);
        self.at += if found { N } else { 0 };
        found
    }

    /// Steps over a string that is `text`, which has nothing that would need an escape.
    #[inline]
    pub(super) fn skip_string(&mut self, text: &str) -> bool {
        let rest = &self.text.as_bytes()[self.at..];
        let found = rest.len() >= text.len() + 2
            && rest[0] == b'"'
            && rest[text.len() + 1] == b'"'
            && rest[1..=text.len()] == *text.as_bytes();
        self.at += if found { text.len() + 2 } else { 0 };
        found
    }

    /// The key of a field, which must have no escapes, and the colon after it.
    #[inline]
    pub(super) fn key(&mut self) -> Option<&'a str> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        self.at = special(self.text.as_bytes(), start)?;
        let key = self.text.get(start..self.at)?;
        (self.take(b'"') && self.take(b':')).then_some(key)
    }

    /// The text of the next value, without white space around it, and where it begins.
    #[inline]
    pub(super) fn value(&mut self) -> Option<(usize, &'a str)> {
        self.space();
        let start = self.at;
        self.step_over()?;
        Some((start, self.text.get(start..self.at)?))
    }

    fn step_over(&mut self) -> Option<()> {
        let mut depth = 0;
        let mut arrays = 0_u64;
        loop {
            // Here a value is expected.
            self.space();
            match self.peek()? {
                b'"' => self.string()?,
                opening @ (b'{' | b'[') => {
                    self.at += 1;
                    let is_array = opening == b'[';
                    if !self.take(if is_array { b']' } else { b'}' }) {
                        if depth == DEPTH {
                            return None;
                        }
                        depth += 1;
                        arrays = arrays << 1 | u64::from(is_array);
                        if !is_array {
                            self.any_key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => self.number()?,
            }
            // Here a value has ended, and perhaps what it is in.
            loop {
                if depth == 0 {
                    return Some(());
                }
                let is_array = arrays & 1 == 1;
                self.space();
                match (self.peek()?, is_array) {
                    (b',', _) => {
                        self.at += 1;
                        if !is_array {
                            self.any_key()?;
                        }
                        break;
                    }
                    (b']', true) | (b'}', false) => {
                        self.at += 1;
                        depth -= 1;
                        arrays >>= 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    fn any_key(&mut self) -> Option<()> {
        self.space();
        if self.peek()? != b'"' {
            return None;
        }
        self.string()?;
        self.take(b':').then_some(())
    }

    /// Steps over a string, at whose first quote it stands.
    #[inline]
    fn string(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            self.at = special(bytes, self.at)? + 1;
            match bytes[self.at - 1] {
                b'"' => return Some(()),
                b'\\' => {
                    let escaped = *bytes.get(self.at)?;
                    self.at += 1;
                    match escaped {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = bytes.get(self.at..self.at + 4)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                // A control character.
                _ => return None,
            }
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    /// Steps over one digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// Whether a text stands in a JSON string as it is.
pub(super) fn is_plain(text: &str) -> bool {
    special(text.as_bytes(), 0).is_none()
}

/// Where the next byte is that is not just itself in a string: a quote, a backslash or a control character.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    /// Keys and short values end within this.
    const SHORT: usize = 16;
    /// From here on a search in wide steps is worth its beginning.
    const WIDE: usize = 32;
    let short = at + SHORT;
    while at < short
        && let Some(chunk) = bytes[at..].first_chunk()
    {
        // In each byte the highest bit is set if the byte is looked for. A borrow can only come from a lower byte that
        // is looked for, so the lowest such bit is right.
        let word = u64::from_le_bytes(*chunk);
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let found = (control | quote | backslash) & HIGH;
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += chunk.len();
    }
    let rest = &bytes[at..];
    if rest.len() < WIDE {
        return Some(at + rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'))?);
    }
    let end = memchr::memchr2(b'"', b'\\', rest);
    let stretch = &rest[..end.unwrap_or(rest.len())];
    let found = if has_control(stretch) { stretch.iter().position(|byte| *byte < 0x20) } else { end };
    Some(at + found?)
}

/// Whether there is a control character. The compiler makes this instructions for vectors; to look for its place is not.
fn has_control(stretch: &[u8]) -> bool {
    let Some(last) = stretch.last_chunk::<16>() else { return stretch.iter().any(|byte| *byte < 0x20) };
    let mut least = *last;
    for chunk in stretch.as_chunks::<16>().0 {
        for (least, byte) in least.iter_mut().zip(chunk) {
            *least = (*least).min(*byte);
        }
    }
    least.into_iter().fold(u8::MAX, u8::min) < 0x20
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn understood(text: &str) -> Option<&str> {
        let mut scanner = Scanner::new(text);
        let (_, value) = scanner.value()?;
        scanner.is_at_end().then_some(value)
    }

    fn by_serde(text: &str) -> Option<&str> {
        serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
    }

    #[test]
    fn values_are_understood_as_serde_json_does() {
        for text in [
            "0",
            "-0",
            "-",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1E+5",
            "1e-",
            "1e",
            "true",
            "tru",
            "truex",
            "null",
            "nul",
            "false",
            "\"\"",
            "\"a",
            "\"\\u12aF\"",
            "\"\\u12g0\"",
            "\"\\x\"",
            "\"\\",
            "\"\u{1}\"",
            "\"é\"",
            "[]",
            "[1]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1,2",
            "[]]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":}",
            "{\"a\" : [ {\"b\":[]} , 2 ] }",
            "{\"a\":1]",
            "[1}",
            " 7 ",
            "",
            " ",
            "7 8",
            "\"0123456789012345678901234567890123456789\\\"\"",
        ] {
            assert_eq!(understood(text), by_serde(text), "{text}");
        }
        for depth in [1, 63, 64] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(understood(&text), Some(&*text), "{depth}");
        }
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(understood(&deep), None);
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands_in_a_long_string() {
        for at in 0..100 {
            for byte in [0, 0x1f, b'"', b'\\'] {
                let mut bytes = vec![b'x'; 100];
                bytes[at] = byte;
                assert_eq!(special(&bytes, 0), Some(at), "{byte}");
                bytes.push(b'"');
                assert_eq!(special(&bytes, 0), Some(at), "{byte}, and a quote behind");
            }
        }
        assert_eq!(special(&[b'x'; 100], 0), None);
    }

    proptest! {
        #[test]
        fn the_next_special_byte_is_the_first(bytes in prop::collection::vec(prop_oneof![8 => 0x20..0xff_u8, 1 => 0..0xff_u8], 0..120), start in 0..4_usize) {
            let start = start.min(bytes.len());
            let first = (start..bytes.len()).find(|at| matches!(bytes[*at], 0..0x20 | b'"' | b'\\'));
            prop_assert_eq!(special(&bytes, start), first);
        }

        #[test]
        fn mangled_json_is_understood_only_if_serde_json_does(
            text in r#"(\{|\}|\[|\]|,|:|"|\\|u00|e|E|\+|-|\.|0|1|9| |true|null|"a":|"b"|é|x){0,24}"#,
        ) {
            prop_assert_eq!(understood(&text), by_serde(&text));
        }
    }
}
