//! File descriptors: pipes, sockets, and waiting for one descriptor.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use libc::c_int;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType};
use nix::sys::socket::{recv, send, socketpair};
use nix::unistd::{pipe, read};

use super::trace::{self, Call};
use super::{Deadline, Error, SelfContained};

/// Makes a pipe: what is written into its second end is read from the first; see pipe(2).
pub fn new_pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    trace::traced(|| Call::Pipe, pipe)
}

/// Makes two sockets: what is sent into one is received from the other; see socketpair(2).
pub fn new_socket_pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let pair = || socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty());
    trace::traced(|| Call::Socketpair, pair)
}

/// Sends a value through a socket. Fails as send(2) does, but not if the other one is closed.
/// (SIGPIPE must be ignored, as it is in a program in Rust.)
pub fn send_value<T: SelfContained>(socket: impl AsFd, value: &T) -> Result<(), Error> {
    let fd = socket.as_fd().as_raw_fd();
    let send = || send(fd, value.bytes(), MsgFlags::empty());
    match trace::traced(|| Call::Send(fd, size_of::<T>()), send) {
        Err(Error::Call(_, Errno::EPIPE)) => Ok(()),
        sent => sent.map(drop),
    }
}

/// Waits for a value that is sent through the other socket; `None` if that is closed first. Fails
/// as recv(2) does.
pub fn receive_value<T: SelfContained>(socket: impl AsFd) -> Result<Option<T>, Error> {
    let fd = socket.as_fd().as_raw_fd();
    let mut value = T::zeroed();
    let recv = || recv(fd, value.bytes_mut(), MsgFlags::MSG_WAITALL);
    match trace::traced(|| Call::Recv(fd, size_of::<T>()), recv) {
        // What this process has sent was never read.
        Err(Error::Call(_, Errno::ECONNRESET)) => Ok(None),
        got => Ok((got? == size_of::<T>()).then_some(value)),
    }
}

/// How often a wait without an end checks whether it is still of use.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Waits until there is something to read, or the end of it. If the wait has no end, `check` is
/// called once a second, which is no part of the record. Fails as poll(2) or `check` does, or with
/// [`Error::TimedOut`].
pub(super) fn wait_readable(
    fd: BorrowedFd<'_>,
    deadline: &mut Deadline,
    check: impl Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let (time, times) = (Cell::new(0), Cell::new(0));
    let mut checked = Ok(());
    let poll = || loop {
        let left = deadline.left();
        time.set(milliseconds(left.or(Some(CHECK_INTERVAL))));
        times.set(times.get() + 1);
        let ready = wait_for(fd, PollFlags::POLLIN, time.get());
        if matches!(ready, Ok(0) | Err(Errno::EINTR)) {
            checked = if left.is_some() { deadline.check() } else { trace::untraced(&check) };
            if checked.is_ok() {
                continue;
            }
        }
        return ready;
    };
    let polled = trace::traced(|| Call::Poll(fd.as_raw_fd(), time.get(), times.get()), poll);
    checked.and(polled.map(drop))
}

/// Whether nobody can read any more what is written here: the other end of the pipe is closed, or
/// the terminal is closed. See poll(2), POLLERR and POLLHUP.
pub fn has_no_reader(fd: impl AsFd) -> bool {
    // Something must be asked for: macOS reports nothing otherwise.
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0].revents().is_some_and(|events| events.intersects(gone))
}

/// Waits until there is room to write, at most for `timeout`; see poll(2).
pub fn wait_writable(fd: impl AsFd, timeout: Option<Duration>) -> nix::Result<bool> {
    Ok(wait_for(fd.as_fd(), PollFlags::POLLOUT, milliseconds(timeout))? > 0)
}

fn wait_for(fd: BorrowedFd<'_>, event: PollFlags, time: c_int) -> nix::Result<c_int> {
    poll(&mut [PollFd::new(fd, event)], PollTimeout::try_from(time).unwrap_or(PollTimeout::NONE))
}

/// A time in milliseconds, rounded up: poll(2) should not wake too early. -1 is for ever.
fn milliseconds(time: Option<Duration>) -> c_int {
    let rounded_up = |time: Duration| time.as_nanos().div_ceil(1_000_000);
    time.map_or(-1, |time| c_int::try_from(rounded_up(time)).unwrap_or(c_int::MAX))
}

/// Reads one byte and no more; `None` at the end. See read(2).
pub fn read_byte(fd: impl AsFd) -> nix::Result<Option<u8>> {
    let mut byte = [0];
    Ok((read(fd, &mut byte)? > 0).then_some(byte[0]))
}
