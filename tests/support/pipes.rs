//! Pipes and sockets that are full, or closed at the other end.

use super::*;
use nix::fcntl::FdFlag;
#[cfg(target_os = "linux")]
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// A pipe, which the programs that are started do not inherit: the end to read from, and the other.
pub fn new_pipe() -> (OwnedFd, OwnedFd) {
    #[cfg(not(target_vendor = "apple"))]
    let ends = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    #[cfg(target_vendor = "apple")] // which has no such call
    let ends = {
        let ends = nix::unistd::pipe().unwrap();
        [&ends.0, &ends.1].into_iter().for_each(close_on_exec);
        ends
    };
    ends
}

/// The programs that are started from now on do not inherit it.
pub fn close_on_exec(fd: &OwnedFd) {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
}

/// A pipe into which nothing more fits: the end to read from, and the other.
pub fn full_pipe() -> (File, File) {
    let (reader, writer) = new_pipe();
    let mut writer = File::from(writer);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    // The run shares the open file description, and so O_NONBLOCK; a pipe that blocks is the harder
    // case.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader.into(), writer)
}

/// The two ends of a connection that keeps packets apart and that has an end (SOCK_SEQPACKET).
#[cfg(target_os = "linux")]
pub fn packet_sockets() -> (UnixDatagram, OwnedFd) {
    let (kind, flags) = (SockType::SeqPacket, SockFlag::SOCK_CLOEXEC);
    let (ours, theirs) = socketpair(AddressFamily::Unix, kind, None, flags).unwrap();
    assert!(ours.as_raw_fd() > libc::STDERR_FILENO);
    let ours = UnixDatagram::from(ours);
    ours.set_read_timeout(Some(TIMEOUT)).unwrap();
    (ours, theirs)
}

/// Closes a socket, and waits until nobody has it open. (Another test may be starting a program,
/// which has a copy of it until it calls exec. And a write to see whether it is closed would take
/// away the error that it gets.)
pub fn close_socket(socket: impl Into<OwnedFd>) {
    let socket = File::from(socket.into());
    let inode = socket.metadata().unwrap().ino().to_string();
    drop(socket);
    // (Elsewhere nothing tells. Then the first write may succeed.)
    wait_until("the socket is closed", || {
        ["tcp", "udp", "unix"].iter().all(|list| {
            let text = fs::read_to_string(format!("/proc/net/{list}")).unwrap_or_default();
            text.split_whitespace().all(|word| word != inode)
        })
    });
}
