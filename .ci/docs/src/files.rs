//! The files of the repository.

use std::io;
use std::path::{Path, PathBuf};

/// What builds and installs leave behind.
const GENERATED: [&str; 4] = ["target", "node_modules", "venv", ".logs"];

/// All files below a folder whose names end so, in a fixed order.
pub(crate) fn below(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            // A link to a folder could lead round in a circle.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if name != ".git" && !GENERATED.contains(&&*name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
