//! Channel names: parsed and normalised once, compared, matched.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::printable::write_printable;

/// The name of a channel, or a wildcard pattern over names: `/chat/demo`, `/chat/*`, `/chat/**`.
///
/// Cheap to clone. Two names that differ only in one trailing slash or in surrounding white space are the
/// same channel, as in the reference implementation (CometD's `ChannelId`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<str>);

/// What a channel is for (Bayeux specification, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelKind {
    /// `/meta/…`: the protocol's own messages.
    Meta,
    /// `/service/…`: between one client and the server, never broadcast.
    Service,
    /// Anything else: published messages go to all subscribers.
    Broadcast,
}

impl Channel {
    /// `/meta/handshake`
    pub const HANDSHAKE: &'static str = "/meta/handshake";
    /// `/meta/connect`
    pub const CONNECT: &'static str = "/meta/connect";
    /// `/meta/subscribe`
    pub const SUBSCRIBE: &'static str = "/meta/subscribe";
    /// `/meta/unsubscribe`
    pub const UNSUBSCRIBE: &'static str = "/meta/unsubscribe";
    /// `/meta/disconnect`
    pub const DISCONNECT: &'static str = "/meta/disconnect";

    /// Checks and normalises a name: trims white space and drops one trailing slash.
    ///
    /// Servers accept more names than the Bayeux grammar has: Salesforce's filtered channels, for instance, as in
    /// `/topic/Accounts?Industry='Energy'`. A name is therefore refused only if no server can mean it: if it does not
    /// begin with a slash, has an empty segment, has a control character, or has `*` or `**` as a segment that is not the
    /// last. What follows a `?` is a filter, and is taken as it is. [`Channel::parse_standard`] keeps to the grammar.
    ///
    /// # Errors
    /// [`InvalidChannel`] says which rule or character is wrong.
    pub fn parse(name: &str) -> Result<Self, InvalidChannel> {
        Self::check(name, |c| !c.is_control())
    }

    /// As [`Channel::parse`], for names of the Bayeux grammar only.
    ///
    /// Allowed are letters and digits of ASCII, the space, and ``! # $ ( ) * + - . / @ _ { ~ }``; `*` and `**`
    /// are wildcards only as the whole last segment (Bayeux specification 2.2.1, CometD's `Bayeux.Validator`).
    ///
    /// # Errors
    /// [`InvalidChannel`] says which rule or character is wrong.
    pub fn parse_standard(name: &str) -> Result<Self, InvalidChannel> {
        Self::check(name, is_standard)
    }

