//! Escaping of text from peers for the user's terminal.
//!
//! A terminal obeys control characters, those of C1 among them, and bidirectional controls change the order of what is
//! read. Line separators break lines, and invisible characters hide what a reader should see.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal would act on the character, hide it, or change the order of the text around it.
///
/// Joiners and variation selectors are part of many scripts and of emoji. They are harmless after a character that is
/// not ASCII.
fn is_harmful(c: char, before: char) -> bool {
    const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];
    match c {
        _ if c.is_control() => true,
        // Left to right, right to left, and the ends of either.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // The separators of lines and paragraphs.
        '\u{2028}' | '\u{2029}' => true,
        // Nothing is to be seen of these: soft hyphens, fillers, spaces without width, tags, and what Unicode keeps for
        // more of them.
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}'
        | '\u{ffa0}' => true,
        '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'..='\u{e0fff}' => true,
        '\u{200c}' | '\u{200d}' => before.is_ascii() || JOINERS.contains(&before),
        '\u{fe00}'..='\u{fe0f}' => {
            before.is_ascii() || JOINERS.contains(&before) || ('\u{fe00}'..='\u{fe0f}').contains(&before)
        }
        _ => false,
    }
}

/// The same JSON, with harmful characters as `\u…`.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    // Between the parts of JSON stand spaces, tabs and line breaks: a tab is not in a string, and does no harm.
    let harmful = |c: char, before: char| c != '\t' && is_harmful(c, before);
    let mut before = ' ';
    let Some((first, _)) = text.char_indices().find(|(_, c)| harmful(*c, std::mem::replace(&mut before, *c)))
    else {
        return Cow::Borrowed(text);
    };
    let (good, rest) = text.split_at(first);
    let mut escaped = good.to_owned();
    let mut before = good.chars().next_back().unwrap_or(' ');
    for c in rest.chars() {
        match c {
            // Outside of strings, since strings have no raw line breaks.
            '\n' | '\r' => escaped.push(' '),
            c if harmful(c, before) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            c => escaped.push(c),
        }
        before = c;
    }
    Cow::Owned(escaped)
}

/// Text for people: on one line, without harmful characters.
pub(crate) fn text(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .filter_map(|c| {
            let before = std::mem::replace(&mut before, c);
            match c {
                '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
                c if is_harmful(c, before) => None,
                c => Some(c),
            }
        })
        .collect()
}

/// A line of a log. The escape sequences in it come from the logger; other harmful characters become `\u{…}`.
pub(crate) fn log_line(line: &str) -> String {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    let mut escaped = String::with_capacity(line.len() + 1);
    let mut before = ' ';
    for c in line.chars() {
        if is_harmful(c, before) && !matches!(c, '\u{1b}' | '\t') {
            escaped.extend(c.escape_unicode());
        } else {
            escaped.push(c);
        }
        before = c;
    }
    escaped + end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind that must not be written, as the codes of its characters.
    const HARMFUL: [u32; 24] = [
        0x7f, 0x80, 0x84, 0x90, 0x9b, 0x9f, 0xad, 0x61c, 0x115f, 0x180e, 0x200b, 0x200e, 0x200f, 0x2028,
        0x2029, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x3164, 0xfeff, 0xe0041, 0xe0100,
    ];

    #[test]
    fn json_stays_the_same_json_without_what_a_terminal_obeys() {
        for code in HARMFUL {
            let c = char::from_u32(code).unwrap();
            let value = serde_json::Value::from(format!("é{c}b"));
            let raw = format!("{{\"a{c}\":\t\"é{c}b\"}}");
            let escaped = json(&raw);
            assert!(!escaped.contains(c), "{code:x}: {escaped:?}");
            assert!(escaped.contains('\t') && escaped.contains('é'), "{escaped:?}");
            let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
            assert_eq!(read[format!("a{c}")], value, "{code:x}");
        }
        assert_eq!(json("\"\u{9b}31m\u{e0041}\""), r#""\u009b31m\udb40\udc41""#);
    }

    #[test]
    fn scripts_and_emoji_keep_their_joiners_and_latin_letters_have_none() {
        for text in [
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "❤\u{fe0f}\u{200d}🔥",
            "👩\u{200d}👩\u{200d}👧",
            "grüße 日本語 🎉",
        ] {
            let raw = format!("\"{text}\"");
            assert!(matches!(json(&raw), Cow::Borrowed(same) if same == raw), "{text}");
            assert_eq!(super::text(text), text);
            assert_eq!(log_line(text), text);
        }
        for hidden in ["a\u{200d}b", "a\u{200c}b", "a\u{fe0f}b", "é\u{200d}\u{200d}", "é\u{fe01}\u{fe02}"] {
            assert!(json(&format!("\"{hidden}\"")).contains("\\u"), "{hidden:?}");
            assert!(super::text(hidden).len() < hidden.len(), "{hidden:?}");
        }
    }

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(text("a\u{1b}[2Jb\nc\u{202e}d\u{7}é\u{2028}e\u{9b}f"), "a[2Jb cdé ef");
        for code in HARMFUL {
            let c = char::from_u32(code).unwrap();
            assert!(!text(&format!("é{c}b")).contains(c), "{code:x}");
        }
    }

    #[test]
    fn a_line_of_a_log_is_one_line_and_keeps_its_colours() {
        assert_eq!(log_line("\u{1b}[31ma\u{1b}[0m b\nc\u{9b}\n"), "\u{1b}[31ma\u{1b}[0m b\\u{a}c\\u{9b}\n");
    }
}
