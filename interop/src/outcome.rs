//! How a step of a scenario ends.

use std::fmt;

/// A step went well, or why not.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An operation that a client reports as failed: with the code that the server gave, if it gave one.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: Option<u16>,
    pub(crate) text: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failed {}

/// A condition that must hold.
pub(crate) fn check(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}

/// An operation that the server must refuse with this code; `None` accepts any.
pub(crate) fn refused(outcome: Result<impl fmt::Debug, Failed>, code: Option<u16>) -> Outcome {
    match outcome {
        Ok(value) => Err(format!("this should have been refused, and gave {value:?}").into()),
        Err(failed) if code.is_none() || failed.code == code => Ok(()),
        Err(failed) => Err(format!("refused with {:?} instead of {code:?}: {failed}", failed.code).into()),
    }
}