    fn check(name: &str, is_allowed: impl Fn(char) -> bool) -> Result<Self, InvalidChannel> {
        let normal = normalise(name);
        let fail = |reason| Err(InvalidChannel { name: shorten(name), reason });
        if normal.is_empty() || normal == "/" {
            return fail(InvalidReason::Empty);
        }
        if !normal.starts_with('/') {
            return fail(InvalidReason::NoLeadingSlash);
        }
        if let Some((at, character)) = normal.char_indices().find(|(_, c)| !is_allowed(*c)) {
            return fail(InvalidReason::Character { character, at });
        }
        let path = path(normal);
        if path == "/" {
            return fail(InvalidReason::Empty);
        }
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.trim().is_empty() {
                return fail(InvalidReason::EmptySegment);
            }
            if matches!(segment, "*" | "**") && segments.peek().is_some() {
                return fail(InvalidReason::WildcardNotLast);
            }
        }
        Ok(Self(normal.into()))
    }

    /// How many steps more a name takes than a short one: each of its segments is looked at.
    pub(crate) fn work_of(name: &str) -> u64 {
        const STEP: usize = 64;
        (name.len() / STEP) as u64
    }

    /// Takes a name as a peer sent it: normalised, but not checked, because a name that the peer uses is a
    /// name that exists there. An empty name stands for "no channel".
    pub fn from_wire(name: &str) -> Self {
        let mut name = normalise(name);
        // However many slashes it ends in, the name that we send back must be the one that we know.
        while name.len() > 1 && name.ends_with('/') && !name.contains('?') {
            name = normalise(name);
        }
        Self(name.into())
    }

    /// Where the name stands in memory: the same for all clones, and for nothing else while one of them is kept.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Returns the normalised name.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the channel is meta, service or broadcast. `/meta` and `/service` alone are broadcast channels.
    pub fn kind(&self) -> ChannelKind {
        if self.0.starts_with("/meta/") {
            ChannelKind::Meta
        } else if self.0.starts_with("/service/") {
            ChannelKind::Service
        } else {
            ChannelKind::Broadcast
        }
    }

    /// Returns whether this is `/meta/…`.
    pub fn is_meta(&self) -> bool {
        self.kind() == ChannelKind::Meta
    }

    /// Returns whether this is `/service/…`.
    pub fn is_service(&self) -> bool {
        self.kind() == ChannelKind::Service
    }

    /// Returns whether this is a broadcast channel.
    pub fn is_broadcast(&self) -> bool {
        self.kind() == ChannelKind::Broadcast
    }

    /// Returns whether the last segment is `*` or `**`.
    pub fn is_wild(&self) -> bool {
        let path = self.path();
        path.ends_with("/*") || path.ends_with("/**")
    }

    /// The name without its filter: `/topic/T` of `/topic/T?Industry='Energy'`. The messages of a filtered channel
    /// arrive there.
    pub fn path(&self) -> &str {
        path(&self.0)
    }

    /// Whether the name has a filter, which begins with `?`.
    pub fn is_filtered(&self) -> bool {
        self.0.contains('?')
    }

    /// Whether a message on `channel` belongs to this channel or pattern.
    ///
    /// `/a/*` takes exactly one more segment, `/a/**` one or more; neither takes `/a`. A pattern matches
    /// another pattern only when they are equal (CometD's `ChannelId.matches`). A filtered channel takes what its
    /// [`path`](Channel::path) does: the server has applied the filter.
    pub fn matches(&self, channel: &Channel) -> bool {
        if self == channel {
            return true;
        }
        if channel.is_wild() || (self.is_filtered() && channel.is_filtered()) {
            return false;
        }
        let (pattern, name) = (self.path(), channel.path());
        let below = |parent: &str| {
            name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/')).filter(|rest| !rest.is_empty())
        };
        if let Some(parent) = pattern.strip_suffix("/**") {
            below(parent).is_some()
        } else if let Some(parent) = pattern.strip_suffix("/*") {
            below(parent).is_some_and(|rest| !rest.contains('/'))
        } else {
            pattern == name
        }
    }

    /// The names under which a subscriber of this channel can be known, the most exact first: for `/a/b` these
    /// are `/a/b`, `/a/*`, `/a/**` and `/**`. Both peers notify in this order (CometD's `ChannelId.getAllIds`).
    /// Filtered channels, which may have any name, are not among them.
    pub fn matching_names(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let name = self.path();
        let filtered = (name.len() < self.0.len()).then(|| (&*self.0).into());
        let plain = (filtered.is_none() || !self.is_wild()).then(|| name.into());
        let parents = (!self.is_wild())
            .then(|| name.rmatch_indices('/').map(|(at, _)| &name[..at]).enumerate())
            .into_iter()
            .flatten()
            // Nothing is below it: a peer may send such names, though they are none.
            .filter(|(_, parent)| parent.len() + 1 < name.len());
        filtered.into_iter().chain(plain).chain(parents.flat_map(|(depth, parent)| {
            let single = (depth == 0).then(|| format!("{parent}/*").into());
            single.into_iter().chain(std::iter::once(format!("{parent}/**").into()))
        }))
    }
}

fn normalise(name: &str) -> &str {
    let name = name.trim();
    match name.strip_suffix('/') {
        Some("") | None => name,
        // The slash belongs to the filter.
        Some(rest) if rest.contains('?') => name,
        Some(rest) => rest.trim_end(),
    }
}

/// What stands before the filter, without a trailing slash.
fn path(name: &str) -> &str {
    match name.split_once('?') {
        None => name,
        Some((path, _)) => match path.strip_suffix('/') {
            Some("") | None => path,
            Some(rest) => rest,
        },
    }
}

fn is_standard(c: char) -> bool {
    c.is_ascii_alphanumeric() || " !#$()*+-./@_{~}".contains(c)
}

