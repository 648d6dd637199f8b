//! Callback-polling (JSONP): messages come in the query of a URL, and the response is a script that calls a function of
//! the page with the replies.

use bayeux_proto::Message;
use bayeux_proto::codec::{self, Decoder};
use bytes::Bytes;
use http::StatusCode;

use crate::text::without_bom;

/// The name of a function of the page.
#[derive(Debug)]
pub(crate) struct Function(String);

/// Why a URL is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("more than one function is to be called")]
    Function,
    #[error("Unknown Bayeux Transport: a GET needs a message")]
    NoMessages,
    #[error("the name of the function is none of 1 to 64 letters, digits, dots, dashes and underscores")]
    Name,
    #[error("the messages are too large")]
    TooLarge,
    #[error("an element of the array is no message")]
    NoMessage,
    #[error("{}", .0.without_quotes())]
    Decode(#[from] codec::DecodeError),
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::URI_TOO_LONG,
            Self::Decode(codec::DecodeError::TooMany { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the query of a URL: the function to call, and the messages, which have at most `longest` bytes together.
pub(crate) fn read(
    query: &str,
    longest: usize,
    mut decoder: Decoder,
) -> Result<(Function, Vec<Message>), Refusal> {
    let (mut functions, mut messages) = (Vec::new(), Vec::new());
    let mut left = longest;
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match decoded(name).as_slice() {
            b"jsonp" => functions.push(decoded(value)),
            b"message" => {
                let json = without_bom(Bytes::from(decoded(value)));
                left = left.checked_sub(json.len()).ok_or(Refusal::TooLarge)?;
                let batch = decoder.decode(&json)?;
                if batch.skipped > 0 {
                    return Err(Refusal::NoMessage);
                }
                messages.extend(batch.messages);
            }
            _ => {}
        }
    }
    if messages.is_empty() {
        return Err(Refusal::NoMessages);
    }
    match (functions.pop(), functions.is_empty()) {
        (Some(name), true) => Ok((Function::checked(name).ok_or(Refusal::Name)?, messages)),
        (None, _) => Ok((Function::default(), messages)),
        _ => Err(Refusal::Function),
    }
}

impl Default for Function {
    /// That of the protocol, for who names none.
    fn default() -> Self {
        Self("jsonpcallback".to_owned())
    }
}

impl Function {
    /// A name as CometD has it: nothing that could be more of a script than a name.
    fn checked(name: Vec<u8>) -> Option<Self> {
        const LONGEST: usize = 64;
        let part_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let valid = (1..=LONGEST).contains(&name.len()) && name.iter().all(part_of_name);
        String::from_utf8(name).ok().filter(|_| valid).map(Self)
    }

    /// The script that calls it with the replies.
    pub(crate) fn call_with(&self, replies: &[u8]) -> Vec<u8> {
        // In a string of JSON these two stand as they are; in one of a script, browsers of old take them for its end.
        let replies =
            String::from_utf8_lossy(replies).replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
        // The comment keeps the beginning of the response from being what a page of another site likes: there are
        // plug-ins that run what begins as their programs do.
        format!("/**/{}({replies})", self.0).into_bytes()
    }
}

/// A part of a query, as forms write them. It may not be UTF-8.
fn decoded(part: &str) -> Vec<u8> {
    percent_encoding::percent_decode(part.replace('+', " ").as_bytes()).collect()
}
