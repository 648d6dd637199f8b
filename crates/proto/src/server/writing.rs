//! Whose session it is, and whether what it was sent has been written: what the shell knows of its connections.

use super::channels::SessionKey;
use super::contract::{LinkId, LinkKind, Output};
use super::core::{Core, Turn};
use crate::time::Time;

impl Core {
    pub(super) fn cookie_issued(&mut self, link: LinkId) {
        if let Some(facts) = self.links.get_mut(&link) {
            facts.issued = true;
        }
    }

    /// Whether a request, or a socket that takes a session over, came with the cookie of the session. A session that began
    /// on a socket was issued one; until its client has sent it, the client may be one that keeps no cookies, and moves to
    /// another socket by its id, as it does with other servers. A session that began over HTTP may move so only to a socket
    /// that was open before, as long as its client has never sent the cookie: Faye's clients open their socket first, when
    /// they have no cookie yet. HTTP always needs the cookie.
    pub(super) fn is_of_browser(&mut self, key: SessionKey, turn: &Turn) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        // Not what is known of the link now: it may have been closed while the request waited.
        let facts = turn.facts.as_ref().filter(|_| !self.config.trust_client_session);
        let (Some(facts), Some(own)) = (facts, &session.browser) else { return true };
        let is_own = facts.browser.as_ref() == Some(own);
        if is_own && !facts.issued {
            session.keeps_cookie = true;
            return true;
        }
        // A session that began with the cookie that was issued to this socket is its client's, too.
        let is_unproven = is_own || !session.keeps_cookie;
        let was_open = !session.began_over_http || key > facts.newest;
        if turn.kind == LinkKind::WebSocket && facts.issued && is_unproven && was_open {
            return true;
        }
        self.emit(Output::WrongBrowser(turn.link));
        false
    }

    /// A response is handed out: the time of its session starts when it has been written. A shell that reports nothing of
    /// its links does not report that either.
    pub(super) fn response_handed_out(&mut self, link: LinkId, key: SessionKey, now: Time) {
        if self.links.contains_key(&link) {
            self.begin_writing(link, key, now);
        }
    }

    /// The frames for a socket have not been written yet.
    pub(super) fn writing(&mut self, link: LinkId, now: Time) {
        if let Some(key) = self.sockets.get(&link).copied() {
            self.begin_writing(link, key, now);
        }
    }

    fn begin_writing(&mut self, link: LinkId, key: SessionKey, now: Time) {
        if let Some(session) = self.sessions.get_mut(&key)
            && self.writing.insert(link, key).is_none()
        {
            session.writing += 1;
            self.postpone_end(key, now);
        }
    }

    /// What was handed out over a link has been written, or never will be.
    pub(super) fn written(&mut self, link: LinkId, now: Time) {
        if let Some(key) = self.writing.remove(&link)
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.writing = session.writing.saturating_sub(1);
            self.postpone_end(key, now);
        }
    }
}
