//! Publishing: by clients, by the application, and what services answer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use super::channels::SessionKey;
use super::contract::{Output, ServiceCall, ServiceToken};
use super::core::{Core, Turn};
use super::lanes::Lane;
use super::replies::{confirmation, server_busy};
use super::work::{FanOut, Job};
use crate::channel::Channel;
use crate::data::Data;
use crate::error::BayeuxError;
use crate::id::ClientId;
use crate::message::Message;
use crate::object;
use crate::time::Time;

impl Core {
    /// A client publishes, or calls a service.
    pub(super) fn publish(&mut self, turn: &mut Turn, key: SessionKey, message: &Message) {
        let Some(session) = self.sessions.get(&key) else { return };
        let id = session.id.clone();
        let outcome = if message.channel().is_wild() {
            Err(BayeuxError::new(400, message.channel().as_str(), "publish_to_pattern"))
        } else if self.is_full() {
            Err(server_busy())
        } else {
            self.policy.may_publish(&id, message).map_err(|denial| denial.error("publish_denied"))
        };
        let granted = outcome.is_ok();
        self.answer(turn, message, confirmation(message, outcome));
        if !granted {
            return;
        }
        let channel = message.channel().clone();
        if channel.is_service() {
            let token =
                ServiceToken { session: id.clone(), channel: channel.clone(), id: message.id().cloned() };
            let (data, ext) = (message.data().clone(), message.ext().cloned());
            self.emit(Output::Service(ServiceCall { session: id, channel, data, ext, token }));
        } else {
            let except = (!self.config.broadcast_to_publisher).then_some(key);
            let mut event = Message::new(channel).with_data(message.data().clone());
            event.set_ext(self.public_ext(message));
            event.fields_mut().timestamp.clone_from(&message.fields().timestamp);
            turn.fan_out = self.broadcast(&event, None, except);
        }
    }

    /// What others may see of the `ext` of a message.
    fn public_ext(&self, message: &Message) -> Option<Data> {
        let mut public = BTreeMap::new();
        object::each_field(message.ext()?.as_str(), |key, value| {
            if let Some(known) = self.config.broadcast_ext.iter().find(|known| *known == key) {
                public.insert(known, value);
            }
        })?;
        let public: BTreeMap<_, &RawValue> = public
            .into_iter()
            .filter_map(|(key, value)| Some((key, serde_json::from_str(value).ok()?)))
            .collect();
        if public.is_empty() { None } else { Data::encode(&public).ok() }
    }

    /// The application publishes.
    pub(super) fn publish_to_all(&mut self, event: &Message, lazy: Option<Duration>, now: Time) {
        if let Some(fan_out) = self.broadcast(event, lazy, None) {
            self.start(Lane::Application, Job::Broadcast(Box::new(fan_out)), now);
        }
    }

    /// Encodes a message once, for all who get it, if there is anybody. Neither the publisher's session nor its message id
    /// travel on.
    fn broadcast(
        &mut self,
        event: &Message,
        lazy: Option<Duration>,
        except: Option<SessionKey>,
    ) -> Option<FanOut> {
        let channel = event.channel();
        let matches = self.matches(channel);
        if matches.is_empty() {
            return None;
        }
        let lazy = lazy.or_else(|| self.laziness(channel)).filter(|within| !within.is_zero());
        let message = self.encode(event);
        Some(FanOut { channel: channel.clone(), message, lazy, except, after: None, matches: Some(matches) })
    }

    fn laziness(&self, channel: &Channel) -> Option<Duration> {
        let matching = self.config.lazy_channels.iter().filter(|(lazy, _)| lazy.matches(channel));
        matching.map(|(_, within)| *within).min()
    }

    /// Sends to one session, if it is there.
    pub(super) fn send(&mut self, session: ClientId, message: &Message, now: Time) {
        if self.by_id.contains_key(&session) {
            let message = self.encode(message);
            self.start(Lane::Application, Job::Send(session, message), now);
        }
    }

    /// Sends what a service answers.
    pub(super) fn service_answer(
        &mut self,
        token: ServiceToken,
        answer: Result<Data, BayeuxError>,
        now: Time,
    ) {
        let mut message = Message::new(token.channel);
        message.set_id(token.id);
        message.fields_mut().successful = Some(answer.is_ok());
        match answer {
            Ok(data) => message.set_data(Some(data)),
            Err(error) => {
                // With data, as the reference's failures are: a reply without is that to the publish, which CometD's
                // Java client has had by now over WebSocket, and drops.
                message.set_data(Data::encode(error.as_str()).ok());
                message.fields_mut().error = Some(error);
            }
        }
        self.send(token.session, &message, now);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::config::Config;
    use super::super::contract::{Input, LinkId, LinkKind};
    use super::super::engine::Engine;
    use super::super::policy::AllowAll;
    use super::*;
    use crate::codec::Decoder;

    /// Sends a message over a socket; returns what comes back over it, and the calls of services.
    fn exchange(engine: &mut Engine, input: Input) -> (Vec<Value>, Vec<ServiceCall>) {
        engine.handle(input, Time::ZERO);
        let (mut frames, mut calls) = (Vec::new(), Vec::new());
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Push { messages, .. } => {
                    frames.extend(serde_json::from_slice::<Vec<Value>>(&messages).unwrap());
                }
                Output::Service(call) => calls.push(call),
                _ => {}
            }
        }
        (frames, calls)
    }

    fn received(message: &Value) -> Input {
        let messages = Decoder::new().decode(&json!([message]).to_string().into()).unwrap().messages;
        Input::Received { link: LinkId(1), kind: LinkKind::WebSocket, messages }
    }

    #[test]
    fn the_failure_of_a_service_has_data_so_that_it_is_no_second_reply_to_the_publish() {
        let mut engine = Engine::new(Config::default(), Box::new(AllowAll));
        let shake = json!({"channel": "/meta/handshake", "id": "1", "version": "1.0",
            "supportedConnectionTypes": ["websocket"]});
        let (frames, _) = exchange(&mut engine, received(&shake));
        let call =
            json!({"channel": "/service/fail", "id": "2", "clientId": frames[0]["clientId"], "data": 1});
        let (frames, calls) = exchange(&mut engine, received(&call));
        assert_eq!(frames, [json!({"channel": "/service/fail", "id": "2", "successful": true})]);
        let error = BayeuxError::new(500, "", "failed");
        let answer = Input::Answer { token: calls[0].token.clone(), answer: Err(error) };
        let (frames, _) = exchange(&mut engine, answer);
        let expected = json!({"channel": "/service/fail", "id": "2", "successful": false,
            "error": "500::failed", "data": "500::failed"});
        assert_eq!(frames, [expected]);
    }
}
