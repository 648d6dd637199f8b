//! The services of CometD's chat demo: chat rooms, and the lists of their members.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bayeux_server::{Builder, ClientId, Data, Request, Server, ServiceError, SessionEvent, SessionState};
use serde::Deserialize;

/// The members of each room, with their sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demo {
    rooms: Arc<Mutex<BTreeMap<String, BTreeMap<String, ClientId>>>>,
    server: Arc<Mutex<Option<Server>>>,
}

/// What a client sends to `/service/members` when it joins.
#[derive(Debug, Deserialize)]
struct Join {
    user: String,
    room: String,
}

impl Demo {
    /// Adds the demo's services to a server.
    pub(crate) fn install(&self, builder: Builder) -> Builder {
        let demo = self.clone();
        builder
            .service(
                "/service/echo",
                |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) },
            )
            .service("/service/members", move |request: Request| {
                let joined = demo.join(&request);
                async move { joined }
            })
    }

    /// Watches the sessions of the server that the services are installed in. A session that ends leaves all rooms.
    pub(crate) fn watch(self, server: &Server) -> impl Future<Output = ()> + use<> {
        let mut events = server.events();
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
        async move {
            while let Some(event) = events.next().await {
                match event {
                    SessionEvent::Removed(session, _) => self.leave(&session),
                    SessionEvent::Missed(_) => self.keep_only(&events.resync()),
                    _ => {}
                }
            }
        }
    }

    fn join(&self, request: &Request) -> Result<Option<Data>, ServiceError> {
        let join: Join = request.data.decode()?;
        let Some(room) = join.room.strip_prefix("/chat/").filter(|room| !room.contains('/')) else {
            return Err(ServiceError::new(400, "the name of a chat room is /chat/NAME"));
        };
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let members = rooms.entry(room.to_owned()).or_default();
        members.insert(join.user, request.session.clone());
        self.publish_members(room, members);
        Ok(None)
    }

    fn leave(&self, session: &ClientId) {
        self.retain(|member| member != session);
    }

    /// Whose end was missed leaves as well.
    fn keep_only(&self, sessions: &[SessionState]) {
        let sessions: HashSet<&ClientId> = sessions.iter().map(|session| &session.id).collect();
        self.retain(|member| sessions.contains(member));
    }

    fn retain(&self, stays: impl Fn(&ClientId) -> bool) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for (room, members) in &mut *rooms {
            let before = members.len();
            members.retain(|_, member| stays(member));
            if members.len() < before {
                self.publish_members(room, members);
            }
        }
        rooms.retain(|_, members| !members.is_empty());
    }

    fn publish_members(&self, room: &str, members: &BTreeMap<String, ClientId>) {
        let names: Vec<_> = members.keys().collect();
        if let Some(server) = &*self.server.lock().unwrap_or_else(PoisonError::into_inner) {
            // This fails only if the name of the room makes no valid channel, which nobody can subscribe to.
            let _ = server.publish(format!("/members/{room}"), &names);
        }
    }
}
