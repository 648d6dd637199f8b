//! The books of one client: what it owes its user, checked entry by entry.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bayeux_proto::client::{CallId, SinkId};
use bayeux_proto::{Channel, ClientId, Time};

use crate::law::Law;

/// No pause is shorter than that.
const SHORTEST: Duration = Duration::from_millis(10);

/// What was found wrong.
pub(crate) type Wrong = (Law, String);

/// What a client has promised, and what it did about it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    calls: BTreeMap<CallId, Promise>,
    resolved: u64,
    /// The connect that is outstanding, by its id.
    connect: Option<u64>,
    /// When the last connect was answered.
    turned_at: Option<Time>,
    /// No attempt is to be made before then.
    not_before: Option<Time>,
    /// Another transport takes the place of one that failed, and was not tried yet.
    changed: bool,
    /// What each receiver wants.
    wanted: BTreeMap<SinkId, BTreeMap<Channel, Desired>>,
    desired_so_far: u64,
    /// Servers work in slices, between which others have their turn: only the messages of one client keep their order.
    sliced: bool,
    /// The session that the client believes to have.
    pub(crate) session: Option<ClientId>,
    /// Whether the server has agreed to acknowledge in that session.
    pub(crate) acked: bool,
    /// Messages that the server took for this client, in order, and that it has not got yet.
    owed: VecDeque<Owed>,
    /// How many messages the server has dropped, and said so.
    excused: u64,
    /// How often each of the last messages was delivered.
    delivered: BTreeMap<(u32, SinkId), u32>,
    attempts: VecDeque<Time>,
    events_in_window: VecDeque<Time>,
    pub(crate) connected: bool,
    pub(crate) missed: u64,
    pub(crate) connections: u64,
}

/// One desired subscription of a receiver, from when it was asked for until it is given up: a later one to the same channel is
/// another, and what comes of a call for the earlier does not touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DesiredId(u64);

#[derive(Debug)]
struct Desired {
    id: DesiredId,
    /// Whether the server has granted it.
    granted: bool,
}

#[derive(Debug)]
struct Promise {
    by: Option<Time>,
    what: &'static str,
}

#[derive(Debug)]
struct Owed {
    message: u32,
    sender: usize,
    sink: SinkId,
    channel: Channel,
    at: Time,
    session: ClientId,
}

impl Ledger {
    pub(crate) fn new(sliced: bool) -> Self {
        Self { sliced, ..Self::default() }
    }

    /// The user calls, and is to have an answer by then.
    pub(crate) fn called(&mut self, call: CallId, what: &'static str, by: Option<Time>) {
        self.calls.insert(call, Promise { by, what });
    }

    /// A call has its answer.
    pub(crate) fn resolved(&mut self, call: CallId, now: Time) -> Result<(), Wrong> {
        let Some(promise) = self.calls.remove(&call) else {
            return Err((Law::CallsResolve, format!("{call:?} has an answer, and nobody waits for one")));
        };
        self.resolved += 1;
        late(call, &promise, now)
    }

    /// Whether a call waits beyond its time.
    pub(crate) fn overdue(&self, now: Time) -> Result<(), Wrong> {
        self.calls.iter().try_for_each(|(call, promise)| late(*call, promise, now))
    }

