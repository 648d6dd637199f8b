//! Who is subscribed to what, and whom a message reaches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::channel::Channel;

/// A session, for as long as it lives.
pub(super) type SessionKey = u64;

/// The subscribers of all channels and patterns.
#[derive(Debug, Default)]
pub(super) struct Channels {
    subscribers: HashMap<Channel, BTreeSet<SessionKey>>,
    /// Whom a message on a concrete channel reaches, as long as nobody subscribes or unsubscribes. In order, so that the
    /// names below a pattern stand together.
    routes: BTreeMap<Channel, Arc<[SessionKey]>>,
}

impl Channels {
    /// Routes are remembered for this many channels.
    const ROUTES: usize = 16_384;

    /// The name under which a channel is known, so that all its subscribers share it.
    pub(super) fn known(&self, channel: Channel) -> Channel {
        self.subscribers.get_key_value(&channel).map_or(channel, |(known, _)| known.clone())
    }

    /// Whether the subscription is new.
    pub(super) fn subscribe(&mut self, channel: &Channel, session: SessionKey) -> bool {
        let is_new = self.subscribers.entry(channel.clone()).or_default().insert(session);
        if is_new {
            self.forget(channel);
        }
        is_new
    }

    /// Whether there was such a subscription; `None` when nobody knows the channel.
    pub(super) fn unsubscribe(&mut self, channel: &Channel, session: SessionKey) -> Option<bool> {
        let subscribers = self.subscribers.get_mut(channel)?;
        let was_there = subscribers.remove(&session);
        if subscribers.is_empty() {
            self.subscribers.remove(channel);
        }
        if was_there {
            self.forget(channel);
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
        if !channel.is_wild() {
            self.routes.remove(channel);
            return;
        }
        let parent = channel.as_str().trim_end_matches('*');
        let below = self.routes.range::<str, _>((Bound::Included(parent), Bound::Unbounded));
        let touched: Vec<Channel> = below
            .map(|(name, _)| name)
            .take_while(|name| name.as_str().starts_with(parent))
            .filter(|name| channel.matches(name))
            .cloned()
            .collect();
        for name in touched {
            self.routes.remove(&name);
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
        assert_eq!(*channels.route(&channel("/az")), [2]);
        channels.subscribe(&channel("/**"), 4);
        assert_eq!(*channels.route(&channel("/az")), [2, 4]);
        assert_eq!(channels.unsubscribe(&channel("/**"), 4), Some(true));
        assert_eq!(*channels.route(&channel("/az")), [2]);
        assert_eq!(channels.unsubscribe(&channel("/nobody"), 1), None);
        assert_eq!(channels.unsubscribe(&channel("/**"), 1), Some(false));
    }
}
