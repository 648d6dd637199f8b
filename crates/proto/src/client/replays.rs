//! Where the events of a replayed subscription are to begin, for each receiver, and which events it has had already.

use std::collections::BTreeMap;

use super::contract::{ExchangeId, SinkId};
use super::replay::{Replay, ReplayFallback};
use crate::channel::Channel;
use crate::ext::replay::{ALL, TIP};

/// The replayed subscriptions, by the channel as it is asked for: a filtered channel has positions of its own.
///
/// Lives as long as the client.
#[derive(Debug, Default)]
pub(super) struct Replays {
    channels: BTreeMap<Channel, Asked>,
    /// What came last on each channel without its filter, for all receivers of such channels.
    paths: BTreeMap<Channel, Path>,
    support: Support,
    left: Left,
    /// The exchange of calls that was under way when this session was granted: it belongs to the session before.
    stale: Option<ExchangeId>,
}

#[derive(Debug, Default)]
struct Asked {
    readers: BTreeMap<SinkId, Reader>,
    /// The position of the last subscribe that was sent.
    last: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    position: Replay,
    fallback: ReplayFallback,
}

#[derive(Debug, Default)]
struct Path {
    /// The replayed channels that have it.
    channels: Vec<Channel>,
    /// The newest event that was delivered to any receiver.
    newest: Option<i64>,
}

/// Whether the server of this session supports the extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Support {
    /// It was not asked.
    #[default]
    Assumed,
    Confirmed,
    Missing,
}

/// The channels that were subscribed to in this session and are no more: events of them may still come.
#[derive(Debug, Default)]
struct Left {
    paths: std::collections::BTreeSet<Channel>,
    /// There were too many to name.
    all: bool,
}

/// A receiver whose position the server does not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Affected {
    pub(super) sink: SinkId,
    pub(super) fallback: ReplayFallback,
}

impl Replay {
    /// The id on the wire.
    fn id(self) -> i64 {
        match self {
            Self::Tip => TIP,
            Self::All => ALL,
            Self::After(id) => id,
        }
    }

    /// The earlier ones first.
    fn order(self) -> i64 {
        match self {
            Self::All => i64::MIN,
            Self::After(id) => id,
            Self::Tip => i64::MAX,
        }
    }
}

impl Replays {
    /// Whether nothing is replayed, so that no event need be looked at.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Whether events on `channel` are to be looked at.
    pub(super) fn concerns(&self, channel: &Channel) -> bool {
        !self.paths.is_empty() && self.paths.contains_key(channel)
    }

    /// Adds a receiver, or sets where it begins. One that begins with what comes now, beside others that have had events already,
    /// begins after the newest of these.
    pub(super) fn add(&mut self, channel: &Channel, sink: SinkId, begin: Replay, fallback: ReplayFallback) {
        if !self.channels.contains_key(channel) {
            self.paths.entry(base(channel)).or_default().channels.push(channel.clone());
        }
        let newest = self.paths.get(channel.path()).and_then(|path| path.newest);
        let position = match (begin, newest) {
            (Replay::Tip, Some(newest)) => Replay::After(newest),
            _ => begin,
        };
        let asked = self.channels.entry(channel.clone()).or_default();
        asked.readers.insert(sink, Reader { position, fallback });
    }

    /// Sets the position of a receiver back. Returns whether there is such a receiver.
    pub(super) fn rewind(&mut self, channel: &Channel, sink: SinkId, after: i64) -> bool {
        let reader = self.channels.get_mut(channel).and_then(|asked| asked.readers.get_mut(&sink));
        reader.map(|reader| reader.position = Replay::After(after)).is_some()
    }

    /// Forgets the receivers of `channel` that are not among `sinks`.
    pub(super) fn keep(&mut self, channel: &Channel, sinks: &[SinkId]) {
        let Some(asked) = self.channels.get_mut(channel) else { return };
        asked.readers.retain(|sink, _| sinks.contains(sink));
        if !asked.readers.is_empty() {
            return;
        }
        self.channels.remove(channel);
        if let Some(path) = self.paths.get_mut(channel.path()) {
            path.channels.retain(|known| known != channel);
            if path.channels.is_empty() {
                self.paths.remove(channel.path());
            }
        }
    }

    /// The channels, each with its filter.
    pub(super) fn channels(&self) -> Vec<Channel> {
        self.channels.keys().cloned().collect()
    }