    /// How many bytes these books take, about.
    pub(crate) fn bytes(&self) -> usize {
        // A map's nodes are half empty at worst.
        self.owed.capacity() * std::mem::size_of::<Owed>()
            + self.delivered.len() * 2 * std::mem::size_of::<((u32, SinkId), u32)>()
            + (self.attempts.capacity() + self.events_in_window.capacity()) * std::mem::size_of::<Time>()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// A connect goes out.
    pub(crate) fn connect_sent(&mut self, id: u64, interval: Duration, now: Time) -> Result<(), Wrong> {
        if let Some(other) = self.connect.replace(id) {
            return Err((Law::OneConnect, format!("connect #{id} goes out while #{other} is outstanding")));
        }
        if let Some(at) = self.turned_at
            && now.since(at) < interval
        {
            let pause = now.since(at);
            return Err((
                Law::Advice,
                format!("a connect after {pause:?}, not the {interval:?} of the advice"),
            ));
        }
        self.attempted(now)
    }

    /// A connect has its answer.
    pub(crate) fn connect_answered(&mut self, id: Option<u64>, granted: bool, now: Time) {
        if self.connect.is_some_and(|outstanding| id.is_none_or(|id| id == outstanding)) {
            self.connect = None;
            if granted {
                self.turned_at = Some(now);
                self.not_before = None;
            }
        }
    }

    /// Whatever was outstanding will not be answered.
    pub(crate) fn connect_gone(&mut self) {
        self.connect = None;
    }

    /// A handshake goes out: the session before it is given up.
    pub(crate) fn handshake_sent(&mut self, now: Time) -> Result<(), Wrong> {
        self.connect = None;
        self.turned_at = None;
        self.attempted(now)
    }

    fn attempted(&mut self, now: Time) -> Result<(), Wrong> {
        self.changed = false;
        if let Some(at) = self.not_before.filter(|at| now < *at) {
            return Err((
                Law::Backoff,
                format!("an attempt at {now:?}, and the pause was to last until {at:?}"),
            ));
        }
        const WINDOW: Duration = Duration::from_secs(1);
        // A turn of the connect loop for each message that came is no hot loop; a few more may come back at once.
        const FREE: usize = 24;
        for times in [&mut self.attempts, &mut self.events_in_window] {
            while times.front().is_some_and(|at| now.since(*at) > WINDOW) {
                times.pop_front();
            }
        }
        self.attempts.push_back(now);
        let allowed = FREE + 2 * self.events_in_window.len();
        if self.attempts.len() > allowed {
            let count = self.attempts.len();
            return Err((Law::Backoff, format!("{count} connects and handshakes within a second")));
        }
        Ok(())
    }

    /// Something came that moves the connect loop.
    pub(crate) fn moved(&mut self, now: Time) {
        self.events_in_window.push_back(now);
    }

    /// The client says that it will pause.
    pub(crate) fn retrying(
        &mut self,
        delay: Duration,
        failures: u32,
        [shortest, longest]: [Duration; 2],
        interval: Duration,
        now: Time,
    ) -> Result<(), Wrong> {
        self.not_before = Some(now + delay);
        // The first attempt over another transport waits for no failures of the one before, once.
        if std::mem::take(&mut self.changed) && delay == interval {
            return Ok(());
        }
        let least = shortest.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest) / 2;
        // The first is spread from nothing on, so that not all clients come back in the same instant.
        let least = if failures == 1 { SHORTEST } else { least };
        if failures > 0 && (delay < least || delay > longest) {
            return Err((
                Law::Backoff,
                format!("a pause of {delay:?} after {failures} failures, not {least:?} to {longest:?}"),
            ));
        }
        Ok(())
    }

    /// The client moves to another transport, because the one in use fails.
    pub(crate) fn changed_transport(&mut self) {
        self.changed = true;
    }

    /// The server has answered that it knows the session no more.
    pub(crate) fn answered(&mut self) {
        self.not_before = None;
    }

    /// The user does not want to wait for the end of a pause.
    pub(crate) fn hurried(&mut self) {
        self.not_before = None;
        self.turned_at = None;
    }

    /// A receiver wants a channel, now or already.
    pub(crate) fn wants(&mut self, sink: SinkId, channel: &Channel) -> DesiredId {
        let Self { wanted, desired_so_far, .. } = self;
        let fresh = || {
            *desired_so_far += 1;
            Desired { id: DesiredId(*desired_so_far), granted: false }
        };
        wanted.entry(sink).or_default().entry(channel.clone()).or_insert_with(fresh).id
    }

    /// The channels that a receiver wants.
    pub(crate) fn desired_of(&self, sink: SinkId) -> Vec<Channel> {
        self.wanted.get(&sink).map(|channels| channels.keys().cloned().collect()).unwrap_or_default()
    }

