//! Servers under the work of CometD's load test, which `bayeux bench` does: ours, and CometD's Java server, in turn.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;

use crate::figure::number;
use crate::results::{Load, Loaded, Report, median};
use crate::{Fallible, descriptors};

/// The load, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Servers {
    /// How many runs count; one before does not.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many clients there are; each is in 10 of 100 rooms, as in CometD's load test.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// How many batches of 10 messages are published in each half of a run; the second half is measured.
    #[arg(long, default_value_t = 100)]
    batches: usize,
    /// How long after one batch the next begins, in milliseconds.
    #[arg(long, default_value_t = 100)]
    pause_ms: usize,
    /// Write the result as JSON into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What `bayeux bench --json` prints.
#[derive(Deserialize)]
struct Printed {
    expected: f64,
    received: f64,
    received_seconds: f64,
    cpu_seconds: f64,
    latency_us: Latency,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

impl Servers {
    pub(crate) fn run(&self) -> Fallible {
        let limit = descriptors::raise();
        let needed = 200 + 3 * self.clients as u64;
        if limit < needed {
            return Err(
                format!("it needs {needed} file descriptors, and {limit} are allowed (ulimit -Hn)").into()
            );
        }
        let mut report = Report::new(Vec::new());
        for transport in ["websocket", "long-polling"] {
            let mut servers = [Server::ours()?, Server::java()?];
            for server in &mut servers {
                // As good as idle: what it takes then is the sessions'.
                let before = server.kib();
                self.bench(server, transport, 1, 1, |_| ())?;
                let session_kib = (server.kib() - before) / self.clients as f64;
                let (server, transport) = (server.name.to_owned(), transport.to_owned());
                report.servers.push(Load { server, transport, session_kib, runs: Vec::new() });
            }
            for run in 0..=self.runs {
                for server in &servers {
                    let loaded = self.load(server, transport)?;
                    eprintln!("{transport}: {}: {loaded:?}", server.name);
                    let same = |load: &&mut Load| load.server == server.name && load.transport == transport;
                    if run > 0
                        && let Some(load) = report.servers.iter_mut().find(same)
                    {
                        load.runs.push(loaded);
                    }
                }
            }
            if let Some(file) = &self.json {
                std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
            }
        }
        println!("{}", markdown(&report));
        Ok(())
    }

    /// One run, of which the second half is measured.
    fn load(&self, server: &Server, transport: &str) -> Fallible<Loaded> {
        let mut cpu = Vec::new();
        let printed =
            self.bench(server, transport, 2, self.batches, |server| cpu.push(server.cpu_seconds()))?;
        let (Some(printed), [.., before, after]) = (printed.last(), &cpu[..]) else {
            return Err("the load test printed too little".into());
        };
        Ok(Loaded {
            expected: printed.expected,
            received: printed.received,
            seconds: printed.received_seconds,
            server_cpu_seconds: after - before,
            client_cpu_seconds: printed.cpu_seconds,
            p50_us: printed.latency_us.p50,
            p99_us: printed.latency_us.p99,
            server_kib: server.kib(),
        })
    }

    /// The results of each iteration of the load test. `after_each` is called after each of them, while the sessions still exist.
    fn bench(
        &self,
        server: &Server,
        transport: &str,
        iterations: usize,
        batches: usize,
        mut after_each: impl FnMut(&Server),
    ) -> Fallible<Vec<Printed>> {
        let mut command = Command::new(bayeux()?);
        command.args(["bench", &server.url, "--json", "--transport", transport]);
        for (option, value) in
            [("--iterations", iterations), ("--clients", self.clients), ("--batches", batches)]
        {
            command.arg(option).arg(value.to_string());
        }
        command.arg("--batch-pause").arg(format!("{}ms", self.pause_ms));
        let mut bench = Running::start(command)?;
        let mut printed = Vec::new();
        let longest =
            Duration::from_millis(60_000 + 2 * (self.pause_ms * batches) as u64 + 20 * self.clients as u64);
        while let Some(line) = bench.line(longest)? {
            after_each(server);
            printed.push(serde_json::from_str(&line)?);
        }
        bench.end()?;
        Ok(printed)
    }
}

/// The command line, which stands beside this program.
fn bayeux() -> Fallible<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("bayeux");
    if program.exists() { Ok(program) } else { Err(format!("{} is missing", program.display()).into()) }
}

struct Server {
    name: &'static str,
    url: String,
    process: Running,
}

impl Server {
    fn ours() -> Fallible<Self> {
        let mut command = Command::new(bayeux()?);
        command.args(["serve", "--port", "0", "--timeout", "20s", "--max-interval", "50s"]);
        Self::start("bayeux", command)
    }

    fn java() -> Fallible<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/java/target");
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx2g",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                "-cp",
                "classes:lib/*",
                "LoadServer",
            ])
            .current_dir(folder);
        Self::start("CometD Java 8.0.8", command)
    }

    fn start(name: &'static str, command: Command) -> Fallible<Self> {
        let mut process = Running::start(command)?;
        let url = process.line(Duration::from_secs(60))?.ok_or_else(|| format!("{name} did not start"))?;
        Ok(Self { name, url, process })
    }

    /// The CPU time that it has taken so far.
    fn cpu_seconds(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id())).unwrap_or_default();
        // After the name, which may have anything in it: the 12th and 13th are ticks of the user and of the system.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 =
            rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / rustix::param::clock_ticks_per_second() as f64
    }

    fn kib(&self) -> f64 {
        crate::meter::kib_of(&format!("/proc/{}/status", self.process.child.id()), "VmRSS")
    }
}

/// A process that prints lines. It is killed when it is no longer wanted.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Fallible<Self> {
        // Its input stays open, for those that end with it.
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Its next line, if there is one.
    fn line(&mut self, longest: Duration) -> Fallible<Option<String>> {
        match self.lines.recv_timeout(longest) {
            Ok(line) => Ok(Some(line)),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(error) => Err(format!("no word within {longest:?}: {error}").into()),
        }
    }

    /// Waits for its end, which is near.
    fn end(mut self) -> Fallible {
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the load test ended with {status}").into()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The table of the servers; nothing if there are none.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    if report.servers.is_empty() {
        return text;
    }
    text.push_str(
        "| transport | server | messages/s | messages a CPU second | of CometD's | p50, ms | p99, ms | KiB a session | MiB under load |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for load in &report.servers {
        let of = |figure: fn(&Loaded) -> f64| median(load.runs.iter().map(figure)).unwrap_or(f64::NAN);
        let efficiency =
            |load: &Load| median(load.runs.iter().map(|run| run.received / run.server_cpu_seconds));
        let theirs = |other: &&Load| other.transport == load.transport && other.server.starts_with("CometD");
        let theirs = report.servers.iter().find(theirs).and_then(efficiency);
        let ratio = efficiency(load).zip(theirs).map_or(f64::NAN, |(ours, theirs)| ours / theirs);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            load.transport,
            load.server,
            number(of(|run| run.received / run.seconds)),
            number(efficiency(load).unwrap_or(f64::NAN)),
            number(ratio),
            number(of(|run| run.p50_us / 1000.0)),
            number(of(|run| run.p99_us / 1000.0)),
            number(load.session_kib),
            number(of(|run| run.server_kib / 1024.0)),
        );
    }
    text
}
