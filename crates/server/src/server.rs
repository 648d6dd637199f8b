//! The server: the application's handle.

use std::sync::Arc;
use std::time::Duration;

use bayeux_proto::server::{Input, Memory};
use bayeux_proto::{Channel, ClientId, Data, InvalidChannel};
use serde::Serialize;

use crate::error::PublishError;
use crate::http_service::HttpService;
use crate::hub::{Hub, SessionEvents};

/// A CometD server. It is a handle: clones are the same server.
#[derive(Clone, Debug)]
pub struct Server {
    hub: Arc<Hub>,
}

impl Server {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// The tower service that clients talk to.
    pub fn service(&self) -> HttpService {
        HttpService::new(Arc::clone(&self.hub))
    }

    /// Publishes to all subscribers of a channel.
    ///
    /// # Errors
    /// When the name is none, or a pattern or meta channel, or `data` is no JSON.
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

    /// Publishes what is in no hurry: it goes with the next message that is, or alone after `within` at the latest.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
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

    /// Sends to one session, whether it is subscribed or not. A session that is gone gets nothing.
    ///
    /// # Errors
    /// When the name is none, or `data` is no JSON.
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

    /// Ends a session: its client is told with a `/meta/disconnect` and does not come back by itself.
    pub fn disconnect(&self, session: &ClientId) {
        self.hub.handle(Input::Disconnect(session.clone()));
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.hub.sessions()
    }

    /// How much memory the server uses for its clients, of which [`Builder::max_memory`](crate::Builder::max_memory) is the
    /// limit.
    pub fn memory(&self) -> Memory {
        self.hub.memory()
    }

    /// All that happens to sessions from now on.
    pub fn events(&self) -> SessionEvents {
        self.hub.events()
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.hub.options.max_connections.max(1)
    }

    pub(crate) async fn sockets_closed(&self) {
        self.hub.sockets_closed().await;
    }

    pub(crate) fn cut(&self) {
        self.hub.cut();
    }

    /// Goes down in good order: held connects are answered, and all clients are told to handshake again, with this
    /// server's successor or another one. New requests are refused from now on.
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
