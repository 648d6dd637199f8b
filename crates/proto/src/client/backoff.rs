//! The delays between attempts: they grow, they are capped, they are jittered.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long to wait before each new attempt.
///
/// The delay doubles from the first to the last value of a range. Jitter spreads the clients of a server that comes
/// back: the first delay after a loss is anywhere between nothing and its full length, and up to half is taken away
/// from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    jittered: bool,
}

impl Backoff {
    /// No delay is shorter than this, whatever the user asks for, so that there is no loop without a pause.
    pub(super) const FLOOR: Duration = Duration::from_millis(10);

    /// Doubles from the start of the range to its end, without jitter.
    pub fn exponential(range: RangeInclusive<Duration>) -> Self {
        let first = (*range.start()).max(Self::FLOOR);
        Self { first, last: (*range.end()).max(first), jittered: false }
    }

    /// The same delays, each shortened by a random part: the first by any, the others by up to one half.
    #[must_use]
    pub fn jittered(self) -> Self {
        Self { jittered: true, ..self }
    }

    /// The delay before the first attempt after a loss: the one moment at which all clients of a server do the same.
    pub(super) fn first_delay(&self, random: &mut fastrand::Rng) -> Duration {
        if self.jittered { self.first.mul_f64(random.f64()).max(Self::FLOOR) } else { self.first }
    }

    /// The delay before the attempt that follows `failures` failed ones (at least one).
    pub(super) fn delay(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.last);
        if self.jittered { full.mul_f64(1.0 - random.f64() / 2.0) } else { full }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(1)..=Duration::from_secs(30)).jittered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let backoff = Backoff::exponential(Duration::from_secs(1)..=Duration::from_secs(30));
        let mut random = fastrand::Rng::with_seed(1);
        let delays: Vec<u64> = (1..=7).map(|n| backoff.delay(n, &mut random).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.delay(u32::MAX, &mut random).as_secs(), 30);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        let backoff = Backoff::default();
        let mut random = fastrand::Rng::with_seed(7);
        for failures in 1..100 {
            let full = Backoff { jittered: false, ..backoff.clone() }.delay(failures, &mut random);
            let delay = backoff.delay(failures, &mut random);
            assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
        }
    }

    #[test]
    fn the_first_delay_is_anywhere_up_to_its_length() {
        let backoff = Backoff::default();
        let mut random = fastrand::Rng::with_seed(3);
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            let delay = backoff.first_delay(&mut random);
            assert!(delay >= Backoff::FLOOR && delay <= backoff.first);
            tenths[(delay.as_millis() as usize / 100).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
        let plain = Backoff::exponential(Duration::from_secs(2)..=Duration::from_secs(30));
        assert_eq!(plain.first_delay(&mut random), Duration::from_secs(2));
    }

    #[test]
    fn a_delay_of_nothing_is_not_to_be_had() {
        let backoff = Backoff::exponential(Duration::ZERO..=Duration::ZERO);
        assert_eq!(backoff.delay(1, &mut fastrand::Rng::with_seed(1)), Backoff::FLOOR);
    }
}
