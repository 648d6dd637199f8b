//! The snapshot of a session, for another process.

use std::fmt;

use bayeux_proto::client;
use bayeux_proto::{Channel, Transport};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;
use crate::transport::SavedCookies;

/// A snapshot of a session, made by [`Client::suspend`](crate::Client::suspend) or [`Client::snapshot`](crate::Client::snapshot),
/// with which [`Client::resume`](crate::Client::resume) continues the session in another process, as long as the server keeps it.
///
/// It can be serialized, to a file for instance. It contains the client id and the cookies of the session: store it like a
/// password. `Debug` shows neither.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// Scheme, host and port of the server. The secrets are sent to no other.
    origin: String,
    session: client::SessionSnapshot,
    cookies: SavedCookies,
}

impl SessionSnapshot {
    pub(crate) fn new(urls: &[Url], session: client::SessionSnapshot, cookies: SavedCookies) -> Self {
        Self { origin: urls[session.server()].origin().ascii_serialization(), session, cookies }
    }

    /// The transport that was in use.
    pub fn transport(&self) -> Option<Transport> {
        self.session.transport()
    }

    /// The subscriptions of the session.
    pub fn subscriptions(&self) -> Vec<Channel> {
        self.session.subscriptions().collect()
    }

    /// Returns the parts, if the snapshot is of one of these servers.
    pub(crate) fn parts(&self, urls: &[Url]) -> Result<(client::SessionSnapshot, SavedCookies), Error> {
        let origins: Vec<_> = urls.iter().map(|url| url.origin().ascii_serialization()).collect();
        let Some(server) = origins.iter().position(|origin| *origin == self.origin) else {
            let here = origins.join(" or ");
            let text = format!("the snapshot is of a session with {}, not with {here}", self.origin);
            return Err(Error::config(text));
        };
        Ok((self.session.clone().at_server(server), self.cookies.clone()))
    }
}

impl fmt::Debug for SessionSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSnapshot")
            .field("origin", &self.origin)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
