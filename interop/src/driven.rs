//! A client that others wrote, driven over JSON lines: one process, any number of users in it.
//!
//! A line to it is `{"id": N, "user": N, "do": VERB, …}`, a line from it `{"id": N, "ok": …}`, or
//! `{"id": N, "error": {"code": …, "text": …}}`, or a message `{"user": N, "channel": …, "data": …}`,
//! or a failure that the client reports and no command asked for, `{"user": N, "reported": …}`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::outcome::{Failed, Outcome};
use crate::peers::Peer;
use crate::process::{Lines, Process};

/// How long a verb may take: more than any of the clients' own deadlines.
const TIME_LIMIT: Duration = Duration::from_secs(45);
/// How many reports of a client are kept.
const MAX_REPORTS: usize = 1000;

/// The process of a driven client.
#[derive(Debug)]
pub(crate) struct Driver {
    process: tokio::sync::Mutex<Process>,
    routes: Arc<Mutex<Routes>>,
    last: AtomicU64,
    ended: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Routes {
    replies: HashMap<u64, oneshot::Sender<Result<Value, Failed>>>,
    users: HashMap<u64, mpsc::UnboundedSender<(String, Value)>>,
    reported: HashMap<u64, Vec<String>>,
}

/// One user in it.
#[derive(Debug)]
pub(crate) struct Driven {
    driver: Arc<Driver>,
    user: u64,
    messages: tokio::sync::Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
}

impl Driver {
    pub(crate) async fn start(peer: &Peer) -> Outcome<Arc<Self>> {
        let name = format!("{} (client)", peer.name);
        let (process, lines, _) = Process::start(&name, peer.command()).await?;
        let (routes, ended): (_, Arc<AtomicBool>) = (Arc::default(), Arc::default());
        let (listening, ending) = (Arc::clone(&routes), Arc::clone(&ended));
        tokio::spawn(async move {
            route(lines, listening).await;
            ending.store(true, Ordering::SeqCst);
        });
        let process = tokio::sync::Mutex::new(process);
        Ok(Arc::new(Self { process, routes, last: AtomicU64::new(0), ended }))
    }

    /// A new user, not yet open.
    pub(crate) fn user(self: &Arc<Self>) -> Driven {
        let user = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        // What one scenario sends is bounded by the scenario.
        let (sender, messages) = mpsc::unbounded_channel();
        self.routes().users.insert(user, sender);
        Driven { driver: Arc::clone(self), user, messages: tokio::sync::Mutex::new(messages) }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub(crate) async fn said(&self) -> String {
        self.process.lock().await.said()
    }

    /// Ends the process; all users must be dropped.
    pub(crate) async fn stop(self: Arc<Self>) -> Outcome {
        match Arc::into_inner(self) {
            Some(driver) => driver.process.into_inner().stop().await,
            None => Err("a user of the driven client is still there".into()),
        }
    }

    /// Ends the process at once, whatever it still does; all users must be dropped.
    pub(crate) async fn kill(self: Arc<Self>) -> Outcome {
        match Arc::into_inner(self) {
            Some(driver) => driver.process.into_inner().kill().await,
            None => Err("a user of the driven client is still there".into()),
        }
    }

    fn routes(&self) -> std::sync::MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, user: u64, verb: &str, mut line: Value) -> Result<Value, Failed> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        line["id"] = id.into();
        line["user"] = user.into();
        line["do"] = verb.into();
        let (reply, answer) = oneshot::channel();
        self.routes().replies.insert(id, reply);
        let failed = |text: String| Failed { code: None, text };
        let written = self.process.lock().await.write(&line.to_string()).await;
        written.map_err(|error| failed(format!("the driven client takes no {verb}: {error}")))?;
        match tokio::time::timeout(TIME_LIMIT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(failed(format!("the driven client ended during {verb}"))),
            Err(_) => Err(failed(format!("{verb} took more than {TIME_LIMIT:?}"))),
        }
    }
}

async fn route(mut lines: Lines, routes: Arc<Mutex<Routes>>) {
    while let Some(line) = lines.recv().await {
        let Ok(mut line) = serde_json::from_str::<Value>(&line) else { continue };
        let mut routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = line["id"].as_u64() {
            let outcome = match line.get_mut("error") {
                Some(error) => Err(Failed {
                    code: error["code"].as_u64().and_then(|code| code.try_into().ok()),
                    text: error["text"].as_str().unwrap_or("an error without a text").to_owned(),
                }),
                None => Ok(line["ok"].take()),
            };
            if let Some(reply) = routes.replies.remove(&id) {
                // A caller that gave up needs no answer.
                let _ = reply.send(outcome);
            }
        } else if let (Some(user), Some(reported)) = (line["user"].as_u64(), line["reported"].as_str())
            && routes.users.contains_key(&user)
        {
            let all = routes.reported.entry(user).or_default();
            if all.len() < MAX_REPORTS {
                all.push(reported.to_owned());
            }
        } else if let Some(user) = line["user"].as_u64()
            && let Some(sender) = routes.users.get(&user)
        {
            let channel = line["channel"].as_str().unwrap_or_default().to_owned();
            let _ = sender.send((channel, line["data"].take()));
        }
    }
    let mut routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
    routes.replies.clear();
    routes.users.clear();
}

impl Driven {
    pub(crate) async fn call(&self, verb: &str, line: Value) -> Result<Value, Failed> {
        self.driver.call(self.user, verb, line).await
    }

    pub(crate) async fn batch(&self, messages: &[(String, Value)]) -> Result<(), Failed> {
        let messages: Vec<Value> =
            messages.iter().map(|(channel, data)| json!({"channel": channel, "data": data})).collect();
        self.call("batch", json!({ "messages": messages })).await.map(drop)
    }

    pub(crate) async fn receive(&self) -> Option<(String, Value)> {
        self.messages.lock().await.recv().await
    }

    /// The failures that the client reported and no command asked for.
    pub(crate) fn reported(&self) -> Vec<String> {
        self.driver.routes().reported.get(&self.user).cloned().unwrap_or_default()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let mut routes = self.driver.routes();
        routes.users.remove(&self.user);
        routes.reported.remove(&self.user);
    }
}
