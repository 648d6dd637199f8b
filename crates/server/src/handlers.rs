//! Services: the application's async handlers of service channels.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bayeux_proto::server::ServiceCall;
use bayeux_proto::{BayeuxError, Channel, ClientId, Data};
use futures_util::FutureExt;

/// A message that a client sent to a service channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The session that sent it.
    pub session: ClientId,
    /// The channel.
    pub channel: Channel,
    /// The payload.
    pub data: Data,
    /// The `ext` of the message, such as the mark of a binary payload.
    pub ext: Option<Data>,
}

/// Why a service returns no answer; the client gets it as the `error` of the reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(BayeuxError);

impl ServiceError {
    /// Returns an error with a code of three digits, as in HTTP, and a text.
    pub fn new(code: u16, text: &str) -> Self {
        Self(BayeuxError::new(code, "", text))
    }
}

impl From<serde_json::Error> for ServiceError {
    fn from(error: serde_json::Error) -> Self {
        // The parser's error quotes the payload, which may be long.
        let (line, column) = (error.line(), error.column());
        Self::new(400, &format!("the payload does not fit, at line {line} column {column}"))
    }
}

pub(crate) type Answer = Result<Option<Data>, BayeuxError>;
type Handler = Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// The handlers by their channel.
#[derive(Clone, Default)]
pub(crate) struct Handlers(HashMap<Channel, Handler>);

impl Handlers {
    pub(crate) fn insert<F, R>(&mut self, channel: Channel, handler: F)
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Data>, ServiceError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler: Handler = Arc::new(move |request| {
            let handler = Arc::clone(&handler);
            // All of the user's code runs in the task of the call, so that a panic there ends nothing else.
            let answer = AssertUnwindSafe(async move { handler(request).await }).catch_unwind();
            Box::pin(async move {
                match answer.await {
                    Ok(answer) => answer.map_err(|error| error.0),
                    Err(_) => Err(BayeuxError::new(500, "", "the service failed")),
                }
            })
        });
        self.0.insert(channel, handler);
    }

    /// The answer of the handler of a call, to be awaited: the handler of the channel itself, else of the closest
    /// pattern.
    pub(crate) fn start(&self, call: &ServiceCall) -> Option<Pin<Box<dyn Future<Output = Answer> + Send>>> {
        let handler = call.channel.matching_names().find_map(|name| self.0.get(&*name))?;
        let request = Request {
            session: call.session.clone(),
            channel: call.channel.clone(),
            data: call.data.clone(),
            ext: call.ext.clone(),
        };
        Some(handler(request))
    }
}

/// The error of a call to a service that does not exist.
pub(crate) fn not_served() -> BayeuxError {
    BayeuxError::new(404, "", "unknown_service")
}

/// The error of a call that is refused because too many are being served.
pub(crate) fn busy() -> BayeuxError {
    BayeuxError::new(503, "", "too_many_calls")
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
