//! Which server of a cluster to use: the one that works, and if it does not, the next in the user's order.

use super::failure::Failure;

/// The user's servers and what is known of each.
#[derive(Debug)]
pub(super) struct Servers {
    /// There is always one.
    known: Vec<Known>,
    current: usize,
}

#[derive(Debug)]
struct Known {
    /// Its name in errors and events.
    name: String,
    /// What it failed with in the round of attempts that is under way.
    failed: Option<Failure>,
}

impl Servers {
    pub(super) fn new(first: &str, others: &[String]) -> Self {
        let names = std::iter::once(first).chain(others.iter().map(String::as_str));
        let known = names.map(|name| Known { name: name.to_owned(), failed: None }).collect();
        Self { known, current: 0 }
    }

    /// The place in the user's order.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    pub(super) fn name(&self) -> &str {
        &self.known[self.current].name
    }

    /// Uses that server from now on, if it exists, and forgets what failed: for a session that is opened again.
    pub(super) fn begin_at(&mut self, server: usize) {
        self.works();
        self.current = if server < self.known.len() { server } else { 0 };
    }

    /// The current one works, and another round of attempts is another matter.
    pub(super) fn works(&mut self) {
        for known in &mut self.known {
            known.failed = None;
        }
    }

    /// Notes that the current one failed, and moves on to the next. An error when that ends a round in which all
    /// failed: what they failed with. The next round is not to begin without a pause.
    pub(super) fn move_on(&mut self, failure: &Failure) -> Result<(), Failure> {
        let (here, count) = (self.current, self.known.len());
        self.known[here].failed = Some(failure.clone());
        let mut in_order = (1..=count).map(|step| (here + step) % count);
        if let Some(next) = in_order.find(|at| self.known[*at].failed.is_none()) {
            self.current = next;
            return Ok(());
        }
        let whole = self.round_failure(failure);
        self.works();
        self.current = (here + 1) % count;
        Err(whole)
    }

    fn round_failure(&self, last: &Failure) -> Failure {
        if self.known.len() == 1 {
            return last.clone();
        }
        let failures = self.known.iter().filter_map(|known| known.failed.as_ref());
        let texts: Vec<_> = failures.map(ToString::to_string).collect();
        Failure::new(last.kind(), texts.join("; ")).with_source(last.clone())
    }
}
