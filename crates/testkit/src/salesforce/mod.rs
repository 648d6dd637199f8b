//! A Salesforce org in the test's process: its OAuth endpoint and its Streaming API.
//!
//! What it does is what the documentation and the reports of users say of Salesforce: long-polling only, a bearer token with
//! each request, required cookies of which one expires, sessions that end by themselves, events that are kept by age and replayed by
//! id, and the texts of its errors.

mod oauth;
mod org;
mod streaming;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::peer::{Peer, Request, RequestKind};
use org::Org;

/// A simulated Salesforce org, on a free port of the loopback interface. It stops when it is dropped.
///
/// All times are tokio's: with a paused clock, days take milliseconds.
#[derive(Debug)]
pub struct FakeSalesforce {
    peer: Arc<Peer>,
    org: Arc<Mutex<Org>>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

/// When all records of the org were changed.
const CREATED: &str = "2026-11-28T20:00:00.000Z";

/// What the streaming endpoint refuses next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// `403::Organization total events daily limit exceeded`, on `/meta/connect`.
    DailyLimit,
    /// `403::Organization concurrent user limit exceeded`, on `/meta/handshake`.
    ClientLimit,
    /// `503::Server is too busy`, on `/meta/connect`.
    Busy,
    /// `403::Unknown client`, on the connect after a good handshake: the cookies lead to a server that does not know the session.
    Storm,
}

impl FakeSalesforce {
    /// The key of the connected app, with which assertions of the JWT bearer flow are signed.
    pub const JWT_KEY: &str = include_str!("test-key.pem");

    /// Starts an org that grants tokens to the client id `app` with the secret `app-secret`, and to the user `ann@example.com`.
    pub async fn start() -> Self {
        let wake = Arc::new(Notify::new());
        let org = Arc::new(Mutex::new(Org::new(Arc::clone(&wake))));
        let shared = Arc::clone(&org);
        let peer = Peer::start(move |request| {
            let mut org = lock(&shared);
            if org.is_out {
                return crate::Answer::cut();
            }
            match request.kind {
                _ if request.path.starts_with("/services/oauth2/token") => oauth::answer(&mut org, request),
                RequestKind::Upgrade => crate::Answer::status(405),
                _ => streaming::answer(&mut org, request),
            }
        })
        .await;
        let peer = Arc::new(peer);
        lock(&org).set_url(format!("http://{}", peer.address()));
        let (waking, woken) = (Arc::clone(&peer), Arc::clone(&wake));
        let task = tokio::spawn(async move {
            loop {
                woken.notified().await;
                // Held connects are answered; what there is comes with the next.
                waking.push([]);
            }
        });
        Self { peer, org, wake, task }
    }

    fn org(&self) -> MutexGuard<'_, Org> {
        lock(&self.org)
    }

    /// The URL of the org, `http://ADDRESS`: for the login, and as the instance.
    pub fn url(&self) -> String {
        format!("http://{}", self.peer.address())
    }

    /// Publishes a platform event on `/event/…`. Returns its replay id.
    pub fn platform_event(&self, channel: &str, payload: Value) -> i64 {
        self.publish(channel, |id| {
            let mut data = json!({"schema": "schema-id", "event": {"replayId": id}});
            data["payload"] = payload;
            data
        })
    }

    /// Publishes the change of a record that a PushTopic on `/topic/…` selects. Returns its replay id.
    pub fn push_topic(&self, channel: &str, change: &str, sobject: Value) -> i64 {
        self.publish(channel, |id| {
            let mut data = json!({"event": {"createdDate": CREATED, "replayId": id, "type": change}});
            data["sobject"] = sobject;
            data
        })
    }

    /// Publishes a generic event on `/u/…`. Returns its replay id.
    pub fn generic_event(&self, channel: &str, payload: &str) -> i64 {
        self.publish(
            channel,
            |id| json!({"event": {"createdDate": CREATED, "replayId": id}, "payload": payload}),
        )
    }

    /// Publishes a change event on `/data/…`, with the fields of its `ChangeEventHeader`. Returns its replay id.
    pub fn change_event(&self, channel: &str, header: Value, fields: Value) -> i64 {
        self.publish(channel, |id| {
            let mut payload = fields;
            payload["ChangeEventHeader"] = header;
            json!({"schema": "schema-id", "payload": payload, "event": {"replayId": id}})
        })
    }

    fn publish(&self, channel: &str, data: impl FnOnce(i64) -> Value) -> i64 {
        let id = self.org().publish(channel, data);
        self.wake.notify_one();
        id
    }

    /// How long access tokens are valid from now on. Default: 2 h.
    pub fn token_lifetime(&self, lifetime: Duration) {
        self.org().token_lifetime = lifetime;
    }

    /// All access tokens are invalid from now on.
    pub fn expire_tokens(&self) {
        self.org().tokens.clear();
        self.wake.notify_one();
    }

    /// Refuses all logins from now on with this error, such as `invalid_client` or `invalid_grant`; grants them again with `None`.
    pub fn refuse_logins(&self, error: Option<&str>) {
        self.org().login_error = error.map(ToOwned::to_owned);
    }

    /// The grant types of all granted logins so far, in order.
    pub fn logins(&self) -> Vec<String> {
        self.org().logins.clone()
    }

    /// The server node that the stickiness cookies lead to is replaced: its sessions are unknown to the next.
    pub fn change_node(&self) {
        self.org().forget_sessions();
        self.wake.notify_one();
    }

    /// Sends a `/meta/disconnect` to all sessions, as before maintenance (API 64.0 and later).
    pub fn disconnect(&self) {
        self.org().disconnect();
        self.wake.notify_one();
    }

    /// Refuses the next requests of that kind.
    pub fn refuse(&self, refusal: Refusal, times: u32) {
        self.org().refusals.push((refusal, times));
        self.wake.notify_one();
    }

    /// Refuses subscriptions to a channel with this error: the org does not have the feature, say.
    pub fn refuse_channel(&self, channel: &str, error: &str) {
        self.org().refused_channels.insert(channel.to_owned(), error.to_owned());
    }

    /// Removes all events up to now, as if they were older than the retention.
    pub fn drop_events(&self) {
        self.org().events.clear();
    }

    /// Nothing can be reached while this is set: connections are cut, and requests get no answer.
    pub fn outage(&self, is_out: bool) {
        self.org().is_out = is_out;
        if is_out {
            self.peer.cut();
        }
    }

    /// How far the org's clock is ahead of this machine's, as the token endpoint sees it.
    pub fn clock_ahead(&self, span: Duration) {
        self.org().clock_ahead = span;
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.peer.cut();
    }

    /// All messages received so far on a channel.
    pub fn received(&self, channel: &str) -> Vec<Value> {
        self.peer.received(channel)
    }

    /// All requests received so far.
    pub fn requests(&self) -> Vec<Request> {
        self.peer.requests()
    }

    /// The number of sessions.
    pub fn sessions(&self) -> usize {
        self.org().session_count()
    }
}

impl Drop for FakeSalesforce {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(org: &Mutex<Org>) -> MutexGuard<'_, Org> {
    org.lock().unwrap_or_else(PoisonError::into_inner)
}
