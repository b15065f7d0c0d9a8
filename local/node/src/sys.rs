//! The few system calls that need care: file descriptors over sockets, sibling processes, mount attributes.
//!
//! All `unsafe` of the node lives here, each with the reason why it is sound.

use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most file descriptors in one message; more is a mistake of ours.
const MAX_FDS: usize = 8;
/// The longest control message between our own processes, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// A pair of connected sockets that keep message borders, closed on exec.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message with file descriptors.
pub(crate) fn send_message(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many file descriptors in one message"));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(crate) fn receive_message(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if length == 0 && fds.is_empty() {
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some((bytes, fds)))
}

/// A child that is our sibling: its parent is our parent, so we may end while it lives on.
pub(crate) enum Sibling {
    /// We are the new process.
    New,
    /// We are the old one; this is the other's process id.
    Id(i32),
}

/// Forks with the caller's parent as the parent of the new process (it enters the pid namespace set by `unshare`/`setns`).
///
/// Must only be called while the process has one thread.
#[allow(unsafe_code, reason = "no safe wrapper for clone with CLONE_PARENT")]
pub(crate) fn fork_sibling() -> io::Result<Sibling> {
    // SAFETY: without CLONE_VM and with a null stack this is a plain fork; the caller has a single thread, so no
    // lock can be held by another one.
    let id = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
    match id {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Sibling::New),
        id => Ok(Sibling::Id(i32::try_from(id).unwrap_or(-1))),
    }
}

/// Forks; must only be called while the process has one thread.
#[allow(unsafe_code, reason = "fork is unsafe in programs with threads")]
pub(crate) fn fork() -> io::Result<nix::unistd::ForkResult> {
    // SAFETY: the caller has a single thread (documented above).
    Ok(unsafe { nix::unistd::fork() }?)
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Makes a mount and all below it read-only, keeping the flags that a user namespace has locked.
#[allow(unsafe_code, reason = "no safe wrapper for mount_setattr")]
pub(crate) fn make_read_only(path: &Path) -> io::Result<()> {
    const AT_RECURSIVE: libc::c_uint = 0x8000;
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: both pointers are to live values for the length of the call and the size is that of the struct.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            AT_RECURSIVE,
            &attributes as *const MountAttr,
            std::mem::size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the size of a terminal.
#[allow(unsafe_code, reason = "ioctl has no safe wrapper here")]
pub(crate) fn set_window_size(terminal: impl AsFd, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives for the length of the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a terminal the controlling one of our (new) session.
#[allow(unsafe_code, reason = "ioctl has no safe wrapper here")]
pub(crate) fn take_terminal(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer argument.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts `fd` in the place of standard input, output or error (0, 1, 2).
#[allow(unsafe_code, reason = "dup2 onto a descriptor by its number")]
pub(crate) fn replace_stdio(fd: impl AsFd, number: i32) -> io::Result<()> {
    // SAFETY: the three standard descriptors are owned by nobody in Rust; they stay open.
    let result = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts a duplicate of `fd` in the place of another descriptor, which is closed thereby.
#[allow(unsafe_code, reason = "dup2 onto a borrowed descriptor")]
pub(crate) fn replace(fd: impl AsFd, place: impl AsFd) -> io::Result<()> {
    // SAFETY: both are open for the length of the call; the owner of `place` still owns an open descriptor afterwards.
    let result = unsafe { libc::dup3(fd.as_fd().as_raw_fd(), place.as_fd().as_raw_fd(), libc::O_CLOEXEC) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes a capability out of the bounding set: no program that is started from now on has it.
#[allow(unsafe_code, reason = "no safe wrapper for PR_CAPBSET_DROP")]
pub(crate) fn drop_capability(number: usize) -> io::Result<()> {
    // SAFETY: this prctl takes plain numbers.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        // A capability that this kernel does not know.
        error if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        error => Err(error),
    }
}

/// Gives a program the signal state it expects: nothing blocked, nothing ignored.
#[allow(unsafe_code, reason = "changing signal dispositions is unsafe in general")]
pub(crate) fn default_signals() -> io::Result<()> {
    // SAFETY: the default disposition involves no handler of ours. (Rust's runtime ignores SIGPIPE.)
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl)
    }?;
    nix::sys::signal::SigSet::all().thread_unblock()?;
    Ok(())
}

/// Registers an owned descriptor with the runtime.
#[allow(unsafe_code, reason = "AsyncFd asks for a promise about the descriptor")]
pub(crate) fn async_fd(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open, and the same file, for as long as the AsyncFd owns it.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(fd) }?)
}

/// Writes to a file of /proc or /sys that exists already.
pub(crate) fn write_proc(path: &str, value: &str) -> io::Result<()> {
    std::fs::write(path, value)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot write {value:?} to {path}: {e}")))
}

/// Whether the user id `id` exists in our user namespace, so that a process may become it.
pub(crate) fn is_mapped(id: u32) -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else { return false };
    map_holds(&map, id)
}

fn map_holds(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(inside)), Some(Ok(_)), Some(Ok(count))) => {
                (inside..inside + count).contains(&u64::from(id))
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_bytes_and_descriptors() {
        let (ours, theirs) = socket_pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send_message(&ours, b"hello", &[file.as_fd()]).unwrap();
        let (bytes, fds) = receive_message(&theirs).unwrap().unwrap();
        assert_eq!((bytes.as_slice(), fds.len()), (b"hello".as_slice(), 1));
        drop(ours);
        assert!(receive_message(&theirs).unwrap().is_none());
    }

    #[test]
    fn uid_maps_tell_which_ids_exist() {
        assert!(map_holds("         0          0 4294967295\n", 1337));
        assert!(!map_holds("         0       1000          1\n", 1337));
        assert!(map_holds("0 1000 1\n1 100000 65536\n", 1337));
        assert!(!map_holds("garbage", 0));
    }
}
