//! Which transport to use: the user's order, less those that were just refused.

use std::time::Duration;

use super::failure::Failure;
use crate::time::Time;
use crate::transport::Transport;

/// The user's transports and what is known of each.
#[derive(Debug)]
pub(super) struct Transports {
    known: Vec<Known>,
    current: Transport,
}

#[derive(Debug)]
struct Known {
    kind: Transport,
    /// Refused: not to be tried before then, as long as there is another.
    avoid_until: Option<Time>,
    /// What it failed with in the round of attempts that is under way.
    failed: Option<Failure>,
    /// The server of this session speaks it.
    offered: bool,
}

impl Transports {
    pub(super) fn new(order: &[Transport]) -> Self {
        let known = order
            .iter()
            .map(|&kind| Known { kind, avoid_until: None, failed: None, offered: true })
            .collect();
        Self { known, current: order.first().copied().unwrap_or(Transport::LongPolling) }
    }

    pub(super) fn current(&self) -> Transport {
        self.current
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.known.iter().map(|known| known.kind.as_str().to_owned()).collect()
    }

    /// Forgets what failed: for a session that is opened anew.
    pub(super) fn reset(&mut self) {
        for known in &mut self.known {
            known.avoid_until = None;
            known.failed = None;
        }
    }

    /// Begins a round of attempts with the best transport that need not be avoided.
    pub(super) fn begin_round(&mut self, now: Time) -> Transport {
        for known in &mut self.known {
            known.failed = None;
            if known.avoid_until.is_some_and(|until| until <= now) {
                known.avoid_until = None;
            }
        }
        if self.known.iter().all(|known| known.avoid_until.is_some()) {
            self.reset();
        }
        if let Some(best) = self.known.iter().find(|known| known.avoid_until.is_none()) {
            self.current = best.kind;
        }
        self.current
    }

    /// Notes that the current transport failed, and gives the next one of this round.
    pub(super) fn next_in_round(&mut self, failure: Failure) -> Option<Transport> {
        let current = self.current;
        if let Some(known) = self.known.iter_mut().find(|known| known.kind == current) {
            known.failed = Some(failure);
        }
        let next = self.known.iter().find(|known| known.failed.is_none() && known.avoid_until.is_none())?;
        self.current = next.kind;
        Some(next.kind)
    }

    /// Leaves the current transport alone for a while.
    pub(super) fn avoid_current(&mut self, now: Time, span: Duration) {
        self.avoid(self.current, now, span);
    }

    /// Leaves a transport alone for a while.
    pub(super) fn avoid(&mut self, kind: Transport, now: Time, span: Duration) {
        for known in self.known.iter_mut().filter(|known| known.kind == kind) {
            known.avoid_until = Some(now + span);
        }
    }

    /// The transport to use in place of the current one, which fails; `None` when there is no other to be had.
    pub(super) fn alternative(&self) -> Option<Transport> {
        let usable =
            |known: &&Known| known.offered && known.avoid_until.is_none() && known.kind != self.current;
        self.known.iter().find(usable).map(|known| known.kind)
    }

    /// A transport that the user prefers to the current one, and that has been left alone for long enough.
    pub(super) fn better(&self, now: Time) -> Option<Transport> {
        let preferred = self.known.iter().take_while(|known| known.kind != self.current);
        let usable = |known: &&Known| known.offered && known.avoid_until.is_none_or(|until| until <= now);
        preferred.into_iter().find(usable).map(|known| known.kind)
    }

    /// Uses that transport from now on, if it is one of the user's.
    pub(super) fn prefer(&mut self, kind: Transport) {
        if self.known.iter().any(|known| known.kind == kind) {
            self.current = kind;
        }
    }

    /// Uses another transport from now on.
    pub(super) fn switch(&mut self, to: Transport) {
        self.current = to;
        for known in self.known.iter_mut().filter(|known| known.kind == to) {
            known.avoid_until = None;
        }
    }

    /// The failure of a round in which all failed: each transport's failure, the preferred one's kind.
    pub(super) fn round_failure(&self, last: &Failure) -> Failure {
        let failed: Vec<_> =
            self.known.iter().filter_map(|known| Some((known.kind, known.failed.as_ref()?))).collect();
        match failed.as_slice() {
            [] | [_] => last.clone(),
            several => {
                let texts: Vec<_> =
                    several.iter().map(|(kind, failure)| format!("{kind}: {failure}")).collect();
                Failure::new(last.kind(), texts.join("; ")).with_source(last.clone())
            }
        }
    }

    /// Chooses among what the server offers, in the user's order, less what failed a moment ago: that is left alone
    /// until `retry_at`. A server that names nothing accepts what carried its reply.
    pub(super) fn negotiate(
        &mut self,
        offered: &[Transport],
        named: bool,
        retry_at: Time,
    ) -> Option<Transport> {
        for known in &mut self.known {
            known.offered = if named { offered.contains(&known.kind) } else { known.kind == self.current };
            if known.failed.is_some() {
                known.avoid_until.get_or_insert(retry_at);
            }
        }
        let usable = self.known.iter().filter(|known| known.offered);
        let chosen = usable.min_by_key(|known| known.avoid_until.is_some())?;
        self.current = chosen.kind;
        Some(chosen.kind)
    }
}
