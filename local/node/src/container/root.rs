//! A container's file system: the host's programs and libraries read-only on a fresh tmpfs, with everything else its own.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;

use super::place::{self, Links};
use super::spec::{Container, Mount};
use crate::sys;

const NONE: Option<&str> = None;

/// Top-level directories that come from the host; links among them are copied as links (merged /usr).
const SYSTEM: [&str; 8] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "nix"];
/// What comes from the host's /etc.
const ETC: [&str; 16] = [
    "ssl",
    "ca-certificates",
    "ca-certificates.conf",
    "pki",
    "crypto-policies",
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "timezone",
    "mime.types",
    "services",
    "protocols",
    "terminfo",
    "fonts",
];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Directories that a program may write to.
const OWN: [&str; 12] =
    ["dev", "etc", "home", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var"];

/// Puts the root together and makes it the root of this mount namespace.
pub(super) fn enter(container: &Container) -> io::Result<()> {
    let root = container.root.as_path();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), root, Some("tmpfs"), flags, Some("mode=0755")).map_err(named("mount", root))?;
    for name in OWN {
        fs::create_dir(root.join(name))?;
    }
    system(root)?;
    programs(root, container)?;
    devices(root)?;
    processes(root, container.privileged)?;
    places(root)?;
    for path in &container.host_paths {
        bind_read_only(path, &inside(root, path)?)?;
    }
    for (path, content) in &container.files {
        let path = inside(root, Path::new(path))?;
        make_parent(&path)?;
        fs::write(&path, content).map_err(at(&path))?;
    }
    if !container.process.cwd.is_empty() {
        let cwd = inside(root, Path::new(&container.process.cwd))?;
        fs::create_dir_all(&cwd).map_err(at(&cwd))?;
    }
    let place = place::root(root)?;
    for volume in &container.mounts {
        volume_mount(&place, volume).map_err(at(&volume.target))?;
    }
    pivot(root)?;
    if container.read_only_root {
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(NONE, "/", NONE, flags, NONE)?;
    }
    Ok(())
}

fn system(root: &Path) -> io::Result<()> {
    for name in SYSTEM {
        copy_or_bind(&Path::new("/").join(name), &root.join(name))?;
    }
    for entry in fs::read_dir("/usr")? {
        let name = entry?.file_name();
        if name != "local" {
            copy_or_bind(&Path::new("/usr").join(&name), &root.join("usr").join(&name))?;
        }
    }
    for name in ETC {
        copy_or_bind(&Path::new("/etc").join(name), &root.join("etc").join(name))?;
    }
    Ok(())
}

/// /usr/local is the container's own: our binary and its applets, and the host's libraries there.
fn programs(root: &Path, container: &Container) -> io::Result<()> {
    let bin = root.join("usr/local/bin");
    fs::create_dir_all(&bin)?;
    for name in ["lib", "share"] {
        copy_or_bind(&Path::new("/usr/local").join(name), &root.join("usr/local").join(name))?;
    }
    let binary = bin.join("meltemi");
    fs::File::create(&binary)?;
    mount(Some(&container.binary), &binary, NONE, MsFlags::MS_BIND, NONE)
        .map_err(named("bind", &container.binary))?;
    sys::make_read_only(&binary)?;
    for applet in &container.applets {
        if applet.contains('/') || applet == "meltemi" {
            continue;
        }
        symlink("meltemi", bin.join(applet))?;
    }
    Ok(())
}

fn devices(root: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    for name in DEVICES {
        let (from, to) = (Path::new("/dev").join(name), dev.join(name));
        fs::File::create(&to)?;
        mount(Some(&from), &to, NONE, MsFlags::MS_BIND, NONE).map_err(named("bind", &from))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))?;
    }
    let (pts, shm) = (dev.join("pts"), dev.join("shm"));
    fs::create_dir(&pts)?;
    fs::create_dir(&shm)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), &pts, Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))
        .map_err(named("mount", &pts))?;
    mount(Some("shm"), &shm, Some("tmpfs"), flags | MsFlags::MS_NODEV, Some("mode=1777"))
        .map_err(named("mount", &shm))
}

