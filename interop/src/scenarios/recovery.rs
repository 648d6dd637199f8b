//! What goes wrong on the way, and what clients make of it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cell::{Cell, Seat};
use crate::outcome::{Outcome, check};
use crate::server::KEEP;

/// How long a client may take until it is back: longer than the longest pause between attempts.
const BACK: Duration = Duration::from_secs(60);
/// How often the line is cut.
const CUTS: i64 = 5;
/// How often it is asked whether it is.
const PROBE: Duration = Duration::from_millis(200);

pub(super) async fn cuts(cell: &Cell<'_>) -> Outcome {
    let (ann, bob) = (cell.subject("ann").await?, cell.other("bob").await?);
    ann.subscribe("/cuts").await?;
    let cutting = async {
        for round in 0..CUTS {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let before = ann.tap.connections();
            // Now between messages, now in the midst of one.
            if round % 2 == 0 {
                ann.tap.cut();
            } else {
                ann.tap.cut_after(100 + 37 * round);
            }
            while ann.tap.is_armed() || ann.tap.connections() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let published = AtomicU32::new(0);
    let publish = async {
        let mut cutting = pin!(tokio::time::timeout(BACK, cutting));
        for n in 0.. {
            bob.publish("/cuts", &json!(n)).await?;
            published.store(n + 1, Ordering::SeqCst);
            tokio::select! {
                cut = &mut cutting => {
                    cut.map_err(|_| format!("the client made no new connections in {BACK:?}"))?;
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
        bob.publish("/cuts", &json!("end")).await.map_err(Into::into)
    };
    let receive = async {
        for n in 0.. {
            match ann.receive().await.map_err(|error| format!("after {n} messages: {error}"))? {
                (_, data) if data == json!(n) => {}
                (_, data) if data == json!("end") => {
                    return check(
                        n >= published.load(Ordering::SeqCst),
                        format!("the end came after {n} messages"),
                    );
                }
                (_, data) => return Err(format!("{data} came instead of {n}").into()),
            }
        }
        Outcome::Ok(())
    };
    tokio::try_join!(publish, receive)?;
    let twice = ann.receives_within(Duration::from_millis(500)).await;
    check(twice.is_none(), format!("{twice:?} came once more"))
}

/// Publishes until the client gets it: it is back, and its subscription is.
async fn is_back(cell: &Cell<'_>, seat: &Seat, channel: &str) -> Outcome {
    let probe = async {
        for n in 0.. {
            cell.server.publish(channel, &json!({"probe": n})).await?;
            if let Some((from, data)) = seat.receives_within(PROBE).await {
                check(from == channel && data["probe"].is_u64(), format!("{from} {data} came instead"))?;
                return Outcome::Ok(());
            }
        }
        Ok(())
    };
    let back = tokio::time::timeout(BACK, probe).await;
    back.unwrap_or_else(|_| Err(format!("{}'s subscription was not restored in {BACK:?}", seat.name).into()))
}

pub(super) async fn restart(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    ann.subscribe("/restart/a").await?;
    ann.subscribe("/restart/b").await?;
    is_back(cell, &ann, "/restart/a").await?;
    cell.server.restart(tokio::time::sleep(Duration::from_millis(500))).await?;
    is_back(cell, &ann, "/restart/a").await?;
    drain(&ann).await;
    is_back(cell, &ann, "/restart/b").await
}

pub(super) async fn expiry(cell: &Cell<'_>) -> Outcome {
    let ann = cell.subject("ann").await?;
    ann.subscribe("/expiry/a").await?;
    is_back(cell, &ann, "/expiry/a").await?;
    drain(&ann).await;
    ann.tap.refuse(true);
    // Faye keeps a session for twice the time that it holds a connect.
    tokio::time::sleep(Duration::from_millis(2 * KEEP + 1500)).await;
    ann.tap.refuse(false);
    is_back(cell, &ann, "/expiry/a").await?;
    check(ann.sent("handshake") >= 2, "the server did not forget the session, so that nothing was tried")
}

/// Takes what is still on its way.
async fn drain(seat: &Seat) {
    while seat.receives_within(PROBE).await.is_some() {}
}

pub(super) async fn dismissal(cell: &Cell<'_>) -> Outcome {
    let (ann, bob) = (cell.subject("ann").await?, cell.other("bob").await?);
    ann.subscribe("/dismissal").await?;
    bob.subscribe("/dismissal").await?;
    // The reply to this may or may not come before the end.
    let _ = ann.publish("/service/dismiss", &Value::Null).await;
    let gone = async {
        while ann.is_connected().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Outcome::Ok(())
    };
    let reported = tokio::time::timeout(Duration::from_secs(10), gone).await;
    reported.map_err(|_| "the client does not notice that its session was ended")??;
    let sent = || ann.sent("handshake") + ann.sent("connect");
    // What was on its way in that moment is done after this.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = sent();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    check(sent() == before, "the client came back although its session was ended")?;
    bob.publish("/dismissal", &json!(1)).await?;
    bob.expect("/dismissal", &json!(1)).await?;
    let received = ann.receives_within(PROBE).await;
    check(received.is_none(), format!("after its end {received:?} came"))
}
