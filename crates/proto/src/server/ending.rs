//! How connects and sessions end: their time is over, their link was closed, or the application ends them.

use std::time::Duration;

use super::channels::SessionKey;
use super::contract::{LinkId, Output, RemovedBecause};
use super::core::{Core, Dismissed};
use super::encoded::Encoded;
use super::lanes::Lane;
use super::replies::{last_message, rehandshake, stop};
use crate::advice::{Advice, Interval};
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::time::Time;

impl Core {
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        if self.has_work() {
            return Some(self.now);
        }
        let due = self.due.first().map(|(at, _)| *at);
        let lazy = self.lazy.first().map(|(at, _)| *at);
        due.into_iter().chain(lazy).min()
    }

    /// Answers the connects whose time is over, and ends the sessions whose clients do not fetch.
    pub(super) fn expire(&mut self, end: u64, now: Time) {
        while self.steps < end
            && let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            self.steps += 1;
            match self.sessions.get(&key).map(|session| (session.held.is_some(), session.in_request > 0)) {
                Some((true, _)) => self.resume(key, now),
                // Its client waits for an answer.
                Some((false, true)) => self.postpone_end(key, now + Duration::from_millis(1)),
                Some((false, false)) if self.lanes.waiting(Lane::Session(key)) > 0 => {
                    self.postpone_end(key, now + Duration::from_millis(1));
                }
                Some((false, false)) => self.remove(key, RemovedBecause::Expired),
                None => {
                    self.due.remove(&(at, key));
                    if let Some(last_message) = self.dismissed.remove(&key) {
                        self.by_id.remove(&last_message.id);
                    }
                }
            }
        }
        while self.steps < end
            && let Some((at, key)) = self.lazy.first().copied().filter(|(at, _)| *at <= now)
        {
            self.steps += 1;
            self.lazy.remove(&(at, key));
            if let Some(session) = self.sessions.get_mut(&key) {
                self.steps += session.queue.work();
                session.lazy_due = None;
                session.queue.hurry();
                self.mark_dirty(key);
            }
        }
    }

    /// Ends the sessions that could not take what must not be lost. Their clients find out with their next message.
    pub(super) fn end_overflowed(&mut self, now: Time) {
        while let Some(key) = self.overflowed.pop_front() {
            self.steps += 1;
            if let Some(held) = self.take_held(key) {
                let mut held = held;
                held.advice = Some(rehandshake());
                let reply = self.connect_reply(&held, None, now);
                self.release(&held, &[reply]);
            }
            self.remove(key, RemovedBecause::Overflowed);
        }
    }

    pub(super) fn link_closed(&mut self, link: LinkId, now: Time) {
        self.links.remove(&link);
        self.abandon(link);
        self.written(link, now);
        let key = self.sockets.remove(&link).or_else(|| self.holding.get(&link).copied());
        let Some(key) = key else { return };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.socket == Some(link) {
            session.socket = None;
        }
        if session.held.as_ref().is_some_and(|held| held.link == link) {
            self.take_held(key);
            self.postpone_end(key, now);
        }
    }

    /// The application ends a session.
    pub(super) fn dismiss_by_id(&mut self, session: &ClientId, reason: Option<BayeuxError>, now: Time) {
        if let Some(key) = self.by_id.get(session).copied() {
            self.dismiss(key, RemovedBecause::Dismissed, reason, now);
        }
    }

    /// Ends a session and advises its client not to reconnect: at once if it can be reached, else when it connects.
    pub(super) fn dismiss(
        &mut self,
        key: SessionKey,
        because: RemovedBecause,
        reason: Option<BayeuxError>,
        now: Time,
    ) {
        let Some(session) = self.sessions.get(&key) else { return };
        let (id, socket) = (session.id.clone(), session.socket);
        let last_message = self.encode(&last_message(reason.clone()));
        let mut informed = self.resume_for_good(key, Some(last_message.clone()), now);
        if let Some(link) = socket.filter(|_| !informed) {
            let mut messages = self.take_rest(key);
            messages.push(last_message);
            self.emit(Output::Push { link, messages: self.join(&messages) });
            informed = true;
        }
        let until = now
            + self.sessions.get(&key).map(|session| session.interval).unwrap_or_default()
            + self.config.max_interval;
        self.remove(key, because);
        if !informed {
            /// Its entries in three maps, with as much again as they may have free.
            const DISMISSED: usize = 448;
            self.by_id.insert(id.clone(), key);
            let text = reason.as_ref().map_or(0, |reason| reason.to_string().len());
            let charge = self.meters.sessions.charge(DISMISSED + text);
            self.dismissed.insert(key, Dismissed { id, until, reason, _charge: charge });
            self.due.insert((until, key));
        }
    }

    /// Answers the connect that a session holds, for the last time. Whether there was one.
    pub(super) fn resume_for_good(
        &mut self,
        key: SessionKey,
        last_message: Option<Encoded>,
        now: Time,
    ) -> bool {
        let Some(mut held) = self.take_held(key) else { return false };
        let taken = self.take_events(key);
        let mut messages = taken.messages;
        messages.extend(last_message);
        held.advice = Some(stop());
        messages.push(self.connect_reply(&held, taken.batch, now));
        self.release(&held, &messages);
        true
    }

    /// The server shuts down: all clients are advised to handshake again, and not all at the same moment.
    pub(super) fn shutdown(&mut self) {
        self.down = true;
        // In the order in which they began, so that a run can be repeated.
        let mut keys: Vec<SessionKey> = self.sessions.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        self.return_within = Duration::from_millis(keys.len() as u64).min(self.config.shutdown_spread);
        self.going_down = keys.into();
    }

    /// Ends the next sessions of a server that shuts down.
    pub(super) fn go_down(&mut self, end: u64, now: Time) {
        while self.steps < end
            && let Some(key) = self.going_down.pop_front()
        {
            self.steps += 2;
            if let Some(mut held) = self.take_held(key) {
                let taken = self.take_events(key);
                let mut messages = taken.messages;
                let pause = self.random_within(self.return_within);
                held.advice = Some(Advice { interval: Some(Interval::Wait(pause)), ..rehandshake() });
                messages.push(self.connect_reply(&held, taken.batch, now));
                self.release(&held, &messages);
            }
            if let Some(link) = self.sessions.get(&key).and_then(|session| session.socket) {
                self.emit(Output::Close { link, code: 1001, reason: "the server is shutting down" });
            }
            self.remove(key, RemovedBecause::Shutdown);
        }
    }

    pub(super) fn remove(&mut self, key: SessionKey, because: RemovedBecause) {
        self.take_held(key);
        let Some(mut session) = self.sessions.remove(&key) else { return };
        self.due.remove(&(session.due, key));
        if let Some(due) = session.lazy_due {
            self.lazy.remove(&(due, key));
        }
        self.by_id.remove(&session.id);
        session.weight.leave(&mut self.heavy, key);
        let subscriptions = std::mem::take(&mut session.subscriptions);
        if !subscriptions.is_empty() {
            self.leaving.push_back((key, subscriptions));
        }
        self.steps += session.queue.work();
        if let Some(link) = session.socket {
            self.sockets.remove(&link);
            if because == RemovedBecause::Expired {
                self.emit(Output::Close { link, code: 1000, reason: "the session has expired" });
            }
        }
        if session.dropped > 0 {
            self.emit(Output::Dropped(session.id.clone(), session.dropped));
        }
        self.emit(Output::Removed(session.id.clone(), because));
    }
}
