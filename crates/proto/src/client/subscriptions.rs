//! The desired subscriptions, their receivers, and where a message goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::contract::{CallId, SinkId};
use super::routes::Routes;
use crate::channel::Channel;
use crate::time::Time;

/// All desired subscriptions. One at the server serves any number of local receivers.
///
/// What is needed often is counted or indexed, so that the work for one change does not grow with the number of
/// subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// In boxes, or the map would be large in a session that has few.
    desired: BTreeMap<Channel, Box<Subscription>>,
    /// The filtered ones among them, by the channel on which their messages arrive.
    filtered: BTreeMap<Channel, Vec<Channel>>,
    routes: Routes,
    /// The channels that were refused, by when they are asked for again.
    refused: BTreeSet<(Time, Channel)>,
    /// How many of those that were granted once are being asked for again.
    restoring: usize,
    /// Where the calls wait that ask for a subscription.
    callers: HashMap<CallId, Channel, foldhash::fast::RandomState>,
    version: u64,
    changes: Changes,
    /// How many subscriptions were looked at one after the other, in all.
    #[cfg(test)]
    visits: std::cell::Cell<u64>,
}

/// Which channels may have been granted or lost since this was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChanges {
    /// The channels, each with whether it is granted now; a channel may occur more than once.
    Some(Vec<(Channel, bool)>),
    /// Too many to list: read all subscriptions again.
    All,
}

impl SubscriptionChanges {
    /// Brings a copy of the granted subscriptions up to date; `current` reads all of them, if that is needed.
    pub fn apply<'a, C: Iterator<Item = &'a Channel>>(
        self,
        known: &mut BTreeSet<Channel>,
        current: impl FnOnce() -> C,
    ) {
        match self {
            Self::All => *known = current().cloned().collect(),
            Self::Some(changes) => {
                for (channel, granted) in changes {
                    if granted {
                        known.insert(channel)
                    } else {
                        known.remove(&channel)
                    };
                }
            }
        }
    }
}

/// The same while it is collected.
#[derive(Debug, Default)]
struct Changes {
    names: Vec<Channel>,
    all: bool,
}

/// One desired subscription.
#[derive(Debug)]
struct Subscription {
    /// Who gets its messages, in the order of their subscriptions.
    sinks: Vec<SinkId>,
    status: Status,
    /// Calls that wait for the server's reply, each with the receiver it is for.
    waiting: Vec<(CallId, SinkId)>,
    /// Whether the server granted it once: then a later refusal is reported, and the subscription is asked for again.
    established: bool,
    failures: u32,
    /// The inbox was granted it: a call that asks again and fails with the session takes nothing away.
    inbox_granted: bool,
    /// The inbox receives only until a stream takes the channel over again, after a session was resumed.
    inbox_stands_in: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Asked for with the request of this id.
    Pending(u64),
    Active,
    /// Refused when it was restored; to be tried again then.
    Refused(Time),
}

/// What is counted or indexed of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    receivers: usize,
    granted: bool,
    restoring: bool,
    refused: Option<Time>,
}

impl Subscription {
    fn marks(&self) -> Marks {
        Marks {
            receivers: self.sinks.len(),
            granted: self.established,
            restoring: self.established && matches!(self.status, Status::Pending(_)),
            refused: match self.status {
                Status::Refused(at) => Some(at),
                Status::Pending(_) | Status::Active => None,
            },
        }
    }
}

impl Subscriptions {
    fn entry(&self, channel: &Channel) -> Option<&Subscription> {
        self.desired.get(channel).map(|entry| &**entry)
    }

    /// Returns where the subscription to a channel stands, if it is desired.
    pub(super) fn status(&self, channel: &Channel) -> Option<Status> {
        self.entry(channel).map(|entry| entry.status)
    }

    /// The receivers of a channel.
    pub(super) fn sinks(&self, channel: &Channel) -> &[SinkId] {
        self.entry(channel).map(|entry| entry.sinks.as_slice()).unwrap_or_default()
    }

    /// Returns whether the subscription was granted before, if it is asked for with the request `id`.
    pub(super) fn asked_by(&self, channel: &Channel, id: u64) -> Option<bool> {
        let entry = self.entry(channel).filter(|entry| entry.status == Status::Pending(id))?;
        Some(entry.established)
    }

