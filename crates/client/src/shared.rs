//! The state that the driver and the handles share.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bayeux_proto::client::{
    CallError, CallId, CallResult, CloseReason, Event, Operation, Session, SessionSnapshot, SinkId, State,
    SubscriptionChanges,
};
use bayeux_proto::{Channel, Data, Message, Transport};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::events::{Events, Listeners};
use crate::queue::{Capacity, Queue};
use crate::transport::SavedCookies;

/// A command of a handle to the driver. It is small, because the channel allocates many of them at once, also for an idle
/// client.
#[derive(Debug)]
pub(crate) enum Command {
    Call(Box<Call>),
    Batch(Box<[Call]>),
    PublishAndForget(Box<ForgottenPublish>),
    /// Adds a receiver with its queue.
    Attach(Box<(SinkId, Channel, Arc<Queue>)>),
    /// Removes a receiver.
    Detach(SinkId),
    /// Returns a snapshot of the session, and leaves it if `leave` is set.
    Snapshot {
        leave: bool,
        reply: oneshot::Sender<Option<(SessionSnapshot, SavedCookies)>>,
    },
    /// Sets the cookies of the session that is resumed next.
    RestoreCookies(Box<SavedCookies>),
    /// A caller no longer waits.
    Forget(CallId),
    /// Makes a new connection.
    Reconnect,
}

/// A call, and the channel for its result.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) operation: Operation,
    pub(crate) reply: oneshot::Sender<CallResult>,
}

/// A publish whose caller waits only until it is accepted.
#[derive(Debug)]
pub(crate) struct ForgottenPublish {
    pub(crate) id: CallId,
    pub(crate) channel: Channel,
    pub(crate) data: Data,
    pub(crate) taken: oneshot::Sender<Result<(), CallError>>,
}

/// The current state of the session.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// The transport in use; `None` before the first handshake.
    pub(crate) transport: Option<Transport>,
    /// The index of the server in use among the given URLs.
    pub(crate) server: usize,
    /// Why the client is closed, when it is.
    pub(crate) closed: Option<CloseReason>,
    /// Calls that wait for their reply.
    pub(crate) pending_calls: usize,
    /// When the last byte from the server arrived.
    pub(crate) last_received: Option<Instant>,
}

/// The state that a driver shares with its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) status: watch::Sender<Status>,
    events: Listeners,
    pub(crate) inbox: Arc<Queue>,
    /// Notified when a full queue has credit again.
    pub(crate) credit_freed: Arc<Notify>,
    subscriptions: Mutex<BTreeSet<Channel>>,
    handshake: Mutex<Option<Arc<Message>>>,
}

impl Shared {
    pub(crate) fn new(inbox: Capacity) -> Self {
        let credit_freed = Arc::new(Notify::new());
        let inbox = Queue::new(inbox, None, Arc::clone(&credit_freed));
        let closed = Some(CloseReason::NotOpen);
        let status = Status {
            state: State::Disconnected,
            transport: None,
            server: 0,
            closed,
            pending_calls: 0,
            last_received: None,
        };
        inbox.close(CloseReason::NotOpen);
        Self {
            status: watch::Sender::new(status),
            events: Listeners::default(),
            inbox: Arc::new(inbox),
            credit_freed,
            subscriptions: Mutex::default(),
            handshake: Mutex::new(None),
        }
    }

    /// Adds a listener.
    pub(crate) fn listen(&self) -> Events {
        self.events.listen()
    }

    /// Emits an event to all listeners.
    pub(crate) fn emit(&self, event: Event) {
        self.events.emit(event);
    }

    /// The current subscriptions, in the order of their names.
    pub(crate) fn subscriptions(&self) -> Vec<Channel> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Copies the changed subscriptions of a session.
    pub(crate) fn follow_subscriptions(&self, session: &mut Session) {
        let changes = session.take_subscription_changes();
        if matches!(&changes, SubscriptionChanges::Some(changes) if changes.is_empty()) {
            return;
        }
        let mut known = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        changes.apply(&mut known, || session.subscriptions());
    }

    /// The server's last reply to a handshake.
    pub(crate) fn handshake_reply(&self) -> Option<Arc<Message>> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_handshake(&self, reply: Message) {
        *self.handshake.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reply));
    }
}
