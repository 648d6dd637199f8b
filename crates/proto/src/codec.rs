//! JSON to messages and back: one pass, payloads left as views of the bytes they came in.

mod draft;
mod read;
mod scan;
mod write;

pub use read::{Batch, DecodeError, Decoder};
pub(crate) use write::encode_one;
pub use write::{encode, encode_message, join};
