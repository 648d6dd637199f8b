//! The receivers of messages, as the driver knows them: the queue of each, what arrived for it in this round, whether it is
//! to be granted credit, and what it dropped.

use std::collections::HashMap;
use std::sync::Arc;

use bayeux_proto::client::{CloseReason, Event, SinkId};
use bayeux_proto::{Channel, Message, Time};

use crate::drops::Drops;
use crate::error::Cause;
use crate::queue::Queue;

pub(crate) struct Sinks {
    all: HashMap<SinkId, Sink, foldhash::fast::RandomState>,
    /// The receivers with messages in this round.
    served: Vec<SinkId>,
    /// The receivers that got messages since their credit was last granted.
    filled: Vec<SinkId>,
    /// Dropped messages that were not reported yet.
    drops: Drops,
}

struct Sink {
    queue: Arc<Queue>,
    /// The channel of a stream; `None` for the inbox.
    channel: Option<Channel>,
    /// The messages of this round, added to the queue together.
    batch: Vec<Message>,
}

impl Sinks {
    pub(crate) fn new(inbox: Arc<Queue>) -> Self {
        let inbox = Sink { queue: inbox, channel: None, batch: Vec::new() };
        Self {
            all: HashMap::from_iter([(SinkId::INBOX, inbox)]),
            served: Vec::new(),
            filled: Vec::new(),
            drops: Drops::default(),
        }
    }

    /// Adds a stream.
    pub(crate) fn add(&mut self, id: SinkId, channel: Channel, queue: Arc<Queue>) {
        self.all.insert(id, Sink { queue, channel: Some(channel), batch: Vec::new() });
    }

    /// Removes a stream. Returns its channel, and the event about what it dropped.
    pub(crate) fn remove(&mut self, id: SinkId, now: Time) -> Option<(Channel, Option<Event>)> {
        let channel = self.all.remove(&id)?.channel?;
        Some((channel, self.drops.forget(id, now)))
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.all.values().map(|sink| &*sink.queue)
    }

    /// Takes messages for these receivers, which get them when the round ends.
    pub(crate) fn take(&mut self, sinks: &[SinkId], messages: Vec<Message>) {
        if let Some((last, others)) = sinks.split_last() {
            for sink in others {
                self.put(*sink, messages.clone());
            }
            self.put(*last, messages);
        }
    }

    fn put(&mut self, id: SinkId, mut messages: Vec<Message>) {
        let Some(sink) = self.all.get_mut(&id) else { return };
        if sink.batch.is_empty() {
            self.served.push(id);
            sink.batch = messages;
        } else {
            sink.batch.append(&mut messages);
        }
    }

    /// Adds the messages of this round to the queues of their receivers. Returns events about what was dropped.
    pub(crate) fn hand_over(&mut self, now: impl Fn() -> Time) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(id) = self.served.pop() {
            let Some(sink) = self.all.get_mut(&id) else { continue };
            let dropped = sink.queue.push(std::mem::take(&mut sink.batch));
            self.filled.push(id);
            if dropped > 0 {
                events.extend(self.drops.add(id, sink.channel.as_ref(), dropped, now()));
            }
        }
        events
    }

    /// Returns the error from these receivers, after the messages before it.
    pub(crate) fn push_error(&self, sinks: &[SinkId], cause: &Cause) {
        for sink in sinks.iter().filter_map(|sink| self.all.get(sink)) {
            sink.queue.push_error(cause.clone());
        }
    }

    /// The replayed streams that have space again for what did not fit.
    pub(crate) fn gaps(&self) -> Vec<SinkId> {
        let gaps = self.all.iter().filter(|(_, sink)| sink.queue.has_gap());
        let mut gaps: Vec<SinkId> = gaps.map(|(id, _)| *id).collect();
        gaps.sort_unstable();
        gaps
    }

    /// The channel of such a stream, and the id of the last message that fitted. What comes from now on is added.
    pub(crate) fn take_gap(&self, id: SinkId) -> Option<(Channel, i64)> {
        let sink = self.all.get(&id)?;
        Some((sink.channel.clone()?, sink.queue.take_gap()?))
    }

    /// Ends these receivers with an error, after the messages before it.
    pub(crate) fn fail(&self, sinks: &[SinkId], cause: &Cause) {
        for sink in sinks.iter().filter_map(|sink| self.all.get(sink)) {
            sink.queue.fail(cause.clone());
        }
    }

    /// Whether a receiver got messages since its credit was last granted.
    pub(crate) fn any_filled(&self) -> bool {
        !self.filled.is_empty()
    }

    /// All receivers are to be granted credit.
    pub(crate) fn fill_all(&mut self) {
        self.filled.clear();
        self.filled.extend(self.all.keys());
        // The order of the map is random.
        self.filled.sort_unstable();
    }

    /// The next receiver that is to be granted credit, and how much: only those that must not drop messages need any.
    pub(crate) fn next_credit(&mut self) -> Option<(SinkId, (usize, usize))> {
        while let Some(id) = self.filled.pop() {
            if let Some(credit) = self.all.get(&id).and_then(|sink| sink.queue.credit()) {
                return Some((id, credit));
            }
        }
        None
    }

    /// When [`Sinks::reports`] has events.
    pub(crate) fn next_report(&self) -> Option<Time> {
        self.drops.next()
    }

    /// The events about dropped messages that are due.
    pub(crate) fn reports(&mut self, now: Time) -> Vec<Event> {
        self.drops.due(now)
    }

    /// The events about dropped messages that were not reported yet.
    pub(crate) fn last_reports(&mut self, now: Time) -> Vec<Event> {
        self.drops.end(now)
    }

    /// Ends all receivers after their messages; only the inbox stays, for the next session.
    pub(crate) fn close(&mut self, reason: &CloseReason) {
        for queue in self.queues() {
            queue.close(reason.clone());
        }
        self.all.retain(|sink, _| *sink == SinkId::INBOX);
    }
}
