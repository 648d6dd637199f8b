//! The server: the application's handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::server::{Input, Memory};
use bayeux_proto::{BayeuxError, Channel, ClientId, Data, InvalidChannel};
use serde::Serialize;

use crate::error::PublishError;
use crate::http_service::HttpService;
use crate::hub::Hub;
use crate::options::Options;
use crate::session_events::{SessionEvents, SessionState};

/// A CometD server. It is a handle: clones are the same server.
#[derive(Clone)]
pub struct Server {
    hub: Arc<Hub>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It takes no lock: it may be printed while that is held.
        f.debug_struct("Server").field("sockets", &self.hub.open_sockets()).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Returns the tower service that answers the requests of clients.
    pub fn service(&self) -> HttpService {
        HttpService::new(Arc::clone(&self.hub))
    }

    /// Publishes a message to all subscribers of a channel.
    ///
    /// # Errors
    /// If the channel name is invalid, is a pattern or a meta channel, or if `data` cannot be encoded as JSON.
    pub fn publish<C>(&self, channel: C, data: &(impl Serialize + ?Sized)) -> Result<(), PublishError>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let (channel, data) = message(channel, data)?;
        if channel.is_wild() || channel.is_meta() {
            return Err(PublishError::WrongChannel(channel));
        }
        self.hub.handle(Input::Publish { channel, data });
        Ok(())
    }

    /// Publishes a message that may be delayed: it is sent with the next message that is not lazy, or alone after
    /// `within`.
    ///
    /// # Errors
    /// The same as [`publish`](Self::publish).
    pub fn publish_lazily<C>(
        &self,
        channel: C,
        data: &(impl Serialize + ?Sized),
        within: Duration,
    ) -> Result<(), PublishError>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let (channel, data) = message(channel, data)?;
        if channel.is_wild() || channel.is_meta() {
            return Err(PublishError::WrongChannel(channel));
        }
        self.hub.handle(Input::PublishLazily { channel, data, within });
        Ok(())
    }

    /// Sends a message to one session, whether it is subscribed to the channel or not. If the session does not exist,
    /// nothing is sent.
    ///
    /// # Errors
    /// If the channel name is invalid, or if `data` cannot be encoded as JSON.
    pub fn send<C>(
        &self,
        session: &ClientId,
        channel: C,
        data: &(impl Serialize + ?Sized),
    ) -> Result<(), PublishError>
    where
        C: TryInto<Channel, Error: Into<InvalidChannel>>,
    {
        let (channel, data) = message(channel, data)?;
        self.hub.handle(Input::Send { session: session.clone(), channel, data });
        Ok(())
    }

    /// Ends a session. Its client gets a `/meta/disconnect` and does not reconnect by itself.
    pub fn disconnect(&self, session: &ClientId) {
        self.hub.handle(Input::Disconnect(session.clone()));
    }

    /// Ends a session with a reason, which its client gets as the `error` of the `/meta/disconnect`. Clients of this
    /// project close with it as the server's error.
    pub fn disconnect_because(&self, session: &ClientId, reason: BayeuxError) {
        self.hub.handle(Input::DisconnectBecause { session: session.clone(), reason });
    }

    /// Returns the sessions and their subscriptions, in the order in which the sessions began. It takes the server's
    /// lock, and time and memory in proportion to the sessions and subscriptions. To keep a list up to date, use
    /// [`SessionEvents::resync`].
    pub fn session_list(&self) -> Vec<SessionState> {
        self.hub.session_list(|| {})
    }

    /// Returns the number of sessions.
    pub fn sessions(&self) -> usize {
        self.hub.sessions()
    }

    /// Returns how much memory the server uses for its clients; [`Builder::max_memory`](crate::Builder::max_memory)
    /// limits it.
    pub fn memory(&self) -> Memory {
        self.hub.memory()
    }

    /// Returns the events of sessions from now on.
    pub fn events(&self) -> SessionEvents {
        self.hub.events()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.hub.options
    }

    pub(crate) async fn sockets_closed(&self) {
        self.hub.sockets_closed().await;
    }

    pub(crate) fn cut(&self) {
        self.hub.cut();
    }

    /// Starts an orderly shutdown: held connects are answered, and all clients are advised to handshake again, at this
    /// server's successor or another server, each after a random pause of at most
    /// [`shutdown_spread`](crate::Builder::shutdown_spread). New requests are refused from now on.
    pub fn shutdown(&self) {
        self.hub.shut_down();
    }
}

fn message<C>(channel: C, data: &(impl Serialize + ?Sized)) -> Result<(Channel, Data), PublishError>
where
    C: TryInto<Channel, Error: Into<InvalidChannel>>,
{
    let channel = channel.try_into().map_err(|error| PublishError::InvalidChannel(error.into()))?;
    Ok((channel, Data::encode(data)?))
}
