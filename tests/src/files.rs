//! What a nats-server keeps on disk, to be searched.

use std::path::{Path, PathBuf};

/// Every file under a folder.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("is a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(all(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            files.push((path, bytes));
        }
    }
    files
}

/// Whether a text stands in one of these; prints where.
#[must_use]
pub fn contain(files: &[(PathBuf, Vec<u8>)], text: &str) -> bool {
    let found = files
        .iter()
        .find(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()));
    if let Some((path, _)) = found {
        eprintln!("{text} is in {}", path.display());
    }
    found.is_some()
}
