//! Payloads from the command line, a file or standard input.

use std::path::Path;

use serde_json::value::RawValue;
use tokio::io::{AsyncRead, BufReader};

use crate::excerpt::beginning;
use crate::failure::Failure;
use crate::input::LONGEST;
use crate::values::Values;

const HINT: &str = "a text is written '\"text\"', an object '{\"name\": 1}': with both kinds of quotes";

/// Where payloads come from.
pub(crate) enum Source {
    /// The command line: one value.
    Given(Box<RawValue>),
    /// A file or standard input: any number of values.
    Stream {
        /// The prefix of a line number in errors: the file, with a colon.
        name: String,
        values: Values<BufReader<Box<dyn AsyncRead + Unpin>>>,
    },
}

/// Parses the argument: `-` means standard input, `@FILE` a file, anything else is JSON and kept unchanged.
pub(crate) async fn source(argument: &str) -> Result<Source, Failure> {
    let (name, reader): (_, Box<dyn AsyncRead + Unpin>) = match argument.strip_prefix('@') {
        _ if argument == "-" => (String::new(), Box::new(tokio::io::stdin())),
        Some("-") => (String::new(), Box::new(tokio::io::stdin())),
        Some(path) => {
            let opened = tokio::fs::File::open(Path::new(path)).await;
            let file = opened.map_err(|error| Failure::Usage(format!("cannot read {path}: {error}")))?;
            (format!("{path}: "), Box::new(file))
        }
        None => return Ok(Source::Given(parse(argument)?)),
    };
    Ok(Source::Stream { name, values: Values::new(BufReader::new(reader), LONGEST) })
}

impl Source {
    /// The only value.
    pub(crate) async fn only(self) -> Result<Box<RawValue>, Failure> {
        let (name, mut values) = match self {
            Self::Given(value) => return Ok(value),
            Self::Stream { name, values } => (name, values),
        };
        let one = |text: &str| Failure::Usage(format!("{name}{text}"));
        let Some(value) = values.next().await? else { return Err(one("there is no payload in the input")) };
        let data = value.json.map_err(|why| one(&format!("line {} {why}", value.line)))?;
        match values.next().await? {
            None => Ok(data),
            Some(_) => Err(one("there is more than one payload in the input")),
        }
    }
}

fn parse(json: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| {
        Failure::UsageHint(format!("the payload is no JSON: {error}: {}", beginning(json)), HINT)
    })
}
