//! As much of the protocol as a client needs to feel at home.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::GO;
use super::stock::Spec;
use crate::Fallible;

/// How long a connect is held that there is nothing for, in milliseconds.
pub(super) const HOLD_MS: u64 = 50_000;

#[derive(Debug, Default)]
pub(super) struct Shared {
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    last: AtomicU64,
}

/// What is known of a client.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Its first connect is answered: servers do that at once, and some clients wait for it.
    connected: AtomicBool,
    going: AtomicBool,
    pub(super) went: Notify,
    pub(super) batch: AtomicU64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    channel: &'a str,
    id: Option<&'a RawValue>,
    client_id: Option<&'a str>,
    subscription: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    advice: Option<Advice>,
}

#[derive(Debug, Deserialize)]
struct Advice {
    timeout: Option<u64>,
}

/// A connect that is not answered yet.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) session: Arc<Session>,
    /// It asked to be answered at once.
    pub(super) at_once: bool,
}

impl Shared {
    fn session(&self, id: Option<&str>) -> Option<Arc<Session>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(id?).cloned()
    }

    fn handshake(&self) -> String {
        let id = format!("client{}", self.last.fetch_add(1, Ordering::Relaxed));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(id.clone(), Arc::default());
        id
    }

    fn go(&self, id: Option<&str>) {
        if let Some(session) = self.session(id) {
            session.going.store(true, Ordering::Relaxed);
            session.went.notify_waiters();
        }
    }

    fn forget(&self, id: Option<&str>) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = id.and_then(|id| sessions.remove(id)) {
            session.went.notify_waiters();
        }
    }

    /// Writes the replies to a batch as an array, and gives back the connect in it, which is not answered yet.
    pub(super) fn answer(&self, spec: &Spec, batch: &[u8], out: &mut Vec<u8>) -> Fallible<Option<Held>> {
        let mut held = None;
        out.push(b'[');
        let empty = out.len();
        if batch.trim_ascii_start().first() == Some(&b'[') {
            for request in serde_json::from_slice::<Vec<Request<'_>>>(batch)? {
                held = self.reply(spec, &request, out, empty)?.or(held);
            }
        } else {
            held = self.reply(spec, &serde_json::from_slice(batch)?, out, empty)?;
        }
        if out.len() == empty {
            out.pop();
        } else {
            out.push(b']');
        }
        Ok(held)
    }

    fn reply(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        out: &mut Vec<u8>,
        empty: usize,
    ) -> Fallible<Option<Held>> {
        let id = request.id.map_or("null", RawValue::get);
        let channel = request.channel;
        if channel == "/meta/connect" {
            let session = self.session(request.client_id).ok_or("a connect without a session")?;
            let asked = request.advice.as_ref().is_some_and(|advice| advice.timeout == Some(0));
            let at_once = !session.connected.swap(true, Ordering::Relaxed) || asked;
            return Ok(Some(Held { id: id.to_owned(), session, at_once }));
        }
        if out.len() > empty {
            out.push(b',');
        }
        match channel {
            "/meta/handshake" => {
                let client = self.handshake();
                let ack = if spec.ack { r#","ext":{"ack":true}"# } else { "" };
                write!(
                    out,
                    r#"{{"channel":"/meta/handshake","id":{id},"clientId":"{client}","version":"1.0","supportedConnectionTypes":["websocket","long-polling"],"successful":true,"advice":{{"reconnect":"retry","interval":0,"timeout":{HOLD_MS},"maxInterval":60000}}{ack}}}"#
                )?;
            }
            "/meta/subscribe" | "/meta/unsubscribe" => {
                let names = request.subscription.map_or("null", RawValue::get);
                write!(
                    out,
                    r#"{{"channel":"{channel}","id":{id},"subscription":{names},"successful":true}}"#
                )?;
                if spec.at_once {
                    self.go(request.client_id);
                }
            }
            _ => {
                write!(out, r#"{{"channel":"{channel}","id":{id},"successful":true}}"#)?;
                if channel == "/service/echo" {
                    let data = request.data.map_or("null", RawValue::get);
                    write!(out, r#",{{"channel":"{channel}","id":{id},"data":{data}}}"#)?;
                }
                if channel == GO {
                    self.go(request.client_id);
                }
                if channel == "/meta/disconnect" {
                    self.forget(request.client_id);
                }
            }
        }
        Ok(None)
    }
}

impl Session {
    pub(super) fn is_going(&self) -> bool {
        self.going.load(Ordering::Relaxed)
    }
}

impl Held {
    /// Writes its reply, with the number of the batch that it ends if there are such.
    pub(super) fn reply(&self, spec: &Spec, out: &mut Vec<u8>) -> Fallible {
        write!(out, r#"{{"channel":"/meta/connect","id":{},"successful":true"#, self.id)?;
        if spec.ack {
            let batch = self.session.batch.fetch_add(1, Ordering::Relaxed) + 1;
            write!(out, r#","ext":{{"ack":{batch}}}"#)?;
        }
        out.push(b'}');
        Ok(())
    }

    pub(super) fn is_going(&self) -> bool {
        self.session.is_going()
    }
}
