//! Work in slices: each call does a bounded number of steps, and what is left waits for the next.
//!
//! A step is what takes about as long as to hand one message to one session: a message of a request, a name to subscribe
//! to, a session that a message reaches, a session that ends. Work on much text counts as several.

use std::time::Duration;

use super::channels::{Matches, SessionKey};
use super::contract::{LinkId, LinkKind, Output};
use super::core::{Core, Turn};
use super::encoded::Encoded;
use super::lanes::Lane;
use crate::channel::Channel;
use crate::id::ClientId;
use crate::time::Time;

/// What waits for its turn.
pub(super) enum Job {
    /// A request or frame, and how much memory it takes.
    Request(Box<Turn>),
    /// A message of the application for all subscribers.
    Broadcast(Box<FanOut>),
    /// A message of the application for one session.
    Send(ClientId, Encoded),
}

/// A message on its way to all who are subscribed, in the order of their keys.
#[derive(Debug)]
pub(super) struct FanOut {
    pub(super) channel: Channel,
    pub(super) message: Encoded,
    pub(super) lazy: Option<Duration>,
    /// A session that does not get it.
    pub(super) except: Option<SessionKey>,
    /// The last that was reached.
    pub(super) after: Option<SessionKey>,
    /// Good until the end of the slice.
    pub(super) matches: Option<Matches>,
}

/// So many steps a lane may take before the next has its turn.
const QUANTUM: u64 = 128;
/// So many jobs may wait behind each other; a client that sends more without waiting for an answer is refused.
pub(super) const LONGEST_LANE: usize = 64;

impl Core {
    /// Whether there is work that need not wait for anything.
    pub(super) fn has_work(&self) -> bool {
        !self.lanes.is_empty()
            || !self.dirty.is_empty()
            || !self.leaving.is_empty()
            || !self.overflowed.is_empty()
            || !self.going_down.is_empty()
    }

    fn budget(&self) -> u64 {
        self.config.max_steps.max(1) as u64
    }

    /// Starts a job at once if nothing is before it in its lane, so that a small request does not wait for a large one of
    /// another client; else it waits.
    pub(super) fn start(&mut self, lane: Lane, mut job: Job, now: Time) {
        let is_next = self.lanes.waiting(lane) == 0;
        if is_next && self.run(&mut job, self.steps + self.budget().div_ceil(4), now) {
            return;
        }
        if let Job::Request(turn) = &mut job {
            let cost = turn.cost();
            turn.charge = Some(self.meters.requests.charge(cost));
            turn.waits = true;
            self.waiting.insert(turn.link, lane);
        }
        self.lanes.push(lane, job);
    }

    /// Does as much as one call may do.
    pub(super) fn work(&mut self, now: Time) {
        let end = self.steps + self.budget();
        self.go_down(end, now);
        // Half at most, and something is left for requests: a session whose request waits is due again and again, and would
        // keep that request from being handled.
        let half = self.steps + self.budget().div_ceil(2);
        self.expire(end.min(half), now);
        let end = end.max(self.steps + 1);
        while self.steps < end
            && let Some(lane) = self.lanes.next()
        {
            // The application shares with all others together, not with each of them.
            let quantum = if lane == Lane::Application { QUANTUM.max(self.budget() / 2) } else { QUANTUM };
            self.serve(lane, end.min(self.steps + quantum), now);
        }
        // What was put into queues is handed out as well: that is as much work again, at most.
        let end = end.max(self.steps) + self.budget();
        self.end_overflowed(now);
        self.deliver(end, now);
        self.leave(end);
        self.relieve(now);
    }

