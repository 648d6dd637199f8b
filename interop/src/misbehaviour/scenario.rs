//! The rows of the table.

use std::pin::Pin;
use std::time::Duration;

use bayeux_testkit::Answer;
use serde_json::{Value, json};

use super::dialects::{self, array, without_id};
use super::stage::Stage;
use super::verdict::Verdict;
use super::way::Way::{self, Fallback, LongPolling, WebSocket};
use super::{outages, sessions, volume};
use crate::outcome::Outcome;
use crate::user::Plain;

/// How long a scenario may take in all.
const LIMIT: Duration = Duration::from_secs(150);

/// One row.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(super) way: Way,
    /// What the server does, or the network before it.
    pub(super) does: &'static str,
    /// What a client should do then.
    pub(super) right: &'static str,
    pub(super) plain: Plain,
    /// Whether it must be played with nothing else beside it, for it uses up the machine.
    pub(super) alone: bool,
    play: for<'a> fn(&'a Stage) -> Play<'a>,
}

type Play<'a> = Pin<Box<dyn Future<Output = Outcome<Verdict>> + Send + 'a>>;

impl Scenario {
    const fn new(
        name: &'static str,
        way: Way,
        does: &'static str,
        right: &'static str,
        play: for<'a> fn(&'a Stage) -> Play<'a>,
    ) -> Self {
        let plain = Plain { fallback: false, ack: false, slow: false };
        Self { name, way, does, right, plain, alone: false, play }
    }

    const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    const fn ack(self) -> Self {
        Self { plain: Plain { ack: true, ..self.plain }, ..self }
    }

    const fn slow(self) -> Self {
        Self { plain: Plain { slow: true, ..self.plain }, ..self }
    }

    /// Plays it.
    pub(super) async fn play(&self, stage: &Stage) -> Outcome<Verdict> {
        match tokio::time::timeout(LIMIT, (self.play)(stage)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(format!("not done within {LIMIT:?}").into()),
        }
    }
}

const RIDES_OUT: &str = "tries again after pauses, and goes on with the same session";
const ENDS: &str = "connects no more, and says that it is not connected";
const RESTORES: &str = "handshakes again and restores the subscription";
const TAKES_IT: &str = "takes the reply for what it is, and delivers the message that comes with it";
const SAME: &str = "the same";
const HTML: &str = "<!doctype html><html><title>Sign in</title><body>Sign in to the network</body></html>";

