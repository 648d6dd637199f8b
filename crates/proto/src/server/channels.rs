//! Who is subscribed to what, and whom a message reaches.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;

use hashbrown::HashTable;

use crate::channel::Channel;

/// A session, for as long as it lives.
pub(super) type SessionKey = u64;

/// A channel or pattern, for as long as it has subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

/// The subscribers of all channels and patterns.
///
/// No route is remembered: the subscribers of a name are kept in order, and those of all names that match a channel are
/// merged while a message is handed out, from any point on. A change costs what a search in them costs, whatever was
/// published before, and nothing is kept for a channel without subscribers.
#[derive(Debug)]
pub(super) struct Channels {
    /// The places of the names, by the hash of the name. There are many small tables, so that none takes long to grow.
    tables: Vec<HashTable<Place>>,
    hasher: RandomState,
    names: Vec<Name>,
    free: Vec<Place>,
    /// How many of the names are patterns.
    patterns: usize,
    subscriptions: usize,
    /// The bytes of the names.
    text: usize,
}

#[derive(Debug)]
struct Name {
    channel: Channel,
    subscribers: Subscribers,
}

/// Most names have one subscriber, who needs no allocation.
#[derive(Debug)]
enum Subscribers {
    None,
    One(SessionKey),
    // Most names have none of these: a place is as small as it can be.
    #[allow(clippy::box_collection)]
    Many(Box<BTreeSet<SessionKey>>),
}

/// The names that match a channel and have subscribers.
#[derive(Debug, Default)]
pub(super) struct Matches {
    places: Vec<Place>,
    /// How much work it was to find them.
    pub(super) steps: u64,
}

impl Default for Channels {
    fn default() -> Self {
        const TABLES: usize = 64;
        Self {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            hasher: RandomState::new(),
            names: Vec::new(),
            free: Vec::new(),
            patterns: 0,
            subscriptions: 0,
            text: 0,
        }
    }
}

impl Channels {
    /// What a subscription costs at most: an entry in the set of its session and one in that of its channel.
    const SUBSCRIPTION: usize = 128;
    /// What a name costs at most besides its text: the entry in the table, the allocation of the text.
    const NAME: usize = 96;
    /// What its place costs at most, which is kept for the next name.
    const PLACE: usize = 64;

    /// How many subscriptions there are in all.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// How many bytes all this takes at most.
    pub(super) fn memory(&self) -> usize {
        let names = self.names.len() - self.free.len();
        let places = self.names.len() * Self::PLACE;
        self.subscriptions * Self::SUBSCRIPTION + names * Self::NAME + places + self.text
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    fn table(hash: u64, tables: usize) -> usize {
        // The tables themselves use the other bits.
        (hash >> 32) as usize % tables
    }

    /// The place of a channel or pattern that has subscribers.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let hash = self.hash(name);
        let table = &self.tables[Self::table(hash, self.tables.len())];
        table.find(hash, |place| self.name(*place).as_str() == name).copied()
    }

    /// The name of a place.
    pub(super) fn name(&self, place: Place) -> &Channel {
        &self.names[place.0 as usize].channel
    }

    /// Subscribes a session, which need not be new.
    pub(super) fn subscribe(&mut self, channel: Channel, session: SessionKey) -> Place {
        let place = self.place(channel.as_str()).unwrap_or_else(|| self.add(channel));
        let is_new = self.names[place.0 as usize].subscribers.insert(session);
        self.subscriptions += usize::from(is_new);
        place
    }

