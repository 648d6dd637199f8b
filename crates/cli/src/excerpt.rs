//! Excerpts of texts for errors.

/// The beginning of a text, enough to recognise it.
pub(crate) fn beginning(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
