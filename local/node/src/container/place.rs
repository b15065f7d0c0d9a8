//! Places below a root whose content somebody else writes: a volume, or a container's file system with volumes in it. The kernel
//! resolves every path within that root, so that a link a container left there cannot lead us to the host's files.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2};
use rustix::io::Errno;

/// How a link is taken that would lead out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// As in a changed root: `/` is the root.
    InRoot,
    /// It is an error.
    Beneath,
}

impl Links {
    fn flags(self) -> ResolveFlags {
        ResolveFlags::NO_MAGICLINKS
            | match self {
                Self::InRoot => ResolveFlags::IN_ROOT,
                Self::Beneath => ResolveFlags::BENEATH,
            }
    }
}

/// A directory as a root.
pub(crate) fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// What is at a path below the root.
pub(crate) fn find(root: impl AsFd, path: &Path, links: Links) -> io::Result<OwnedFd> {
    let path = relative(path)?;
    Ok(openat2(root, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), links.flags())?)
}

/// A directory below the root, made with its parents where it is missing.
pub(crate) fn directory(root: BorrowedFd<'_>, path: &Path, links: Links, mode: u32) -> io::Result<OwnedFd> {
    let mut walked = PathBuf::new();
    let mut at = find(root, Path::new("."), links)?;
    for part in relative(path)?.components() {
        walked.push(part);
        at = match find(root, &walked, links) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                    Ok(()) => {
                        let made = openat(
                            &at,
                            part.as_os_str(),
                            OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                            Mode::empty(),
                        )?;
                        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                find(root, &walked, links)?
            }
            found => found?,
        };
    }
    Ok(at)
}

/// A file below the root, made empty with its parents where it is missing.
pub(crate) fn file(root: BorrowedFd<'_>, path: &Path, links: Links) -> io::Result<OwnedFd> {
    match find(root, path, links) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let path = relative(path)?;
    let parent = directory(root, path.parent().unwrap_or(Path::new("")), links, 0o755)?;
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
    find(root, &path, links)
}

/// A path that stands for an open descriptor of this process.
pub(crate) fn through(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// Whether a descriptor is of a directory.
pub(crate) fn is_directory(descriptor: &OwnedFd) -> bool {
    fs::metadata(through(descriptor)).is_ok_and(|meta| meta.is_dir())
}

/// What is at an absolute path that we trust.
pub(crate) fn host(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The path without its leading `/`; `..` is refused.
fn relative(path: &Path) -> io::Result<PathBuf> {
    let mut relative = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => relative.push(name),
            _ => return Err(io::Error::other(format!("{}: may not hold `..`", path.display()))),
        }
    }
    if relative.as_os_str().is_empty() {
        relative.push(".");
    }
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let (volume, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(host.path(), volume.path().join("out")).unwrap();
        fs::create_dir(volume.path().join("real")).unwrap();
        symlink("real", volume.path().join("in")).unwrap();
        let root = root(volume.path()).unwrap();

        assert!(directory(root.as_fd(), Path::new("out/x"), Links::Beneath, 0o777).is_err());
        assert!(file(root.as_fd(), Path::new("out/y"), Links::Beneath).is_err());
        directory(root.as_fd(), Path::new("in/x"), Links::Beneath, 0o777).unwrap();
        assert!(volume.path().join("real/x").is_dir());
        assert!(find(&root, Path::new("../x"), Links::Beneath).is_err());
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0, "nothing was made outside");
    }

    #[test]
    fn directories_and_files_are_made() {
        let volume = tempfile::tempdir().unwrap();
        let root = root(volume.path()).unwrap();
        assert!(is_directory(&directory(root.as_fd(), Path::new("/a/b"), Links::InRoot, 0o755).unwrap()));
        assert!(!is_directory(&file(root.as_fd(), Path::new("/a/c/d"), Links::InRoot).unwrap()));
        assert!(volume.path().join("a/c/d").is_file());
        assert!(is_directory(&find(&root, Path::new("/"), Links::InRoot).unwrap()));
    }
}
