//! The race: every racer does every work, in turn, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::job::{Measured, Task};
use crate::report::{self, Entry, Report, Row};
use crate::works::{self, Work};

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

/// Whoever takes part.
struct Racer {
    name: String,
    command: Vec<String>,
    environment: Option<(&'static str, &'static str)>,
    /// How long it runs before it is measured, in milliseconds: compilers that work meanwhile need longer.
    warm_ms: u64,
    does: fn(&Work) -> bool,
}

impl Race {
    pub(crate) fn run(&self) -> Fallible {
        let racers = self.racers()?;
        let feeds = Feeds::start()?;
        let mut rows = Vec::new();
        let mut failed = 0;
        for work in works::all().into_iter().filter(|work| self.wants(work)) {
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
                    match self.measure(&feeds, racer, &work) {
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
            rows.push(row);
        }
        let report = Report::new(rows);
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
        }
        println!("{}", report.markdown());
        if failed > 0 && self.short {
            return Err(format!("{failed} measurements failed").into());
        }
        Ok(())
    }

    fn wants(&self, work: &Work) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|text| work.id().contains(text.as_str()));
        named && (work.short || !self.short)
    }

    fn runs(&self, work: &Work) -> usize {
        match work.task {
            _ if self.short => 1,
            Task::Idle => self.runs.min(3),
            _ => self.runs,
        }
    }

    fn racers(&self) -> Fallible<Vec<Racer>> {
        let exe = std::env::current_exe()?.to_string_lossy().into_owned();
        let own = |name: &str, command: &str| Racer {
            name: name.to_owned(),
            command: vec![exe.clone(), command.to_owned()],
            environment: None,
            warm_ms: if self.short { 20 } else { 200 },
            does: |_| true,
        };
        let mut racers = vec![
            own("bayeux", "ours"),
            own("floor", "floor"),
            Racer {
                environment: Some(("FLOOR_ON_TOKIO", "1")),
                does: |work| work.transport == crate::job::Transport::Websocket && work.task != Task::Idle,
                ..own("floor on tokio", "floor")
            },
        ];
        if self.peers {
            racers.extend(peers());
        }
        Ok(racers)
    }

    fn measure(&self, feeds: &Feeds, racer: &Racer, work: &Work) -> Fallible<Measured> {
        let time_ms = match work.task {
            _ if self.short => 50,
            // What clients do after they are opened comes to rest.
            Task::Idle => 5000,
            _ => self.time_ms,
        };
        let (scheme, port) = if work.tls { ("https", feeds.tls.port) } else { ("http", feeds.plain.port) };
        let mut command = Command::new(&racer.command[0]);
        command
            .args(&racer.command[1..])
            .arg(format!("{scheme}://127.0.0.1:{port}/{}", work.feed()))
            .args([work.task.name(), work.transport.name()])
            .args([racer.warm_ms, time_ms].map(|number| number.to_string()))
            .args([work.count, work.size, usize::from(work.ack)].map(|number| number.to_string()));
        if work.tls {
            command.arg("--ca").arg(&feeds.certificate);
        }
        command.envs(racer.environment);
        let longest = Duration::from_millis(20_000 + 2 * (racer.warm_ms + time_ms) + 10 * work.count as u64);
        let output = output(&mut command, longest)?;
        let line = output.lines().last().ok_or("it printed nothing")?;
        Ok(serde_json::from_str(line)?)
    }
}

/// The clients of others, as far as `benches/peers/install` could install them.
fn peers() -> Vec<Racer> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
    let place = folder.to_string_lossy().into_owned();
    let mut racers = Vec::new();
    for Peer { name, command, needs, warm_ms } in PEERS {
        if !folder.join(needs).exists() {
            eprintln!("{name} is not installed, so it does not take part");
            continue;
        }
        racers.push(Racer {
            name: (*name).to_owned(),
            command: command.split_whitespace().map(|word| word.replace("{}", &place)).collect(),
            environment: None,
            warm_ms: *warm_ms,
            does: |work| work.peers,
        });
    }
    racers
}

struct Peer {
    name: &'static str,
    /// How it is started, from the folder `{}`.
    command: &'static str,
    /// What is there when it is installed.
    needs: &'static str,
    warm_ms: u64,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "CometD Java 8.0.8",
        command: "java -Xmx2g -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp {}/java/target/classes:{}/java/target/lib/* Racer",
        needs: "java/target/lib",
        warm_ms: 4000,
    },
    Peer {
        name: "cometd.js 9.0.0",
        command: "node --expose-gc {}/node/cometd.mjs",
        needs: "node/node_modules/cometd",
        warm_ms: 1500,
    },
    Peer {
        name: "Faye 1.4.3",
        command: "node --expose-gc {}/node/faye.mjs",
        needs: "node/node_modules/faye",
        warm_ms: 1500,
    },
    Peer {
        name: "aiocometd",
        command: "{}/python/venv/bin/python {}/python/racer.py",
        needs: "python/venv/bin/python",
        warm_ms: 500,
    },
];

/// The feeds, in processes of their own.
struct Feeds {
    plain: Feed,
    tls: Feed,
    certificate: PathBuf,
}

struct Feed {
    child: Child,
    port: u16,
}

impl Feeds {
    fn start() -> Fallible<Self> {
        let certificate = std::env::temp_dir().join(format!("bayeux-bench-{}.pem", std::process::id()));
        let tls = certificate.to_string_lossy().into_owned();
        Ok(Self { plain: Feed::start(&[])?, tls: Feed::start(&["--tls", &tls])?, certificate })
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        // It is in a folder for what need not stay.
        let _ = std::fs::remove_file(&self.certificate);
    }
}

impl Feed {
    fn start(arguments: &[&str]) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("feed").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse()? })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process prints, if it ends well in time.
fn output(command: &mut Command, longest: Duration) -> Fallible<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        // What cannot be read is no text.
        let _ = stderr.take().map(|mut pipe| pipe.read_to_string(&mut text));
        text
    });
    let printed = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.take().map(|mut pipe| pipe.read_to_string(&mut text));
        text
    });
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() > longest => {
                child.kill()?;
                child.wait()?;
                return Err(format!("not done within {longest:?}").into());
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let (printed, errors) = (printed.join().unwrap_or_default(), errors.join().unwrap_or_default());
    if status.success() {
        Ok(printed)
    } else {
        Err(format!("{status}: {}", errors.trim().lines().last().unwrap_or_default()).into())
    }
}
