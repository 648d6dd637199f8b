//! `ext.timesync`, the time synchronisation extension: how far the server's clock is from the client's.
//!
//! Each meta message of a client carries a [`Request`] with its clock; the server adds a [`Reply`] with its own and with
//! the time that it held the message. An [`Estimator`] takes the lag of the network out of it. All times on the wire are
//! whole milliseconds since 1970 (UTC) or differences of such.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::message::Message;

const KEY: &str = "timesync";

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// `tc`: the client's clock when it sent this.
    pub client_ms: i64,
    /// `l` and `o`: the estimate of the client so far; `None` from old clients, which send neither.
    pub estimate: Option<Estimate>,
}

/// The estimate of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// `l`: the time that a message takes from the client to the server, in milliseconds.
    pub lag_ms: i64,
    /// `o`: the server's clock minus the client's, in milliseconds.
    pub offset_ms: i64,
}

/// What a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `tc`: the client's clock, echoed.
    pub client_ms: i64,
    /// `ts`: the server's clock when the request came in.
    pub server_ms: i64,
    /// `p`: how long the server then kept the message, in milliseconds; a held connect is kept for long.
    pub held_ms: i64,
    /// `a`: by how much the client was wrong, in milliseconds; `None` to old clients.
    pub accuracy_ms: Option<i64>,
}

impl Request {
    /// Writes the request into a message.
    pub fn write(&self, message: &mut Message) {
        let estimate = self.estimate.map(|estimate| [("l", estimate.lag_ms), ("o", estimate.offset_ms)]);
        let fields = std::iter::once(("tc", self.client_ms)).chain(estimate.into_iter().flatten());
        message.set_ext_value(KEY, object(fields));
    }

    /// Returns the request in a message, if there is one.
    pub fn read(message: &Message) -> Option<Self> {
        let fields = fields(message)?;
        let estimate = millis(&fields, "l")
            .map(|lag_ms| Estimate { lag_ms, offset_ms: millis(&fields, "o").unwrap_or(0) });
        Some(Self { client_ms: millis(&fields, "tc")?, estimate })
    }

    /// Returns the answer of a server whose clock was at `received_ms` when the request arrived and is at `now_ms`; `None` for
    /// a client whose estimate is off by 25 ms at most, which needs no answer.
    pub fn answer(&self, received_ms: i64, now_ms: i64) -> Option<Reply> {
        const ACCURATE: u64 = 25;
        let reply = Reply {
            client_ms: self.client_ms,
            server_ms: received_ms,
            held_ms: now_ms.saturating_sub(received_ms).max(0),
            accuracy_ms: None,
        };
        let Some(Estimate { lag_ms, offset_ms }) = self.estimate else { return Some(reply) };
        let expected = self.client_ms.saturating_add(offset_ms).saturating_add(lag_ms);
        let accuracy = expected.saturating_sub(received_ms);
        let wanted = lag_ms == 0 || accuracy.unsigned_abs() >= ACCURATE;
        wanted.then_some(Reply { accuracy_ms: Some(accuracy), ..reply })
    }
}

impl Reply {
    /// Puts the reply into a message.
    pub fn write(&self, message: &mut Message) {
        let fields = [("tc", self.client_ms), ("ts", self.server_ms), ("p", self.held_ms)];
        message.set_ext_value(KEY, object(fields.into_iter().chain(self.accuracy_ms.map(|a| ("a", a)))));
    }

    /// The reply in a message, if there is one.
    pub fn read(message: &Message) -> Option<Self> {
        let fields = fields(message)?;
        Some(Self {
            client_ms: millis(&fields, "tc")?,
            server_ms: millis(&fields, "ts")?,
            held_ms: millis(&fields, "p").unwrap_or(0),
            accuracy_ms: millis(&fields, "a"),
        })
    }
}

/// A client's estimate of the server's clock: the mean of the last ten replies.
///
/// It reads no clock itself: the caller passes the time, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    samples: VecDeque<Estimate>,
}

impl Estimator {
    const SAMPLES: usize = 10;
    /// Clocks are read in whole milliseconds, at both ends: a way of no time can seem to take a little less.
    const ROUNDING: i64 = 2;

    /// Returns an estimator without replies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the request for the next message.
    pub fn request(&self, now_ms: i64) -> Request {
        Request { client_ms: now_ms, estimate: Some(self.estimate().unwrap_or_default()) }
    }

