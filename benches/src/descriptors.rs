//! File descriptors: thousands of idle clients need thousands, in the feed as in the racer.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Fallible;
use crate::job::{Task, Transport};
use crate::works::Work;

/// Raises the limit as far as it may be, for this process and those that it starts. How many there are.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    // Where it cannot be raised it stays, which is seen by what is given back.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether a work can be done with so many.
pub(crate) fn enough(descriptors: u64, work: &Work) -> Fallible {
    if work.task != Task::Idle {
        return Ok(());
    }
    let each = match work.transport {
        Transport::Websocket => 100,
        // One for the connect; some clients are not done yet with the one that they were opened over.
        Transport::LongPolling => 150,
    };
    let needed = 200 + work.count as u64 * each / 100;
    if descriptors < needed {
        return Err(format!(
            "it needs {needed} file descriptors, and {descriptors} are allowed (ulimit -Hn)"
        )
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::works;

    #[test]
    fn what_is_missing_for_ten_thousand_clients_is_said() {
        let works = works::all();
        let work =
            works.iter().find(|work| work.id() == "Idle clients: long-polling, 10,000 clients").unwrap();
        assert!(enough(15_200, work).is_ok());
        let error = enough(15_199, work).unwrap_err().to_string();
        assert_eq!(error, "it needs 15200 file descriptors, and 15199 are allowed (ulimit -Hn)");
    }
}
