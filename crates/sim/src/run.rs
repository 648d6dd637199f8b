//! Running a scenario.

use std::time::Duration;

use bayeux_proto::Time;

use crate::chance::Path;
use crate::law::{Law, Violation};
use crate::life::Snapshot;
use crate::report::{Broken, Report};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::world::World;

impl Scenario {
    /// Runs the scenario, and after its last step and fault waits for the clients to recover, sends a last message on
    /// every channel, and closes all clients. The laws are checked all the time.
    ///
    /// # Errors
    /// When a law was broken, with the trace of all that happened.
    pub fn run(&self) -> Result<Report, Box<Broken>> {
        self.run_watched(Duration::ZERO, |_| {})
    }

    /// Runs the scenario, and tells now and then how things stand.
    ///
    /// # Errors
    /// When a law was broken, with the trace of all that happened.
    pub fn run_watched(&self, every: Duration, watch: impl FnMut(Snapshot)) -> Result<Report, Box<Broken>> {
        match World::new(self, false).live(self, every, watch) {
            Ok((report, _)) => Ok(report),
            Err(_) => Err(self.explain(None)),
        }
    }

    /// Runs the scenario, and keeps a trace of all that happened.
    ///
    /// # Errors
    /// When a law was broken.
    pub fn trace(&self) -> Result<(Report, Trace), Box<Broken>> {
        self.traced(None)
    }

    /// Runs the scenario with the decisions of a search. The way that was gone.
    pub(crate) fn search(&self, path: Path) -> Result<(Report, Path), Box<Broken>> {
        let mut world = World::new(self, false);
        world.chance.follow(path.clone());
        match world.live(self, Duration::ZERO, |_| {}) {
            Ok((report, world)) => Ok((report, world.chance.into_path().unwrap_or_default())),
            Err(_) => Err(self.explain(Some(path))),
        }
    }

    fn traced(&self, path: Option<Path>) -> Result<(Report, Trace), Box<Broken>> {
        let mut world = World::new(self, true);
        if let Some(path) = path {
            world.chance.follow(path);
        }
        match world.live(self, Duration::ZERO, |_| {}) {
            Ok((report, world)) => Ok((report, world.trace)),
            Err(ended) => Err(Box::new(Broken { seed: self.seed, violation: ended.0, trace: ended.1 })),
        }
    }

    /// Repeats a run that broke a law, this time with a trace, which would have cost too much in all other runs.
    fn explain(&self, path: Option<Path>) -> Box<Broken> {
        let trace = match self.traced(path) {
            Err(broken) => return broken,
            Ok((_, trace)) => trace,
        };
        let what =
            "a law was broken, and the same run did not break it again: something is not deterministic";
        let violation = Violation { law: Law::Outcome, at: Time::ZERO, client: 0, what: what.to_owned() };
        Box::new(Broken { seed: self.seed, violation, trace })
    }
}
