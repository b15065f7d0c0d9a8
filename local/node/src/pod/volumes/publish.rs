//! Files of a volume, all changed at once: they are links into a directory that is swapped by a rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

/// Contents and permissions by relative path.
pub type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// Makes `dir` show exactly these files. Readers see the old ones or the new ones, never a mixture.
pub fn publish(dir: &Path, files: &Files) -> io::Result<()> {
    let data = dir.join("..data");
    if is_current(&data, files) {
        return Ok(());
    }
    let version = format!("..{:x}", fastrand::u64(..));
    let fresh = dir.join(&version);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, (bytes, mode)) in files {
        write(&fresh, path, bytes, *mode)?;
    }
    let old = fs::read_link(&data).ok();
    let swap = dir.join("..data_tmp");
    symlink(&version, &swap)?;
    fs::rename(&swap, &data)?;
    links(dir, files)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(())
}

fn write(dir: &Path, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let relative = Path::new(path);
    if !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(io::Error::other(format!("the path {path:?} must be relative and must not hold `..`")));
    }
    let file = dir.join(relative);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&file, bytes)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode))
}

fn is_current(data: &Path, files: &Files) -> bool {
    let count = |dir: &Path| walk(dir).map_or(0, |n| n);
    data.exists()
        && count(data) == files.len()
        && files.iter().all(|(path, (bytes, _))| fs::read(data.join(path)).is_ok_and(|now| now == *bytes))
}

fn walk(dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { walk(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// The names that users see, as links into `..data`; those that are no longer wanted are removed.
fn links(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(dir.join(name.as_ref()))?;
        }
    }
    for name in wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), &link)?;
        }
    }
    Ok(())
}
