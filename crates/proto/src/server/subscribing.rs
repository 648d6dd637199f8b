//! Subscribing and unsubscribing.

use super::channels::SessionKey;
use super::contract::Output;
use super::core::{Core, Turn};
use super::replies::{confirmation, subscription};
use crate::channel::{Channel, ChannelKind};
use crate::error::BayeuxError;
use crate::message::Message;

impl Core {
    pub(super) fn subscribe(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        let outcome = self.each_channel(message, |core, channel| core.subscribe_one(key, channel));
        self.answer(turn, message, confirmation(message, outcome));
    }

    pub(super) fn unsubscribe(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        let outcome = self.each_channel(message, |core, channel| core.unsubscribe_one(key, &channel));
        self.answer(turn, message, confirmation(message, outcome));
    }

    /// Handles a list in order, up to the first failure; what came before it stays done.
    fn each_channel(
        &mut self,
        message: &Message,
        mut act: impl FnMut(&mut Self, Channel) -> Result<(), BayeuxError>,
    ) -> Result<(), BayeuxError> {
        let names = message.fields().subscription.as_ref().map_or(&[][..], |names| names.names());
        if names.is_empty() {
            return Err(BayeuxError::parse("403::subscription_missing"));
        }
        names.iter().try_for_each(|name| act(self, subscription(name)?))
    }

    fn subscribe_one(&mut self, key: SessionKey, channel: Channel) -> Result<(), BayeuxError> {
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(()) };
        match channel.kind() {
            ChannelKind::Meta => {
                return Err(BayeuxError::new(403, "denied_by_security_policy", "subscribe_denied"));
            }
            // Whoever uses a service hears from it; there is nothing to record.
            ChannelKind::Service => return Ok(()),
            ChannelKind::Broadcast => {}
        }
        self.policy
            .may_subscribe(&session.id, &channel)
            .map_err(|denial| denial.error("subscribe_denied"))?;
        if session.subscriptions.contains(&channel) {
            return Ok(());
        }
        if session.subscriptions.len() >= self.config.max_subscriptions {
            return Err(BayeuxError::new(403, "", "too_many_subscriptions"));
        }
        let channel = self.channels.known(channel);
        self.channels.subscribe(&channel, key);
        session.subscriptions.insert(channel.clone());
        let id = session.id.clone();
        self.emit(Output::Subscribed(id, channel));
        Ok(())
    }

    fn unsubscribe_one(&mut self, key: SessionKey, channel: &Channel) -> Result<(), BayeuxError> {
        if channel.is_service() {
            return Ok(());
        }
        match self.channels.unsubscribe(channel, key) {
            None => Err(BayeuxError::parse("400::channel_missing")),
            Some(false) => Ok(()),
            Some(true) => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.subscriptions.remove(channel);
                    let id = session.id.clone();
                    self.emit(Output::Unsubscribed(id, channel.clone()));
                }
                Ok(())
            }
        }
    }
}
