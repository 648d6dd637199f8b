//! Servers that grant, forget, refuse and end sessions in ways that are not those of CometD.

use std::time::Duration;

use bayeux_testkit::{Answer, Request, RequestKind};
use serde_json::{Value, json};

use super::judge::{BACK, HOT, OUTAGE, is_hot, lost, restored};
use super::stage::Stage;
use super::verdict::{
    ALL_THE_SAME, COMES_BACK, DEAD_SESSION, DEAF, HANGS, HOT_LOOP, LOST_IN_SILENCE, NO_FALLBACK, NO_SESSION,
    SILENT, SUBSCRIPTION_LOST, Verdict, right_if,
};
use crate::outcome::Outcome;
use crate::until::until;

/// How long a client may take until it handshakes again.
const AGAIN: Duration = Duration::from_secs(20);
/// For how long a client that was sent away must stay away.
const AWAY: Duration = Duration::from_secs(6);
/// How long opening may take over a transport that does not work.
const OPEN: Duration = Duration::from_secs(45);

/// Refuses a request of this session.
fn refusal(request: &Request, session: &Value, error: &str, advice: &Value) -> Option<Answer> {
    let first = request.messages.first()?;
    // CometD's client for Java puts the old session into a handshake, too.
    if first["clientId"] != *session || first["channel"] == "/meta/handshake" {
        return None;
    }
    let refuse = |message: &Value| {
        let mut reply = Request::refusal_of(message, error);
        if message["channel"] == "/meta/connect" && !advice.is_null() {
            reply["advice"] = advice.clone();
        }
        reply
    };
    Some(Answer::messages(request.messages.iter().map(refuse)))
}

/// The session that a client has.
fn session(stage: &Stage) -> Value {
    stage.peer.received("/meta/connect").last().map_or(Value::Null, |connect| connect["clientId"].clone())
}

/// The session is forgotten: each request with it is refused with this error and advice.
pub(super) async fn forgotten(stage: &Stage, error: &'static str, advice: Value) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported, dead) = (stage.mark(), stage.reported(), session(stage));
    let old = dead.clone();
    stage.lie(move |request| refusal(request, &old, error, &advice));
    stage.release();
    let shaken = || !stage.since(mark, "/meta/handshake").is_empty();
    if until(OUTAGE, || shaken() || stage.attempts(mark) > HOT).await && !shaken() {
        stage.lie(|_| Some(Answer::silence()));
        return Ok(Verdict::Wrong(HOT_LOOP));
    }
    if !until(AGAIN, shaken).await {
        let lost = lost(stage, reported).await?;
        return Ok(if lost == Verdict::Wrong(DEAF) { Verdict::Wrong(DEAD_SESSION) } else { lost });
    }
    restored(stage, mark).await
}

/// The session is forgotten, and new ones are refused for a while with the advice to handshake again at once.
pub(super) async fn refused_at_once(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported, dead) = (stage.mark(), stage.reported(), session(stage));
    let (old, advice) = (dead.clone(), json!({"reconnect": "handshake", "interval": 0}));
    stage.lie(move |request| {
        if let Some(handshake) = request.message("/meta/handshake") {
            let mut reply = Request::refusal_of(handshake, "500::busy");
            reply["advice"] = advice.clone();
            return Some(Answer::messages([reply]));
        }
        refusal(request, &old, "402::session_unknown", &advice)
    });
    stage.release();
    if is_hot(stage, mark).await {
        return Ok(Verdict::Wrong(HOT_LOOP));
    }
    stage.behave();
    let mark = stage.mark();
    if !until(BACK, || !stage.since(mark, "/meta/handshake").is_empty()).await {
        return lost(stage, reported).await;
    }
    restored(stage, mark).await
}

/// The session is forgotten, and the subscription is refused when it is restored.
pub(super) async fn restore_refused(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, dead) = (stage.mark(), session(stage));
    stage.lie(move |request| {
        let Some(subscribe) = request.message("/meta/subscribe") else {
            return refusal(
                request,
                &dead,
                "402::session_unknown",
                &json!({"reconnect": "handshake", "interval": 0}),
            );
        };
        let refusal = Request::refusal_of(subscribe, "403::subscribe_denied");
        // Some restore it together with a connect.
        let others = request.messages.iter().filter(|message| message["channel"] != "/meta/subscribe");
        Some(Answer::messages(others.map(Request::reply_to).chain([refusal])))
    });
    stage.release();
    if !until(AGAIN, || !stage.since(mark, "/meta/subscribe").is_empty()).await {
        return Ok(Verdict::Wrong(SUBSCRIPTION_LOST));
    }
    let reported = || stage.log().1.iter().any(|reported| reported.contains("subscribe_denied"));
    Ok(right_if(until(AWAY, reported).await, LOST_IN_SILENCE))
}

