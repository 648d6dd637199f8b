//! What can be wrong with a store of markers.

use std::path::PathBuf;

/// An error of a [`ReplayStore`](super::ReplayStore). Whatever is in the store stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("the replay markers in {} cannot be {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not one of replay markers, or is damaged.
    #[error("{} has no replay markers that can be read ({why}); it is left as it is. Move it away to begin anew", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The markers belong to another owner: to another Salesforce org, say.
    #[error("the replay markers in {} belong to {}, not to {expected}; use a file of its own for each", path.display(), found.as_deref().unwrap_or("nobody in particular"))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The owner that was expected.
        expected: String,
        /// The owner that the file names.
        found: Option<String>,
    },
    /// Another process uses the file, or another store in this process does.
    #[error("the replay markers in {} are in use by another process; two consumers would overwrite each other's markers", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// An error of a store of the user's.
    #[error("{0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
