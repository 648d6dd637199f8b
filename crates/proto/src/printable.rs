//! Text from a peer, as a terminal or a log may show it.

use std::borrow::Cow;
use std::fmt;

/// The text with every character escaped that could change how a terminal, a log or a page shows the rest: control
/// characters (C0, DEL and C1), line and paragraph separators, and formatting characters that are invisible or change
/// the direction of text. They become `\n`, `\u{1b}` and so on; all other text stays as it is.
///
/// Escaped text is not escaped again, because a backslash stays one.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    // Writing to a string does not fail.
    let _ = write_printable(&mut escaped, text);
    Cow::Owned(escaped)
}

/// Writes a text as [`printable`] gives it.
pub(crate) fn write_printable(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_printable(c)) {
        to.write_str(&rest[..at])?;
        let mut after = rest[at..].chars();
        if let Some(character) = after.next() {
            match character {
                '\n' | '\r' | '\t' => write!(to, "{}", character.escape_default())?,
                _ => write!(to, "{}", character.escape_unicode())?,
            }
        }
        rest = after.as_str();
    }
    to.write_str(rest)
}

fn is_printable(character: char) -> bool {
    !character.is_control() && !is_format(character)
}

/// Unicode's format characters (category Cf), and the two separators of lines and paragraphs.
fn is_format(character: char) -> bool {
    matches!(
        u32::from(character),
        0xad | 0x600..=0x605
            | 0x61c
            | 0x6dd
            | 0x70f
            | 0x890..=0x891
            | 0x8e2
            | 0x180e
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0x110bd
            | 0x110cd
            | 0x13430..=0x1343f
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_display_is_escaped_and_the_rest_stays() {
        for (text, expected) in [
            ("", ""),
            ("plain, with \"quotes\" and \\n", "plain, with \"quotes\" and \\n"),
            ("Grüße, 日本語, 👋", "Grüße, 日本語, 👋"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\r\nb\tc\u{7}\0\u{7f}", "a\\r\\nb\\tc\\u{7}\\u{0}\\u{7f}"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("\u{202e}exe\u{2066}\u{200f}\u{61c}", "\\u{202e}exe\\u{2066}\\u{200f}\\u{61c}"),
            ("\u{2028}\u{2029}\u{200b}\u{feff}\u{e0041}", "\\u{2028}\\u{2029}\\u{200b}\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(printable(text), expected);
            assert_eq!(printable(expected), expected, "once is enough");
        }
    }
}