/// The usual directories and their permissions.
fn places(root: &Path) -> io::Result<()> {
    for name in ["var/lib", "var/log", "var/tmp", "var/cache", "run/lock", "home/istio-proxy"] {
        fs::create_dir_all(root.join(name))?;
    }
    symlink("../run", root.join("var/run"))?;
    for name in ["tmp", "var/tmp", "run/lock"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o1777))?;
    }
    for name in ["run", "home/istio-proxy", "var/log"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o777))?;
    }
    Ok(())
}

/// The container's processes; kernel settings are seen, but changed only from a privileged container.
fn processes(root: &Path, privileged: bool) -> io::Result<()> {
    let proc = root.join("proc");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &proc, Some("proc"), flags, NONE).map_err(named("mount", Path::new("/proc")))?;
    for name in ["sys", "sysrq-trigger", "irq", "bus", "fs"].iter().filter(|_| !privileged) {
        let path = proc.join(name);
        if path.exists() {
            mount(Some(&path), &path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
                .map_err(named("bind", &path))?;
            sys::make_read_only(&path)?;
        }
    }
    Ok(())
}

/// Both ends may hold links that another container made: neither is resolved outside its own root.
fn volume_mount(root: &OwnedFd, volume: &Mount) -> io::Result<()> {
    let source = match &volume.sub {
        None => place::host(&volume.source)?,
        Some(sub) => place::find(place::root(&volume.source)?, sub, Links::Beneath)?,
    };
    let target = if place::is_directory(&source) {
        place::directory(root.as_fd(), &volume.target, Links::InRoot, 0o755)?
    } else {
        place::file(root.as_fd(), &volume.target, Links::InRoot)?
    };
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&place::through(&source)), &place::through(&target), NONE, flags, NONE)?;
    if volume.read_only {
        // Looked up again: the descriptor from before is of what the mount now covers.
        sys::make_read_only(&place::through(&place::find(root, &volume.target, Links::InRoot)?))?;
    }
    Ok(())
}

fn pivot(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    std::env::set_current_dir("/")
}

/// Copies a link, binds a directory, copies a file; does nothing when the host has no such thing.
fn copy_or_bind(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(kind) = fs::symlink_metadata(from) else { return Ok(()) };
    if kind.is_symlink() && fs::metadata(from).is_ok_and(|target| target.is_dir()) {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_dir() {
        return bind_read_only(from, to);
    }
    // A file (or a link to one): copied, for it may be replaced on the host. One that we may not read is left out.
    match fs::read(from) {
        Ok(bytes) => fs::write(to, bytes),
        Err(_) => Ok(()),
    }
}

fn bind_read_only(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to).map_err(at(to))?;
    } else {
        make_parent(to)?;
        fs::File::create(to).map_err(at(to))?;
    }
    // In a user namespace a directory can only be bound together with the mounts below it.
    mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).map_err(named("bind", from))?;
    sys::make_read_only(to)
}

/// The place of an absolute path of the container below `root`; `..` is refused.
fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut place = root.to_path_buf();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => place.push(name),
            _ => {
                return Err(io::Error::other(format!(
                    "{}: a path in a container may not hold `..`",
                    path.display()
                )));
            }
        }
    }
    Ok(place)
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(at(parent)),
        None => Ok(()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn named(what: &str, path: &Path) -> impl FnOnce(nix::errno::Errno) -> io::Error {
    let text = format!("cannot {what} {}", path.display());
    move |error| io::Error::new(io::Error::from(error).kind(), format!("{text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let root = Path::new("/r");
        assert_eq!(inside(root, Path::new("/etc/./x")).unwrap(), Path::new("/r/etc/x"));
        assert_eq!(inside(root, Path::new("etc")).unwrap(), Path::new("/r/etc"));
        assert!(inside(root, Path::new("/etc/../../x")).is_err());
    }
}
