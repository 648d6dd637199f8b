//! The services of CometD's chat demo: chat rooms, and the lists of their members.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bayeux_server::{Builder, ClientId, Data, Request, Server, ServiceError, SessionEvent};
use serde::Deserialize;
use tokio::sync::Notify;

/// The longest name of a user or room, in bytes.
const MAX_NAME: usize = 100;
/// How many names a session may have in rooms.
const MAX_NAMES_OF_SESSION: usize = 16;
/// How many members all rooms may have together. The list of a room is sent whole when it changes.
const MAX_MEMBERS: usize = 10_000;
/// The least time between two lists of members, and how many rooms get theirs at once: a list costs as much as it is long.
const BETWEEN_LISTS: Duration = Duration::from_millis(50);
const LISTS_AT_ONCE: usize = 8;

/// The rooms, shared by the services and the task that publishes the lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demo(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rooms: Mutex<Rooms>,
    /// Notified when the members of a room have changed.
    changed: Notify,
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

    /// Publishes the lists of members, and watches the sessions of the server that the services are installed in. A
    /// session that ends leaves all rooms.
    pub(crate) fn watch(self, server: &Server) -> impl Future<Output = ()> + use<> {
        let mut events = server.events();
        let server = server.clone();
        async move {
            loop {
                tokio::select! {
                    event = events.next() => match event {
                        Some(SessionEvent::Removed { session, .. }) => self.rooms().leave(&session),
                        Some(SessionEvent::Missed(_)) => {
                            let sessions = events.resync();
                            let ids: HashSet<&ClientId> = sessions.iter().map(|session| &session.id).collect();
                            self.rooms().keep_only(&ids);
                        }
                        Some(_) => continue,
                        None => return,
                    },
                    () = self.0.changed.notified() => {}
                }
                while self.publish_lists(&server) {
                    tokio::time::sleep(BETWEEN_LISTS).await;
                }
            }
        }
    }

    fn join(&self, request: &Request) -> Result<Option<Data>, ServiceError> {
        let join: Join = request.data.decode()?;
        let Some(room) = join.room.strip_prefix("/chat/").filter(|room| !room.contains('/')) else {
            return Err(ServiceError::new(400, "the name of a chat room is /chat/NAME"));
        };
        if room.len() > MAX_NAME || join.user.len() > MAX_NAME {
            return Err(ServiceError::new(400, "the names of users and rooms have at most 100 bytes"));
        }
        self.rooms().join(room, join.user, &request.session)?;
        self.0.changed.notify_one();
        Ok(None)
    }

    /// Publishes the lists of some rooms that have changed. Returns whether there were any.
    fn publish_lists(&self, server: &Server) -> bool {
        let lists = self.rooms().take_changed(LISTS_AT_ONCE);
        for (room, names) in &lists {
            // This fails only if the name of the room makes no valid channel, which nobody can subscribe to.
            let _ = server.publish(format!("/members/{room}"), names);
        }
        !lists.is_empty()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The members of each room, with their sessions.
#[derive(Debug, Default)]
struct Rooms {
    members: BTreeMap<String, BTreeMap<String, ClientId>>,
    /// The rooms and names of each session.
    names: HashMap<ClientId, BTreeSet<(String, String)>>,
    /// How many members there are in all.
    count: usize,
    changed: BTreeSet<String>,
}

impl Rooms {
    /// Adds a member; a name that is taken already passes to this session.
    fn join(&mut self, room: &str, user: String, session: &ClientId) -> Result<(), ServiceError> {
        let name = (room.to_owned(), user);
        let has = self.names.get(session).map_or(0, BTreeSet::len);
        let is_member = self.names.get(session).is_some_and(|names| names.contains(&name));
        if !is_member && (has >= MAX_NAMES_OF_SESSION || self.count >= MAX_MEMBERS) {
            return Err(ServiceError::new(503, "too_many_members"));
        }
        let members = self.members.entry(name.0.clone()).or_default();
        match members.insert(name.1.clone(), session.clone()) {
            None => self.count += 1,
            Some(before) if before != *session => {
                self.forget(&before, &name);
            }
            Some(_) => {}
        }
        self.names.entry(session.clone()).or_default().insert(name);
        self.changed.insert(room.to_owned());
        Ok(())
    }

    fn forget(&mut self, session: &ClientId, name: &(String, String)) {
        if let Some(names) = self.names.get_mut(session) {
            names.remove(name);
            if names.is_empty() {
                self.names.remove(session);
            }
        }
    }

    fn leave(&mut self, session: &ClientId) {
        for (room, user) in self.names.remove(session).unwrap_or_default() {
            let Some(members) = self.members.get_mut(&room) else { continue };
            self.count -= usize::from(members.remove(&user).is_some());
            if members.is_empty() {
                self.members.remove(&room);
            }
            self.changed.insert(room);
        }
    }

    /// A session whose end was missed leaves as well.
    fn keep_only(&mut self, sessions: &HashSet<&ClientId>) {
        let ended: Vec<ClientId> =
            self.names.keys().filter(|session| !sessions.contains(session)).cloned().collect();
        for session in ended {
            self.leave(&session);
        }
    }

    /// The lists of up to that many rooms whose members have changed.
    fn take_changed(&mut self, most: usize) -> Vec<(String, Vec<String>)> {
        let mut lists = Vec::new();
        while lists.len() < most
            && let Some(room) = self.changed.pop_first()
        {
            let members = self.members.get(&room);
            let names = members.map(|members| members.keys().cloned().collect()).unwrap_or_default();
            lists.push((room, names));
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ClientId {
        ClientId::new(text)
    }

    #[test]
    fn joins_are_limited_for_a_session_and_in_all() {
        let mut rooms = Rooms::default();
        for number in 0..MAX_NAMES_OF_SESSION {
            rooms.join("r", number.to_string(), &id("one")).unwrap();
        }
        assert!(rooms.join("r", "more".to_owned(), &id("one")).is_err());
        assert!(rooms.join("r", "0".to_owned(), &id("one")).is_ok(), "it is there already");
        let mut session = 0;
        while rooms.count < MAX_MEMBERS {
            rooms.join("r", format!("{session}."), &id(&session.to_string())).unwrap();
            session += 1;
        }
        assert!(rooms.join("r", "more".to_owned(), &id("two")).is_err());
        rooms.leave(&id("one"));
        assert_eq!(rooms.count, MAX_MEMBERS - MAX_NAMES_OF_SESSION);
        assert!(rooms.join("r", "more".to_owned(), &id("two")).is_ok());
    }

    #[test]
    fn many_joins_are_one_list_and_the_last_member_leaves_an_empty_one() {
        let mut rooms = Rooms::default();
        for number in 0..10 {
            rooms.join("r", number.to_string(), &id("one")).unwrap();
        }
        let lists = rooms.take_changed(8);
        assert_eq!(lists.len(), 1);
        assert_eq!(lists[0].1.len(), 10);
        // A name that is taken passes to the session that joins with it.
        rooms.join("r", "0".to_owned(), &id("two")).unwrap();
        rooms.leave(&id("one"));
        assert_eq!(rooms.take_changed(8), [("r".to_owned(), vec!["0".to_owned()])]);
        rooms.keep_only(&HashSet::new());
        assert_eq!(rooms.take_changed(8), [("r".to_owned(), Vec::new())]);
        assert!(rooms.take_changed(8).is_empty() && rooms.members.is_empty() && rooms.names.is_empty());
        assert_eq!(rooms.count, 0);
    }

    #[test]
    fn few_rooms_get_their_list_at_once() {
        let mut rooms = Rooms::default();
        for number in 0..10 {
            rooms.join(&number.to_string(), "a".to_owned(), &id(&number.to_string())).unwrap();
        }
        assert_eq!(rooms.take_changed(8).len(), 8);
        assert_eq!(rooms.take_changed(8).len(), 2);
    }
}
