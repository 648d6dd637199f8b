//! The channels that are wanted, who wants them, and where a message goes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::contract::{CallId, SinkId};
use crate::channel::Channel;
use crate::time::Time;

/// All wanted subscriptions. One at the server serves any number of local receivers.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// In boxes, or the map would be large in a session that wants few.
    wanted: BTreeMap<Channel, Box<Subscription>>,
    routes: Routes,
    /// Whether there may be one that was refused, and is to be asked for again.
    refused: bool,
    version: u64,
}

/// Where messages of the channels go that were asked for.
#[derive(Debug, Default)]
struct Routes {
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

/// One wanted channel.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Who gets its messages, in the order they came.
    pub(super) sinks: Vec<SinkId>,
    pub(super) status: Status,
    /// Calls that wait for the server's word, each with the receiver it is for.
    pub(super) waiting: Vec<(CallId, SinkId)>,
    /// Whether the server granted it once: then a refusal later is told, and tried again.
    pub(super) established: bool,
    pub(super) failures: u32,
    /// The inbox was told that it has it: a call that asks again and fails with the session takes nothing away.
    pub(super) inbox_granted: bool,
    /// The inbox receives only until a stream takes the channel over again, after a session was resumed.
    pub(super) inbox_stands_in: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Asked for with the request of this id.
    Pending(u64),
    Active,
    /// Refused when it was restored; to be tried again then.
    Refused(Time),
}

impl Subscriptions {
    /// Routes are remembered for this many channels.
    const ROUTES: usize = 4096;

    pub(super) fn entry(&mut self, channel: &Channel) -> Option<&mut Subscription> {
        self.wanted.get_mut(channel).map(|entry| &mut **entry)
    }

    /// Adds a receiver to a channel that is wanted, or that becomes so with `status`.
    pub(super) fn add(&mut self, channel: &Channel, sink: SinkId, status: Status) -> &mut Subscription {
        self.changed();
        let entry = self.wanted.entry(channel.clone()).or_insert_with(|| {
            Box::new(Subscription {
                sinks: Vec::new(),
                status,
                waiting: Vec::new(),
                established: false,
                failures: 0,
                inbox_granted: false,
                inbox_stands_in: false,
            })
        });
        if std::mem::take(&mut entry.inbox_stands_in) && sink != SinkId::INBOX {
            entry.sinks.clear();
        }
        if !entry.sinks.contains(&sink) {
            entry.sinks.push(sink);
        }
        entry
    }

    /// Takes a receiver away. Whether it was the last, so that the channel is wanted no more; `None` when it had
    /// no such subscription.
    pub(super) fn remove(&mut self, channel: &Channel, sink: SinkId) -> Option<Removed> {
        let entry = self.wanted.get_mut(channel)?;
        let at = entry.sinks.iter().position(|known| *known == sink)?;
        entry.sinks.remove(at);
        entry.inbox_granted &= sink != SinkId::INBOX;
        let waiting = extract(&mut entry.waiting, |(_, waits)| *waits == sink);
        let status = entry.status;
        let last = entry.sinks.is_empty();
        if last {
            self.wanted.remove(channel);
        }
        self.changed();
        Some(Removed { last, status, waiting: waiting.into_iter().map(|(call, _)| call).collect() })
    }

    /// Forgets a channel with all its receivers.
    pub(super) fn forget(&mut self, channel: &Channel) -> Option<Subscription> {
        let entry = self.wanted.remove(channel);
        self.changed();
        entry.map(|entry| *entry)
    }

    /// Takes away all receivers but the inbox, whose wishes outlive a session.
    pub(super) fn keep_inbox_only(&mut self) {
        for entry in self.wanted.values_mut() {
            entry.sinks.retain(|sink| *sink == SinkId::INBOX);
            entry.waiting.clear();
        }
        self.wanted.retain(|_, entry| entry.established && !entry.sinks.is_empty());
        self.changed();
    }

    /// The channels that the server must know of.
    pub(super) fn remote(&self) -> Vec<Channel> {
        self.wanted.keys().filter(|channel| !channel.is_service()).cloned().collect()
    }

    /// The channels that a session which is gone had granted.
    pub(super) fn established(&self) -> Vec<Channel> {
        let granted =
            self.wanted.iter().filter(|(channel, entry)| entry.established && !channel.is_service());
        granted.map(|(channel, _)| channel.clone()).collect()
    }

    /// The channels granted to receivers such as these.
    pub(super) fn established_for(
        &self,
        whose: impl Fn(&[SinkId]) -> bool,
    ) -> impl Iterator<Item = &Channel> {
        let wanted = self.wanted.iter().filter(move |(_, entry)| entry.established && whose(&entry.sinks));
        wanted.map(|(channel, _)| channel)
    }

    /// The channels granted, in order: what a user calls the current subscriptions.
    pub(super) fn current(&self) -> impl Iterator<Item = &Channel> {
        self.wanted.iter().filter(|(_, entry)| entry.established).map(|(channel, _)| channel)
    }

