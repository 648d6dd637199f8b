//! What the driver tells and the handles read.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bayeux_proto::client::{
    CallError, CallId, CallResult, CloseReason, Event, Operation, Session, SessionSnapshot, SinkId, State,
    SubscriptionChanges,
};
use bayeux_proto::{Channel, ConnectionType, Data, Message};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::events::{Events, Listeners};
use crate::queue::{Capacity, Queue};
use crate::transport::SavedCookies;

/// A handle's wish. It is small, because the channel to the driver has room for many of them, also in a client that
/// asks for nothing.
#[derive(Debug)]
pub(crate) enum Command {
    Call(Box<Call>),
    Batch(Box<[Call]>),
    PublishAndForget(Box<ForgottenPublish>),
    /// Messages of a receiver go to that queue from now on.
    Attach(Box<(SinkId, Channel, Arc<Queue>)>),
    /// A receiver is gone.
    Detach(SinkId),
    /// What must be remembered of the session; which is left then, if that is the wish.
    Snapshot {
        leave: bool,
        reply: oneshot::Sender<Option<(SessionSnapshot, SavedCookies)>>,
    },
    /// Cookies of another process, for the session that is to be resumed.
    RestoreCookies(Box<SavedCookies>),
    /// A caller waits no more.
    Forget(CallId),
    /// The connection is to be made anew.
    Reconnect,
}

/// Something asked for, and who waits for its outcome.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) operation: Operation,
    pub(crate) reply: oneshot::Sender<CallResult>,
}

/// A publish whose outcome nobody waits for, but for whether it is taken.
#[derive(Debug)]
pub(crate) struct ForgottenPublish {
    pub(crate) id: CallId,
    pub(crate) channel: Channel,
    pub(crate) data: Data,
    pub(crate) taken: oneshot::Sender<Result<(), CallError>>,
}

/// What is known of the connection now.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// The transport in use; `None` before the first handshake.
    pub(crate) transport: Option<ConnectionType>,
    /// The place of the server in use among those that were given.
    pub(crate) server: usize,
    /// Why the client is closed, when it is.
    pub(crate) closed: Option<CloseReason>,
    /// Calls that wait for their reply.
    pub(crate) pending_calls: usize,
    /// When the server was last heard of.
    pub(crate) heard: Option<Instant>,
}

/// The state that a driver shares with its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) status: watch::Sender<Status>,
    events: Listeners,
    pub(crate) inbox: Arc<Queue>,
    /// Rung when a full queue has room again.
    pub(crate) roomy: Arc<Notify>,
    subscriptions: Mutex<BTreeSet<Channel>>,
    handshake: Mutex<Option<Arc<Message>>>,
}

impl Shared {
    pub(crate) fn new(inbox: Capacity) -> Self {
        let roomy = Arc::new(Notify::new());
        let inbox = Queue::new(inbox, None, Arc::clone(&roomy));
        let closed = Some(CloseReason::NotOpen);
        let status = Status {
            state: State::Disconnected,
            transport: None,
            server: 0,
            closed,
            pending_calls: 0,
            heard: None,
        };
        inbox.close(CloseReason::NotOpen);
        Self {
            status: watch::Sender::new(status),
            events: Listeners::default(),
            inbox: Arc::new(inbox),
            roomy,
            subscriptions: Mutex::default(),
            handshake: Mutex::new(None),
        }
    }

    /// Every event from now on.
    pub(crate) fn listen(&self) -> Events {
        self.events.listen()
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, event: Event) {
        self.events.tell(event);
    }

    /// The current subscriptions, in the order of their names.
    pub(crate) fn subscriptions(&self) -> Vec<Channel> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Follows what has changed of the subscriptions of a session.
    pub(crate) fn follow_subscriptions(&self, session: &mut Session) {
        let changes = session.take_subscription_changes();
        if matches!(&changes, SubscriptionChanges::Some(changes) if changes.is_empty()) {
            return;
        }
        let mut known = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        match changes {
            SubscriptionChanges::All => *known = session.subscriptions().cloned().collect(),
            SubscriptionChanges::Some(changes) => {
                for (channel, granted) in changes {
                    if granted {
                        known.insert(channel)
                    } else {
                        known.remove(&channel)
                    };
                }
            }
        }
    }

    /// The server's last reply to a handshake.
    pub(crate) fn handshake(&self) -> Option<Arc<Message>> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_handshake(&self, reply: Message) {
        *self.handshake.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reply));
    }
}