    fn desired(&mut self, sink: SinkId, channel: &Channel, id: DesiredId) -> Option<&mut Desired> {
        self.wanted.get_mut(&sink)?.get_mut(channel).filter(|desired| desired.id == id)
    }

    pub(crate) fn granted(&mut self, sink: SinkId, channel: &Channel, id: DesiredId) {
        if let Some(desired) = self.desired(sink, channel, id) {
            desired.granted = true;
        }
    }

    /// The server, or the client, refused the subscription.
    pub(crate) fn refused(&mut self, sink: SinkId, channel: &Channel, id: DesiredId) {
        if self.desired(sink, channel, id).is_some() {
            self.unwanted(sink, channel);
        }
    }

    /// A call for a desired subscription was not even tried: that is its end, unless it was granted before.
    pub(crate) fn untried(&mut self, sink: SinkId, channel: &Channel, id: DesiredId) {
        if self.desired(sink, channel, id).is_some_and(|desired| !desired.granted) {
            self.unwanted(sink, channel);
        }
    }

    /// A receiver wants a channel no more, or is not to have it.
    pub(crate) fn unwanted(&mut self, sink: SinkId, channel: &Channel) {
        if let Some(channels) = self.wanted.get_mut(&sink) {
            channels.remove(channel);
        }
        self.owed.retain(|owed| owed.sink != sink || owed.channel != *channel);
    }

    /// The client has ended; only the desired subscriptions of the inbox outlive that.
    pub(crate) fn closed(&mut self) {
        self.owed.clear();
        self.session = None;
        self.acked = false;
        self.connected = false;
        self.connect = None;
        self.not_before = None;
        self.changed = false;
        self.turned_at = None;
        self.wanted.retain(|sink, _| *sink == SinkId::INBOX);
        for channels in self.wanted.values_mut() {
            channels.retain(|_, desired| desired.granted);
        }
    }

    /// The server took a message that this session is subscribed to, by these channels.
    pub(crate) fn owe(&mut self, message: u32, sender: usize, session: &ClientId, by: &[Channel], at: Time) {
        if self.session.as_ref() != Some(session) {
            return;
        }
        for (sink, channels) in &self.wanted {
            let granted = channels.iter().find(|(channel, desired)| desired.granted && by.contains(channel));
            if let Some((channel, _)) = granted {
                let (channel, session) = (channel.clone(), session.clone());
                self.owed.push_back(Owed { message, sender, sink: *sink, channel, at, session });
            }
        }
    }

    /// A message goes to a receiver; the server took it that many times.
    pub(crate) fn delivered(
        &mut self,
        message: u32,
        on: &Channel,
        sink: SinkId,
        taken: u32,
    ) -> Result<(), Wrong> {
        let wanted =
            self.wanted.get(&sink).is_some_and(|channels| channels.keys().any(|name| name.matches(on)));
        if !wanted {
            return Err((
                Law::ClosedStream,
                format!("message {message} on {on} for {sink:?}, which wants none"),
            ));
        }
        /// Messages that are that much older than one just delivered are not remembered.
        const REMEMBERED: u32 = 10_000;
        while self.delivered.first_key_value().is_some_and(|((old, _), _)| old + REMEMBERED < message) {
            self.delivered.pop_first();
        }
        let times = self.delivered.entry((message, sink)).or_default();
        *times += 1;
        if *times > taken {
            let times = *times;
            return Err((
                Law::OnceOnly,
                format!(
                    "message {message} for the {times}th time to {sink:?}; the server took it {taken} times"
                ),
            ));
        }
        let Some(at) = self.owed.iter().position(|owed| owed.message == message && owed.sink == sink) else {
            return Ok(());
        };
        let (sender, sliced) = (self.owed[at].sender, self.sliced);
        let precedes = |owed: &&Owed| owed.sink == sink && (!sliced || owed.sender == sender);
        let before = self.owed.range(..at).find(precedes).map(|owed| owed.message);
        self.owed.remove(at);
        match before {
            // Of a message that was taken twice nobody can tell which of the two this is.
            Some(before) if self.acked && self.excused == 0 && taken < 2 => {
                Err((Law::InOrder, format!("message {message} comes before {before} to {sink:?}")))
            }
            _ => Ok(()),
        }
    }