    fn add(&mut self, channel: Channel) -> Place {
        let hash = self.hash(channel.as_str());
        self.patterns += usize::from(channel.is_wild());
        self.text += channel.as_str().len();
        let name = Name { channel, subscribers: Subscribers::None };
        let place = if let Some(place) = self.free.pop() {
            self.names[place.0 as usize] = name;
            place
        } else {
            // Four billion names do not fit into any memory.
            let place = Place(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
            self.names.push(name);
            place
        };
        let Self { tables, hasher, names, .. } = self;
        let at = Self::table(hash, tables.len());
        tables[at]
            .insert_unique(hash, place, |place| hasher.hash_one(names[place.0 as usize].channel.as_str()));
        place
    }

    /// Whether there was such a subscription.
    pub(super) fn unsubscribe(&mut self, place: Place, session: SessionKey) -> bool {
        let name = &mut self.names[place.0 as usize];
        let was_there = name.subscribers.remove(session);
        self.subscriptions -= usize::from(was_there);
        if was_there && matches!(name.subscribers, Subscribers::None) {
            let channel = std::mem::replace(&mut name.channel, Channel::from_wire(""));
            self.patterns -= usize::from(channel.is_wild());
            self.text -= channel.as_str().len();
            let hash = self.hash(channel.as_str());
            let at = Self::table(hash, self.tables.len());
            if let Ok(entry) = self.tables[at].find_entry(hash, |other| *other == place) {
                entry.remove();
            }
            self.free.push(place);
            self.shrink(at);
        }
        was_there
    }

    /// What was needed once need not be kept for ever.
    fn shrink(&mut self, at: usize) {
        let Self { tables, hasher, names, free, .. } = self;
        let table = &mut tables[at];
        if table.capacity() > 64 && table.len() < table.capacity() / 4 {
            let hash = |place: &Place| hasher.hash_one(names[place.0 as usize].channel.as_str());
            table.shrink_to(table.len() * 2, hash);
        }
        if free.len() == names.len() {
            *names = Vec::new();
            *free = Vec::new();
        }
    }

    /// The names with subscribers that match a channel: it and the patterns above it.
    pub(super) fn matches(&self, channel: &Channel) -> Matches {
        let mut matches = Matches { places: Vec::new(), steps: 1 };
        matches.places.extend(self.place(channel.as_str()));
        if self.patterns == 0 || channel.is_wild() {
            return matches;
        }
        for name in channel.matching_names().skip(1) {
            // A long name takes longer to look up.
            matches.steps += 1 + name.len() as u64 / 256;
            matches.places.extend(self.place(&name));
        }
        matches
    }

    /// Puts the next sessions that a message reaches into `reached`, at most `most` of them: those after `after`, in
    /// order, each once, however many of its subscriptions match.
    pub(super) fn reach(
        &self,
        matches: &Matches,
        after: Option<SessionKey>,
        most: usize,
        reached: &mut Vec<SessionKey>,
    ) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let sets = matches.places.iter().map(|place| &self.names[place.0 as usize].subscribers);
        if let [place] = matches.places[..] {
            let subscribers = &self.names[place.0 as usize].subscribers;
            return reached.extend(subscribers.after(from).take(most));
        }
        let mut sets: Vec<_> = sets.map(|subscribers| subscribers.after(from).peekable()).collect();
        while reached.len() < most {
            let Some(next) = sets.iter_mut().filter_map(|set| set.peek().copied()).min() else { return };
            for set in &mut sets {
                set.next_if_eq(&next);
            }
            reached.push(next);
        }
    }
}

