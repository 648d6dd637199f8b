//! The calls of users that wait, each with its request: which requests wait for their turn, which for their reply, and until when.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::contract::ExchangeId;
use super::failure::Failure;
use super::request::{Request, Stamp};
use crate::message::Message;
use crate::time::Time;

/// The requests of calls, and those that restore subscriptions, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// In boxes, or the table would be large in a session that asks for nothing.
    table: HashMap<u64, Box<Request>, foldhash::fast::RandomState>,
    deadlines: BTreeSet<(Time, u64)>,
    /// Ids that wait for their turn, each with the group that it travels with; in the order of the ids.
    queue: VecDeque<(u64, u64)>,
    /// The same for those that restore subscriptions in a new session, which come before; their order means nothing.
    restoring: VecDeque<(u64, u64)>,
    groups: u64,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Request> {
        self.table.get(&id).map(|request| &**request)
    }

    /// A new group: requests of one group are sent together.
    pub(super) fn group(&mut self) -> u64 {
        self.groups += 1;
        self.groups
    }

    pub(super) fn push_back(&mut self, id: u64, group: u64, request: Request) {
        self.queue.push_back((id, group));
        self.insert(id, request);
    }

    /// Puts requests before all that wait, to restore the subscriptions of a session that was lost.
    pub(super) fn restore(&mut self, requests: Vec<(u64, Request)>) {
        let group = self.group();
        let table = &self.table;
        self.restoring.retain(|(id, _)| table.get(id).is_some_and(|request| !request.is_sent()));
        self.restoring.extend(requests.iter().map(|(id, _)| (*id, group)));
        for (id, request) in requests {
            self.insert(id, request.restoring());
        }
    }

    /// Puts back what was sent in vain, to be sent again: before all that was asked for after it, but after the
    /// subscriptions of a new session.
    pub(super) fn push_again(&mut self, id: u64, request: Request) {
        let group = self.group();
        let queue = if request.restores() { &mut self.restoring } else { &mut self.queue };
        let at = queue.partition_point(|(other, _)| *other <= id);
        queue.insert(at, (id, group));
        self.insert(id, request.queued());
    }

    /// The caller does not wait for the outcome of a request any more.
    pub(super) fn disown(&mut self, id: u64) {
        if let Some(request) = self.table.get_mut(&id) {
            request.disown();
        }
    }

    fn insert(&mut self, id: u64, request: Request) {
        self.deadlines.insert((request.deadline(), id));
        self.table.insert(id, Box::new(request));
    }

    /// Takes a request out, wherever it stands.
    pub(super) fn remove(&mut self, id: u64) -> Option<Request> {
        let request = self.table.remove(&id)?;
        self.deadlines.remove(&(request.deadline(), id));
        Some(*request)
    }

    /// Whether anything waits for its turn.
    pub(super) fn has_queued(&mut self) -> bool {
        self.next_queued().is_some()
    }

    /// What is next to have its turn, with its group. What was taken out, or went out already, is passed over.
    fn next_queued(&mut self) -> Option<(u64, u64)> {
        let table = &self.table;
        for queue in [&mut self.restoring, &mut self.queue] {
            while let Some((id, group)) = queue.front().copied() {
                if table.get(&id).is_some_and(|request| !request.is_sent()) {
                    return Some((id, group));
                }
                queue.pop_front();
            }
        }
        None
    }

    /// Gives the next requests their turn: at least one group, and no more groups than fit in `max_bytes`; of a
    /// group, no more requests than fit in `most`.
    pub(super) fn take_turn(
        &mut self,
        exchange: ExchangeId,
        max_bytes: usize,
        most: usize,
        stamp: Stamp,
        now: Time,
    ) -> Vec<(u64, Message)> {
        let mut taken = Vec::new();
        let mut bytes = 0_usize;
        let mut last_group = None;
        while let Some((id, group)) = self.next_queued() {
            // Once it is under way it is passed over.
            let Some(request) = self.table.get_mut(&id) else { break };
            let size = wire_size(request.message());
            let limit = if last_group.is_some_and(|last| last != group) { max_bytes } else { most };
            if !taken.is_empty() && bytes.saturating_add(size) > limit {
                break;
            }
            bytes = bytes.saturating_add(size);
            last_group = Some(group);
            let waited_until = request.deadline();
            request.send(exchange, stamp, now);
            if request.deadline() != waited_until {
                self.deadlines.remove(&(waited_until, id));
                self.deadlines.insert((request.deadline(), id));
            }
            taken.push((id, request.message().clone()));
        }
        taken
    }

    /// The requests that went out with an exchange, in the order of their ids.
    pub(super) fn of_exchange(&self, exchange: ExchangeId) -> Vec<u64> {
        self.ids(|request| request.exchange() == Some(exchange))
    }

    /// The requests that are on their way. A service that has accepted one, and has not answered yet, is not asked
    /// again: its answer finds us in the session, whatever becomes of the connection.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.ids(|request| request.is_sent() && !request.is_accepted())
    }

    /// The request was sent in vain.
    pub(super) fn note(&mut self, id: u64, failure: &Failure) {
        if let Some(request) = self.table.get_mut(&id) {
            request.note(failure);
        }
    }

    /// A service has accepted a request, and its answer is to follow.
    pub(super) fn accept(&mut self, id: u64) {
        if let Some(request) = self.table.get_mut(&id) {
            request.accept();
        }
    }

    /// The requests that fit, in the order of their ids.
    pub(super) fn ids(&self, fits: impl Fn(&Request) -> bool) -> Vec<u64> {
        let mut ids: Vec<u64> =
            self.table.iter().filter(|(_, request)| fits(request)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// The oldest request that fits.
    pub(super) fn oldest(&self, fits: impl Fn(&Request) -> bool) -> Option<u64> {
        self.table.iter().filter(|(_, request)| fits(request)).map(|(id, _)| *id).min()
    }

    /// The id of the request that runs out first, and when.
    pub(super) fn next_deadline(&self) -> Option<(Time, u64)> {
        self.deadlines.first().copied()
    }

    /// Puts off a deadline, unless the caller set it. Whether it did.
    pub(super) fn extend(&mut self, id: u64, deadline: Time) -> bool {
        let Some(request) = self.table.get_mut(&id) else { return false };
        let before = request.deadline();
        let extended = request.extend(deadline);
        if extended {
            self.deadlines.remove(&(before, id));
            self.deadlines.insert((deadline, id));
        }
        extended
    }
}

/// Roughly what a message takes on the wire.
pub(super) fn wire_size(message: &Message) -> usize {
    const ENVELOPE: usize = 128;
    ENVELOPE
        + message.channel().as_str().len()
        + message.data().as_bytes().len()
        + message.ext().map_or(0, |ext| ext.as_bytes().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::data::Data;

    #[test]
    fn all_that_can_be_long_counts_for_the_size_on_the_wire() {
        let mut message = Message::new(Channel::parse("/a").unwrap());
        let bare = wire_size(&message);
        message = message.with_data(Data::from(serde_json::Value::from("x".repeat(998))));
        assert_eq!(wire_size(&message) - bare, 1000 - "null".len());
        let with_data = wire_size(&message);
        message.set_ext(Some(Data::from(serde_json::json!({"a": 1}))));
        assert_eq!(wire_size(&message) - with_data, r#"{"a":1}"#.len());
        let long = Message::new(Channel::parse(&format!("/{}", "a".repeat(500))).unwrap());
        assert_eq!(wire_size(&long) - bare, 499);
    }
}
