//! Stores of replay markers: what they keep, and what they refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bayeux::replay::{FileStore, MemoryStore, ReplayStore, StoreError};

const FILTERED: &str = "/topic/T?Industry='Energy'";

fn keeps(store: &impl ReplayStore) {
    assert_eq!(store.load("/topic/T").unwrap(), None);
    store.save("/topic/T", 7).unwrap();
    store.save(FILTERED, i64::MAX).unwrap();
    store.save("/topic/T", 8).unwrap();
    assert_eq!(store.load("/topic/T").unwrap(), Some(8));
    assert_eq!(store.load(FILTERED).unwrap(), Some(i64::MAX));
}

#[test]
fn memory() {
    keeps(&MemoryStore::new());
}

#[test]
fn a_file_is_there_after_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers.json");
    keeps(&FileStore::open(&path).unwrap());
    let store = FileStore::open(&path).unwrap();
    assert_eq!(store.load("/topic/T").unwrap(), Some(8));
    assert_eq!(store.load(FILTERED).unwrap(), Some(i64::MAX));
}

#[test]
fn a_file_has_one_user_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers");
    let first = FileStore::open(&path).unwrap();
    let error = FileStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    first.save("/a", 1).unwrap();
    assert!(FileStore::open(&path).is_err(), "also after the file was replaced");
    drop(first);
    assert_eq!(FileStore::open(&path).unwrap().load("/a").unwrap(), Some(1));
}

#[test]
fn a_damaged_file_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers");
    FileStore::open(&path).unwrap().save("/a", 1).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
    damaged.extend([
        vec![0; 100],
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"SQLite format 3\0".to_vec(),
        text.replace("\"version\": 1", "\"version\": 2").into_bytes(),
        text.replace("bayeux-replay-markers", "bayeux-other").into_bytes(),
        text.replace(": 1\n", ": -1\n").into_bytes(),
        text.replace(": 1\n", ": 1.5\n").into_bytes(),
        text.replace(": 1\n", ": 99999999999999999999\n").into_bytes(),
    ]);
    for bytes in damaged {
        assert_ne!(bytes, whole);
        std::fs::write(&path, &bytes).unwrap();
        let error = FileStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error} {:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::write(&path, whole).unwrap();
    // What a process that was killed while it wrote has left.
    std::fs::write(folder.path().join("markers.new"), "{\"form").unwrap();
    let store = FileStore::open(&path).unwrap();
    assert_eq!(store.load("/a").unwrap(), Some(1));
    store.save("/a", 2).unwrap();
}

#[test]
fn markers_of_another_owner_are_refused_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("markers");
    FileStore::open_for(&path, "org 1").unwrap().save("/a", 1).unwrap();
    for (opened, found) in
        [(FileStore::open_for(&path, "org 2"), Some("org 1")), (FileStore::open(&path), Some("org 1"))]
    {
        let error = opened.unwrap_err();
        assert!(
            matches!(&error, StoreError::Foreign { found: owner, .. } if owner.as_deref() == found),
            "{error}"
        );
    }
    assert_eq!(FileStore::open_for(&path, "org 1").unwrap().load("/a").unwrap(), Some(1));
    let unowned = folder.path().join("unowned");
    FileStore::open(&unowned).unwrap().save("/a", 1).unwrap();
    let error = FileStore::open_for(&unowned, "org 1").unwrap_err();
    assert!(matches!(error, StoreError::Foreign { found: None, .. }), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = FileStore::open(folder.path().join("missing/markers")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let path = folder.path().join("markers");
    let store = FileStore::open(&path).unwrap();
    store.save("/a", 1).unwrap();
    // In place of the file that is written first.
    std::fs::create_dir(folder.path().join("markers.new")).unwrap();
    let error = store.save("/a", 2).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(store.load("/a").unwrap(), Some(1), "the old marker is kept");
}

#[cfg(feature = "redb")]
mod database {
    use bayeux::replay::RedbStore;

    use super::*;

    #[test]
    fn a_database_is_there_after_the_process_and_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("markers.redb");
        let store = RedbStore::open(&path).unwrap();
        keeps(&store);
        let error = RedbStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        drop(store);
        assert_eq!(RedbStore::open(&path).unwrap().load(FILTERED).unwrap(), Some(i64::MAX));
    }

    #[test]
    fn what_is_no_database_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("markers.redb");
        std::fs::write(&path, "no database at all, but text").unwrap();
        let error = RedbStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no database at all, but text");
    }
}
