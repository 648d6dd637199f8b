//! Whether a client is back, and if not, what it does instead.

use std::time::Duration;

use bayeux_testkit::Answer;

use super::stage::{NEWS, Stage};
use super::verdict::{DEAF, GIVES_UP, NEW_SESSION, SILENT, SUBSCRIPTION_LOST, Verdict, right_if};
use crate::outcome::Outcome;
use crate::until::until;

/// For how long connects are answered badly.
pub(super) const OUTAGE: Duration = Duration::from_secs(6);
/// More attempts than this in that time are no retries after pauses, even where the pauses do not grow.
pub(super) const HOT: usize = 15;
/// How long a client may take until it is back.
pub(super) const BACK: Duration = Duration::from_secs(30);

/// Waits until the outage is over. Whether the client made too many attempts in that time; one that does is answered no
/// more, so that it leaves the machine to the others.
pub(super) async fn is_hot(stage: &Stage, mark: usize) -> bool {
    let hot = until(OUTAGE, || stage.attempts(mark) > HOT).await;
    if hot {
        stage.lie(|_| Some(Answer::silence()));
    }
    hot
}

/// Whether a client comes back with its session, now that all is well again.
pub(super) async fn back(stage: &Stage, mark: usize, reported: usize) -> Outcome<Verdict> {
    if !stage.receives_again(BACK).await {
        return lost(stage, reported).await;
    }
    Ok(right_if(stage.since(mark, "/meta/handshake").is_empty(), NEW_SESSION))
}

/// What a client does that does not come back.
pub(super) async fn lost(stage: &Stage, reported: usize) -> Outcome<Verdict> {
    let mark = stage.mark();
    if until(BACK / 3, || stage.attempts(mark) > 0).await {
        return Ok(Verdict::Wrong(DEAF));
    }
    Ok(Verdict::Wrong(if stage.says_so(reported).await { GIVES_UP } else { SILENT }))
}

/// Whether a client that handshakes again after `mark` restores its subscription.
pub(super) async fn restored(stage: &Stage, mark: usize) -> Outcome<Verdict> {
    let restored = || {
        let subscribes = stage.since(mark, "/meta/subscribe");
        subscribes.iter().any(|subscribe| subscribe["subscription"] == NEWS)
    };
    if !until(BACK, restored).await {
        return Ok(Verdict::Wrong(SUBSCRIPTION_LOST));
    }
    Ok(right_if(stage.receives_again(BACK).await, DEAF))
}
