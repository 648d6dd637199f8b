//! One anonymous attacker with 1 MB/s against our server: what other clients notice of it, and what memory it takes.

mod attacks;
mod http;
mod measure;
mod pace;
mod websocket;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use self::attacks::Attack;
use self::measure::{Handshakes, Memory};
use self::pace::Pace;
use crate::{Fallible, descriptors};

/// What the attacker may send in a second.
const BYTES_PER_SECOND: usize = 1_000_000;
/// The longest that another client may wait for a handshake.
const LONGEST: Duration = Duration::from_millis(100);

/// The attacks, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Greedy {
    /// For how many seconds each attack goes on.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only attacks whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The memory budget of the server, in MiB.
    #[arg(long, default_value_t = 128)]
    budget_mib: usize,
    /// A second for each attack: whether they all work, without a verdict.
    #[arg(long)]
    short: bool,
}

/// The server that is attacked, in a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Stand {
    /// Its memory budget, in MiB.
    #[arg(long)]
    budget_mib: usize,
}

/// What one attack did.
struct Row {
    name: &'static str,
    sent: usize,
    handshakes: Handshakes,
    memory: Memory,
}

impl Greedy {
    pub(crate) fn run(&self) -> Fallible {
        let descriptors = descriptors::raise();
        if descriptors < 8192 {
            return Err(format!(
                "it needs 8192 file descriptors, and {descriptors} are allowed (ulimit -Hn)"
            )
            .into());
        }
        let span = Duration::from_secs(if self.short { 1 } else { self.seconds });
        let mut rows = Vec::new();
        for attack in attacks::ALL {
            if self.only.as_ref().is_some_and(|only| !attack.name.contains(only.as_str())) {
                continue;
            }
            let row = self.attack(attack, span)?;
            eprintln!("{}", row.markdown());
            rows.push(row);
        }
        if rows.is_empty() {
            return Err("no attack has such a name".into());
        }
        println!("{}", markdown(&rows, self.budget_mib));
        Ok(())
    }

    /// Plays one attack against a fresh server, with another client beside it.
    fn attack(&self, attack: &Attack, span: Duration) -> Fallible<Row> {
        let server = Process::start(self.budget_mib)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let victim = measure::handshakes_beside(server.address, span);
        let memory = measure::memory_beside(server.child.id(), span);
        let pace = Pace::new(BYTES_PER_SECOND);
        let attacked = runtime.block_on(async {
            // An attack that the server ends has ended; what counts is what the others notice.
            tokio::time::timeout(span, attack.play(server.address, pace.clone())).await
        });
        if let Ok(Err(error)) = attacked {
            eprintln!("{}: the server ended it: {error}", attack.name);
        }
        // What the attack holds open is held to the end.
        let handshakes = victim.join().map_err(|_| "the other client failed")?;
        let memory = memory.join().map_err(|_| "the memory could not be read")?;
        drop(runtime);
        Ok(Row { name: attack.name, sent: pace.sent(), handshakes, memory })
    }
}

impl Row {
    fn markdown(&self) -> String {
        let Self { name, sent, handshakes, memory } = self;
        format!(
            "| {name} | {:.1} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            *sent as f64 / 1e6,
            handshakes.count(),
            handshakes.failed(),
            handshakes.quantile_ms(0.5),
            handshakes.quantile_ms(0.99),
            handshakes.longest_ms(),
            memory.before_mib,
            memory.peak_mib,
        )
    }
}

fn markdown(rows: &[Row], budget_mib: usize) -> String {
    let mut text = String::from(
        "| attack | MB sent | handshakes of another client | failed | p50, ms | p99, ms | longest, ms | MiB before | MiB at most |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", row.markdown());
    }
    let slow: Vec<_> = rows
        .iter()
        .filter(|row| row.handshakes.longest() > LONGEST || row.handshakes.failed() > 0)
        .map(|row| row.name)
        .collect();
    let large: Vec<_> = rows
        .iter()
        .filter(|row| row.memory.peak_mib - row.memory.before_mib > budget_mib as f64)
        .map(|row| row.name)
        .collect();
    let verdict = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\nWith a handshake longer than {} ms: {}. With more than the budget of {budget_mib} MiB: {}.",
        LONGEST.as_millis(),
        verdict(&slow),
        verdict(&large)
    );
    text
}

impl Stand {
    /// Serves until its standard input ends; prints its address.
    pub(crate) fn run(&self) -> Fallible {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let server = bayeux_server::Server::builder().max_memory(self.budget_mib << 20).build()?;
            let running = server.bind("127.0.0.1:0").await?;
            println!("{}", running.local_addr());
            let ended =
                tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
            ended.await??;
            Ok(())
        })
    }
}

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(budget_mib: usize) -> Fallible<Self> {
        use std::io::{BufRead, BufReader};
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["stand", "--budget-mib", &budget_mib.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
