//! The race: every racer does every work, in turn, in a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::job::{Measured, Task};
use crate::process::{Feeds, output};
use crate::racers::{self, Racer};
use crate::report;
use crate::results::{Entry, Report, Row};
use crate::works::{self, Work};
use crate::{Fallible, descriptors};

/// What is raced, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Race {
    /// Check that everything works, in short: times mean nothing then.
    #[arg(long)]
    short: bool,
    /// Race the clients of others too, those that `benches/run` has installed.
    #[arg(long)]
    peers: bool,
    /// Only works whose name has this in it, as in "websocket, 10 a frame".
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// How often each racer does each work.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// For how long it is measured each time, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    time_ms: u64,
    /// Write the result as JSON into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Race {
    pub(crate) fn run(&self) -> Fallible {
        let mut racers = racers::own(if self.short { 20 } else { 200 })?;
        if self.peers {
            racers.extend(racers::peers());
        }
        // For the feeds and the racers, which inherit it.
        let descriptors = descriptors::raise();
        let feeds = Feeds::start()?;
        let mut report = Report::new(Vec::new());
        let mut failed = 0;
        for work in self.works() {
            let mut entries: Vec<Entry> = Vec::new();
            for racer in racers.iter().filter(|racer| (racer.does)(&work)) {
                entries.push(Entry { racer: racer.name.clone(), runs: Vec::new(), failure: None });
            }
            for _ in 0..self.runs(&work) {
                for entry in &mut entries {
                    let Some(racer) = racers.iter().find(|racer| racer.name == entry.racer) else { continue };
                    if entry.failure.is_some() {
                        continue;
                    }
                    let measured = descriptors::enough(descriptors, &work)
                        .and_then(|()| self.measure(&feeds, racer, &work));
                    match measured {
                        Ok(measured) => entry.runs.push(measured),
                        Err(error) => {
                            eprintln!("{}: {}: {error}", work.id(), racer.name);
                            failed += 1;
                            entry.failure = Some(error.to_string());
                        }
                    }
                }
            }
            let row = Row { group: work.group.to_owned(), name: work.name.clone(), entries };
            eprintln!("{}", report::line(&row));
            report.rows.push(row);
            if let Some(file) = &self.json {
                // A run that is broken off has not been in vain.
                std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
            }
        }
        println!("{}", report::markdown(&report));
        if failed > 0 && self.short {
            return Err(format!("{failed} measurements failed").into());
        }
        Ok(())
    }

    fn works(&self) -> impl Iterator<Item = Work> {
        let wanted = |work: &Work| {
            self.only.is_empty() || self.only.iter().any(|text| work.id().contains(text.as_str()))
        };
        let works = works::all().into_iter().filter(wanted);
        works.map(|work| if self.short { work.shortened() } else { work })
    }

    fn runs(&self, work: &Work) -> usize {
        match work.task {
            _ if self.short => 1,
            Task::Idle => self.runs.min(3),
            _ => self.runs,
        }
    }

    fn measure(&self, feeds: &Feeds, racer: &Racer, work: &Work) -> Fallible<Measured> {
        let time_ms = match work.task {
            _ if self.short => 50,
            // What clients do after they are opened comes to rest.
            Task::Idle => 5000,
            // Where it is in its life is of interest, so it must not go far.
            Task::Long => self.time_ms / 10,
            _ => self.time_ms,
        };
        let (scheme, port) = if work.tls { ("https", feeds.tls.port) } else { ("http", feeds.plain.port) };
        let begin = if racer.publishes || work.task == Task::Idle { "" } else { "-g1" };
        let mut command = Command::new(&racer.command[0]);
        command
            .args(&racer.command[1..])
            .arg(format!("{scheme}://127.0.0.1:{port}/{}{begin}", work.feed()))
            .args([work.task.name(), work.transport.name()])
            .args([racer.warm_ms, time_ms].map(|number| number.to_string()))
            .args([work.count, work.size, usize::from(work.ack)].map(|number| number.to_string()));
        if work.tls {
            command.arg("--ca").arg(&feeds.certificate);
        }
        command.envs(racer.environment);
        let count = Duration::from_micros(match work.task {
            Task::Idle => 10_000,
            _ => 20,
        }) * work.count as u32;
        // Long enough for a machine that is busy with other things.
        let longest = Duration::from_millis(60_000 + 2 * (racer.warm_ms + time_ms)) + count;
        let output = output(&mut command, longest)?;
        let line = output.lines().last().ok_or("it printed nothing")?;
        let measured: Measured = serde_json::from_str(line)?;
        // Of many calls at once each waits for the others, so their time is not that of a call.
        Ok(if work.task == Task::Pipelined { Measured { p50_us: 0.0, ..measured } } else { measured })
    }
}
