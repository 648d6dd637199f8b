//! Subscriptions that begin in the past: from where, and what happens if the server does not keep that.

use super::Core;
use crate::channel::Channel;
use crate::client::cause::server_error;
use crate::client::contract::{ExchangeId, SinkId};
use crate::client::event::Event;
use crate::client::outcome::{CallError, CallResult};
use crate::client::replay::{Replay, ReplayFallback};
use crate::client::replays::Affected;
use crate::client::subscriptions::Status;
use crate::ext::replay;
use crate::message::{Message, Subscription};

impl Core {
    /// Adds a receiver that begins in the past. Returns whether that needs a new session: in this one, events of an earlier
    /// subscription may still come, which would count as newer than those that are replayed.
    pub(super) fn begin_replay(
        &mut self,
        channel: &Channel,
        sink: SinkId,
        begin: Replay,
        fallback: ReplayFallback,
    ) -> Result<bool, CallError> {
        let wrong = |why| Err(CallError::WrongChannel { channel: channel.clone(), why });
        if channel.is_meta() || channel.is_service() {
            return wrong("is no broadcast channel; only the events of those are replayed");
        }
        if channel.is_wild() {
            return wrong("is a pattern; events are replayed for one channel");
        }
        let in_the_past = begin != Replay::Tip;
        if in_the_past && self.established().is_some() && self.replays.is_unsupported() {
            let channel = channel.clone();
            return Err(CallError::ReplayUnavailable { channel, after: None, reply: None });
        }
        let known = match self.subscriptions.status(channel) {
            None | Some(Status::Refused(_)) => false,
            Some(Status::Active) => true,
            Some(Status::Pending(id)) => {
                let is_sent = self.calls.get(id).is_some_and(|request| request.is_sent());
                is_sent && !self.replays.is_asked(channel, begin)
            }
        };
        let known = known || self.replays.has_left(channel);
        self.replays.add(channel, sink, begin, fallback);
        Ok(in_the_past && known && self.established().is_some())
    }

    /// A receiver has not taken the events after this one.
    pub(super) fn replay_again(
        &mut self,
        channel: &Channel,
        sink: SinkId,
        after: i64,
    ) -> Result<(), CallError> {
        if !self.replays.rewind(channel, sink, after) {
            return Err(CallError::NotSubscribed(channel.clone()));
        }
        if let Some(session) = self.established_mut() {
            session.anew = true;
        }
        Ok(())
    }

    /// Forgets the positions of receivers that a channel does not have any more.
    pub(super) fn keep_replays(&mut self, channel: &Channel) {
        if !self.replays.is_empty() {
            self.replays.keep(channel, self.subscriptions.sinks(channel));
        }
    }

    /// The same for all channels.
    pub(super) fn keep_all_replays(&mut self) {
        for channel in self.replays.channels() {
            self.keep_replays(&channel);
        }
    }

    /// Puts the position of each channel into the messages that subscribe.
    pub(super) fn ask_for_replays(&mut self, messages: &mut [Message]) {
        if self.replays.is_empty() {
            return;
        }
        for message in messages.iter_mut().filter(|message| message.channel() == Channel::SUBSCRIBE) {
            let Some(Subscription::One(name)) = &message.fields().subscription else { continue };
            let channel = Channel::from_wire(name);
            if let Some(after) = self.replays.ask(&channel) {
                replay::ask(message, channel.as_str(), after);
            }
        }
    }

    /// The server refused a subscribe. Returns whether it was because of its position; what follows from that is done then.
    pub(super) fn replay_refused(&mut self, channel: &Channel, result: &CallResult) -> bool {
        let Err(CallError::Refused(reply)) = result else { return false };
        let Some(after) = self.replays.asked_after(channel) else { return false };
        if !replay::is_unavailable(&server_error(reply)) {
            return false;
        }
        let affected = self.replays.fall_back(channel, Some(after));
        let error = |channel: &Channel| {
            let (channel, reply) = (channel.clone(), Some(reply.clone()));
            CallError::ReplayUnavailable { channel, after: Some(after), reply }
        };
        let is_final = |affected: &Affected| affected.fallback == ReplayFallback::Fail;
        self.follow_fallbacks(channel, Some(after), &affected, error, is_final);
        !affected.is_empty()
    }

    /// A session was granted. If its server does not support replay, no subscription can begin in the past.
    pub(super) fn begin_replays(&mut self, reply: &Message) {
        let was_supported = !self.replays.is_unsupported();
        let confirmed = self.config.replay.then(|| replay::is_confirmed(reply));
        self.replays.begin_session(confirmed, self.lane.exchange());
        if !self.replays.is_unsupported() {
            return;
        }
        for channel in self.replays.channels() {
            let mut affected = self.replays.fall_back(&channel, None);
            let error = |channel: &Channel| {
                let channel = channel.clone();
                CallError::ReplayUnavailable { channel, after: None, reply: None }
            };
            // Who has just asked for the past does not get the present in its place.
            let asks: Vec<SinkId> = self.subscriptions.waiting_sinks(&channel).collect();
            affected.retain(|affected| was_supported || asks.contains(&affected.sink));
            let is_final = |affected: &Affected| {
                affected.fallback == ReplayFallback::Fail || asks.contains(&affected.sink)
            };
            self.follow_fallbacks(&channel, None, &affected, error, is_final);
        }
    }

    fn follow_fallbacks(
        &mut self,
        channel: &Channel,
        after: Option<i64>,
        affected: &[Affected],
        error: impl Fn(&Channel) -> CallError,
        is_final: impl Fn(&Affected) -> bool,
    ) {
        for one in affected {
            let ends = is_final(one);
            let fallback = match one.fallback {
                _ if ends => ReplayFallback::Fail,
                // Without support there is nothing to replay.
                _ if after.is_none() => ReplayFallback::Tip,
                fallback => fallback,
            };
            self.outbox.event(Event::ReplayUnavailable { channel: channel.clone(), after, fallback });
            if ends {
                self.end_reader(channel, one.sink, &error(channel));
            }
        }
        // A new session reports the channels that have no position by itself.
        if after.is_some() && affected.iter().any(|one| !is_final(one)) {
            self.outbox.event(Event::GapPossible { channels: vec![channel.clone()] });
        }
    }

    /// Ends a receiver with an error: of its calls if these wait, or else in its queue.
    fn end_reader(&mut self, channel: &Channel, sink: SinkId, error: &CallError) {
        let waiting = self.subscriptions.take_waiting_of(channel, sink);
        if waiting.is_empty() {
            self.outbox.subscription_lost(vec![sink], channel.clone(), error.clone());
        }
        for call in waiting {
            self.outbox.resolve(Some(call), Err(error.clone()));
        }
        if let Some(removed) = self.subscriptions.remove(channel, sink)
            && removed.is_last()
            && let Status::Pending(id) = removed.status()
        {
            self.calls.remove(id);
        }
        self.keep_replays(channel);
    }

    /// Whether the event is of an earlier session, so that it comes again with the replay of this one, in its order.
    pub(super) fn comes_again(&self, exchange: Option<ExchangeId>, message: &Message) -> bool {
        exchange.is_some_and(|exchange| self.replays.is_stale(exchange))
            && self.replays.concerns(message.channel())
            && replay::event_id(message).is_some()
    }
}
