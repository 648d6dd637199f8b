//! Who decides what becomes of messages: chance, or a search that tries everything.

use std::ops::RangeInclusive;
use std::time::Duration;

use bayeux_proto::Time;

use crate::fault::{Fate, Leg};
use crate::scenario::Weather;

/// All that is not decided by the scenario.
#[derive(Debug)]
pub(crate) struct Chance {
    pub(crate) random: fastrand::Rng,
    latency: RangeInclusive<Duration>,
    weather: Weather,
    search: Option<Path>,
}

/// One way through the tree of all decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    /// The decisions, each with the number of its alternatives.
    decisions: Vec<(usize, usize)>,
    /// How many of them are made.
    made: usize,
    pub(crate) faults_left: u32,
    pub(crate) legs_left: u32,
}

impl Path {
    /// The first way, on which there may be so many faults, on so many legs.
    pub(crate) fn first(faults: u32, legs: u32) -> Self {
        Self { faults_left: faults, legs_left: legs, ..Self::default() }
    }

    fn decide(&mut self, alternatives: usize) -> usize {
        if alternatives < 2 {
            return 0;
        }
        if self.made == self.decisions.len() {
            self.decisions.push((0, alternatives));
        }
        let (chosen, _) = self.decisions[self.made];
        self.made += 1;
        chosen
    }

    /// How many decisions were made on this way that were not made on the one before it.
    pub(crate) fn fresh(&self, kept: usize) -> usize {
        self.made.saturating_sub(kept)
    }

    /// The next way, with how many decisions it shares with this one; `None` when all were gone.
    pub(crate) fn next(mut self, faults: u32, legs: u32) -> Option<(Self, usize)> {
        self.decisions.truncate(self.made);
        while let Some((chosen, alternatives)) = self.decisions.pop() {
            if chosen + 1 < alternatives {
                let kept = self.decisions.len();
                self.decisions.push((chosen + 1, alternatives));
                let next = Self { decisions: self.decisions, ..Self::first(faults, legs) };
                return Some((next, kept));
            }
        }
        None
    }
}

impl Chance {
    pub(crate) fn new(seed: u64, latency: RangeInclusive<Duration>, weather: Weather) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), latency, weather, search: None }
    }

    pub(crate) fn follow(&mut self, path: Path) {
        self.search = Some(path);
    }

    pub(crate) fn into_path(self) -> Option<Path> {
        self.search
    }

    /// How long one way takes.
    pub(crate) fn latency(&mut self) -> Duration {
        let (from, to) = (*self.latency.start(), *self.latency.end());
        from + self.up_to(to.saturating_sub(from))
    }

    /// A time between nothing and `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.f64())
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }

    /// Whether the weather is still bad.
    pub(crate) fn is_stormy(&self, now: Time) -> bool {
        self.weather.trouble > 0.0 && now.since_origin() < self.weather.until
    }

    /// What becomes of messages on one way.
    pub(crate) fn fate(&mut self, leg: Leg, now: Time) -> Fate {
        let troubles = Fate::troubles(leg);
        if let Some(path) = &mut self.search {
            if path.legs_left == 0 || now.since_origin() >= self.weather.until {
                return Fate::Arrive;
            }
            // Also when no fault is left: what arrives may overtake only on so many ways.
            path.legs_left -= 1;
            if path.faults_left == 0 {
                return Fate::Arrive;
            }
            return match path.decide(troubles.len() + 1) {
                0 => Fate::Arrive,
                chosen => {
                    path.faults_left -= 1;
                    troubles[chosen - 1]
                }
            };
        }
        if self.is_stormy(now) && self.random.f64() < self.weather.trouble {
            return troubles[self.random.usize(..troubles.len())];
        }
        Fate::Arrive
    }

    /// Which of several things comes first, when the network may decide.
    pub(crate) fn order(&mut self, alternatives: usize) -> usize {
        match &mut self.search {
            Some(path) if path.legs_left > 0 => path.decide(alternatives),
            _ => 0,
        }
    }

    pub(crate) fn is_search(&self) -> bool {
        self.search.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_goes_every_way_once() {
        let mut ways = Vec::new();
        let mut path = Some((Path::first(0, 0), 0));
        while let Some((mut way, _)) = path {
            let first = way.decide(3);
            let second = if first == 1 { way.decide(2) } else { way.decide(1) };
            ways.push((first, second));
            path = way.next(0, 0);
        }
        assert_eq!(ways, [(0, 0), (1, 0), (1, 1), (2, 0)]);
    }
}