    /// Whether calls wait for the outcome of the request `id`.
    pub(super) fn is_awaited(&self, channel: &Channel, id: u64) -> bool {
        self.asked_by(channel, id).is_some()
            && self.entry(channel).is_some_and(|entry| !entry.waiting.is_empty())
    }

    /// Adds a receiver to a channel that the server has granted.
    pub(super) fn join(&mut self, channel: &Channel, sink: SinkId) {
        self.add(channel, sink, Status::Active);
        self.change(channel, |entry| entry.inbox_granted |= sink == SinkId::INBOX);
    }

    /// Adds a receiver to a channel of which the server need not know.
    pub(super) fn add_local(&mut self, channel: &Channel, sink: SinkId) {
        self.add(channel, sink, Status::Active);
        self.change(channel, |entry| entry.established = true);
    }

    /// Adds a subscription of a resumed session. If it is `temporary`, the inbox receives only until a stream
    /// subscribes.
    pub(super) fn resume(&mut self, channel: &Channel, temporary: bool) {
        self.add(channel, SinkId::INBOX, Status::Active);
        self.change(channel, |entry| {
            entry.established = true;
            entry.inbox_stands_in = temporary;
        });
    }

    /// The subscription is asked for with the request `id`.
    pub(super) fn ask(&mut self, channel: &Channel, id: u64) {
        self.change(channel, |entry| entry.status = Status::Pending(id));
    }

    /// The server has granted the subscription.
    pub(super) fn grant(&mut self, channel: &Channel) {
        self.change(channel, |entry| {
            entry.status = Status::Active;
            entry.established = true;
            entry.inbox_granted = entry.sinks.contains(&SinkId::INBOX);
            entry.failures = 0;
        });
    }

    /// Drops the receivers whose calls fail. If `keep_granted`, the inbox stays if it was granted the channel before.
    pub(super) fn drop_receivers(
        &mut self,
        channel: &Channel,
        failed: &[(CallId, SinkId)],
        keep_granted: bool,
    ) {
        self.change(channel, |entry| {
            let granted = keep_granted && entry.inbox_granted;
            let kept = |sink: &SinkId| granted && *sink == SinkId::INBOX;
            entry.sinks.retain(|sink| kept(sink) || !failed.iter().any(|(_, waits)| waits == sink));
            entry.inbox_granted &= entry.sinks.contains(&SinkId::INBOX);
        });
    }

    /// The server refused to restore the subscription. Returns how often in a row, and for which receivers; `None` if
    /// there are none.
    pub(super) fn count_refusal(&mut self, channel: &Channel) -> Option<(u32, Vec<SinkId>)> {
        let refusal = self.change(channel, |entry| {
            entry.failures += 1;
            (entry.failures, entry.sinks.clone())
        });
        refusal.filter(|(_, sinks)| !sinks.is_empty())
    }

    /// The subscription is asked for again at `retry_at`.
    pub(super) fn refuse(&mut self, channel: &Channel, retry_at: Time) {
        self.change(channel, |entry| entry.status = Status::Refused(retry_at));
    }

    /// Changes a subscription, if it is desired. All changes go through here, so that counts and indexes stay right.
    fn change<R>(&mut self, channel: &Channel, change: impl FnOnce(&mut Subscription) -> R) -> Option<R> {
        let entry = self.desired.get_mut(channel)?;
        let before = entry.marks();
        let outcome = change(entry);
        let after = entry.marks();
        self.index(channel, before, after);
        Some(outcome)
    }

    fn index(&mut self, channel: &Channel, before: Marks, after: Marks) {
        if before.receivers != after.receivers {
            self.routes.forget();
            self.version += 1;
        }
        if before.granted != after.granted {
            self.version += 1;
            self.note(channel);
        }
        if before.restoring != after.restoring {
            self.restoring =
                if after.restoring { self.restoring + 1 } else { self.restoring.saturating_sub(1) };
        }
        if before.refused != after.refused {
            if let Some(at) = before.refused {
                self.refused.remove(&(at, channel.clone()));
            }
            if let Some(at) = after.refused {
                self.refused.insert((at, channel.clone()));
            }
        }
    }

