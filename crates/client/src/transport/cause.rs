//! What is inside an error of the HTTP stack.

use std::error::Error;
use std::io;

/// The text of the innermost error, which is the most specific; the outer ones repeat it.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Finds an error in a chain; those of TLS hide inside I/O errors, which may hide in I/O errors themselves.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<T>() {
            return Some(found);
        }
        // The source of an I/O error is that of the error in it: to follow it would pass that over.
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(custom) => Some(custom),
            None => inner.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn an_error_is_found_in_nested_io_errors() {
        let nested = io::Error::other(io::Error::other(fmt::Error));
        assert_eq!(find::<fmt::Error>(&nested), Some(&fmt::Error));
        assert_eq!(find::<fmt::Error>(&io::Error::from(io::ErrorKind::BrokenPipe)), None);
    }
}
