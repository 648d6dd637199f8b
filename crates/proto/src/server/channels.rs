//! Who is subscribed to what, and whom a message reaches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::channel::Channel;

/// A session, for as long as it lives.
pub(super) type SessionKey = u64;

/// The subscribers of all channels and patterns.
#[derive(Debug, Default)]
pub(super) struct Channels {
    subscribers: HashMap<Channel, BTreeSet<SessionKey>>,
    /// Whom a message on a concrete channel reaches, as long as nobody subscribes or unsubscribes.
    routes: HashMap<Channel, Arc<[SessionKey]>>,
}

impl Channels {
    /// Routes are remembered for this many channels.
    const ROUTES: usize = 16_384;

    /// Whether the subscription is new.
    pub(super) fn subscribe(&mut self, channel: &Channel, session: SessionKey) -> bool {
        self.forget(channel);
        self.subscribers.entry(channel.clone()).or_default().insert(session)
    }

    /// Whether there was such a subscription; `None` when nobody knows the channel.
    pub(super) fn unsubscribe(&mut self, channel: &Channel, session: SessionKey) -> Option<bool> {
        self.forget(channel);
        let subscribers = self.subscribers.get_mut(channel)?;
        let was_there = subscribers.remove(&session);
        if subscribers.is_empty() {
            self.subscribers.remove(channel);
        }
        Some(was_there)
    }

    /// Whom a message on `channel` reaches: each session once, however many of its subscriptions match.
    pub(super) fn route(&mut self, channel: &Channel) -> Arc<[SessionKey]> {
        if let Some(route) = self.routes.get(channel) {
            return Arc::clone(route);
        }
        let mut sessions = BTreeSet::new();
        for name in channel.matching_names() {
            sessions.extend(self.subscribers.get(&*name).into_iter().flatten());
        }
        let route: Arc<[SessionKey]> = sessions.into_iter().collect();
        if self.routes.len() >= Self::ROUTES {
            self.routes.clear();
        }
        self.routes.insert(channel.clone(), Arc::clone(&route));
        route
    }

    /// Forgets the routes that a change of `channel` touches.
    fn forget(&mut self, channel: &Channel) {
        if channel.is_wild() {
            self.routes.retain(|name, _| !channel.matches(name));
        } else {
            self.routes.remove(channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    #[test]
    fn each_session_is_reached_once_and_changes_are_seen() {
        let mut channels = Channels::default();
        assert!(channels.subscribe(&channel("/a/*"), 1));
        assert!(channels.subscribe(&channel("/a/b"), 1));
        assert!(!channels.subscribe(&channel("/a/b"), 1));
        channels.subscribe(&channel("/**"), 2);
        assert_eq!(*channels.route(&channel("/a/b")), [1, 2]);
        assert_eq!(*channels.route(&channel("/a/b/c")), [2]);
        channels.subscribe(&channel("/a/**"), 3);
        assert_eq!(*channels.route(&channel("/a/b/c")), [2, 3]);
        assert_eq!(channels.unsubscribe(&channel("/a/b"), 1), Some(true));
        assert_eq!(*channels.route(&channel("/a/b")), [1, 2, 3]);
        assert_eq!(channels.unsubscribe(&channel("/a/*"), 1), Some(true));
        assert_eq!(*channels.route(&channel("/a/b")), [2, 3]);
        assert_eq!(channels.unsubscribe(&channel("/nobody"), 1), None);
        assert_eq!(channels.unsubscribe(&channel("/**"), 1), Some(false));
    }
}