    /// Handles a reply that arrived at `now_ms`. Returns whether it was used: one that seems to have arrived before its
    /// request was sent, because a clock was set meanwhile, is ignored.
    pub fn observe(&mut self, reply: &Reply, now_ms: i64) -> bool {
        let travelled = now_ms.saturating_sub(reply.client_ms).saturating_sub(reply.held_ms);
        if travelled < -Self::ROUNDING || reply.held_ms < 0 {
            return false;
        }
        let lag_ms = travelled.max(0) / 2;
        let offset_ms = reply.server_ms.saturating_sub(reply.client_ms).saturating_sub(lag_ms);
        if self.samples.len() == Self::SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Estimate { lag_ms, offset_ms });
        true
    }

    /// Returns the estimate; `None` before the first reply.
    pub fn estimate(&self) -> Option<Estimate> {
        let mean = |of: fn(&Estimate) -> i64| {
            let sum: i128 = self.samples.iter().map(|sample| i128::from(of(sample))).sum();
            let count = i128::try_from(self.samples.len()).ok().filter(|count| *count > 0)?;
            i64::try_from(sum.div_euclid(count)).ok()
        };
        Some(Estimate { lag_ms: mean(|sample| sample.lag_ms)?, offset_ms: mean(|sample| sample.offset_ms)? })
    }

    /// Returns how long a message takes from here to the server; `None` before the first reply.
    pub fn lag(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.estimate()?.lag_ms.unsigned_abs()))
    }

    /// Returns the time of the server's clock when ours is at `now_ms`; `None` before the first reply.
    pub fn server_ms(&self, now_ms: i64) -> Option<i64> {
        Some(now_ms.saturating_add(self.estimate()?.offset_ms))
    }

    /// Returns the time of our clock when the server's is at `server_ms`; `None` before the first reply.
    pub fn client_ms(&self, server_ms: i64) -> Option<i64> {
        Some(server_ms.saturating_sub(self.estimate()?.offset_ms))
    }
}

fn fields(message: &Message) -> Option<Map<String, Value>> {
    /// A few numbers take no more; more than that is not read.
    const LONGEST: usize = 1024;
    let json = message.ext_json(KEY).filter(|json| json.len() <= LONGEST)?;
    serde_json::from_str(json).ok()
}

/// A number of milliseconds; some clients have fractions of them.
fn millis(fields: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = fields.get(name)?;
    // Numbers that are no time make no sense of the sums they would enter; JavaScript can say no larger ones.
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    value.as_i64().or_else(|| value.as_f64().filter(|n| n.abs() <= LARGEST).map(|n| n.round() as i64))
}

