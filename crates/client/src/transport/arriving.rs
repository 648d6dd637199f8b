//! How fast a response or a message arrives, and when it is given up because it arrives too slowly.

use std::time::Duration;

use bayeux_proto::client::{Failure, FailureKind};
use tokio::time::Instant;

/// How long a beginning may take, at whatever rate.
const GRACE: Duration = Duration::from_secs(30);

/// What is arriving, from its first byte on.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    since: Option<Instant>,
}

impl Arriving {
    /// Whether `bytes` are too few for the time since the first of them came: fewer than `rate` in each second.
    pub(super) fn is_too_slow(&mut self, bytes: u64, rate: u32, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.duration_since(since);
        elapsed > GRACE && bytes < elapsed.as_secs().saturating_mul(u64::from(rate))
    }

    /// It is complete; something else may begin.
    pub(super) fn done(&mut self) {
        self.since = None;
    }
}

/// Something of `url` arrives too slowly.
pub(super) fn too_slow(what: &str, url: &str, rate: u32) -> Failure {
    let text =
        format!("{what} of {url} arrives with less than {rate} bytes/s; min_receive_rate sets the limit");
    Failure::new(FailureKind::Timeout, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_trickles_is_too_slow_after_a_grace_and_what_flows_is_not() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut arriving = Arriving::default();
        assert!(!arriving.is_too_slow(1, 100, at(0)));
        assert!(!arriving.is_too_slow(2, 100, at(30)));
        assert!(arriving.is_too_slow(3_099, 100, at(31)));
        assert!(!arriving.is_too_slow(3_100, 100, at(31)));
        assert!(!arriving.is_too_slow(0, 0, at(3_600)), "no rate is no limit");
        arriving.done();
        assert!(!arriving.is_too_slow(1, 100, at(3_600)));
    }
}
