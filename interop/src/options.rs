//! The command line of `interop/run`.

use crate::outcome::Outcome;
use crate::peers;
use crate::scenarios;

const HELP: &str = "\
Tries our client with servers that others wrote, and our server with their clients, and prints a table.

Usage: interop/run [OPTIONS] [PEER]...

  PEER            only these; all without any
  --without PEER  all but this one; may be given several times
  --only NAME     only this scenario (a column of the table); may be given several times
  --all-pairs     each client with each server instead, to see whose a failure is
  --jobs N        how many rows are played at once; 3 without it
  --write         writes the tables into the documents; without it they are only compared, when all were played
  --list          the names of the peers
  --help          this";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Options {
    peers: Vec<String>,
    without: Vec<String>,
    pub(crate) only: Vec<String>,
    pub(crate) all_pairs: bool,
    pub(crate) jobs: usize,
    pub(crate) write: bool,
}

impl Options {
    /// `None` when all that was asked for has been told.
    pub(crate) fn parse(args: &[String]) -> Outcome<Option<Self>> {
        let mut options = Self {
            peers: Vec::new(),
            without: Vec::new(),
            only: Vec::new(),
            all_pairs: false,
            jobs: 3,
            write: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--help" | "-h" => {
                    println!("{HELP}");
                    return Ok(None);
                }
                "--list" => {
                    peers::names().iter().for_each(|name| println!("{name}"));
                    return Ok(None);
                }
                "--without" => options.without.push(peer(value()?)?),
                "--only" => {
                    let name = value()?;
                    if !scenarios::ALL.iter().any(|scenario| scenario.name == name) {
                        return Err(format!("no scenario is called {name}").into());
                    }
                    options.only.push(name);
                }
                "--all-pairs" => options.all_pairs = true,
                "--jobs" => options.jobs = value()?.parse::<usize>()?.max(1),
                "--write" => options.write = true,
                other if other.starts_with('-') => {
                    return Err(format!("there is no option {other}; --help tells them").into());
                }
                name => options.peers.push(peer(name.to_owned())?),
            }
        }
        Ok(Some(options))
    }

    /// Whether a peer is to be tried.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|one| one == name);
        (self.peers.is_empty() || named(&self.peers)) && !named(&self.without)
    }

    /// Whether everything is to be tried, so that the tables are whole.
    pub(crate) fn is_all(&self) -> bool {
        self.peers.is_empty() && self.without.is_empty() && self.only.is_empty() && !self.all_pairs
    }
}

fn peer(name: String) -> Outcome<String> {
    if peers::is_known(&name) {
        return Ok(name);
    }
    Err(format!("no peer is called {name}; --list names them").into())
}