fn object(fields: impl IntoIterator<Item = (&'static str, i64)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::data::Data;
    use proptest::prelude::*;

    /// One exchange: the way there, the stay, the way back, with a server whose clock is off.
    fn exchange(estimator: &mut Estimator, at: i64, offset: i64, ways: (i64, i64), held: i64) {
        let request = estimator.request(at);
        let received = at + ways.0 + offset;
        let Some(reply) = request.answer(received, received + held) else { return };
        assert!(estimator.observe(&reply, at + ways.0 + held + ways.1));
    }

    fn connect(ext: &str) -> Message {
        let mut message = Message::meta(Channel::CONNECT);
        message.set_ext(Some(Data::from_json(ext).unwrap()));
        message
    }

    #[test]
    fn case_65_the_offset_is_found_whichever_clock_is_ahead() {
        for offset in [0, 1, -1, 3_600_000, -3_600_000, -1_700_000_000_000] {
            let mut estimator = Estimator::new();
            let mut at = 1_700_000_000_000;
            for turn in 0..30 {
                exchange(&mut estimator, at, offset, (turn % 2, 1), 30_000);
                at += 30_010;
            }
            let estimate = estimator.estimate().unwrap();
            assert!((estimate.offset_ms - offset).abs() <= 2, "{offset}: {estimate:?}");
            assert!((0..=2).contains(&estimate.lag_ms), "{estimate:?}");
            assert_eq!(estimator.server_ms(at), Some(at + estimate.offset_ms));
            assert_eq!(estimator.client_ms(at + estimate.offset_ms), Some(at));
        }
    }

    #[test]
    fn case_65_only_the_last_ten_replies_count() {
        let mut estimator = Estimator::new();
        assert_eq!((estimator.estimate(), estimator.lag(), estimator.server_ms(5)), (None, None, None));
        exchange(&mut estimator, 0, 1_000_000, (500, 500), 0);
        assert_eq!(estimator.lag(), Some(Duration::from_millis(500)));
        for turn in 1..=10 {
            exchange(&mut estimator, turn * 1000, 50 * turn, (40, 40), 0);
        }
        assert_eq!(estimator.estimate(), Some(Estimate { lag_ms: 40, offset_ms: 275 }));
    }

    #[test]
    fn case_65_a_reply_from_before_its_request_is_passed_over() {
        let mut estimator = Estimator::new();
        let reply = Reply { client_ms: 5000, server_ms: 5010, held_ms: 0, accuracy_ms: None };
        assert!(!estimator.observe(&reply, 4000), "the client's clock was set back");
        assert!(!estimator.observe(&Reply { held_ms: -1, ..reply }, 5000));
        assert_eq!(estimator.estimate(), None);
        assert!(estimator.observe(&Reply { held_ms: 1, ..reply }, 5000), "rounding is no fault");
        assert_eq!(estimator.estimate(), Some(Estimate { lag_ms: 0, offset_ms: 10 }));
    }

    #[test]
    fn case_65_the_server_answers_whoever_is_wrong_or_of_old() {
        let request =
            |lag_ms, offset_ms| Request { client_ms: 10_000, estimate: Some(Estimate { lag_ms, offset_ms }) };
        let answer = request(20, 0).answer(10_120, 10_150).unwrap();
        let expected = Reply { client_ms: 10_000, server_ms: 10_120, held_ms: 30, accuracy_ms: Some(-100) };
        assert_eq!(answer, expected);
        assert_eq!(request(20, 100).answer(10_120, 10_120), None, "right");
        assert_eq!(request(20, 124).answer(10_120, 10_120), None, "right enough");
        assert_eq!(request(20, 76).answer(10_120, 10_120), None, "right enough");
        assert_eq!(request(20, 125).answer(10_120, 10_120).unwrap().accuracy_ms, Some(25));
        assert_eq!(request(20, 75).answer(10_120, 10_120).unwrap().accuracy_ms, Some(-25));
        assert_eq!(request(0, 120).answer(10_120, 10_120).unwrap().accuracy_ms, Some(0), "knows no lag yet");
        let old = Request { client_ms: 10_000, estimate: None }.answer(9_000, 9_000).unwrap();
        assert_eq!((old.server_ms, old.held_ms, old.accuracy_ms), (9_000, 0, None));
        let mut reply = Message::meta(Channel::CONNECT);
        old.write(&mut reply);
        assert_eq!(reply.ext().unwrap().as_str(), r#"{"timesync":{"p":0,"tc":10000,"ts":9000}}"#);
    }

    #[test]
    fn the_wire_form_is_that_of_the_reference_and_tolerant() {
        let mut message = Message::meta(Channel::CONNECT);
        Estimator::new().request(1_700_000_000_000).write(&mut message);
        assert_eq!(message.ext().unwrap().as_str(), r#"{"timesync":{"l":0,"o":0,"tc":1700000000000}}"#);
        let read = |ext: &str| Request::read(&connect(ext));
        let old = Request { client_ms: 5, estimate: None };
        assert_eq!(read(r#"{"timesync":{"tc":5}}"#), Some(old));
        assert_eq!(read(r#"{"timesync":{"tc":4.6,"l":"x"}}"#), Some(old));
        let half = Estimate { lag_ms: 13, offset_ms: -3 };
        assert_eq!(
            read(r#"{"timesync":{"tc":5,"l":12.5,"o":-3.2}}"#),
            Some(Request { estimate: Some(half), ..old })
        );
        for ext in ["{}", "[]", r#"{"timesync":1}"#, r#"{"timesync":{}}"#, r#"{"timesync":{"tc":1e300}}"#] {
            assert_eq!(read(ext), None, "{ext}");
        }
        assert_eq!(Reply::read(&connect(r#"{"timesync":{"tc":5}}"#)), None, "an echo of a request");
    }

    proptest! {
        #[test]
        fn requests_and_replies_survive_the_wire(client_ms: i64, server_ms: i64, held_ms: i64, a: Option<i64>, l: i64, o: i64) {
            let mut message = Message::meta(Channel::CONNECT);
            let estimate = a.map(|_| Estimate { lag_ms: l, offset_ms: o });
            let request = Request { client_ms, estimate };
            request.write(&mut message);
            prop_assert_eq!(Request::read(&message), Some(request));
            let reply = Reply { client_ms, server_ms, held_ms, accuracy_ms: a };
            reply.write(&mut message);
            prop_assert_eq!(Reply::read(&message), Some(reply));
        }

        #[test]
        fn no_numbers_make_the_sums_overflow(client_ms: i64, server_ms: i64, held_ms: i64, l: i64, o: i64, now: i64) {
            let request = Request { client_ms, estimate: Some(Estimate { lag_ms: l, offset_ms: o }) };
            let _ = request.answer(server_ms, now);
            let mut estimator = Estimator::new();
            for _ in 0..12 {
                estimator.observe(&Reply { client_ms, server_ms, held_ms, accuracy_ms: None }, now);
            }
            let _ = (estimator.lag(), estimator.server_ms(now), estimator.client_ms(now));
        }

        #[test]
        fn the_error_is_never_more_than_half_the_way(
            offset in -2_000_000_000_000i64..2_000_000_000_000,
            there in 0i64..5_000,
            back in 0i64..5_000,
            held in 0i64..60_000,
        ) {
            let mut estimator = Estimator::new();
            exchange(&mut estimator, 1_700_000_000_000, offset, (there, back), held);
            let wrong = (estimator.estimate().unwrap().offset_ms - offset).abs();
            prop_assert!(wrong <= (there - back).abs() / 2 + 1, "{} for {} there, {} back", wrong, there, back);
        }
    }
}
