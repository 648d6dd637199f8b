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
    /// another socket by its id, as it does with other servers. A session that began over HTTP always needs it.
    pub(super) fn is_of_browser(&mut self, key: SessionKey, turn: &mut Turn) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        // Not what is known of the link now: it may have been closed while the request waited.
        let facts = turn.facts.as_ref().filter(|_| !self.config.trust_client_session);
        let (Some(facts), Some(own)) = (facts, &session.browser) else { return true };
        let is_own = facts.browser.iter().chain(&facts.socket_cookie).any(|cookie| cookie == own);
        if is_own && !facts.issued {
            session.cookie_since.get_or_insert(self.links_opened);
            return true;
        }
        let is_socket = turn.kind == LinkKind::WebSocket;
        // A session that began with the cookie that was issued to this socket, and so after it, is its client's, too.
        let began_with_it = is_own && key > facts.newest;
        if is_socket
            && facts.issued
            && (began_with_it || !session.began_over_http && session.cookie_since.is_none())
        {
            return true;
        }
        let came_without = facts.issued || facts.browser.is_none();
        if is_socket && came_without && session.may_ask_for_cookie(facts.number) {
            self.reopen(turn);
        } else {
            self.emit(Output::WrongBrowser(turn.link));
        }
        false
    }

    /// Closes a socket without an answer, so that its client opens one that comes with the cookie. Faye's clients open their
    /// socket while they handshake over HTTP, before there is a cookie, and take a 402 for the failure of a subscribe.
    fn reopen(&mut self, turn: &mut Turn) {
        if let Some(facts) = self.links.get_mut(&turn.link) {
            facts.closing = true;
        }
        turn.closed = true;
        turn.messages = Vec::new().into_iter();
        let reason = "the cookie of the session is missing, which a new socket can send";
        self.emit(Output::Close { link: turn.link, code: 1008, reason });
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
