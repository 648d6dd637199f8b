//! The wire log: every body and frame as it travels, without secrets, at level `trace` of the target `bayeux::wire`.

use std::borrow::Cow;
use std::fmt::Write;

use bayeux_proto::printable;
use bytes::Bytes;
use serde_json::value::RawValue;

/// Logs a body or frame; `way` is `>` or `<`. `mask` hides the client's credentials wherever they stand.
pub(crate) fn log(
    way: &str,
    transport: &str,
    body: &Bytes,
    mask: impl for<'t> FnOnce(&'t str) -> Cow<'t, str>,
) {
    if tracing::enabled!(target: "bayeux::wire", tracing::Level::TRACE) {
        let text = match serde_json::from_slice::<&RawValue>(body) {
            Ok(json) => masked(json.get()),
            Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        };
        tracing::trace!(target: "bayeux::wire", "{way} {transport} {}", printable(&mask(&text)));
    }
}

/// The same JSON without the space between its parts, each number as it was written. The ids of sessions, whatever is called as secrets are
/// called, and the texts in an `ext`, where credentials travel, are hidden.
fn masked(json: &str) -> String {
    let mut log = String::with_capacity(json.len());
    let mut rest = json;
    // How many objects and arrays are open, and how many were when the one was opened that is hidden or an `ext`.
    let mut depth = 0_usize;
    let mut hidden: Option<usize> = None;
    let mut ext: Option<usize> = None;
    // The name of the member whose value comes next.
    let mut name: Option<String> = None;
    while let Some(first) = rest.chars().next() {
        let length = token(rest);
        let (part, after) = rest.split_at(length);
        rest = after;
        match first {
            '"' if rest.trim_start().starts_with(':') => {
                name = Some(serde_json::from_str(part).unwrap_or_default());
                show(&mut log, part, hidden);
            }
            ',' => show(&mut log, part, hidden),
            ':' => show(&mut log, part, hidden),
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if hidden == Some(depth) {
                    hidden = None;
                } else {
                    show(&mut log, part, hidden);
                }
                if ext == Some(depth) {
                    ext = None;
                }
            }
            '{' | '[' => {
                let name = name.take();
                if hidden.is_none() && name.as_deref().is_some_and(is_secret) {
                    log.push_str("\"…\"");
                    hidden = Some(depth);
                }
                if ext.is_none() && name.as_deref() == Some("ext") {
                    ext = Some(depth);
                }
                show(&mut log, part, hidden);
                depth += 1;
            }
            c if c.is_whitespace() => {}
            _ => {
                let secret = name.take().as_deref().is_some_and(is_secret) && part != "null";
                let credentials = ext.is_some() && first == '"';
                show(&mut log, if secret || credentials { "\"…\"" } else { part }, hidden);
            }
        }
    }
    log
}

fn is_secret(name: &str) -> bool {
    const SECRETS: [&str; 8] =
        ["clientid", "token", "password", "secret", "authorization", "credential", "session", "apikey"];
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// The length of the first token of valid JSON: a string, a number or word, a sign, or what stands between them.
fn token(json: &str) -> usize {
    let bytes = json.as_bytes();
    let until = |ends: fn(u8) -> bool| bytes.iter().position(|byte| ends(*byte)).unwrap_or(bytes.len());
    match bytes[0] {
        b'"' => {
            let mut escaped = false;
            let end = bytes[1..].iter().position(|byte| {
                let ends = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            end.map_or(bytes.len(), |end| end + 2)
        }
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        byte if byte.is_ascii_whitespace() => until(|byte| !byte.is_ascii_whitespace()),
        _ => until(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace()),
    }
}

/// Adds a part of the JSON, unless it is hidden: what a terminal would obey is escaped, as JSON can.
fn show(log: &mut String, part: &str, hidden: Option<usize>) {
    if hidden.is_some() {
        return;
    }
    for c in part.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                // Writing to a string cannot fail.
                let _ = write!(log, "\\u{:04x}", u32::from(c));
            }
            c => log.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (json, log) in [
            (r#"[{"clientId":"abc","data":1}]"#, r#"[{"clientId":"…","data":1}]"#),
            (r#"{"client\u0049d": "abc" , "n":2}"#, r#"{"client\u0049d":"…","n":2}"#),
            (r#"{"data":{"password":"a\"b","n":[1]}}"#, r#"{"data":{"password":"…","n":[1]}}"#),
            (r#"{"data":{"myTokens":[1,{"a":"b"}],"n":3}}"#, r#"{"data":{"myTokens":"…","n":3}}"#),
            (r#"{"token":null,"secret":7,"session":{}}"#, r#"{"token":null,"secret":"…","session":"…"}"#),
            (
                r#"[{"ext":{"ack":true,"auth":{"user":"u","key":"k","n":[1,"x"]}},"id":"1"}]"#,
                r#"[{"ext":{"ack":true,"auth":{"user":"…","key":"…","n":[1,"…"]}},"id":"1"}]"#,
            ),
        ] {
            assert_eq!(masked(json), log);
        }
    }

    #[test]
    fn all_else_is_logged_as_it_travels_and_on_one_line() {
        let json =
            r#"[{"z":1e400,"a":1.0,"z":12345678901234567890123,"s":"\u00e9é\\","t":true,"e":{},"l":[]}]"#;
        assert_eq!(masked(json), json);
        assert_eq!(masked("[\r\n  1 ,\n\t{ \"a b\" : 2 }\n]"), "[1,{\"a b\":2}]");
        assert_eq!(masked("\"\u{9b}\u{202e}\u{2028}\u{7f}\""), r#""\u009b\u202e\u2028\u007f""#);
    }
}