    /// Remembers that a channel was granted or lost. Once there are more to name than there are, all are to be read.
    fn note(&mut self, channel: &Channel) {
        const FEW: usize = 64;
        let changes = &mut self.changes;
        if changes.all {
            return;
        }
        changes.names.push(channel.clone());
        if changes.names.len() > self.desired.len() + FEW {
            *changes = Changes { names: Vec::new(), all: true };
        }
    }

    /// What changed in [`Subscriptions::current`] since this was asked for.
    pub(super) fn take_changes(&mut self) -> SubscriptionChanges {
        let Changes { names, all } = std::mem::take(&mut self.changes);
        if all {
            return SubscriptionChanges::All;
        }
        let granted = |channel: &Channel| self.entry(channel).is_some_and(|entry| entry.established);
        SubscriptionChanges::Some(
            names
                .into_iter()
                .map(|channel| {
                    let granted = granted(&channel);
                    (channel, granted)
                })
                .collect(),
        )
    }

    /// Adds a receiver to a subscription, which is added with `status` if it is new.
    pub(super) fn add(&mut self, channel: &Channel, sink: SinkId, status: Status) {
        if !self.desired.contains_key(channel) {
            let entry = Subscription {
                sinks: Vec::new(),
                status,
                waiting: Vec::new(),
                established: false,
                failures: 0,
                inbox_granted: false,
                inbox_stands_in: false,
            };
            self.index(channel, Marks::default(), entry.marks());
            self.desired.insert(channel.clone(), Box::new(entry));
            if channel.is_filtered() {
                let base = Channel::from_wire(channel.path());
                self.filtered.entry(base).or_default().push(channel.clone());
            }
        }
        self.change(channel, |entry| {
            if std::mem::take(&mut entry.inbox_stands_in) && sink != SinkId::INBOX {
                entry.sinks.clear();
            }
            if !entry.sinks.contains(&sink) {
                entry.sinks.push(sink);
            }
        });
        // One may have taken the place of another.
        self.routes.forget();
    }

    /// A call waits for the server's reply on behalf of a receiver.
    pub(super) fn wait(&mut self, channel: &Channel, call: CallId, sink: SinkId) {
        if let Some(entry) = self.desired.get_mut(channel) {
            entry.waiting.push((call, sink));
            self.callers.insert(call, channel.clone());
        }
    }

    /// Takes the calls that wait for the server's reply.
    pub(super) fn take_waiting(&mut self, channel: &Channel) -> Vec<(CallId, SinkId)> {
        let waiting = self.desired.get_mut(channel).map(|entry| std::mem::take(&mut entry.waiting));
        let waiting = waiting.unwrap_or_default();
        for (call, _) in &waiting {
            self.callers.remove(call);
        }
        waiting
    }

    /// The receivers whose calls wait for the server's reply.
    pub(super) fn waiting_sinks(&self, channel: &Channel) -> impl Iterator<Item = SinkId> {
        self.entry(channel).into_iter().flat_map(|entry| entry.waiting.iter().map(|(_, sink)| *sink))
    }

    /// Takes the calls of one receiver that wait for the server's reply.
    pub(super) fn take_waiting_of(&mut self, channel: &Channel, sink: SinkId) -> Vec<CallId> {
        let waiting = self
            .desired
            .get_mut(channel)
            .map(|entry| extract(&mut entry.waiting, |(_, waits)| *waits == sink));
        let waiting: Vec<CallId> = waiting.into_iter().flatten().map(|(call, _)| call).collect();
        for call in &waiting {
            self.callers.remove(call);
        }
        waiting
    }

    /// A caller does not wait any more. Returns whether it did.
    pub(super) fn forget_caller(&mut self, call: CallId) -> bool {
        let Some(channel) = self.callers.remove(&call) else { return false };
        if let Some(entry) = self.desired.get_mut(&channel) {
            entry.waiting.retain(|(waiting, _)| *waiting != call);
        }
        true
    }

