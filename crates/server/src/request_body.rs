//! The body of a request: taken into one buffer, in time, and no larger than allowed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::activity::{Activity, Buffered, Phases, later};
use crate::options::Options;

/// A body need not come at the minimum rate from its first moment.
const GRACE: Duration = Duration::from_secs(10);

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Late,
    TooLarge,
    BrokenOff,
    /// The connection has too much under way.
    Busy,
}

impl Refusal {
    pub(crate) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "the body broke off"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too much is under way on this connection"),
        }
    }
}

/// Takes a body in, with what it takes of its connection's budget.
pub(crate) async fn collect<B>(
    body: B,
    options: &Options,
    activity: Option<&Arc<Activity>>,
) -> Result<(Bytes, Option<Buffered>), Refusal>
where
    B: Body<Data = Bytes>,
{
    let longest = options.max_message_size;
    let budget = options.max_buffered_bytes.max(longest);
    let phases = Phases::of(options);
    let began = Instant::now();
    let whole = later(began, options.body_timeout);
    if body.size_hint().lower() > longest as u64 {
        return Err(Refusal::TooLarge);
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut received = 0_usize;
    let mut reserved: Option<Buffered> = None;
    loop {
        let deadline = whole.min(phases.at_rate(began, GRACE, received as u64));
        // The time is looked at even if there is always another piece.
        if deadline <= Instant::now() {
            return Err(Refusal::Late);
        }
        let Ok(frame) = tokio::time::timeout_at(deadline, body.frame()).await else {
            return Err(Refusal::Late);
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame.map_err(drop) else { return Err(Refusal::BrokenOff) };
        let Ok(piece) = frame.into_data() else { continue };
        received += piece.len();
        if received > longest {
            return Err(Refusal::TooLarge);
        }
        if let Some(activity) = activity {
            let fits = match &mut reserved {
                Some(reserved) => reserved.grow(piece.len(), budget),
                None => {
                    reserved = activity.reserve(piece.len(), budget);
                    reserved.is_some()
                }
            };
            if !fits {
                return Err(Refusal::Busy);
            }
        }
        // A body of one piece, as most are, is not copied. Pieces of many would each keep a buffer of the connection.
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&piece);
        }
    }
    Ok((if rest.is_empty() { first } else { rest.freeze() }, reserved))
}
