//! The streaming endpoint, `/cometd/NN.0`.

use serde_json::{Value, json};

use super::Refusal;
use super::org::Org;
use crate::peer::{Answer, Request};

const BROWSER: &str = "BAYEUX_BROWSER";
/// Leads to the node that has the session.
const STICKY: &str = "sfdc-stream";

pub(super) fn answer(org: &mut Org, request: &Request) -> Answer {
    let version = request.path.strip_prefix("/cometd/").and_then(|rest| rest.split(['.', '/']).next());
    match version.and_then(|version| version.parse::<u32>().ok()) {
        None => return Answer::page(404, "<html><title>Login | Salesforce</title></html>"),
        Some(version) if version < 37 => {
            let error = "400::API version in the URL is mandatory. URL format: '/cometd/68.0'";
            return Answer::messages(
                request.messages.iter().map(|message| Request::refusal_of(message, error)),
            );
        }
        Some(_) => {}
    }
    let token = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer ").or(value.strip_prefix("OAuth ")));
    let is_authorized = token.is_some_and(|token| org.knows_token(token));
    let mut replies = Vec::new();
    let mut held = Vec::new();
    let mut cookies = None;
    for message in &request.messages {
        match message["channel"].as_str() {
            _ if token.is_none() => {
                // Without a channel.
                replies.push(json!({"error": "401::Request requires authentication", "successful": false}));
            }
            Some("/meta/handshake") => {
                let (reply, session) = handshake(org, message, is_authorized);
                replies.push(reply);
                cookies = session;
            }
            _ if !is_authorized => {
                let mut refusal = Request::refusal_of(message, "401::Authentication invalid");
                refusal["advice"] = json!({"reconnect": "none"});
                replies.push(refusal);
            }
            _ => match in_session(org, request, message) {
                Ok((events, reply)) => {
                    replies.extend(events);
                    match reply {
                        Now(reply) => replies.push(reply),
                        Later(reply) => held.push(reply),
                    }
                }
                Err(refusal) => replies.push(refusal),
            },
        }
    }
    let answer = if held.is_empty() {
        Answer::messages(replies)
    } else {
        Answer::hold(replies.into_iter().chain(held))
    };
    match cookies {
        None => answer,
        Some(session) => answer
            .header("set-cookie", &format!("{BROWSER}={session}; Path=/"))
            .header("set-cookie", &format!("{STICKY}={session}; Path=/; Max-Age=10800")),
    }
}

enum When {
    Now(Value),
    Later(Value),
}
use When::{Later, Now};

fn handshake(org: &mut Org, message: &Value, is_authorized: bool) -> (Value, Option<String>) {
    if !is_authorized {
        let mut refusal = Request::refusal_of(message, "403::Handshake denied");
        refusal["ext"] = json!({"sfdc": {"failureReason": "401::Authentication invalid"}});
        refusal["advice"] = json!({"reconnect": "none"});
        return (refusal, None);
    }
    if org.refuses(&[Refusal::ClientLimit]).is_some() {
        let mut refusal = Request::refusal_of(message, "403::Organization concurrent user limit exceeded");
        refusal["advice"] = json!({"reconnect": "none"});
        return (refusal, None);
    }
    let session = org.begin_session();
    let mut reply = Request::reply_to(message);
    reply["version"] = "1.0".into();
    reply["minimumVersion"] = "1.0".into();
    reply["clientId"] = session.as_str().into();
    reply["supportedConnectionTypes"] = json!(["long-polling"]);
    reply["ext"] = json!({"replay": true, "payload.format": true});
    (reply, Some(session))
}

fn in_session(org: &mut Org, request: &Request, message: &Value) -> Result<(Vec<Value>, When), Value> {
    let name = message["clientId"].as_str().unwrap_or_default().to_owned();
    let refuse = |error: &str, reconnect: &str| {
        let mut refusal = Request::refusal_of(message, error);
        refusal["advice"] = json!({"reconnect": reconnect, "interval": 0});
        refusal
    };
    let channel = message["channel"].as_str().unwrap_or_default();
    let is_connect = channel == "/meta/connect";
    let known = org.session(&name).is_some();
    let storm = is_connect && org.refuses(&[Refusal::Storm]).is_some();
    if !known || storm {
        org.end_session(&name);
        return Err(refuse("403::Unknown client", "handshake"));
    }
    let cookie = request.header("cookie").unwrap_or_default();
    for needed in [BROWSER, STICKY] {
        if !cookie.split("; ").any(|pair| pair == format!("{needed}={name}")) {
            let error =
                format!("400::Client {name} has established a session, but no {needed} cookie present");
            return Err(refuse(&error, "handshake"));
        }
    }
    let subscription = message["subscription"].as_str().unwrap_or_default();
    match channel {
        "/meta/connect" => {
            if message["connectionType"] != "long-polling" {
                return Err(refuse("400::Invalid connection type", "none"));
            }
            match org.refuses(&[Refusal::DailyLimit, Refusal::Busy]) {
                Some(Refusal::DailyLimit) => {
                    return Err(refuse("403::Organization total events daily limit exceeded", "none"));
                }
                Some(_) => return Err(refuse("503::Server is too busy", "retry")),
                None => {}
            }
            let mut reply = Request::reply_to(message);
            reply["advice"] = json!({"reconnect": "retry", "interval": 0, "timeout": 110_000});
            let wake = std::sync::Arc::clone(&org.wake);
            let probe = message["advice"]["timeout"] == 0;
            let Some(session) = org.session(&name) else {
                return Err(refuse("403::Unknown client", "handshake"));
            };
            // As many as fit a response.
            let count = session.queue.len().min(2000);
            let events: Vec<Value> = session.queue.drain(..count).collect();
            let hold = events.is_empty() && !probe;
            session.connected(hold, &wake);
            Ok((events, if hold { Later(reply) } else { Now(reply) }))
        }
        "/meta/subscribe" => {
            let replay = message["ext"]["replay"][subscription].as_i64().unwrap_or(-1);
            match org.subscribe(&name, subscription, replay) {
                Ok(()) => Ok((Vec::new(), Now(Request::reply_to(message)))),
                Err(error) => Err(Request::refusal_of(message, &error)),
            }
        }
        "/meta/unsubscribe" => {
            org.unsubscribe(&name, subscription);
            Ok((Vec::new(), Now(Request::reply_to(message))))
        }
        "/meta/disconnect" => {
            org.end_session(&name);
            Ok((Vec::new(), Now(Request::reply_to(message))))
        }
        _ => Err(Request::refusal_of(
            message,
            "403::Publishing is not supported over the Streaming API; use REST",
        )),
    }
}