/// The session is ended by a `/meta/disconnect` that has neither an id nor `successful`.
pub(super) async fn dismissed(stage: &Stage) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    stage.bring(vec![json!({"channel": "/meta/disconnect"})]);
    stays_away(stage, mark, reported).await
}

/// Connects are answered with the advice `none`.
pub(super) async fn advised_none(stage: &Stage, successful: bool) -> Outcome<Verdict> {
    stage.settle().await?;
    let (mark, reported) = (stage.mark(), stage.reported());
    stage.lie(move |request| {
        let connect = request.message("/meta/connect")?;
        let mut reply = Request::reply_to(connect);
        if !successful {
            reply = Request::refusal_of(connect, "403::go_away");
        }
        reply["advice"] = json!({"reconnect": "none"});
        Some(Answer::messages([reply]).after(Duration::from_millis(300)))
    });
    stage.release();
    stays_away(stage, mark, reported).await
}

/// Whether a client makes no attempt after its session was ended, and reports the end.
async fn stays_away(stage: &Stage, mark: usize, reported: usize) -> Outcome<Verdict> {
    if !until(AGAIN, || stage.attempts(mark) > 0).await {
        return Err("the client does not connect again".into());
    }
    if until(AWAY, || stage.attempts(mark) > 1).await {
        return Ok(Verdict::Wrong(COMES_BACK));
    }
    Ok(right_if(stage.says_so(reported).await, SILENT))
}

/// The first handshake is answered like this; the client is to try again or to say that it will not.
pub(super) async fn first_handshake(
    stage: &Stage,
    answer: impl Fn(&Value) -> Value + Send + 'static,
) -> Outcome<Verdict> {
    let mut first = true;
    stage.lie(move |request| {
        let handshake = request.message("/meta/handshake")?;
        std::mem::replace(&mut first, false).then(|| Answer::messages([answer(handshake)]))
    });
    let opened = async { stage.ends(stage.open()).await };
    let connected = until(OPEN, || stage.attempts(0) > 2 && has_session(stage));
    let opened = tokio::select! {
        opened = opened => opened,
        connected = connected => connected.then_some(Ok(())),
    };
    // Some say that the first try was in vain, and go on.
    let connected = until(AGAIN / 2, || has_session(stage)).await;
    if stage.peer.received("/meta/connect").iter().any(|connect| !connect["clientId"].is_string()) {
        return Ok(Verdict::Wrong(NO_SESSION));
    }
    Ok(right_if(connected || matches!(opened, Some(Err(_))), HANGS))
}

fn has_session(stage: &Stage) -> bool {
    stage.peer.received("/meta/connect").iter().any(|connect| connect["clientId"].is_string())
}

/// The server offers no transport that the client has.
pub(super) async fn no_transport(stage: &Stage) -> Outcome<Verdict> {
    let decent = stage.decent.clone();
    stage.lie(move |request| {
        request.message("/meta/handshake")?;
        let mut replies = decent.replies(request);
        for reply in &mut replies {
            reply["supportedConnectionTypes"] = json!(["callback-polling"]);
        }
        Some(Answer::messages(replies))
    });
    let opened = stage.ends(stage.open()).await;
    let connects = until(Duration::from_secs(3), || !stage.peer.received("/meta/connect").is_empty()).await;
    if connects {
        return Ok(Verdict::Wrong(ALL_THE_SAME));
    }
    Ok(right_if(matches!(opened, Some(Err(_))), HANGS))
}

/// WebSocket does not work, in one way or another; long-polling does.
pub(super) async fn no_websocket(stage: &Stage, upgrade: fn() -> Answer) -> Outcome<Verdict> {
    stage.lie(move |request| (request.kind == RequestKind::Upgrade).then(upgrade));
    let polls = || {
        let requests = stage.peer.requests();
        requests.iter().any(|request| request.kind == RequestKind::Post && request.has("/meta/connect"))
    };
    // What opening comes to does not matter: some say that the first try was in vain, and go on.
    let opening = async {
        let _ = stage.open().await;
        std::future::pending::<bool>().await
    };
    let falls_back = tokio::select! {
        falls_back = until(OPEN, polls) => falls_back,
        never = opening => never,
    };
    Ok(right_if(falls_back, NO_FALLBACK))
}
