//! What the org knows: tokens, sessions, events, all by tokio's clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Refusal;

const HOUR: Duration = Duration::from_secs(3600);
/// How long a connect is held.
pub(super) const HOLD: Duration = Duration::from_secs(110);
/// How long a session lives without a connect.
const RECONNECT: Duration = Duration::from_secs(40);
/// How long the stickiness cookie is valid.
const STICKY: Duration = Duration::from_secs(3 * 3600);

#[derive(Debug)]
pub(super) struct Org {
    pub(super) url: String,
    pub(super) is_out: bool,
    pub(super) clock_ahead: Duration,
    pub(super) tokens: HashMap<String, Instant>,
    pub(super) token_lifetime: Duration,
    pub(super) login_error: Option<String>,
    pub(super) logins: Vec<String>,
    pub(super) refusals: Vec<(Refusal, u32)>,
    pub(super) refused_channels: HashMap<String, String>,
    pub(super) events: Vec<Kept>,
    sessions: BTreeMap<String, Session>,
    pub(super) wake: Arc<Notify>,
    last_id: i64,
    last_name: u64,
}

/// An event that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    channel: String,
    pub(super) id: i64,
    at: Instant,
    data: Value,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) began: Instant,
    /// The last connect, and how long it may be until the next.
    seen: Instant,
    patience: Duration,
    subscriptions: BTreeSet<String>,
    pub(super) queue: Vec<Value>,
    /// Counts its connects.
    connects: Arc<AtomicU64>,
}

impl Org {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            url: String::new(),
            is_out: false,
            clock_ahead: Duration::ZERO,
            tokens: HashMap::new(),
            token_lifetime: 2 * HOUR,
            login_error: None,
            logins: Vec::new(),
            refusals: Vec::new(),
            refused_channels: HashMap::new(),
            events: Vec::new(),
            sessions: BTreeMap::new(),
            wake,
            last_id: 100,
            last_name: 0,
        }
    }

    pub(super) fn set_url(&mut self, url: String) {
        self.url = url;
    }

    /// A name that was not used before.
    pub(super) fn new_name(&mut self, what: &str) -> String {
        self.last_name += 1;
        format!("{what}-{}", self.last_name)
    }

    /// Whether an access token is valid.
    pub(super) fn knows_token(&self, token: &str) -> bool {
        self.tokens.get(token).is_some_and(|until| *until > Instant::now())
    }

    /// Keeps an event, and queues it for the sessions that are subscribed. Ids rise, but not by one.
    pub(super) fn publish(&mut self, channel: &str, data: impl FnOnce(i64) -> Value) -> i64 {
        self.last_id += 1 + self.last_id % 3;
        let id = self.last_id;
        let kept = Kept { channel: channel.to_owned(), id, at: Instant::now(), data: data(id) };
        for session in self.sessions.values_mut() {
            if session.subscriptions.iter().any(|name| matches(name, &kept)) {
                session.queue.push(message(&kept));
            }
        }
        self.events.push(kept);
        id
    }

    /// Removes what is older than the retention of its kind.
    pub(super) fn forget_old_events(&mut self) {
        let now = Instant::now();
        self.events.retain(|kept| {
            let days =
                if kept.channel.starts_with("/event/") || kept.channel.starts_with("/data/") { 3 } else { 1 };
            now - kept.at <= days * 24 * HOUR
        });
    }

    pub(super) fn begin_session(&mut self) -> String {
        let now = Instant::now();
        let name = self.new_name("session");
        let (subscriptions, queue) = (BTreeSet::new(), Vec::new());
        let session = Session {
            began: now,
            seen: now,
            patience: RECONNECT,
            subscriptions,
            queue,
            connects: Arc::default(),
        };
        self.sessions.insert(name.clone(), session);
        name
    }

    /// The session of that name, if it still lives and its stickiness cookie does.
    pub(super) fn session(&mut self, name: &str) -> Option<&mut Session> {
        let now = Instant::now();
        self.sessions
            .retain(|_, session| now - session.seen <= session.patience && now - session.began < STICKY);
        self.sessions.get_mut(name)
    }

    /// Subscribes, and queues the events after `replay` (-1 and -2 as Salesforce has them). An error if that is not kept.
    pub(super) fn subscribe(&mut self, session: &str, channel: &str, replay: i64) -> Result<(), String> {
        self.forget_old_events();
        if let Some(error) = self.refused_channels.get(channel) {
            return Err(error.clone());
        }
        let path = channel.split('?').next().unwrap_or(channel);
        let oldest = self.events.iter().find(|kept| kept.channel == path).map(|kept| kept.id);
        // The newest of all times is fine if nothing came since.
        let is_kept = replay < 0
            || oldest.is_some_and(|oldest| replay >= oldest)
            || (oldest.is_none() && replay == self.last_id);
        if !is_kept {
            return Err(format!(
                "400::The replayId {{{replay}}} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
            ));
        }
        let events: Vec<Value> = match replay {
            -1 => Vec::new(),
            after => self
                .events
                .iter()
                .filter(|kept| kept.id > after && matches(channel, kept))
                .map(message)
                .collect(),
        };
        if let Some(session) = self.sessions.get_mut(session) {
            session.subscriptions.insert(channel.to_owned());
            session.queue.extend(events);
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, session: &str, channel: &str) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.subscriptions.remove(channel);
        }
    }

    pub(super) fn end_session(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    pub(super) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }

    pub(super) fn disconnect(&mut self) {
        for session in self.sessions.values_mut() {
            session.queue.push(serde_json::json!({"channel": "/meta/disconnect", "successful": true}));
        }
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Whether to refuse this request.
    pub(super) fn refuses(&mut self, wanted: &[Refusal]) -> Option<Refusal> {
        let at = self.refusals.iter().position(|(refusal, _)| wanted.contains(refusal))?;
        let (refusal, times) = &mut self.refusals[at];
        let refusal = *refusal;
        *times = times.saturating_sub(1);
        if *times == 0 {
            self.refusals.remove(at);
        }
        Some(refusal)
    }
}

impl Session {
    /// A connect came. One that is held is answered when its time is over.
    pub(super) fn connected(&mut self, held: bool, wake: &Arc<Notify>) {
        self.seen = Instant::now();
        self.patience = if held { HOLD + RECONNECT } else { RECONNECT };
        let number = self.connects.fetch_add(1, Ordering::Relaxed) + 1;
        if !held {
            return;
        }
        let (connects, wake) = (Arc::clone(&self.connects), Arc::clone(wake));
        tokio::spawn(async move {
            tokio::time::sleep(HOLD).await;
            if connects.load(Ordering::Relaxed) == number {
                wake.notify_one();
            }
        });
    }
}

fn message(kept: &Kept) -> Value {
    serde_json::json!({"channel": kept.channel, "data": kept.data})
}

/// Whether a subscription, which may have a filter `?Field='value'&…`, selects an event.
fn matches(subscription: &str, kept: &Kept) -> bool {
    let (path, filter) = subscription.split_once('?').unwrap_or((subscription, ""));
    let is_selected = |condition: &str| {
        let (field, value) = condition.split_once('=').unwrap_or((condition, ""));
        let value = value.trim_matches('\'');
        match &kept.data["sobject"][field] {
            Value::String(text) => text == value,
            other => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *other),
        }
    };
    path == kept.channel && filter.split('&').filter(|condition| !condition.is_empty()).all(is_selected)
}