/// Error texts quote the name; a hostile one must not fill the log.
fn shorten(name: &str) -> String {
    match name.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// The name, with the control and formatting characters escaped that a peer's name may have; [`as_str`](Channel::as_str)
/// has them as they came.
impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_printable(f, &self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Channel {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Channel {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Channel {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl std::str::FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(name: &str) -> Result<Self, InvalidChannel> {
        Self::parse(name)
    }
}

impl TryFrom<&str> for Channel {
    type Error = InvalidChannel;

    fn try_from(name: &str) -> Result<Self, InvalidChannel> {
        Self::parse(name)
    }
}

impl TryFrom<&String> for Channel {
    type Error = InvalidChannel;

    fn try_from(name: &String) -> Result<Self, InvalidChannel> {
        Self::parse(name)
    }
}

impl TryFrom<String> for Channel {
    type Error = InvalidChannel;

    fn try_from(name: String) -> Result<Self, InvalidChannel> {
        Self::parse(&name)
    }
}

impl From<&Channel> for Channel {
    fn from(channel: &Channel) -> Self {
        channel.clone()
    }
}

/// A name that cannot be a channel, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid channel name {name:?}: {reason}")]
pub struct InvalidChannel {
    name: String,
    reason: InvalidReason,
}

impl InvalidChannel {
    /// The name as it was given (shortened when very long).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which rule it breaks.
    pub fn reason(&self) -> InvalidReason {
        self.reason
    }
}

impl From<std::convert::Infallible> for InvalidChannel {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// The rule that a channel name breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReason {
    /// The name is empty, or only `/`.
    #[error("it is empty; a channel has at least one segment, as in /chat")]
    Empty,
    /// It does not begin with a slash.
    #[error("it must begin with '/'")]
    NoLeadingSlash,
    /// Two slashes in a row, or a segment of spaces.
    #[error("it has an empty segment ('//')")]
    EmptySegment,
    /// A character that channel names do not have: a control character, or for [`Channel::parse_standard`] one outside
    /// the grammar.
    #[error(
        "character {character:?} at byte {at} is not allowed; use letters, digits and ! # $ ( ) + - . @ _ {{ ~ }}"
    )]
    #[non_exhaustive]
    Character {
        /// The character.
        character: char,
        /// Its byte offset in the trimmed name.
        at: usize,
    },
    /// `*` or `**` before the last segment.
    #[error("'*' and '**' may only be the last segment, as in /chat/*")]
    WildcardNotLast,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    #[test]
    fn case_46_wildcards_take_one_segment_or_many_but_never_the_parent() {
        let one = channel("/foo/*");
        let many = channel("/foo/**");
        for (name, by_one, by_many) in [
            ("/foo", false, false),
            ("/foo/a", true, true),
            ("/foo/a/b", false, true),
            ("/foobar", false, false),
            ("/foobar/a", false, false),
        ] {
            assert_eq!(one.matches(&channel(name)), by_one, "/foo/* and {name}");
            assert_eq!(many.matches(&channel(name)), by_many, "/foo/** and {name}");
        }
        assert!(channel("/**").matches(&channel("/a/b/c")));
        assert!(!many.matches(&one), "patterns match patterns only by equality");
        assert!(many.matches(&many.clone()));
    }

    #[test]
    fn case_47_names_are_normalised_and_bad_ones_refused_with_a_reason() {
        assert_eq!(channel("/foo/"), channel("/foo"));
        assert_eq!(channel("  /foo "), channel("/foo"));
        for (name, reason) in [
            ("/", InvalidReason::Empty),
            ("", InvalidReason::Empty),
            ("foo", InvalidReason::NoLeadingSlash),
            ("/a//b", InvalidReason::EmptySegment),
            ("/a//", InvalidReason::EmptySegment),
            ("//", InvalidReason::Empty),
            ("/foo/*/bar", InvalidReason::WildcardNotLast),
            ("/foo/**/*", InvalidReason::WildcardNotLast),
            ("/a\nb", InvalidReason::Character { character: '\n', at: 2 }),
            ("/a\u{9b}", InvalidReason::Character { character: '\u{9b}', at: 2 }),
        ] {
            assert_eq!(Channel::parse(name).unwrap_err().reason(), reason, "{name:?}");
            assert_eq!(Channel::parse_standard(name).unwrap_err().reason(), reason, "{name:?}");
        }
        for (name, reason) in [
            ("/a?b", InvalidReason::Character { character: '?', at: 2 }),
            ("/é", InvalidReason::Character { character: 'é', at: 1 }),
        ] {
            assert_eq!(Channel::parse_standard(name).unwrap_err().reason(), reason, "{name:?}");
        }
        let text = Channel::parse_standard("/a?b").unwrap_err().to_string();
        assert!(text.contains("'?'") && text.contains("/a?b"), "{text}");
    }

    #[test]
    fn names_outside_the_grammar_are_taken_as_they_are() {
        for name in [
            "/topic/T?Industry='Energy'",
            "/topic/T?Path='/a//b/*'",
            "/topic/T?Path=/a/",
            "/data/Größe",
            "/topic/T?",
            "/topic/T/?Amount>1000&Stage='%é'",
            "/a=b",
        ] {
            assert_eq!(channel(name).as_str(), name);
            assert_eq!(Channel::from_wire(name), channel(name));
            assert!(!channel(name).is_wild(), "{name}");
            assert!(Channel::parse_standard(name).is_err(), "{name}");
        }
        for (name, reason) in [
            ("/?x", InvalidReason::Empty),
            ("?x", InvalidReason::NoLeadingSlash),
            ("topic/T?x", InvalidReason::NoLeadingSlash),
            ("/a//b?x", InvalidReason::EmptySegment),
            ("/a/*/b?x", InvalidReason::WildcardNotLast),
            ("/a?x='\t'", InvalidReason::Character { character: '\t', at: 6 }),
        ] {
            assert_eq!(Channel::parse(name).unwrap_err().reason(), reason, "{name:?}");
        }
    }

    #[test]
    fn a_filtered_channel_takes_what_its_path_takes() {
        let filtered = channel("/topic/T?Industry='Energy'");
        assert_eq!(filtered.path(), "/topic/T");
        assert!(filtered.is_filtered() && !channel("/topic/T").is_filtered());
        for (name, taken) in [
            ("/topic/T", true),
            ("/topic/T/U", false),
            ("/topic/TT", false),
            ("/topic/T?Industry='Media'", false),
        ] {
            assert_eq!(filtered.matches(&channel(name)), taken, "{name}");
        }
        assert!(channel("/topic/*").matches(&filtered) && channel("/topic/T").matches(&filtered));
        assert!(channel("/topic/*?x").is_wild() && channel("/topic/*?x").matches(&channel("/topic/T")));
    }

    #[test]
    fn what_is_normal_stays_as_it_is() {
        assert_eq!(channel("/a /"), channel("/a"), "white space before the slash");
        for name in ["/a /", "/a//", " /a/ / ", "//", "/", "/a//b//", ""] {
            let known = Channel::from_wire(name);
            assert_eq!(Channel::from_wire(known.as_str()), known, "{name:?}");
            assert!(known.as_str().len() < 2 || !known.as_str().ends_with(['/', ' ']), "{name:?}: {known}");
        }
    }

    #[test]
    fn a_star_inside_a_segment_is_an_ordinary_character() {
        assert!(!channel("/foo/a*").is_wild());
        assert!(!channel("/foo/***").is_wild());
        assert!(channel("/**").is_wild());
    }

    #[test]
    fn meta_and_service_alone_are_broadcast() {
        assert_eq!(channel("/meta").kind(), ChannelKind::Broadcast);
        assert_eq!(channel("/service").kind(), ChannelKind::Broadcast);
        assert_eq!(channel("/meta/x").kind(), ChannelKind::Meta);
        assert_eq!(channel("/service/x").kind(), ChannelKind::Service);
    }

    #[test]
    fn matching_names_go_from_the_most_exact_to_the_root() {
        let names = |name: &str| channel(name).matching_names().map(|n| n.into_owned()).collect::<Vec<_>>();
        assert_eq!(names("/a/b/c"), ["/a/b/c", "/a/b/*", "/a/b/**", "/a/**", "/**"]);
        assert_eq!(names("/a"), ["/a", "/*", "/**"]);
        assert_eq!(names("/a/*"), ["/a/*"]);
        assert_eq!(names("/a/b?c=/d"), ["/a/b?c=/d", "/a/b", "/a/*", "/a/**", "/**"]);
    }

    #[test]
    fn a_pattern_that_matches_is_among_the_matching_names_whatever_a_peer_calls_a_channel() {
        let words = ["/", "a", "*", "?"];
        let names: Vec<String> = (0..4_u32.pow(4) * 4)
            .map(|n| (0..=n % 4).map(|digit| words[(n / 4 / 4_u32.pow(digit) % 4) as usize]).collect())
            .collect();
        for name in &names {
            let channel = Channel::from_wire(name);
            for pattern in names.iter().filter_map(|pattern| Channel::parse(pattern).ok()) {
                if pattern.is_filtered() && channel.is_wild() && pattern != channel {
                    continue;
                }
                // A filtered channel is known by its path.
                let known = if channel.is_filtered() { pattern.as_str() } else { pattern.path() };
                let named = channel.matching_names().any(|name| known == name);
                assert_eq!(named, pattern.matches(&channel), "{pattern} and {channel}");
            }
        }
    }
}