    pub(super) fn any_pending(&self) -> bool {
        self.wanted.values().any(|entry| matches!(entry.status, Status::Pending(_)) && entry.established)
    }

    /// A channel that was granted once is refused; it is to be tried again then. Whether it is still wanted.
    pub(super) fn refuse(&mut self, channel: &Channel, retry_at: Time) -> bool {
        let Some(entry) = self.wanted.get_mut(channel) else { return false };
        entry.status = Status::Refused(retry_at);
        self.refused = true;
        true
    }

    /// The refused channel to be tried again first, and when.
    pub(super) fn next_retry(&self) -> Option<(Time, &Channel)> {
        // This is asked all the time, and refusals are rare.
        if !self.refused {
            return None;
        }
        self.wanted
            .iter()
            .filter_map(|(channel, entry)| match entry.status {
                Status::Refused(at) => Some((at, channel)),
                Status::Pending(_) | Status::Active => None,
            })
            .min_by_key(|(at, _)| *at)
    }

    /// Changes whenever [`Subscriptions::current`] may have.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn changed(&mut self) {
        self.version += 1;
        self.routes = Routes::default();
        self.refused &= self.wanted.values().any(|entry| matches!(entry.status, Status::Refused(_)));
    }

    /// Who gets a message on `channel`: each receiver once, those of the most exact name first.
    #[inline]
    pub(super) fn route(&mut self, channel: &Channel) -> &Arc<[SinkId]> {
        let address = channel.address();
        let place = match self.routes.last {
            Some((last, place)) if last == address => place,
            _ => self.look_up(channel, address),
        };
        &self.routes.sinks[place]
    }

    fn look_up(&mut self, channel: &Channel, address: usize) -> usize {
        if let Some(place) = self.routes.by_address.get(&address).copied() {
            self.routes.last = Some((address, place));
            return place;
        }
        // Its memory may be another's soon.
        self.routes.last = None;
        if let Some(place) = self.routes.by_name.get(channel) {
            return *place;
        }
        let mut sinks: Vec<SinkId> = Vec::new();
        for name in channel.matching_names() {
            for sink in self.wanted.get(&*name).map(|entry| entry.sinks.as_slice()).unwrap_or_default() {
                if !sinks.contains(sink) {
                    sinks.push(*sink);
                }
            }
        }
        if self.routes.by_name.len() >= Self::ROUTES {
            self.routes = Routes::default();
        }
        let routes = &mut self.routes;
        if routes.sinks.last().is_none_or(|last| **last != *sinks) {
            routes.sinks.push(sinks.into());
        }
        let place = routes.sinks.len() - 1;
        routes.by_name.insert(channel.clone(), place);
        routes.by_address.insert(address, place);
        place
    }
}

/// What [`Subscriptions::remove`] took away.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) last: bool,
    pub(super) status: Status,
    /// Calls that waited for the server's word on behalf of that receiver.
    pub(super) waiting: Vec<CallId>,
}

fn extract<T>(items: &mut Vec<T>, mut take: impl FnMut(&T) -> bool) -> Vec<T> {
    let (taken, kept) = std::mem::take(items).into_iter().partition(|item| take(item));
    *items = kept;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    #[test]
    fn case_45_a_message_reaches_each_receiver_once_the_most_exact_first() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(&channel("/**"), SinkId(3), Status::Active);
        subscriptions.add(&channel("/a/*"), SinkId(1), Status::Active);
        subscriptions.add(&channel("/a/b"), SinkId(2), Status::Active);
        subscriptions.add(&channel("/a/**"), SinkId(2), Status::Active);
        assert_eq!(&**subscriptions.route(&channel("/a/b")), [SinkId(2), SinkId(1), SinkId(3)]);
        assert_eq!(&**subscriptions.route(&channel("/a/b/c")), [SinkId(2), SinkId(3)]);
        subscriptions.remove(&channel("/a/b"), SinkId(2));
        assert_eq!(&**subscriptions.route(&channel("/a/b")), [SinkId(1), SinkId(2), SinkId(3)]);
    }

    #[test]
    fn a_channel_in_the_memory_of_another_has_a_route_of_its_own() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(&channel("/a/*"), SinkId(1), Status::Active);
        subscriptions.add(&channel("/b/*"), SinkId(2), Status::Active);
        subscriptions.route(&channel("/a/0"));
        subscriptions.route(&channel("/b/0"));
        for _ in 0..100 {
            // Each is dropped before the next is made, which may come to stand in its place.
            assert_eq!(&**subscriptions.route(&channel("/a/0")), [SinkId(1)]);
            assert_eq!(&**subscriptions.route(&channel("/b/0")), [SinkId(2)]);
        }
    }

    #[test]
    fn remembered_routes_are_bounded() {
        let mut subscriptions = Subscriptions::default();
        for n in 0..3 * Subscriptions::ROUTES {
            subscriptions.route(&channel(&format!("/a/{n}")));
        }
        let Routes { sinks, by_name, by_address, .. } = &subscriptions.routes;
        for remembered in [sinks.len(), by_name.len(), by_address.len()] {
            assert!(remembered <= Subscriptions::ROUTES);
        }
    }
}
