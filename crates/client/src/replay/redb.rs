//! Markers in a database of redb.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableError};

use super::error::StoreError;
use super::store::ReplayStore;

const MARKERS: TableDefinition<'static, &str, i64> = TableDefinition::new("bayeux_replay_markers");

/// A [`ReplayStore`] in a table of a [redb](https://docs.rs/redb) database, which other tables can share: for many channels, whose
/// markers a [`FileStore`](super::FileStore) would write each time. Needs the feature `redb`.
///
/// redb keeps other processes away for as long as the database is open.
#[derive(Clone)]
pub struct RedbStore {
    database: Arc<Database>,
    path: PathBuf,
}

impl RedbStore {
    /// Opens or creates a database.
    ///
    /// # Errors
    /// Returns an error if the file is in use by another process, cannot be read or created, or is no database.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        match Database::create(&path) {
            Ok(database) => Ok(Self { database: Arc::new(database), path }),
            Err(error) => Err(opening(path, error)),
        }
    }

    /// Uses a database that is open already.
    pub fn with_database(database: Arc<Database>) -> Self {
        Self { database, path: PathBuf::from("the database") }
    }
}

impl ReplayStore for RedbStore {
    fn load(&self, channel: &str) -> Result<Option<i64>, StoreError> {
        let read = || -> Result<Option<i64>, redb::Error> {
            match self.database.begin_read()?.open_table(MARKERS) {
                Ok(table) => Ok(table_get(&table, channel)?),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        read().map_err(|error| failed(&self.path, "read", error))
    }

    fn save(&self, channel: &str, marker: i64) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(MARKERS)?.insert(channel, marker)?;
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|error| failed(&self.path, "written", error))
    }
}

fn table_get(
    table: &impl redb::ReadableTable<&'static str, i64>,
    channel: &str,
) -> Result<Option<i64>, StorageError> {
    Ok(table.get(channel)?.map(|marker| marker.value()))
}

fn opening(path: PathBuf, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { path },
        error => failed(&path, "read", error.into()),
    }
}

fn failed(path: &Path, action: &'static str, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        // What is no database at all is refused with this kind.
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            StoreError::Corrupt { path, why: source.to_string() }
        }
        redb::Error::Io(source) => StoreError::Io { path, action, source },
        error => StoreError::Corrupt { path, why: error.to_string() },
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}
