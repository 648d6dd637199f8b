//! Text as it comes from programs that mark it.

use bytes::Bytes;

/// The text without the byte order mark that some programs put before it. JSON has none (RFC 8259, section 8.1), but a
/// parser may ignore it.
pub(crate) fn without_bom(mut text: Bytes) -> Bytes {
    const BOM: &[u8] = "\u{feff}".as_bytes();
    if text.starts_with(BOM) {
        drop(text.split_to(BOM.len()));
    }
    text
}