    /// Removes a receiver. Returns whether it was the last, so that the subscription is not desired any more; `None`
    /// if it had no such subscription.
    pub(super) fn remove(&mut self, channel: &Channel, sink: SinkId) -> Option<Removed> {
        let at = self.entry(channel)?.sinks.iter().position(|known| *known == sink)?;
        let (waiting, status, last) = self.change(channel, |entry| {
            entry.sinks.remove(at);
            entry.inbox_granted &= sink != SinkId::INBOX;
            let waiting = extract(&mut entry.waiting, |(_, waits)| *waits == sink);
            (waiting, entry.status, entry.sinks.is_empty())
        })?;
        let waiting: Vec<CallId> = waiting.into_iter().map(|(call, _)| call).collect();
        for call in &waiting {
            self.callers.remove(call);
        }
        if last {
            self.forget(channel);
        }
        Some(Removed { last, status, waiting })
    }

    /// Forgets a channel with all its receivers.
    pub(super) fn forget(&mut self, channel: &Channel) {
        for (call, _) in self.take_waiting(channel) {
            self.callers.remove(&call);
        }
        let Some(entry) = self.desired.remove(channel) else { return };
        self.index(channel, entry.marks(), Marks::default());
        self.routes.forget();
        if channel.is_filtered()
            && let Some(those) = self.filtered.get_mut(channel.path())
        {
            those.retain(|known| known != channel);
            if those.is_empty() {
                self.filtered.remove(channel.path());
            }
        }
    }

    /// Removes all receivers but the inbox, whose desired subscriptions outlive a session.
    pub(super) fn keep_inbox_only(&mut self) {
        self.callers.clear();
        for channel in self.desired.keys().cloned().collect::<Vec<_>>() {
            let kept = self.change(&channel, |entry| {
                entry.sinks.retain(|sink| *sink == SinkId::INBOX);
                entry.waiting.clear();
                entry.established && !entry.sinks.is_empty()
            });
            if kept == Some(false) {
                self.forget(&channel);
            }
        }
    }

    /// All of them, one after the other.
    fn each(&self) -> impl Iterator<Item = (&Channel, &Subscription)> {
        #[cfg(test)]
        self.visits.set(self.visits.get() + self.desired.len() as u64);
        self.desired.iter().map(|(channel, entry)| (channel, &**entry))
    }

    #[cfg(test)]
    pub(super) fn visits(&self) -> u64 {
        self.visits.get()
    }

    /// The channels that the server must know of.
    pub(super) fn remote(&self) -> Vec<Channel> {
        self.each().filter(|(channel, _)| !channel.is_service()).map(|(channel, _)| channel.clone()).collect()
    }

    /// The channels that the session before had granted.
    pub(super) fn established(&self) -> Vec<Channel> {
        let granted = self.each().filter(|(channel, entry)| entry.established && !channel.is_service());
        granted.map(|(channel, _)| channel.clone()).collect()
    }

    /// The channels granted to receivers such as these.
    pub(super) fn established_for(
        &self,
        whose: impl Fn(&[SinkId]) -> bool,
    ) -> impl Iterator<Item = &Channel> {
        let granted = self.each().filter(move |(_, entry)| entry.established && whose(&entry.sinks));
        granted.map(|(channel, _)| channel)
    }

    /// The channels granted, in order: what a user calls the current subscriptions.
    pub(super) fn current(&self) -> impl Iterator<Item = &Channel> {
        self.each().filter(|(_, entry)| entry.established).map(|(channel, _)| channel)
    }

    /// Whether one that was granted once is being asked for again.
    pub(super) fn any_restoring(&self) -> bool {
        self.restoring > 0
    }

    /// The refused channel to be tried again first, and when.
    pub(super) fn next_retry(&self) -> Option<(Time, &Channel)> {
        self.refused.first().map(|(at, channel)| (*at, channel))
    }

    /// Changes whenever [`Subscriptions::current`] may have.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns who gets a message on `channel`: each receiver once, those of the most exact name first. Those of a
    /// filtered channel get what arrives on the channel that it filters.
    #[inline]
    pub(super) fn route(&mut self, channel: &Channel) -> &Arc<[SinkId]> {
        let place = match self.routes.known(channel) {
            Some(place) => place,
            None => self.find_route(channel),
        };
        self.routes.at(place)
    }

    fn find_route(&mut self, channel: &Channel) -> usize {
        let Self { desired, filtered, routes, .. } = self;
        let names = channel.matching_names();
        let sinks = |name: &str| desired.get(name).map(|entry| entry.sinks.as_slice()).unwrap_or_default();
        let filters = |name: &str| {
            let those = if channel.is_filtered() { None } else { filtered.get(name) };
            those.into_iter().flatten().map(|channel| sinks(channel.as_str())).collect::<Vec<_>>()
        };
        routes.remember(
            channel,
            names.flat_map(|name| std::iter::once(sinks(&name)).chain(filters(&name)).collect::<Vec<_>>()),
        )
    }
}