pub(crate) const ALL: &[Scenario] = &[
    // Outages.
    Scenario::new(
        "cut",
        LongPolling,
        "cuts the connection in the midst of each response to a connect, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::cut_in_body(stage)),
    ),
    Scenario::new(
        "garbage",
        LongPolling,
        "answers connects with HTTP 200 and half a JSON array, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::rides_out(stage, |_| Answer::body("[{\"channel\":\"/meta/conn"))),
    ),
    Scenario::new(
        "HTML",
        LongPolling,
        "answers connects with HTTP 200 and an HTML page, as some proxies do, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::rides_out(stage, |_| Answer::page(200, HTML))),
    ),
    Scenario::new(
        "nothing",
        LongPolling,
        "answers connects with HTTP 200 and nothing, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::rides_out(stage, |_| Answer::status(200))),
    ),
    Scenario::new("500", LongPolling, "answers connects with HTTP 500, for 6 s", RIDES_OUT, |stage| {
        Box::pin(outages::rides_out(stage, |_| Answer::page(500, HTML)))
    }),
    Scenario::new(
        "503",
        LongPolling,
        "answers connects with HTTP 503 and `Retry-After: 1`, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::rides_out(stage, |_| Answer::page(503, HTML).header("retry-after", "1"))),
    ),
    Scenario::new(
        "another id",
        LongPolling,
        "answers connects with the reply to another request, for 6 s",
        "does not take it for the reply; the rest as above",
        |stage| Box::pin(outages::another_id(stage)),
    ),
    Scenario::new(
        "refused at once",
        LongPolling,
        "refuses each connect with the advice `retry` and the interval 0, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::refused_at_once(stage)),
    ),
    Scenario::new(
        "half-open",
        LongPolling,
        "is there, but nothing arrives any more in either direction, and no connection ends",
        "notices within a minute, and is back with the same session when the network is",
        |stage| Box::pin(outages::half_open(stage)),
    ),
    Scenario::new("half-open socket", WebSocket, SAME, SAME, |stage| Box::pin(outages::half_open(stage))),
    Scenario::new("close 1001", WebSocket, "closes the WebSocket with the code 1001", RIDES_OUT, |stage| {
        Box::pin(outages::closed(stage, 1001, false))
    }),
    Scenario::new(
        "close 1011",
        WebSocket,
        "closes the WebSocket with the code 1011, and each that follows as soon as something is sent, for 6 s",
        RIDES_OUT,
        |stage| Box::pin(outages::closed(stage, 1011, true)),
    ),
    Scenario::new("broken frame", WebSocket, "sends a frame with half a JSON array", "goes on", |stage| {
        Box::pin(outages::broken_frame(stage))
    }),
    Scenario::new(
        "swallowed",
        Fallback,
        "accepts the WebSocket, and all its frames vanish, as behind some proxies",
        "falls back to long-polling",
        |stage| Box::pin(sessions::no_websocket(stage, Answer::accept_and_swallow)),
    ),
    Scenario::new(
        "no upgrade",
        Fallback,
        "answers the upgrade to WebSocket with HTTP 404",
        "falls back to long-polling",
        |stage| Box::pin(sessions::no_websocket(stage, || Answer::status(404))),
    ),
    // Sessions.
    Scenario::new(
        "402",
        LongPolling,
        "has forgotten the session: `402::session_unknown` and the advice `handshake`",
        RESTORES,
        |stage| {
            let advice = json!({"reconnect": "handshake", "interval": 0});
            Box::pin(sessions::forgotten(stage, "402::session_unknown", advice))
        },
    ),
    Scenario::new(
        "401 of Faye",
        LongPolling,
        "says so in Faye's words: `401:…:Unknown client`, and advice without an interval",
        RESTORES,
        |stage| {
            Box::pin(sessions::forgotten(
                stage,
                "401:peer-0:Unknown client",
                json!({"reconnect": "handshake"}),
            ))
        },
    ),
    Scenario::new(
        "403 of Salesforce",
        LongPolling,
        "says so in Salesforce's words: `403::Unknown client`",
        RESTORES,
        |stage| {
            let advice = json!({"reconnect": "handshake", "interval": 0});
            Box::pin(sessions::forgotten(stage, "403::Unknown client", advice))
        },
    ),
    Scenario::new(
        "402, no advice",
        LongPolling,
        "says `402::session_unknown` without advice",
        RESTORES,
        |stage| Box::pin(sessions::forgotten(stage, "402::session_unknown", Value::Null)),
    ),
    Scenario::new(
        "refused again",
        LongPolling,
        "has forgotten the session, and refuses handshakes with the advice `handshake` and the interval 0, for 6 s",
        "tries again after pauses, and restores the subscription",
        |stage| Box::pin(sessions::refused_at_once(stage)),
    ),
    Scenario::new(
        "restore refused",
        LongPolling,
        "has forgotten the session, and refuses the subscription when it is restored",
        "reports it to its user",
        |stage| Box::pin(sessions::restore_refused(stage)),
    ),
    Scenario::new(
        "sent away",
        LongPolling,
        "sends a `/meta/disconnect` that has neither `id` nor `successful`, as Salesforce's does",
        ENDS,
        |stage| Box::pin(sessions::dismissed(stage)),
    ),
    Scenario::new("none, refused", LongPolling, "refuses a connect with the advice `none`", ENDS, |stage| {
        Box::pin(sessions::advised_none(stage, false))
    }),
    Scenario::new("none, granted", LongPolling, "grants a connect with the advice `none`", ENDS, |stage| {
        Box::pin(sessions::advised_none(stage, true))
    }),
    Scenario::new(
        "handshake, retry",
        LongPolling,
        "refuses the first handshake with the advice `retry` instead of `handshake`",
        "handshakes again, or says that it failed; does not connect without a session",
        |stage| {
            Box::pin(sessions::first_handshake(stage, |handshake| {
                let mut reply = bayeux_testkit::Request::refusal_of(handshake, "503::busy");
                reply["advice"] = json!({"reconnect": "retry", "interval": 500});
                reply
            }))
        },
    ),
    Scenario::new(
        "no clientId",
        LongPolling,
        "grants the first handshake without a `clientId`",
        SAME,
        |stage| {
            Box::pin(sessions::first_handshake(stage, |handshake| {
                let mut reply = bayeux_testkit::Request::reply_to(handshake);
                reply["supportedConnectionTypes"] = json!(["websocket", "long-polling"]);
                reply["version"] = "1.0".into();
                reply
            }))
        },
    ),
    Scenario::new(
        "no transport",
        LongPolling,
        "offers `callback-polling` alone",
        "says that it cannot open, and does not connect",
        |stage| Box::pin(sessions::no_transport(stage)),
    ),
    // Dialects.
    Scenario::new(
        "one object",
        LongPolling,
        "answers connects with an object instead of an array",
        "takes the reply for what it is",
        |stage| {
            Box::pin(dialects::understood(stage, |_, replies| replies.into_iter().next().unwrap_or_default()))
        },
    ),
    Scenario::new("no id", LongPolling, "answers connects without an `id`", TAKES_IT, |stage| {
        Box::pin(dialects::odd(stage, |event, replies| {
            array(event, replies.into_iter().map(without_id).collect())
        }))
    }),
    Scenario::new(
        "number for id",
        LongPolling,
        "answers connects with an `id` that is a number",
        TAKES_IT,
        |stage| {
            Box::pin(dialects::odd(stage, |event, mut replies| {
                for reply in &mut replies {
                    reply["id"] = reply["id"].as_str().and_then(|id| id.parse::<u64>().ok()).into();
                }
                array(event, replies)
            }))
        },
    ),
    Scenario::new(
        "nulls",
        LongPolling,
        "answers connects with `ext`, `error` and `data` that are null, and with fields that nobody knows",
        TAKES_IT,
        |stage| {
            Box::pin(dialects::odd(stage, |event, mut replies| {
                for reply in &mut replies {
                    for field in ["ext", "error", "data", "timestamp"] {
                        reply[field] = Value::Null;
                    }
                    reply["x-unknown"] = json!({"a": [1, 2]});
                }
                array(event, replies)
            }))
        },
    ),
    Scenario::new(
        "no channel",
        LongPolling,
        "puts a message without a channel before the others, as Salesforce's does for an error",
        "passes over it; takes the reply, and delivers the message that comes with it",
        |stage| {
            Box::pin(dialects::odd(stage, |event, replies| {
                let error = json!({"error": "401::Request requires authentication", "successful": false});
                let rest = std::iter::once(event).chain(replies);
                Value::Array(std::iter::once(error).chain(rest).collect())
            }))
        },
    ),
    Scenario::new(
        "no messages",
        LongPolling,
        "puts a null, a number and a text before the others",
        SAME,
        |stage| {
            Box::pin(dialects::odd(stage, |event, replies| {
                let strange = [Value::Null, json!(7), json!("text"), event];
                Value::Array(strange.into_iter().chain(replies).collect())
            }))
        },
    ),
    Scenario::new(
        "advice of wrong types",
        LongPolling,
        "advises `{\"reconnect\": \"retry\", \"interval\": \"soon\", \"timeout\": []}`",
        TAKES_IT,
        |stage| {
            let advice = json!({"reconnect": "retry", "interval": "soon", "timeout": []});
            Box::pin(dialects::advised(stage, advice))
        },
    ),
    Scenario::new(
        "advice as text",
        LongPolling,
        "advises `\"retry\"`, a text instead of an object",
        TAKES_IT,
        |stage| Box::pin(dialects::advised(stage, json!("retry"))),
    ),
    Scenario::new(
        "absurd advice",
        LongPolling,
        "advises a timeout of 10^19 ms and a `maxInterval` of -1",
        TAKES_IT,
        |stage| {
            let advice = json!({
                "reconnect": "retry", "interval": 0, "timeout": 10_000_000_000_000_000_000_u64, "maxInterval": -1,
            });
            Box::pin(dialects::advised(stage, advice))
        },
    ),
    Scenario::new(
        "around",
        LongPolling,
        "puts messages before and after the reply to a connect",
        "delivers all of them in their order",
        |stage| Box::pin(dialects::around(stage)),
    ),
    Scenario::new(
        "false, 0, \"\", null",
        LongPolling,
        "sends messages with these data, and with `[]`",
        "delivers all of them as they are",
        |stage| Box::pin(dialects::falsy(stage)),
    ),
    Scenario::new(
        "answered twice",
        WebSocket,
        "answers a connect twice in one frame",
        "has one connect outstanding",
        |stage| Box::pin(dialects::answered_twice(stage)),
    ),
    Scenario::new(
        "subscribed, no id",
        WebSocket,
        "grants a subscription without an `id`",
        "the call ends, with success or failure",
        |stage| Box::pin(dialects::subscribed_without_id(stage)),
    ),
    Scenario::new(
        "unanswered",
        WebSocket,
        "does not answer a publish",
        "the call fails; messages are still received",
        |stage| Box::pin(dialects::unanswered(stage)),
    ),
    // Volume.
    Scenario::new("2 MiB", LongPolling, "sends a message of 2 MiB", "delivers it", |stage| {
        Box::pin(volume::large(stage))
    })
    .alone(),
    Scenario::new(
        "flood",
        WebSocket,
        "sends 20,000 messages at once while the user is busy with the first for 3 s",
        "delivers all of them in their order, and goes on with the same session",
        |stage| Box::pin(volume::flood(stage)),
    )
    .slow()
    .alone(),
    Scenario::new(
        "sent again",
        LongPolling,
        "acknowledge extension: cuts a response in its midst, and sends its messages again",
        "acknowledges only what it got; delivers each message once",
        |stage| Box::pin(volume::sent_again(stage)),
    )
    .ack(),
    Scenario::new(
        "false ack",
        LongPolling,
        "acknowledge extension: refuses a connect, and says that messages came with it",
        "acknowledges only what it got",
        |stage| Box::pin(volume::false_ack(stage)),
    )
    .ack(),
];
