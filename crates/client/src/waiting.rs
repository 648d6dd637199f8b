//! The callers that wait for the results of calls.

use std::collections::HashMap;

use bayeux_proto::Channel;
use bayeux_proto::client::{CallError, CallId, CallResult, Event};
use tokio::sync::oneshot;

/// The calls without a result.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    calls: HashMap<CallId, Waiter, foldhash::fast::RandomState>,
    /// Publishes without a waiting caller that the session has got since its last outputs.
    handed: Vec<CallId>,
}

#[derive(Debug)]
pub(crate) enum Waiter {
    /// The caller.
    Caller(oneshot::Sender<CallResult>),
    /// The caller, until the session has accepted the message; then nobody.
    Forgetful(Channel, Option<oneshot::Sender<Result<(), CallError>>>),
}

impl Waiting {
    pub(crate) fn add(&mut self, call: CallId, caller: oneshot::Sender<CallResult>) {
        self.calls.insert(call, Waiter::Caller(caller));
    }

    /// Adds a publish whose caller waits only until its message is accepted.
    pub(crate) fn add_forgetful(
        &mut self,
        call: CallId,
        channel: Channel,
        caller: oneshot::Sender<Result<(), CallError>>,
    ) {
        self.calls.insert(call, Waiter::Forgetful(channel, Some(caller)));
        self.handed.push(call);
    }

    /// Removes the waiter for the result of a call.
    pub(crate) fn take(&mut self, call: CallId) -> Option<Waiter> {
        self.calls.remove(&call)
    }

    /// Called after the outputs of the session: a publish that has not failed by now is accepted.
    pub(crate) fn taken(&mut self) {
        for call in self.handed.drain(..) {
            if let Some(Waiter::Forgetful(_, caller)) = self.calls.get_mut(&call)
                && let Some(caller) = caller.take()
            {
                // The caller may have dropped its future.
                let _ = caller.send(Ok(()));
            }
        }
    }
}

impl Waiter {
    /// Sends the result to the caller. Returns an event if a failure has no caller.
    pub(crate) fn resolve(self, result: CallResult) -> Option<Event> {
        match self {
            Self::Caller(caller) => {
                // The caller may have dropped its future.
                let _ = caller.send(result);
                None
            }
            Self::Forgetful(channel, caller) => {
                let outcome = result.map(drop);
                let is_sent = caller.is_some_and(|caller| caller.send(outcome.clone()).is_ok());
                outcome.err().filter(|_| !is_sent).map(|error| Event::publish_failed(channel, error))
            }
        }
    }
}
