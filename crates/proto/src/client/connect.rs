//! The one `/meta/connect` of a session: its stage, and what the connects before it have shown.

use std::time::Duration;

use super::pending::Pending;
use crate::message::Message;
use crate::time::Time;
use crate::transport::Transport;

/// That many connects in a row may come back at once without an event before they are slowed down.
const IDLE_TURNS: u32 = 5;
/// What "at once" is.
const AT_ONCE: Duration = Duration::from_millis(100);
/// A connect that only asks again for what a receiver had no credit for follows after this, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// And after this at last: CometD servers keep a session that does not connect for 10 s, unless they say otherwise.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Lives as long as its session. At most one connect is outstanding.
#[derive(Debug)]
pub(super) struct Connect {
    stage: Stage,
    /// Since when connects succeed; `None` after a loss.
    proven: Option<Time>,
    /// Whether a connect ever succeeded in this session.
    session_proven: bool,
    /// Successful connects in a row that came back at once without an event.
    idle_turns: u32,
    /// Whether an event came since the outstanding connect was sent.
    events: bool,
    /// Turns in a row whose batch was not acknowledged, because a receiver had no credit for it.
    held_turns: u32,
    /// Events that are still to come with the handshake, before the first connect.
    handshake_events: u64,
    /// While a better transport is tried: the one that works.
    trial: Option<Transport>,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// To be sent at this time.
    Waiting(Time),
    NeedsCredentials,
    Sent {
        pending: Pending,
        /// It asked to be answered at once.
        probe: bool,
    },
}

/// A connect that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answered {
    pending: Pending,
    probe: bool,
}

impl Answered {
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }
}

impl Connect {
    /// The connect of a session that was just granted, after `handshake_events` events that come with the handshake.
    pub(super) fn granted(handshake_events: u64) -> Self {
        Self {
            stage: Stage::Idle,
            proven: None,
            session_proven: false,
            idle_turns: 0,
            events: false,
            held_turns: 0,
            handshake_events,
            trial: None,
        }
    }

    /// The connect of a session that another process had.
    pub(super) fn resumed() -> Self {
        Self { session_proven: true, ..Self::granted(0) }
    }

    /// Sends the next connect at `at`.
    pub(super) fn wait_until(&mut self, at: Time) {
        self.stage = Stage::Waiting(at);
    }

    /// When the next connect is to be sent.
    pub(super) fn waits_until(&self) -> Option<Time> {
        match self.stage {
            Stage::Waiting(at) => Some(at),
            _ => None,
        }
    }

