//! Errors as the protocol spells them: `403:denied:why`.

use std::fmt;

use crate::printable::write_printable;

/// The `error` of an unsuccessful reply, taken apart: a code of three digits, arguments, a text.
///
/// Servers may send free text instead of the form `code:args:text` (Bayeux specification, section 3.14); it is
/// kept whole as the text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct BayeuxError {
    raw: String,
    code: Option<u16>,
}

impl BayeuxError {
    /// Parses an error string.
    pub fn parse(raw: impl Into<String>) -> Self {
        let raw = raw.into();
        let code = match raw.as_bytes() {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b':', ..] => {
                Some([a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(**digit - b'0')))
            }
            _ => None,
        };
        Self { raw, code }
    }

    /// Returns an error in the protocol's form.
    pub fn new(code: u16, args: &str, text: &str) -> Self {
        Self::parse(format!("{code:03}:{args}:{text}"))
    }

    /// Returns the code, if the error has one: 402 for an unknown session, 403 for a refusal, and so on.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    /// Returns the arguments between the two colons.
    pub fn args(&self) -> impl Iterator<Item = &str> {
        self.parts().0.split(',').filter(|arg| !arg.is_empty())
    }

    /// Returns the text after the second colon, or all of it if there is no code.
    pub fn text(&self) -> &str {
        self.parts().1
    }

    /// Returns the error as the server sent it.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    fn parts(&self) -> (&str, &str) {
        match self.code {
            Some(_) => {
                let rest = &self.raw[4..];
                rest.split_once(':').unwrap_or(("", rest))
            }
            None => ("", &self.raw),
        }
    }
}

/// The error as the server sent it, with control and formatting characters escaped; [`as_str`](BayeuxError::as_str) has
/// them as they came.
impl fmt::Display for BayeuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.raw.is_empty() { f.write_str("no reason given") } else { write_printable(f, &self.raw) }
    }
}

impl fmt::Debug for BayeuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.raw, f)
    }
}

impl std::error::Error for BayeuxError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_it_cannot_change_a_terminal_or_begin_a_line() {
        let error = BayeuxError::parse("403::no\n2026 INFO all is well\u{9b}2J");
        assert_eq!(error.to_string(), "403::no\\n2026 INFO all is well\\u{9b}2J");
        assert!(error.as_str().contains('\n'), "the value itself is as it came");
    }

    #[test]
    fn the_three_parts_are_told_apart() {
        for (raw, code, args, text) in [
            (
                "403:denied_by_security_policy:create_denied",
                Some(403),
                vec!["denied_by_security_policy"],
                "create_denied",
            ),
            ("402::session_unknown", Some(402), vec![], "session_unknown"),
            ("405:c[x],s[y]:no_transport", Some(405), vec!["c[x]", "s[y]"], "no_transport"),
            ("401::a:b", Some(401), vec![], "a:b"),
            ("403:Unknown client", Some(403), vec![], "Unknown client"),
            ("Authentication failed", None, vec![], "Authentication failed"),
            ("40:x:y", None, vec![], "40:x:y"),
            ("4033:x:y", None, vec![], "4033:x:y"),
            ("403", None, vec![], "403"),
            ("", None, vec![], ""),
        ] {
            let error = BayeuxError::parse(raw);
            assert_eq!(error.code(), code, "{raw}");
            assert_eq!(error.args().collect::<Vec<_>>(), args, "{raw}");
            assert_eq!(error.text(), text, "{raw}");
            assert_eq!(error.as_str(), raw);
        }
    }
}
