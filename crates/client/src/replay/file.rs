//! Markers in a file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::store::ReplayStore;

/// The first words of each file.
const FORMAT: &str = "bayeux-replay-markers";
const VERSION: u32 = 1;

/// A [`ReplayStore`] in a small JSON file.
///
/// Each marker is written to a new file, flushed to the disk, and put in the place of the old file in one step: a process that ends
/// at any moment leaves the old markers or the new ones. A lock on a second file, `<name>.lock`, keeps other processes away for as
/// long as the store lives. A file that is damaged, or that belongs to another owner, is an error, and stays as it is.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    contents: Mutex<Contents>,
    /// Holds the lock.
    _lock: File,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: String,
    version: u32,
    owner: Option<String>,
    markers: BTreeMap<String, i64>,
}

impl FileStore {
    /// Opens a file, which is created with the first marker.
    ///
    /// # Errors
    /// Returns an error if the file is in use by another process, cannot be read, is damaged, or was
    /// [made for an owner](FileStore::open_for).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path.into(), None)
    }

    /// Opens a file of markers that belong to an owner: the id of a Salesforce org and the user's name, say. Ids of events mean nothing
    /// to another one.
    ///
    /// # Errors
    /// As [`open`](FileStore::open), and if the file has markers of another owner, or of none.
    pub fn open_for(path: impl Into<PathBuf>, owner: impl Into<String>) -> Result<Self, StoreError> {
        Self::open_with(path.into(), Some(owner.into()))
    }

    fn open_with(path: PathBuf, owner: Option<String>) -> Result<Self, StoreError> {
        let lock = lock(&path)?;
        let empty = || Contents {
            format: FORMAT.to_owned(),
            version: VERSION,
            owner: owner.clone(),
            markers: BTreeMap::new(),
        };
        let mut contents = read(&path)?.unwrap_or_else(empty);
        if contents.owner != owner {
            if !contents.markers.is_empty() {
                let expected = owner.unwrap_or_else(|| "nobody in particular".to_owned());
                return Err(StoreError::Foreign { path, expected, found: contents.owner });
            }
            contents.owner = owner;
        }
        Ok(Self { path, contents: Mutex::new(contents), _lock: lock })
    }
}

impl ReplayStore for FileStore {
    fn load(&self, channel: &str) -> Result<Option<i64>, StoreError> {
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(contents.markers.get(channel).copied())
    }

    fn save(&self, channel: &str, marker: i64) -> Result<(), StoreError> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if contents.markers.get(channel) == Some(&marker) {
            return Ok(());
        }
        let mut changed = contents.clone();
        changed.markers.insert(channel.to_owned(), marker);
        write(&self.path, &changed).map_err(|source| {
            let path = self.path.clone();
            StoreError::Io { path, action: "written", source }
        })?;
        *contents = changed;
        Ok(())
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Io { path: path.to_owned(), action: "locked", source };
    let name = beside(path, ".lock");
    let lock = OpenOptions::new().create(true).append(true).open(name).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn read(path: &Path) -> Result<Option<Contents>, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { path: path.to_owned(), why };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path: path.to_owned(), action: "read", source }),
    };
    if bytes.is_empty() {
        return Err(corrupt("it is empty".to_owned()));
    }
    let contents: Contents = serde_json::from_slice(&bytes)
        .map_err(|error| corrupt(format!("line {}, column {}", error.line(), error.column())))?;
    if contents.format != FORMAT || contents.version != VERSION {
        return Err(corrupt(format!("it is not {FORMAT} of version {VERSION}")));
    }
    if contents.markers.values().any(|marker| *marker < 0) {
        return Err(corrupt("a marker is negative".to_owned()));
    }
    Ok(Some(contents))
}

fn write(path: &Path, contents: &Contents) -> std::io::Result<()> {
    let name = beside(path, ".new");
    let mut file = File::create(&name)?;
    file.write_all(&serde_json::to_vec_pretty(contents)?)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&name, path)?;
    // The name is in the directory, which must be on the disk as well.
    #[cfg(unix)]
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()?;
    Ok(())
}