    fn serve(&mut self, lane: Lane, end: u64, now: Time) {
        while let Some(mut job) = self.lanes.take(lane) {
            if !self.run(&mut job, end, now) {
                self.lanes.put_back(lane, job);
                break;
            }
            if let Job::Request(turn) = job
                && (turn.kind.is_request() || self.lanes.waiting(lane) == 0)
            {
                self.waiting.remove(&turn.link);
                if turn.kind == LinkKind::WebSocket && !turn.closed {
                    self.emit(Output::Ready(turn.link));
                }
            }
            if self.steps >= end {
                break;
            }
        }
        self.lanes.end_turn();
    }

    /// Whether the job is done.
    fn run(&mut self, job: &mut Job, end: u64, now: Time) -> bool {
        match job {
            Job::Request(turn) => self.go_on(turn, end, now),
            Job::Broadcast(fan_out) => self.fan_out(fan_out, end, now),
            Job::Send(session, message) => {
                self.steps += 1;
                if let Some(key) = self.by_id.get(session).copied() {
                    self.enqueue(key, message.clone(), None, now);
                }
                true
            }
        }
    }

    /// Puts a message into the queues of those that it reaches. Whether all have it.
    pub(super) fn fan_out(&mut self, fan_out: &mut FanOut, end: u64, now: Time) -> bool {
        /// So many sessions are looked up at once.
        const MOST: u64 = 64;
        let matches = fan_out.matches.take().unwrap_or_else(|| self.matches(&fan_out.channel));
        // However little may be done at once, each slice delivers it to at least one session.
        let end = end.max(self.steps + 1);
        let mut reached = std::mem::take(&mut self.reached);
        let done = loop {
            if self.steps >= end {
                break false;
            }
            let most = ((end - self.steps) / matches.width()).clamp(1, MOST);
            reached.clear();
            self.channels.reach(&matches, fan_out.after, most as usize, &mut reached);
            if reached.is_empty() {
                break true;
            }
            for key in &reached {
                if self.steps >= end {
                    break;
                }
                self.steps += matches.width();
                fan_out.after = Some(*key);
                if Some(*key) != fan_out.except {
                    self.enqueue(*key, fan_out.message.clone(), fan_out.lazy, now);
                }
            }
            let all = fan_out.after == reached.last().copied();
            if self.pressed {
                // A large batch must not fill the queues of sessions that can be reached.
                self.deliver(end, now);
            }
            self.relieve(now);
            if all && (reached.len() as u64) < most {
                break true;
            }
        };
        self.reached = reached;
        done
    }

    pub(super) fn matches(&mut self, channel: &Channel) -> Matches {
        let matches = self.channels.matches(channel);
        self.steps += matches.steps - 1;
        matches
    }

    /// Gives up what sessions that ended were subscribed to.
    fn leave(&mut self, end: u64) {
        while let Some((key, places)) = self.leaving.front_mut() {
            while let Some(place) = places.pop_first() {
                self.steps += 1;
                self.channels.unsubscribe(place, *key);
                if self.steps >= end {
                    return;
                }
            }
            self.leaving.pop_front();
        }
    }

    /// As long as there is too much memory in use, the sessions with the fullest queues lose them: among those of about the
    /// same size, the one that has not fetched for longest.
    fn relieve(&mut self, now: Time) {
        /// It is done after each few messages, and each queue has more.
        const MOST: u64 = 256;
        if !self.is_scarce() {
            return;
        }
        // Sessions that can be reached lose nothing.
        self.deliver(self.steps + MOST, now);
        let end = self.steps + MOST;
        while self.steps < end
            && self.is_scarce()
            && let Some((_, _, key)) = self.heavy.last().copied()
        {
            self.steps += 1;
            self.unburden(key);
            self.end_overflowed(now);
        }
    }

    /// A link is closed while its requests wait. They are done as they came, but no answer is sent.
    pub(super) fn abandon(&mut self, link: LinkId) {
        let Some(lane) = self.waiting.remove(&link) else { return };
        for job in self.lanes.jobs_mut(lane) {
            if let Job::Request(turn) = job
                && turn.link == link
            {
                turn.closed = true;
            }
        }
    }
}