    /// A session was granted. `confirmed` is whether its server supports the extension; `None` if it was not asked.
    /// `under_way` is an exchange of the session before.
    pub(super) fn begin_session(&mut self, confirmed: Option<bool>, under_way: Option<ExchangeId>) {
        self.stale = under_way;
        self.support = match confirmed {
            None => Support::Assumed,
            Some(true) => Support::Confirmed,
            Some(false) => Support::Missing,
        };
        self.left = Left::default();
    }

    /// Whether an exchange belongs to the session before.
    pub(super) fn is_stale(&self, exchange: ExchangeId) -> bool {
        self.stale == Some(exchange)
    }

    /// Whether the server of this session does not support the extension.
    pub(super) fn is_unsupported(&self) -> bool {
        self.support == Support::Missing
    }

    /// A channel is not subscribed to any more.
    pub(super) fn leave(&mut self, channel: &Channel) {
        const MOST: usize = 10_000;
        if self.left.paths.len() < MOST {
            self.left.paths.insert(base(channel));
        } else {
            self.left.all = true;
        }
    }

    /// Whether events of an earlier subscription to the channel in this session may still come.
    pub(super) fn has_left(&self, channel: &Channel) -> bool {
        self.left.all || self.left.paths.contains(channel.path())
    }

    /// Takes note that the channel is asked for. Returns from where: from the earliest position of its receivers. `None` if it is
    /// not replayed, or cannot be.
    pub(super) fn ask(&mut self, channel: &Channel) -> Option<i64> {
        let asked = self.channels.get_mut(channel)?;
        asked.last = if self.support == Support::Missing {
            None
        } else {
            let first = asked.readers.values().map(|reader| reader.position).min_by_key(|at| at.order());
            first.map(Replay::id)
        };
        asked.last
    }

    /// Whether the last subscribe that was sent asked for all from `begin` on.
    pub(super) fn is_asked(&self, channel: &Channel, begin: Replay) -> bool {
        let last = self.channels.get(channel).and_then(|asked| asked.last);
        last.is_some_and(|last| last == ALL || (last != TIP && last <= begin.order()))
    }

    /// Whether all that is missed on the channel comes again with the next subscription to it.
    pub(super) fn covers(&self, channel: &Channel) -> bool {
        self.support != Support::Missing
            && self
                .channels
                .get(channel)
                .is_some_and(|asked| asked.readers.values().any(|reader| reader.position != Replay::Tip))
    }

    /// Whether there is such a channel.
    pub(super) fn covers_any(&self) -> bool {
        self.channels.keys().any(|channel| self.covers(channel))
    }

    /// Who on the `route` has not had the event `id` on `channel`; `None` if all of them have not.
    pub(super) fn new_to(&self, channel: &Channel, id: i64, route: &[SinkId]) -> Option<Vec<SinkId>> {
        let path = self.paths.get(channel.path())?;
        let is_new = |sink: &SinkId| match self.positions(path, *sink).max_by_key(|at| at.order()) {
            None => path.newest.is_none_or(|newest| id > newest),
            Some(Replay::After(had)) => id > had,
            Some(Replay::All | Replay::Tip) => true,
        };
        let new: Vec<SinkId> = route.iter().filter(|sink| is_new(sink)).copied().collect();
        (new.len() < route.len()).then_some(new)
    }

    /// The event `id` on `channel` was delivered to `sinks`.
    pub(super) fn delivered(&mut self, channel: &Channel, id: i64, sinks: &[SinkId]) {
        let Some(path) = self.paths.get_mut(channel.path()) else { return };
        path.newest = path.newest.max(Some(id));
        for name in &path.channels {
            let readers = self.channels.get_mut(name).map(|asked| &mut asked.readers);
            for (_, reader) in readers.into_iter().flatten().filter(|(sink, _)| sinks.contains(sink)) {
                reader.position = match reader.position {
                    Replay::After(had) => Replay::After(had.max(id)),
                    Replay::All | Replay::Tip => Replay::After(id),
                };
            }
        }
    }

    /// The position that the last subscribe named, if it was the id of an event.
    pub(super) fn asked_after(&self, channel: &Channel) -> Option<i64> {
        self.channels.get(channel)?.last.filter(|id| *id >= 0)
    }

