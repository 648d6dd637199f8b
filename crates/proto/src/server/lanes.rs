//! Work that is not done yet, in the order in which it is to be done.

use std::collections::{HashMap, VecDeque};

use super::channels::SessionKey;
use super::contract::LinkId;

/// Whose work it is. What is in one lane is done in order; the lanes take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// The application's.
    Application,
    /// A socket's, or a request's that names no session.
    Link(LinkId),
    /// The requests of a session.
    Session(SessionKey),
}

/// The lanes with something in them.
#[derive(Debug)]
pub(super) struct Lanes<Job> {
    jobs: HashMap<Lane, VecDeque<Job>>,
    /// Each of them once, the next first.
    turns: VecDeque<Lane>,
}

impl<Job> Default for Lanes<Job> {
    fn default() -> Self {
        Self { jobs: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<Job> Lanes<Job> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// How many jobs are in a lane.
    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.jobs.get(&lane).map_or(0, VecDeque::len)
    }

    /// Puts a job behind those of its lane, which gets its turn after all others if it is new.
    pub(super) fn push(&mut self, lane: Lane, job: Job) {
        let jobs = self.jobs.entry(lane).or_default();
        if jobs.is_empty() {
            self.turns.push_back(lane);
        }
        jobs.push_back(job);
    }

    /// The lane whose turn it is.
    pub(super) fn next(&self) -> Option<Lane> {
        self.turns.front().copied()
    }

    /// The first job of a lane.
    pub(super) fn take(&mut self, lane: Lane) -> Option<Job> {
        self.jobs.get_mut(&lane)?.pop_front()
    }

    /// Puts a job back that is not done.
    pub(super) fn put_back(&mut self, lane: Lane, job: Job) {
        self.jobs.entry(lane).or_default().push_front(job);
    }

    /// The turn of the lane whose turn it was is over. Whether something is left in it.
    pub(super) fn end_turn(&mut self) -> bool {
        let Some(lane) = self.turns.pop_front() else { return false };
        let left = self.waiting(lane) > 0;
        if left {
            self.turns.push_back(lane);
        } else {
            self.jobs.remove(&lane);
        }
        left
    }

    /// The jobs of a lane.
    pub(super) fn jobs_mut(&mut self, lane: Lane) -> impl Iterator<Item = &mut Job> {
        self.jobs.get_mut(&lane).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_take_turns_and_keep_their_order() {
        let mut lanes = Lanes::default();
        let (a, b) = (Lane::Link(LinkId(1)), Lane::Session(1));
        for (lane, job) in [(a, "a1"), (a, "a2"), (b, "b1"), (a, "a3")] {
            lanes.push(lane, job);
        }
        let mut order = Vec::new();
        let mut again = true;
        while let Some(lane) = lanes.next() {
            let job = lanes.take(lane).unwrap();
            if job == "a2" && std::mem::take(&mut again) {
                lanes.put_back(lane, job);
            } else {
                order.push(job);
            }
            lanes.end_turn();
        }
        assert_eq!(order, ["a1", "b1", "a2", "a3"]);
        assert!(lanes.is_empty() && lanes.jobs.is_empty());
    }
}
