//! What a session did for its user, in typed records.

use std::collections::BTreeMap;

use bayeux_proto::client::{CallError, CallId, CallResult, Event, Output, SinkId};
use bayeux_proto::{Channel, Message};

/// What came out of a session for its user. What is for the network is not recorded.
#[derive(Debug, Default)]
pub struct Records {
    /// The outcome of each call that has one.
    pub outcomes: BTreeMap<CallId, CallResult>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The messages, in order, each with a receiver.
    pub delivered: Vec<(SinkId, Message)>,
    /// Subscriptions that could not be restored.
    pub lost: Vec<(Vec<SinkId>, Channel, CallError)>,
}

impl Records {
    /// Records an output that is for the user; gives back one that is to be carried out.
    pub fn keep(&mut self, output: Output) -> Option<Output> {
        match output {
            Output::Resolve(call, result) => {
                self.outcomes.insert(call, result);
            }
            Output::Event(event) => self.events.push(event),
            Output::Deliver { sinks, messages } => {
                for message in messages {
                    self.delivered.extend(sinks.iter().map(|sink| (*sink, message.clone())));
                }
            }
            Output::SubscriptionLost { sinks, channel, error } => self.lost.push((sinks, channel, error)),
            other => return Some(other),
        }
        None
    }

    /// The payloads that a receiver got, in order.
    pub fn received(&self, sink: SinkId) -> Vec<String> {
        let own = self.delivered.iter().filter(|(to, _)| *to == sink);
        own.map(|(_, message)| message.data().as_str().to_owned()).collect()
    }

    /// How many events are such.
    pub fn count(&self, fits: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| fits(event)).count()
    }
}
