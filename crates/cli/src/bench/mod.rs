//! `bayeux bench`: the load of CometD's load test.

mod crowd;
mod machine;
mod result;
mod tally;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::crowd::Crowd;
use self::machine::Machine;
use self::result::Outcome;
use self::tally::Tally;
use crate::args::Bench;
use crate::failure::Failure;
use crate::interrupt::interrupted;
use crate::output;
use crate::target::Target;

/// How often the number of received messages is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// After this number of checks without a new message, the messages that are missing count as lost.
const MAX_IDLE_CHECKS: u32 = 20;

pub(crate) async fn run(options: Bench) -> Result<(), Failure> {
    tokio::select! {
        outcome = load(&options) => outcome,
        code = interrupted() => Err(Failure::Interrupted(code)),
    }
}

async fn load(options: &Bench) -> Result<(), Failure> {
    let target = Target::new(options.url.clone(), &options.connection)?;
    let tally = Arc::new(Tally::default());
    let bar = bar(u64::from(options.clients), "clients");
    let crowd = Crowd::gather(&target, options, &tally, &bar).await?;
    bar.finish_and_clear();
    let mut missing = 0;
    for _ in 0..options.iterations {
        tally.reset();
        let outcome = iterate(options, &crowd, &tally).await;
        missing += outcome.missing();
        output::print(if options.json { outcome.json() } else { outcome.text() })?;
    }
    crowd.leave().await;
    if missing > 0 {
        output::error(&format!("{missing} messages were not received"));
        return Err(Failure::Reported(1));
    }
    Ok(())
}

/// Publishes all batches and waits until the subscribers have received them.
async fn iterate(options: &Bench, crowd: &Crowd, tally: &Arc<Tally>) -> Outcome {
    let total = u64::from(options.batches) * u64::from(options.batch_size);
    let bar = bar(0, "messages");
    let machine = Machine::now();
    let began = Instant::now();
    let mut expected = 0;
    for number in 0..options.batches {
        let due = began + options.batch_pause.saturating_mul(number);
        tokio::time::sleep_until(due.into()).await;
        expected += crowd.publish(options, number, tally);
        bar.set_length(expected);
        bar.set_position(tally.received());
    }
    crowd.all_sent().await;
    let sent_in = began.elapsed();
    let mut known = tally.received();
    let mut idle_checks = 0;
    while tally.received() < expected && idle_checks < MAX_IDLE_CHECKS {
        tokio::select! {
            () = tally.reaches(expected) => {}
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
        idle_checks = if tally.received() == known { idle_checks + 1 } else { 0 };
        known = tally.received();
        bar.set_position(known);
    }
    bar.finish_and_clear();
    Outcome {
        published: total,
        batches: u64::from(options.batches),
        failed: tally.failed(),
        sent_in,
        expected,
        received: tally.received(),
        received_in: tally.last().saturating_duration_since(began),
        latency: tally.latency(),
        machine: Machine::now().since(&machine),
    }
}

/// A progress bar; hidden if standard error is not a terminal.
fn bar(length: u64, what: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(10)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    // The template is a constant and valid.
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}, {per_sec}, {elapsed}")
    {
        bar.set_style(style);
    }
    bar.with_message(what)
}