    /// Whether the next connect is to be sent now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.waits_until().is_some_and(|at| at <= now)
    }

    pub(super) fn need_credentials(&mut self) {
        self.stage = Stage::NeedsCredentials;
    }

    pub(super) fn needs_credentials(&self) -> bool {
        matches!(self.stage, Stage::NeedsCredentials)
    }

    /// Whether the next connect asks to be answered at once: the first one, each after a loss, and each that tries
    /// another transport. That proves the connection.
    pub(super) fn is_probe(&self) -> bool {
        self.proven.is_none() || self.trial.is_some()
    }

    /// The connect was sent.
    pub(super) fn sent(&mut self, pending: Pending) {
        self.events = false;
        self.stage = Stage::Sent { pending, probe: self.is_probe() };
    }

    /// The connect that waits for its reply.
    pub(super) fn outstanding(&self) -> Option<&Pending> {
        match &self.stage {
            Stage::Sent { pending, .. } => Some(pending),
            _ => None,
        }
    }

    pub(super) fn outstanding_mut(&mut self) -> Option<&mut Pending> {
        match &mut self.stage {
            Stage::Sent { pending, .. } => Some(pending),
            _ => None,
        }
    }

    /// Takes the connect that `reply` answers.
    pub(super) fn answered_by(&mut self, reply: &Message) -> Option<Answered> {
        let Stage::Sent { pending, probe } = self.stage else { return None };
        if !pending.is_answered_by(reply) {
            return None;
        }
        self.stage = Stage::Idle;
        Some(Answered { pending, probe })
    }

    /// Drops the outstanding or planned connect. Returns it if it was sent.
    pub(super) fn abandon(&mut self) -> Option<Pending> {
        let pending = self.outstanding().copied();
        self.stage = Stage::Idle;
        pending
    }

    /// Plans no connect; one that was sent stays outstanding.
    pub(super) fn plan_none(&mut self) {
        if self.outstanding().is_none() {
            self.stage = Stage::Idle;
        }
    }

    /// The connect succeeded. Returns for how many turns the next one is to be slowed down, because the last ones
    /// came back at once without an event.
    pub(super) fn succeeded(&mut self, answered: &Answered, now: Time) -> u32 {
        self.proven.get_or_insert(now);
        self.session_proven = true;
        let quick = !answered.probe && !self.events && now.since(answered.pending.sent_at()) < AT_ONCE;
        self.idle_turns = if quick { self.idle_turns.saturating_add(1) } else { 0 };
        self.idle_turns.saturating_sub(IDLE_TURNS)
    }

    /// Whether the connection works: a connect succeeded since the last loss.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.is_some()
    }

    /// Whether a connect ever succeeded in this session.
    pub(super) fn was_ever_proven(&self) -> bool {
        self.session_proven
    }

    /// The connection is lost. Returns since when it worked, if it did.
    pub(super) fn lost(&mut self) -> Option<Time> {
        self.proven.take()
    }

    /// An event came, so the turns are not idle. Some servers send the events of a reply after it: returns whether
    /// the next connect waits only because of the idle turns before.
    pub(super) fn event_received(&mut self) -> bool {
        self.events = true;
        std::mem::take(&mut self.idle_turns) > IDLE_TURNS && self.waits_until().is_some()
    }

    /// Whether events are to come before the first connect.
    pub(super) fn awaits_handshake_events(&self) -> bool {
        self.handshake_events > 0
    }

    /// An event came. Returns whether it was the last that the first connect waits for.
    pub(super) fn handshake_event_received(&mut self) -> bool {
        if self.handshake_events == 0 {
            return false;
        }
        self.handshake_events -= 1;
        self.handshake_events == 0 && self.waits_until().is_some()
    }

    /// A turn has ended, and its batch was acknowledged or is held back.
    pub(super) fn turn_ended(&mut self, held: bool) {
        self.held_turns = if held { self.held_turns.saturating_add(1) } else { 0 };
    }

    /// Whether the last batch is not acknowledged yet.
    pub(super) fn is_holding(&self) -> bool {
        self.held_turns > 0
    }

    /// How long to wait before the server is asked again for what was held back. `kept` is how long the server keeps a
    /// session that does not connect, if it said so.
    pub(super) fn hold_back(&self, kept: Option<Duration>) -> Duration {
        let Some(turns) = self.held_turns.checked_sub(1) else { return Duration::ZERO };
        let last = kept.map_or(LAST_PAUSE, |kept| LAST_PAUSE.min(kept / 2));
        FIRST_PAUSE.saturating_mul(1 << turns.min(8)).min(last)
    }

    /// Tries another transport with the next connect; `working` is the one that works.
    pub(super) fn begin_trial(&mut self, working: Transport) {
        self.trial = Some(working);
    }

    /// While a trial is under way: the transport that works.
    pub(super) fn trial(&self) -> Option<Transport> {
        self.trial
    }

    /// Ends the trial. Returns the transport that worked before.
    pub(super) fn end_trial(&mut self) -> Option<Transport> {
        self.trial.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::contract::ExchangeId;

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    fn turn(connect: &mut Connect, sent: u64, answered: u64) -> u32 {
        let pending = Pending::new(sent, ExchangeId(sent), 0, at(sent), Duration::from_secs(10));
        connect.sent(pending);
        let reply = Message::meta("/meta/connect").with_id(sent);
        let answer = connect.answered_by(&reply).unwrap();
        connect.succeeded(&answer, at(answered))
    }

    #[test]
    fn connects_that_come_back_at_once_are_slowed_down_after_a_few() {
        let mut connect = Connect::granted(0);
        let mut brakes: Vec<u32> = (0..8).map(|n| turn(&mut connect, n * 10, n * 10 + 1)).collect();
        assert_eq!(brakes, [0, 0, 0, 0, 0, 0, 1, 2], "the first is a probe");
        connect.wait_until(at(500));
        assert!(connect.event_received(), "the plan was for idle turns");
        assert!(!connect.event_received());
        brakes = (20..22).map(|n| turn(&mut connect, n * 10, n * 10 + 1)).collect();
        assert_eq!(brakes, [0, 0]);
        turn(&mut connect, 1000, 1100);
        assert_eq!(connect.idle_turns, 0, "this one was held");
    }

    #[test]
    fn after_a_loss_the_next_connect_is_a_probe_again() {
        let mut connect = Connect::granted(0);
        assert!(connect.is_probe() && !connect.was_ever_proven());
        turn(&mut connect, 10, 20);
        assert!(!connect.is_probe() && connect.is_proven());
        connect.begin_trial(Transport::LongPolling);
        assert!(connect.is_probe());
        assert_eq!(connect.end_trial(), Some(Transport::LongPolling));
        assert_eq!(connect.lost(), Some(at(20)));
        assert_eq!(connect.lost(), None);
        assert!(connect.is_probe() && connect.was_ever_proven());
        assert!(Connect::resumed().was_ever_proven());
    }

    #[test]
    fn the_pause_for_held_turns_grows_to_half_of_what_the_server_keeps() {
        let mut connect = Connect::granted(0);
        let kept = Some(Duration::from_secs(4));
        let pauses: Vec<u128> = (0..6)
            .map(|_| {
                let pause = connect.hold_back(kept);
                connect.turn_ended(true);
                pause.as_millis()
            })
            .collect();
        assert_eq!(pauses, [0, 250, 500, 1000, 2000, 2000]);
        for _ in 0..100 {
            connect.turn_ended(true);
        }
        assert_eq!(connect.hold_back(None), LAST_PAUSE);
        connect.turn_ended(false);
        assert_eq!(connect.hold_back(None), Duration::ZERO);
    }

    #[test]
    fn the_last_event_of_the_handshake_lets_the_first_connect_go() {
        let mut connect = Connect::granted(2);
        connect.wait_until(at(10_000));
        assert_eq!([(); 3].map(|()| connect.handshake_event_received()), [false, true, false]);
        assert_eq!(connect.waits_until(), Some(at(10_000)));
    }

    #[test]
    fn a_planned_connect_is_dropped_and_an_outstanding_one_is_not() {
        let mut connect = Connect::granted(0);
        connect.wait_until(at(1));
        connect.plan_none();
        assert_eq!(connect.waits_until(), None);
        let pending = Pending::new(1, ExchangeId(1), 0, at(1), Duration::from_secs(10));
        connect.sent(pending);
        connect.plan_none();
        assert_eq!(connect.abandon(), Some(pending));
        assert_eq!(connect.abandon(), None);
    }
}
