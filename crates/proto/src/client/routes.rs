//! Where a message goes: the receivers of a channel's messages, cached until a receiver is added or removed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::contract::SinkId;
use crate::channel::Channel;

/// The receivers of the channels that were asked for.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// The receivers of a message; channels that were asked for in turn share them.
    sinks: Vec<Arc<[SinkId]>>,
    /// Places in `sinks`, by the names of the channels.
    by_name: HashMap<Channel, usize, foldhash::fast::RandomState>,
    /// The same by where names of `by_name` stand in memory: channels that come often are clones, and to find one of
    /// them touches little memory.
    by_address: HashMap<usize, usize, foldhash::fast::RandomState>,
    /// The address that was asked for last, which is often the next, and the place.
    last: Option<(usize, usize)>,
}

impl Routes {
    /// Routes are remembered for this many channels.
    const MOST: usize = 4096;

    /// A receiver was added or removed.
    pub(super) fn forget(&mut self) {
        if !self.sinks.is_empty() {
            *self = Self::default();
        }
    }

    /// Who gets a message on `channel`, if that is remembered.
    #[inline]
    pub(super) fn known(&mut self, channel: &Channel) -> Option<usize> {
        let address = channel.address();
        match self.last {
            Some((last, place)) if last == address => Some(place),
            _ => self.look_up(channel, address),
        }
    }

    fn look_up(&mut self, channel: &Channel, address: usize) -> Option<usize> {
        if let Some(place) = self.by_address.get(&address).copied() {
            self.last = Some((address, place));
            return Some(place);
        }
        // Its memory may be another's soon.
        self.last = None;
        self.by_name.get(channel).copied()
    }

    #[inline]
    pub(super) fn at(&self, place: usize) -> &Arc<[SinkId]> {
        &self.sinks[place]
    }

    /// Remembers who gets the messages of a channel: the receivers of these subscriptions, each once.
    pub(super) fn remember<'a>(
        &mut self,
        channel: &Channel,
        subscriptions: impl Iterator<Item = &'a [SinkId]>,
    ) -> usize {
        let mut sinks: Vec<SinkId> = Vec::new();
        let mut known: HashSet<SinkId, foldhash::fast::RandomState> = HashSet::default();
        for these in subscriptions.filter(|these| !these.is_empty()) {
            if sinks.is_empty() {
                sinks.extend_from_slice(these);
                continue;
            }
            if known.is_empty() {
                known.extend(&sinks);
            }
            sinks.extend(these.iter().filter(|sink| known.insert(**sink)));
        }
        if self.by_name.len() >= Self::MOST {
            *self = Self::default();
        }
        if self.sinks.last().is_none_or(|last| **last != *sinks) {
            self.sinks.push(sinks.into());
        }
        let place = self.sinks.len() - 1;
        self.by_name.insert(channel.clone(), place);
        self.by_address.insert(channel.address(), place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_routes_are_bounded() {
        let mut routes = Routes::default();
        for n in 0..3 * Routes::MOST {
            let channel = Channel::parse(&format!("/a/{n}")).unwrap();
            routes.remember(&channel, std::iter::once(&[SinkId(n as u64)][..]));
        }
        let Routes { sinks, by_name, by_address, .. } = &routes;
        for remembered in [sinks.len(), by_name.len(), by_address.len()] {
            assert!(remembered <= Routes::MOST);
        }
    }
}