    /// The client says that messages on these channels may have been missed.
    pub(crate) fn gap(&mut self, channels: &[Channel]) {
        let before = self.owed.len();
        self.owed.retain(|owed| !channels.contains(&owed.channel));
        self.missed += (before - self.owed.len()) as u64;
    }

    /// The server has dropped messages of this session, and said so.
    pub(crate) fn excuse(&mut self, count: u64) {
        self.excused += count;
    }

    /// A new session is granted.
    pub(crate) fn session_begins(&mut self, session: ClientId, acked: bool) {
        if std::mem::take(&mut self.excused) > 0 {
            // Which of the missing messages the server dropped, nobody knows.
            self.owed.clear();
        }
        self.session = Some(session);
        self.acked = acked;
    }

    /// Messages that were owed and never came, and nothing was said about them.
    pub(crate) fn unpaid(&self) -> Result<(), Wrong> {
        let messages: std::collections::BTreeSet<u32> = self.owed.iter().map(|owed| owed.message).collect();
        if messages.len() as u64 > self.excused
            && let Some(first) = self.owed.front()
        {
            let Owed { message, sink, channel, at, session, .. } = first;
            return Err((
                Law::GapTold,
                format!(
                    "{} messages are missing, and nothing was said: the first is {message} for {sink:?} on {channel}, taken at {at:?} in {session:?}",
                    messages.len()
                ),
            ));
        }
        Ok(())
    }
}

