//! The command line of `interop/run`.

use crate::misbehaviour::{self, scenario};
use crate::outcome::Outcome;
use crate::peers;
use crate::scenarios;

const HELP: &str = "\
Tries our client with servers that others wrote, and our server with their clients, and prints a table.

Usage: interop/run [OPTIONS] [PEER]...

  PEER            only these, or `misbehaviour`, which is the table of what clients do when a server misbehaves;
                  all without any
  --without PEER  all but this one; may be given several times
  --only NAME     only this scenario (a column of the table, or a row of that of misbehaviour); may be given several times
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
    /// `None` if everything that was asked for has been printed.
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
                    println!("{}", misbehaviour::NAME);
                    return Ok(None);
                }
                "--without" => options.without.push(peer(value()?)?),
                "--only" => {
                    let name = value()?;
                    if !is_of_pairs(&name) && !is_of_misbehaviour(&name) {
                        return Err(format!("no scenario is called {name}").into());
                    }
                    options.only.push(name);
                }
                "--all-pairs" => options.all_pairs = true,
                "--jobs" => options.jobs = value()?.parse::<usize>()?.max(1),
                "--write" => options.write = true,
                other if other.starts_with('-') => {
                    return Err(format!("there is no option {other}; --help lists them").into());
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

    /// Whether a scenario is to be played.
    pub(crate) fn wants_scenario(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == name)
    }

    /// Whether our client is to be tried with servers, and our server with clients.
    pub(crate) fn wants_pairs(&self) -> bool {
        let named = self.peers.is_empty() || self.peers.iter().any(|name| name != misbehaviour::NAME);
        named && (self.only.is_empty() || self.only.iter().any(|name| is_of_pairs(name)))
    }

    /// Whether clients are to be tried with a server that misbehaves.
    pub(crate) fn wants_misbehaviour(&self) -> bool {
        let named = self.wants(misbehaviour::NAME) && !self.all_pairs;
        named && (self.only.is_empty() || self.only.iter().any(|name| is_of_misbehaviour(name)))
    }

    /// Whether a client is wanted for that.
    pub(crate) fn wants_column(&self, name: &str) -> bool {
        let without = self.without.iter().any(|one| one == name);
        self.wants_misbehaviour() && misbehaviour::COLUMNS.contains(&name) && !without
    }

    /// Whether everything is to be tried, so that the tables are whole.
    pub(crate) fn is_all(&self) -> bool {
        self.peers.is_empty() && self.without.is_empty() && self.only.is_empty() && !self.all_pairs
    }
}

fn is_of_pairs(name: &str) -> bool {
    scenarios::ALL.iter().any(|scenario| scenario.name == name)
}

fn is_of_misbehaviour(name: &str) -> bool {
    scenario::ALL.iter().any(|scenario| scenario.name == name)
}

fn peer(name: String) -> Outcome<String> {
    if peers::is_known(&name) || name == misbehaviour::NAME {
        return Ok(name);
    }
    Err(format!("no peer is called {name}; --list names them").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether pairs and whether misbehaviour are wanted.
    fn wants(args: &[&str]) -> (bool, bool) {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let options = Options::parse(&args).ok().flatten();
        options.map_or((false, false), |options| (options.wants_pairs(), options.wants_misbehaviour()))
    }

    #[test]
    fn each_of_the_two_parts_can_be_had_alone() {
        assert_eq!(wants(&[]), (true, true));
        assert_eq!(wants(&["misbehaviour"]), (false, true));
        assert_eq!(wants(&["cometd-js"]), (true, false));
        assert_eq!(wants(&["cometd-js", "misbehaviour"]), (true, true));
        assert_eq!(wants(&["--without", "misbehaviour"]), (true, false));
        assert_eq!(wants(&["--without", "faye"]), (true, true));
    }

    #[test]
    fn a_scenario_belongs_to_one_of_the_parts() {
        assert_eq!(wants(&["--only", "quickstart"]), (true, false));
        assert_eq!(wants(&["--only", "garbage"]), (false, true));
        assert_eq!(wants(&["--only", "quickstart", "--only", "garbage"]), (true, true));
        let both = scenario::ALL.iter().filter(|scenario| is_of_pairs(scenario.name)).count();
        assert_eq!(both, 0, "a name stands for one scenario");
    }
}
