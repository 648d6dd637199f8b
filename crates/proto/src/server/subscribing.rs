//! Subscribing and unsubscribing.

use super::channels::SessionKey;
use super::contract::Output;
use super::core::{Core, Turn};
use super::replies::{confirmation, server_busy, subscription, unknown_session};
use crate::channel::{Channel, ChannelKind};
use crate::error::BayeuxError;
use crate::message::Message;

impl Core {
    /// A client subscribes or unsubscribes: to one channel, or to each of a list.
    pub(super) fn change_subscriptions(&mut self, turn: &mut Turn, message: Message) {
        let names = message.fields().subscription.as_ref().map_or(&[][..], |names| names.names());
        if names.is_empty() {
            let missing = BayeuxError::parse("403::subscription_missing");
            return self.answer(turn, &message, confirmation(&message, Err(missing)));
        }
        turn.names = Some((message, 0));
    }

    /// Goes on with a list at one of its names. It is handled in order, up to the first failure; what came before it stays
    /// done.
    pub(super) fn go_on_with_names(&mut self, turn: &mut Turn, message: Message, at: usize, end: u64) {
        let names = message.fields().subscription.as_ref().map_or(&[][..], |names| names.names());
        let subscribes = message.channel() == Channel::SUBSCRIBE;
        for (at, name) in names.iter().enumerate().skip(at) {
            if self.steps >= end {
                turn.names = Some((message, at));
                return;
            }
            self.steps += 1 + Channel::work_of(name);
            let outcome = match turn.session.filter(|key| self.sessions.contains_key(key)) {
                None => Err(unknown_session()),
                Some(key) => subscription(name).and_then(|channel| {
                    if subscribes {
                        self.subscribe_one(key, channel)
                    } else {
                        self.unsubscribe_one(key, &channel)
                    }
                }),
            };
            if outcome.is_err() {
                return self.answer(turn, &message, confirmation(&message, outcome));
            }
        }
        self.answer(turn, &message, confirmation(&message, Ok(())));
    }

    fn subscribe_one(&mut self, key: SessionKey, channel: Channel) -> Result<(), BayeuxError> {
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(()) };
        match channel.kind() {
            ChannelKind::Meta => {
                return Err(BayeuxError::new(403, "denied_by_security_policy", "subscribe_denied"));
            }
            // Services answer without a subscription; there is nothing to record.
            ChannelKind::Service => return Ok(()),
            ChannelKind::Broadcast => {}
        }
        self.policy
            .may_subscribe(&session.id, &channel)
            .map_err(|denial| denial.error("subscribe_denied"))?;
        if self.channels.place(channel.as_str()).is_some_and(|place| session.subscriptions.contains(&place)) {
            return Ok(());
        }
        if session.subscriptions.len() >= self.config.max_subscriptions {
            return Err(BayeuxError::new(403, "", "too_many_subscriptions"));
        }
        if self.has_no_room_for_subscriptions() {
            return Err(server_busy());
        }
        let place = self.channels.subscribe(channel, key);
        let channel = self.channels.name(place).clone();
        if let Some(session) = self.sessions.get_mut(&key) {
            session.subscriptions.insert(place);
            let id = session.id.clone();
            self.emit(Output::Subscribed(id, channel));
        }
        Ok(())
    }

    fn has_no_room_for_subscriptions(&self) -> bool {
        self.channels.subscriptions() >= self.config.max_subscriptions_in_all
            || self.channels.memory() > self.budget_of_memory().subscriptions()
            || self.is_full()
    }

    fn unsubscribe_one(&mut self, key: SessionKey, channel: &Channel) -> Result<(), BayeuxError> {
        if channel.is_service() {
            return Ok(());
        }
        let Some(place) = self.channels.place(channel.as_str()) else {
            return Err(BayeuxError::parse("400::channel_missing"));
        };
        if self.channels.unsubscribe(place, key)
            && let Some(session) = self.sessions.get_mut(&key)
        {
            session.subscriptions.remove(&place);
            let id = session.id.clone();
            self.emit(Output::Unsubscribed(id, channel.clone()));
        }
        Ok(())
    }
}