    /// The server does not keep the position `id` of the channel, or none at all: the receivers concerned begin where their fallback
    /// says. Ids may have begun anew, so that those of before do not count any more.
    pub(super) fn fall_back(&mut self, channel: &Channel, id: Option<i64>) -> Vec<Affected> {
        let missing = self.support == Support::Missing;
        let Some(asked) = self.channels.get_mut(channel) else { return Vec::new() };
        let mut affected = Vec::new();
        for (sink, reader) in &mut asked.readers {
            let concerned = match (id, reader.position) {
                (Some(id), Replay::After(position)) => position == id,
                (None, position) => position != Replay::Tip,
                (Some(_), _) => false,
            };
            if concerned {
                affected.push(Affected { sink: *sink, fallback: reader.fallback });
                reader.position = match reader.fallback {
                    ReplayFallback::All if !missing => Replay::All,
                    _ => Replay::Tip,
                };
            }
        }
        if let Some(path) = self.paths.get_mut(channel.path()).filter(|_| !affected.is_empty()) {
            path.newest = None;
        }
        affected
    }

    /// The positions of a receiver among the channels that have this path.
    fn positions<'a>(&'a self, path: &'a Path, sink: SinkId) -> impl Iterator<Item = Replay> + 'a {
        let readers = path.channels.iter().filter_map(|name| self.channels.get(name));
        readers.filter_map(move |asked| asked.readers.get(&sink)).map(|reader| reader.position)
    }
}

fn base(channel: &Channel) -> Channel {
    Channel::from_wire(channel.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SinkId = SinkId(1);
    const B: SinkId = SinkId(2);

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    #[test]
    fn the_earliest_position_of_all_receivers_is_asked_for() {
        let (mut replays, t) = (Replays::default(), channel("/t"));
        replays.add(&t, A, Replay::Tip, ReplayFallback::All);
        assert_eq!((replays.ask(&t), replays.covers(&t)), (Some(TIP), false));
        replays.add(&t, A, Replay::After(7), ReplayFallback::All);
        replays.add(&t, B, Replay::After(5), ReplayFallback::All);
        assert_eq!((replays.ask(&t), replays.covers(&t)), (Some(5), true));
        replays.add(&t, A, Replay::All, ReplayFallback::All);
        assert_eq!(replays.ask(&t), Some(ALL));
        replays.keep(&t, &[B]);
        assert_eq!(replays.ask(&t), Some(5));
        replays.keep(&t, &[]);
        assert_eq!((replays.ask(&t), replays.is_empty()), (None, true));
        assert!(!replays.concerns(&t), "nothing is left of it");
    }

    #[test]
    fn a_position_never_goes_back_and_filters_have_their_own() {
        let (mut replays, t, filtered) = (Replays::default(), channel("/t"), channel("/t?a='b'"));
        replays.add(&t, A, Replay::After(7), ReplayFallback::All);
        replays.add(&filtered, B, Replay::After(100), ReplayFallback::All);
        replays.add(&channel("/t-other"), A, Replay::After(1), ReplayFallback::All);
        assert_eq!(replays.new_to(&t, 8, &[A, B]), Some(vec![A]));
        replays.delivered(&t, 8, &[A]);
        assert_eq!(replays.new_to(&t, 8, &[A, B]), Some(vec![]));
        assert_eq!(replays.new_to(&t, 101, &[A, B]), None);
        assert_eq!((replays.ask(&t), replays.ask(&filtered)), (Some(8), Some(100)));
        assert_eq!(replays.ask(&channel("/t-other")), Some(1));
    }

    #[test]
    fn a_receiver_without_replay_gets_nothing_twice() {
        let (mut replays, t) = (Replays::default(), channel("/t"));
        replays.add(&t, A, Replay::All, ReplayFallback::All);
        assert_eq!(replays.new_to(&t, 3, &[A, B]), None);
        replays.delivered(&t, 3, &[A, B]);
        assert_eq!(replays.new_to(&t, 2, &[A, B]), Some(vec![]));
    }

    #[test]
    fn after_a_fallback_ids_may_begin_anew() {
        let (mut replays, t) = (Replays::default(), channel("/t"));
        replays.add(&t, A, Replay::After(1000), ReplayFallback::All);
        replays.add(&t, B, Replay::After(2000), ReplayFallback::Fail);
        replays.delivered(&t, 2000, &[B]);
        assert_eq!(replays.ask(&t), Some(1000));
        let affected = replays.fall_back(&t, replays.asked_after(&t));
        assert_eq!(affected, [Affected { sink: A, fallback: ReplayFallback::All }]);
        assert_eq!(replays.new_to(&t, 1, &[A]), None);
        assert_eq!(replays.ask(&t), Some(ALL));
        assert_eq!(replays.asked_after(&t), None, "all is no event");
    }
}
