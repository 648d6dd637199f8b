//! Small worlds, of which every lifetime is lived.

use std::time::Duration;

use crate::chance::Path;
use crate::report::{Broken, Report};
use crate::scenario::Scenario;

/// A small scenario, whose network decides everything in every possible way: for each request, response, upgrade and
/// frame whether and how it fails, and in which order arrives what is on its way at the same time.
#[derive(Clone, Debug)]
pub struct SmallWorld {
    scenario: Scenario,
    faults: u32,
    legs: u32,
}

/// What a search has seen.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Searched {
    /// How many different states of the world there were in which something had to be decided. Two states are the same
    /// when all decisions before them were.
    pub states: u64,
    /// What came of the lifetimes.
    pub report: Report,
}

impl SmallWorld {
    /// Lives `scenario` with up to so many faults, on its first `legs` ways through the network, until a while after its
    /// last step; then all is well. The scenario's own faults happen as planned.
    pub fn new(mut scenario: Scenario, faults: u32, legs: u32) -> Self {
        /// Enough for the retries that faults bring about.
        const WHILE: Duration = Duration::from_secs(30);
        scenario.weather.until = scenario.heals_at() + WHILE;
        Self { scenario, faults, legs }
    }

    /// Lives every lifetime, and tells after each how many there were.
    ///
    /// # Errors
    /// When a law was broken.
    pub fn search(&self, mut watch: impl FnMut(u64)) -> Result<Searched, Box<Broken>> {
        let mut searched = Searched::default();
        let mut next = Some((Path::first(self.faults, self.legs), 0));
        while let Some((path, kept)) = next {
            let (report, gone) = self.scenario.search(path)?;
            searched.report.add(&report);
            searched.states += gone.fresh(kept) as u64;
            watch(searched.report.lifetimes);
            next = gone.next(self.faults, self.legs);
        }
        Ok(searched)
    }
}