fn late(call: CallId, promise: &Promise, now: Time) -> Result<(), Wrong> {
    match promise.by {
        Some(by) if now > by => Err((
            Law::CallsResolve,
            format!("{} {call:?} was to end by {by:?}, and it is {now:?}", promise.what),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Channel {
        Channel::parse(name).unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::from_origin(Duration::from_secs(seconds))
    }

    fn law(outcome: Result<(), Wrong>) -> Option<Law> {
        outcome.err().map(|(law, _)| law)
    }

    fn subscribed(acked: bool) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.session_begins(ClientId::new("s"), acked);
        let desired = ledger.wants(SinkId(1), &channel("/a/*"));
        ledger.granted(SinkId(1), &channel("/a/*"), desired);
        ledger
    }

    #[test]
    fn a_second_connect_is_noticed() {
        let mut ledger = Ledger::default();
        assert_eq!(law(ledger.connect_sent(1, Duration::ZERO, at(0))), None);
        ledger.connect_answered(Some(7), true, at(0));
        assert_eq!(law(ledger.connect_sent(2, Duration::ZERO, at(1))), Some(Law::OneConnect));
        ledger.connect_answered(Some(2), true, at(2));
        assert_eq!(law(ledger.connect_sent(3, Duration::from_secs(1), at(2))), Some(Law::Advice));
    }

    #[test]
    fn a_hot_loop_is_noticed() {
        let mut ledger = Ledger::default();
        let mut turn = |n| {
            ledger.connect_answered(None, true, at(0));
            ledger.connect_sent(n, Duration::ZERO, at(0))
        };
        assert_eq!((0..100).find_map(|n| law(turn(n))), Some(Law::Backoff));
    }

    #[test]
    fn a_pause_that_is_too_short_or_not_kept_is_noticed() {
        let [first, last] = [Duration::from_secs(1), Duration::from_secs(30)];
        let mut ledger = Ledger::default();
        let none = Duration::ZERO;
        assert_eq!(law(ledger.retrying(Duration::from_secs(2), 3, [first, last], none, at(0))), None);
        assert_eq!(law(ledger.handshake_sent(at(1))), Some(Law::Backoff));
        assert_eq!(law(ledger.handshake_sent(at(2))), None);
        assert_eq!(law(ledger.retrying(first, 3, [first, last], none, at(0))), Some(Law::Backoff));
        assert_eq!(law(ledger.retrying(2 * last, 3, [first, last], none, at(0))), Some(Law::Backoff));
    }

    #[test]
    fn only_the_first_attempt_over_another_transport_waits_for_no_failures() {
        let (pauses, interval) =
            ([Duration::from_secs(1), Duration::from_secs(30)], Duration::from_millis(5));
        let mut ledger = Ledger::default();
        ledger.changed_transport();
        assert_eq!(law(ledger.retrying(interval, 4, pauses, interval, at(0))), None);
        assert_eq!(law(ledger.retrying(interval, 5, pauses, interval, at(0))), Some(Law::Backoff));
        ledger.changed_transport();
        assert_eq!(law(ledger.retrying(2 * interval, 4, pauses, interval, at(0))), Some(Law::Backoff));
        ledger.changed_transport();
        assert_eq!(law(ledger.handshake_sent(at(9))), None);
        assert_eq!(law(ledger.retrying(interval, 4, pauses, interval, at(9))), Some(Law::Backoff));
    }

    #[test]
    fn a_call_without_an_answer_or_with_two_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.called(CallId(1), "publish", Some(at(5)));
        assert_eq!(law(ledger.overdue(at(5))), None);
        assert_eq!(law(ledger.overdue(at(6))), Some(Law::CallsResolve));
        assert_eq!(law(ledger.resolved(CallId(1), at(4))), None);
        assert_eq!(law(ledger.resolved(CallId(1), at(4))), Some(Law::CallsResolve));
    }

    #[test]
    fn a_message_that_is_missing_doubled_or_unwanted_is_noticed() {
        let mut ledger = subscribed(false);
        let (on, by, session) = (channel("/a/b"), [channel("/a/*")], ClientId::new("s"));
        ledger.owe(1, 0, &session, &by, at(0));
        ledger.owe(2, 0, &session, &by, at(0));
        assert_eq!(law(ledger.delivered(2, &on, SinkId(1), 1)), None);
        assert_eq!(law(ledger.delivered(2, &on, SinkId(1), 1)), Some(Law::OnceOnly));
        assert_eq!(law(ledger.unpaid()), Some(Law::GapTold));
        ledger.gap(&[channel("/a/*")]);
        assert_eq!(law(ledger.unpaid()), None);
        assert_eq!(law(ledger.delivered(1, &channel("/b"), SinkId(1), 1)), Some(Law::ClosedStream));
        ledger.unwanted(SinkId(1), &channel("/a/*"));
        assert_eq!(law(ledger.delivered(1, &on, SinkId(1), 1)), Some(Law::ClosedStream));
    }

    #[test]
    fn acknowledged_messages_out_of_order_are_noticed() {
        let mut ledger = subscribed(true);
        let (on, by, session) = (channel("/a/b"), [channel("/a/*")], ClientId::new("s"));
        ledger.owe(1, 0, &session, &by, at(0));
        ledger.owe(2, 0, &session, &by, at(0));
        assert_eq!(law(ledger.delivered(2, &on, SinkId(1), 1)), Some(Law::InOrder));
    }

    #[test]
    fn what_comes_of_a_call_for_an_earlier_subscription_does_not_touch_a_later_one() {
        let mut ledger = subscribed(false);
        let (sink, pattern, session) = (SinkId(1), channel("/a/*"), ClientId::new("s"));
        let by = [pattern.clone()];
        let earlier = ledger.wants(sink, &pattern);
        ledger.unwanted(sink, &pattern);
        let later = ledger.wants(sink, &pattern);
        ledger.granted(sink, &pattern, earlier);
        ledger.owe(1, 0, &session, &by, at(0));
        assert_eq!(law(ledger.unpaid()), None);
        ledger.granted(sink, &pattern, later);
        ledger.refused(sink, &pattern, earlier);
        ledger.owe(2, 0, &session, &by, at(0));
        assert_eq!(law(ledger.unpaid()), Some(Law::GapTold));
    }
}
