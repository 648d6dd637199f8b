//! Credentials: tokens that are valid for a while, and who checks them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bayeux_proto::Time;

/// Checks tokens, for the policies of all servers and the gateways before them. A token names the millisecond until which it
/// is valid.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    now: AtomicU64,
    /// Tokens up to this one have been revoked.
    revoked: AtomicU64,
}

impl Gate {
    /// A token without end.
    pub(crate) const FOR_EVER: u64 = u64::MAX;

    pub(crate) fn token(until: Time) -> u64 {
        milliseconds(until.since_origin())
    }

    pub(crate) fn is_valid(&self, token: u64) -> bool {
        token > self.now.load(Ordering::Relaxed).max(self.revoked.load(Ordering::Relaxed))
    }

    pub(crate) fn set_now(&self, now: Time) {
        self.now.store(milliseconds(now.since_origin()), Ordering::Relaxed);
    }

    /// Revokes all tokens that are not without end.
    pub(crate) fn revoke(&self) {
        self.revoked.store(Self::FOR_EVER - 1, Ordering::Relaxed);
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_until_its_time_or_until_it_is_revoked() {
        let gate = Gate::default();
        let at = |seconds| Time::from_origin(Duration::from_secs(seconds));
        let token = Gate::token(at(10));
        assert!(gate.is_valid(token));
        gate.set_now(at(10));
        assert!(!gate.is_valid(token) && gate.is_valid(Gate::token(at(11))));
        gate.revoke();
        assert!(!gate.is_valid(Gate::token(at(11))) && gate.is_valid(Gate::FOR_EVER));
    }
}
