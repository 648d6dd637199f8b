//! Lives many lifetimes of clients and a server over a network that fails, and stops at the first broken law.
//!
//! ```text
//! cargo run --release -p bayeux-sim --example simulate -- --seeds 1000000
//! cargo run --release -p bayeux-sim --example simulate -- --seed 4711 --trace
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bayeux_sim::{Report, Simulation};

const USAGE: &str = "usage: simulate [--seeds COUNT] [--from SEED] [--jobs THREADS] [--keep-going]\n       simulate --seed SEED [--trace]";

#[derive(Clone, Copy)]
struct Options {
    from: u64,
    count: u64,
    jobs: u64,
    trace: bool,
    keep_going: bool,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if options.count == 1 { one(options) } else { many(options) }
}

fn options() -> Option<Options> {
    let mut options = Options { from: 0, count: 10_000, jobs: 1, trace: false, keep_going: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok();
        match name.as_str() {
            "--seeds" => options.count = number()?,
            "--from" => options.from = number()?,
            "--jobs" => options.jobs = number().filter(|jobs| *jobs > 0)?,
            "--seed" => (options.from, options.count) = (number()?, 1),
            "--trace" => options.trace = true,
            "--keep-going" => options.keep_going = true,
            _ => return None,
        }
    }
    Some(options)
}

/// One lifetime; a broken law brings its trace by itself.
fn one(options: Options) -> ExitCode {
    let simulation = Simulation::new(options.from);
    let lived = if options.trace {
        simulation.trace().map(|(report, trace)| {
            print!("{trace}");
            report
        })
    } else {
        simulation.run()
    };
    match lived {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn many(options: Options) -> ExitCode {
    let started = Instant::now();
    let mut report = Report::default();
    let mut broken = 0_u64;
    std::thread::scope(|scope| {
        let jobs: Vec<_> =
            (0..options.jobs).map(|job| scope.spawn(move || share(options, job, started))).collect();
        for job in jobs {
            let (lived, failures) = job.join().unwrap_or_default();
            report.add(&lived);
            broken += failures;
        }
    });
    print!("{report}");
    println!("{broken} lifetimes broke a law; {:.1} s", started.elapsed().as_secs_f64());
    if broken == 0 && report.lifetimes == options.count { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The lifetimes of one thread: every `jobs`th seed.
fn share(options: Options, job: u64, started: Instant) -> (Report, u64) {
    let mut report = Report::default();
    let mut broken = 0;
    let mut told = started.elapsed();
    for seed in (options.from..options.from + options.count).skip(job as usize).step_by(options.jobs as usize)
    {
        match Simulation::new(seed).run() {
            Ok(one) => report.add(&one),
            Err(failure) if options.keep_going => {
                println!("seed {seed}: {}", failure.violation);
                broken += 1;
            }
            Err(failure) => {
                println!("{failure}");
                println!(
                    "again: cargo run --release -p bayeux-sim --example simulate -- --seed {seed} --trace"
                );
                return (report, broken + 1);
            }
        }
        if job == 0 && started.elapsed() > told + Duration::from_secs(10) {
            told = started.elapsed();
            eprint!("\r{} lifetimes in {:.0} s ", report.lifetimes * options.jobs, told.as_secs_f64());
            let _ = std::io::stderr().flush();
        }
    }
    (report, broken)
}
