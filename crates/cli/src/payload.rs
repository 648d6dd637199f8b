//! Payloads as the user writes them.

use serde_json::value::RawValue;

use crate::failure::Failure;

/// Checks a payload of the command line and keeps it as it is.
pub(crate) fn parse(json: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::UsageHint(
            format!("the payload is no JSON: {error}: {}", beginning(json)),
            "a text is written '\"text\"', an object '{\"name\": 1}': with both kinds of quotes",
        )
    })
}

/// Enough of a text to recognise it by.
pub(crate) fn beginning(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