impl Matches {
    /// How much work it is to find the next session that a message reaches.
    pub(super) fn width(&self) -> u64 {
        1 + self.places.len() as u64 / 8
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl Subscribers {
    /// Whether it is new.
    fn insert(&mut self, session: SessionKey) -> bool {
        match self {
            Self::None => {
                *self = Self::One(session);
                true
            }
            Self::One(known) if *known == session => false,
            Self::One(known) => {
                *self = Self::Many(Box::new([*known, session].into()));
                true
            }
            Self::Many(known) => known.insert(session),
        }
    }

    /// Whether it was there.
    fn remove(&mut self, session: SessionKey) -> bool {
        match self {
            Self::None => false,
            Self::One(known) => {
                let was_there = *known == session;
                if was_there {
                    *self = Self::None;
                }
                was_there
            }
            Self::Many(known) => {
                let was_there = known.remove(&session);
                if known.len() == 1 {
                    *self = known.first().copied().map_or(Self::None, Self::One);
                }
                was_there
            }
        }
    }

    /// Those from there on, in order.
    fn after(&self, from: Bound<SessionKey>) -> impl Iterator<Item = SessionKey> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(session) => (Some(*session), None),
            Self::Many(sessions) => (None, Some(sessions.range((from, Bound::Unbounded)).copied())),
        };
        let is_after = move |session: &SessionKey| match from {
            Bound::Excluded(after) => *session > after,
            _ => true,
        };
        one.into_iter().filter(is_after).chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    fn subscribe(channels: &mut Channels, name: &str, session: SessionKey) -> bool {
        let before = channels.subscriptions();
        channels.subscribe(channel(name), session);
        channels.subscriptions() > before
    }

    fn unsubscribe(channels: &mut Channels, name: &str, session: SessionKey) -> Option<bool> {
        let place = channels.place(name)?;
        Some(channels.unsubscribe(place, session))
    }

    /// In pieces of each size.
    fn route(channels: &Channels, name: &str) -> Vec<SessionKey> {
        let matches = channels.matches(&channel(name));
        let mut all = Vec::new();
        channels.reach(&matches, None, usize::MAX, &mut all);
        for size in 1..4 {
            let mut pieces = Vec::new();
            loop {
                let mut piece = Vec::new();
                channels.reach(&matches, pieces.last().copied(), size, &mut piece);
                if piece.is_empty() {
                    break;
                }
                pieces.extend(piece);
            }
            assert_eq!(pieces, all);
        }
        all
    }

    #[test]
    fn each_session_is_reached_once_and_changes_are_seen() {
        let mut channels = Channels::default();
        assert!(subscribe(&mut channels, "/a/*", 1));
        assert!(subscribe(&mut channels, "/a/b", 1));
        assert!(!subscribe(&mut channels, "/a/b", 1));
        subscribe(&mut channels, "/**", 2);
        assert_eq!(route(&channels, "/a/b"), [1, 2]);
        assert_eq!(route(&channels, "/a/b/c"), [2]);
        subscribe(&mut channels, "/a/**", 3);
        assert_eq!(route(&channels, "/a/b/c"), [2, 3]);
        assert_eq!(unsubscribe(&mut channels, "/a/b", 1), Some(true));
        assert_eq!(route(&channels, "/a/b"), [1, 2, 3]);
        assert_eq!(unsubscribe(&mut channels, "/a/*", 1), Some(true));
        assert_eq!(route(&channels, "/a/b"), [2, 3]);
        assert_eq!(route(&channels, "/az"), [2]);
        subscribe(&mut channels, "/**", 4);
        assert_eq!(route(&channels, "/az"), [2, 4]);
        assert_eq!(unsubscribe(&mut channels, "/**", 4), Some(true));
        assert_eq!(route(&channels, "/az"), [2]);
        assert_eq!(unsubscribe(&mut channels, "/nobody", 1), None);
        assert_eq!(unsubscribe(&mut channels, "/**", 1), Some(false));
        assert_eq!(unsubscribe(&mut channels, "/**", 2), Some(true));
        assert_eq!(unsubscribe(&mut channels, "/a/**", 3), Some(true));
        assert_eq!((channels.memory(), channels.patterns), (0, 0));
        assert!(channels.names.is_empty() && channels.matches(&channel("/az")).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn a_message_reaches_those_whose_pattern_matches(
            changes in proptest::collection::vec((0..2_u8, 0..8_u64, "/[ab](/[ab])?(/(\\*|\\*\\*|a))?"), 0..80),
            published in "/[ab](/[ab]){0,2}",
        ) {
            let mut channels = Channels::default();
            let mut model = BTreeSet::new();
            for (change, session, name) in changes {
                if change == 0 {
                    proptest::prop_assert_eq!(
                        subscribe(&mut channels, &name, session),
                        model.insert((channel(&name), session))
                    );
                } else {
                    let was_there = unsubscribe(&mut channels, &name, session).unwrap_or(false);
                    proptest::prop_assert_eq!(was_there, model.remove(&(channel(&name), session)));
                }
            }
            let published = channel(&published);
            let reached: BTreeSet<_> =
                model.iter().filter(|(name, _)| name.matches(&published)).map(|(_, session)| *session).collect();
            proptest::prop_assert_eq!(route(&channels, published.as_str()), Vec::from_iter(reached));
            proptest::prop_assert_eq!(channels.subscriptions(), model.len());
        }
    }
}
