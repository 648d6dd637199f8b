//! Services: the application's async handlers of service channels.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bayeux_proto::server::ServiceCall;
use bayeux_proto::{BayeuxError, Channel, ClientId, Data};

/// A message that a client sent to a service channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Who sent it.
    pub session: ClientId,
    /// The channel.
    pub channel: Channel,
    /// The payload.
    pub data: Data,
    /// What came in `ext`, such as the mark of a binary payload.
    pub ext: Option<Data>,
}

/// Why a service has no answer; the client gets it as the `error` of the reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(BayeuxError);

impl ServiceError {
    /// An error with a code of three digits, as in HTTP, and a text.
    pub fn new(code: u16, text: &str) -> Self {
        Self(BayeuxError::new(code, "", text))
    }
}

impl From<serde_json::Error> for ServiceError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(400, &format!("the payload does not fit: {error}"))
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
        let handler: Handler = Arc::new(move |request| {
            let answer = handler(request);
            Box::pin(async move { answer.await.map_err(|error| error.0) })
        });
        self.0.insert(channel, handler);
    }

    /// Starts the handler of a call: that of the channel itself, else of the closest pattern.
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

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
