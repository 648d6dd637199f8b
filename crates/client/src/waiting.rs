//! Who waits for the outcome of which call.

use std::collections::HashMap;

use bayeux_proto::Channel;
use bayeux_proto::client::{CallError, CallId, CallResult, Event};
use tokio::sync::oneshot;

/// The calls that have no outcome yet.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    calls: HashMap<CallId, Waiter, foldhash::fast::RandomState>,
    /// Publishes to be forgotten that the session was handed since it was last asked what to do.
    handed: Vec<CallId>,
}

#[derive(Debug)]
pub(crate) enum Waiter {
    /// Its caller.
    Caller(oneshot::Sender<CallResult>),
    /// Nobody, once the session has taken the message; until then the caller.
    Forgetful(Channel, Option<oneshot::Sender<Result<(), CallError>>>),
}

impl Waiting {
    pub(crate) fn add(&mut self, call: CallId, caller: oneshot::Sender<CallResult>) {
        self.calls.insert(call, Waiter::Caller(caller));
    }

    /// Adds a publish whose caller waits only until its message is taken.
    pub(crate) fn add_forgetful(
        &mut self,
        call: CallId,
        channel: Channel,
        caller: oneshot::Sender<Result<(), CallError>>,
    ) {
        self.calls.insert(call, Waiter::Forgetful(channel, Some(caller)));
        self.handed.push(call);
    }

    /// Who waits for the outcome of the call, and from now on no longer does; nobody when it was told.
    pub(crate) fn take(&mut self, call: CallId) -> Option<Waiter> {
        self.calls.remove(&call)
    }

    /// The session has done all that it was handed messages for: what it has not refused by now, it has taken.
    pub(crate) fn taken(&mut self) {
        for call in self.handed.drain(..) {
            if let Some(Waiter::Forgetful(_, caller)) = self.calls.get_mut(&call)
                && let Some(caller) = caller.take()
            {
                // A caller that went away meanwhile need not know.
                let _ = caller.send(Ok(()));
            }
        }
    }
}

impl Waiter {
    /// Hands over the outcome. What is to be told to all, when nobody hears of it who should know.
    pub(crate) fn tell(self, result: CallResult) -> Option<Event> {
        match self {
            Self::Caller(caller) => {
                // A caller that went away meanwhile needs no outcome.
                let _ = caller.send(result);
                None
            }
            Self::Forgetful(channel, caller) => {
                let outcome = result.map(drop);
                let told = caller.is_some_and(|caller| caller.send(outcome.clone()).is_ok());
                outcome.err().filter(|_| !told).map(|error| Event::PublishFailed { channel, error })
            }
        }
    }
}
