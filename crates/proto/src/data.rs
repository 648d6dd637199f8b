//! Raw JSON: kept as bytes, decoded on demand.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::printable::write_printable;

/// One JSON value as it is on the wire.
///
/// A received value is a view of the bytes it arrived in: nothing is copied or parsed until [`Data::decode`].
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Bytes);

/// `data()` of a message without data.
pub(crate) static NULL: Data = Data(Bytes::from_static(b"null"));

impl Data {
    /// Encodes `value` as JSON.
    ///
    /// # Errors
    /// Returns an error if `value` cannot be encoded as JSON: a map whose keys are not strings, or a `Serialize` that fails.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::to_vec(value)?.into()))
    }

    /// Checks that `json` is one JSON value and keeps it as it is, without surrounding white space.
    ///
    /// # Errors
    /// Returns an error if `json` is not one JSON value.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(json)?;
        Ok(Self(Bytes::copy_from_slice(raw.get().as_bytes())))
    }

    /// Takes a view of `body`, which `raw` was parsed from; a small value does not keep a large body alive.
    pub(crate) fn view(body: &Bytes, raw: &RawValue) -> Self {
        let raw = raw.get();
        Self::part(body, raw.as_ptr() as usize - body.as_ptr() as usize, raw.len())
    }

    /// The same for the value that stands at `start` in the body.
    pub(crate) fn part(body: &Bytes, start: usize, size: usize) -> Self {
        const PINS_TOO_MUCH: usize = 256 * 1024;
        let range = start..start + size;
        if body.len() > PINS_TOO_MUCH && size < body.len() / 64 {
            Self(Bytes::copy_from_slice(&body[range]))
        } else {
            Self(body.slice(range))
        }
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// Returns an error if the value does not fit `T`, or is nested deeper than 128 levels.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        // One check of the whole is cheaper than one of each string.
        serde_json::from_str(self.as_str())
    }

    /// Returns the JSON text.
    pub fn as_str(&self) -> &str {
        // The constructors let only UTF-8 in.
        simdutf8::basic::from_utf8(&self.0).unwrap_or("null")
    }

    /// Returns the JSON text as bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns whether the value is `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == b"null"
    }
}

/// The error of the JSON library, which quotes strings whole: a hostile one must not fill the log.
pub(crate) fn json_fault(error: &serde_json::Error) -> String {
    const SHOWN: usize = 160;
    let text = error.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… at line {} column {}", &text[..end], error.line(), error.column()),
        None => text,
    }
}

impl From<serde_json::Value> for Data {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The JSON on one line, with control and formatting characters escaped, for logs.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_printable(f, self.as_str())
    }
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