/// What [`Subscriptions::remove`] took away.
#[derive(Debug)]
pub(super) struct Removed {
    last: bool,
    status: Status,
    waiting: Vec<CallId>,
}

impl Removed {
    /// Whether no receiver is left.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// The calls that waited for the server's reply on behalf of the receiver.
    pub(super) fn waiting(&self) -> &[CallId] {
        &self.waiting
    }
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
    fn a_filtered_channel_gets_what_arrives_on_the_channel_that_it_filters() {
        let mut subscriptions = Subscriptions::default();
        let (energy, media) = (channel("/topic/T?Industry='Energy'"), channel("/topic/T?Industry='Media'"));
        subscriptions.add(&energy, SinkId(1), Status::Active);
        subscriptions.add(&channel("/topic/*"), SinkId(2), Status::Active);
        assert_eq!(&**subscriptions.route(&channel("/topic/T")), [SinkId(1), SinkId(2)]);
        subscriptions.add(&media, SinkId(3), Status::Active);
        subscriptions.add(&channel("/topic/T"), SinkId(1), Status::Active);
        assert_eq!(&**subscriptions.route(&channel("/topic/T")), [SinkId(1), SinkId(3), SinkId(2)]);
        assert_eq!(&**subscriptions.route(&energy), [SinkId(1), SinkId(2)], "a server may name the filter");
        subscriptions.remove(&energy, SinkId(1));
        subscriptions.remove(&channel("/topic/T"), SinkId(1));
        assert_eq!(&**subscriptions.route(&channel("/topic/T")), [SinkId(3), SinkId(2)]);
        subscriptions.remove(&media, SinkId(3));
        assert!(subscriptions.filtered.is_empty());
    }

    #[test]
    fn what_is_counted_and_indexed_is_what_is_there() {
        let mut subscriptions = Subscriptions::default();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let name = channel(&format!("/a/{}", random.u8(..12)));
            let sink = SinkId(random.u64(..3));
            match random.u8(..7) {
                0 => subscriptions.add(&name, sink, Status::Pending(random.u64(..9))),
                1 => drop(subscriptions.remove(&name, sink)),
                2 => subscriptions.forget(&name),
                3 => drop(subscriptions.change(&name, |entry| entry.established = true)),
                4 => {
                    let at = Time::from_origin(std::time::Duration::from_secs(random.u64(..5)));
                    subscriptions.change(&name, |entry| entry.status = Status::Refused(at));
                }
                5 => drop(subscriptions.change(&name, |entry| entry.status = Status::Pending(1))),
                _ if random.u8(..20) == 0 => subscriptions.keep_inbox_only(),
                _ => drop(subscriptions.take_changes()),
            }
            let entries = || subscriptions.desired.iter();
            let restoring = entries().filter(|(_, entry)| entry.marks().restoring).count();
            assert_eq!(subscriptions.restoring, restoring);
            let refused: BTreeSet<_> =
                entries().filter_map(|(name, entry)| Some((entry.marks().refused?, name.clone()))).collect();
            assert_eq!(subscriptions.refused, refused);
        }
    }

    #[test]
    fn a_reader_of_the_changes_knows_what_is_granted() {
        let mut subscriptions = Subscriptions::default();
        let mut known = BTreeSet::new();
        let mut random = fastrand::Rng::with_seed(2);
        let mut all = 0;
        for _ in 0..20_000 {
            let name = channel(&format!("/a/{}", random.u8(..12)));
            match random.u8(..3) {
                0 => subscriptions.add(&name, SinkId(1), Status::Active),
                1 => drop(subscriptions.change(&name, |entry| entry.established = true)),
                _ => subscriptions.forget(&name),
            }
            if random.u8(..100) > 0 {
                continue;
            }
            let changes = subscriptions.take_changes();
            all += usize::from(changes == SubscriptionChanges::All);
            changes.apply(&mut known, || subscriptions.current());
            assert!(subscriptions.current().eq(&known));
        }
        assert!(all > 0);
    }
}
