//! What is known of other processes: by kill(2), and on Linux by `/proc`, see proc(5).
//!
//! A PID means something only in its PID namespace. In a container, `/proc` may be that of another
//! one, where the same number is another process. So only a [`Proc`], which is ours, answers
//! questions: `Some` is what it says, `None` is unknown. What kill(2) answers needs no `/proc`.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use libc::{EACCES, major, minor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, getpid};

use super::Error;
use super::trace::{self, Call};

/// A `/proc` that is ours. It answers one question: the next one needs a new look, since a process
/// that has forked, or a mount, may have changed meanwhile whose it is.
#[derive(Debug)]
pub struct Proc(());

impl Proc {
    /// `/proc`, if it is that of this PID namespace: it knows us by our PID, and by no other.
    pub fn ours() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let pids = field(&status, "NSpid").unwrap_or_default();
        let link = fs::read_link("/proc/self").ok()?;
        let is_ours = link.as_os_str() == getpid().to_string().as_str();
        (is_ours && pids.split_whitespace().count() == 1).then_some(Self(()))
    }

    /// Whether a signal, such as that of Ctrl-Z, has stopped the process.
    pub fn is_stopped(self, pid: Pid) -> Option<bool> {
        self.state(pid).map(|(state, _)| state == 'T')
    }

    /// Whether the process has a handler for `signal`; see proc_pid_status(5), SigCgt.
    pub fn has_handler(self, pid: Pid, signal: Signal) -> Option<bool> {
        let caught = field(&self.read(pid, "status")?, "SigCgt")?.trim().to_owned();
        // The lowest bit is signal 1.
        Some(u64::from_str_radix(&caught, 16).ok()? & 1 << (signal as u32 - 1) != 0)
    }

    /// The effective user of the process.
    pub fn user(self, pid: Pid) -> Option<Uid> {
        // Real, effective, saved, and for the file system.
        let status = self.read(pid, "status")?;
        field(&status, "Uid")?.split_whitespace().nth(1)?.parse().ok().map(Uid::from_raw)
    }

    /// Whether the process sees the same segments as this one; see ipc_namespaces(7).
    pub fn shares_ipc(self, pid: Pid) -> Option<bool> {
        let namespace = |pid: Pid| fs::read_link(format!("/proc/{pid}/ns/ipc")).ok();
        Some(namespace(pid)? == namespace(getpid())?)
    }

    /// The state, and the number of threads; see proc_pid_stat(5).
    fn state(self, pid: Pid) -> Option<(char, u32)> {
        let stat = self.read(pid, "stat")?;
        // "PID (command) state …", where the command may contain anything, parentheses too.
        let mut columns = stat.rsplit_once(") ")?.1.split(' ');
        let state = columns.next()?.chars().next()?;
        Some((state, columns.nth(16)?.parse().ok()?))
    }

    /// The process that has locked `file` with flock(2), see proc_locks(5).
    pub(super) fn lock_holder(self, file: &File) -> Option<Pid> {
        let file = file.metadata().ok()?;
        let (dev, inode) = (file.dev(), file.ino());
        let place = format!("{:02x}:{:02x}:{inode}", major(dev as _), minor(dev as _));
        // "1: FLOCK  ADVISORY  WRITE 4547 08:01:131141 0 EOF"; one that waits has an arrow.
        // Read in one piece, if it fits: between two pieces the list may change.
        let mut locks = String::with_capacity(1 << 16);
        File::open("/proc/locks").ok()?.read_to_string(&mut locks).ok()?;
        let mut locks = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let lock = locks.find(|it| it.get(1) == Some(&"FLOCK") && it.get(5) == Some(&&*place))?;
        let pid = Pid::from_raw(lock.get(4)?.parse().ok().filter(|&pid| pid > 0)?);
        // That process took the lock. If it has ended, its children hold it, and its PID may be
        // ours, or that of another one that waits.
        let waits = |it: Vec<&str>| it.get(1) == Some(&"->") && it.get(5) == lock.get(4);
        if pid == getpid() || locks.any(waits) {
            return None;
        }
        let is_it = |it: Metadata| (it.dev(), it.ino()) == (dev, inode);
        let has_it = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(fds) => fds.flatten().any(|fd| fs::metadata(fd.path()).is_ok_and(is_it)),
            Err(error) => error.raw_os_error() == Some(EACCES),
        };
        has_it.then_some(pid)
    }

    /// The file `name` of a process.
    fn read(self, pid: Pid, name: &str) -> Option<String> {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A line of the file `status`, see proc_pid_status(5).
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// The process and the program that it runs, `PID 4547 ("sleep")`, as far as the system tells.
pub fn describe(pid: Pid) -> String {
    let program = Proc::ours().and_then(|proc| proc.read(pid, "comm"));
    let program = program.map(|name| format!(" ({:?})", name.trim_end_matches('\n')));
    format!("PID {pid}{}", program.unwrap_or_default())
}

/// Makes sure that there is such a process and that this user may signal it. Fails as kill(2) does
/// (ESRCH if there is none, EPERM if this user may not), or with [`Error::Exited`] for a zombie.
pub fn ensure_exists(pid: Pid) -> Result<(), Error> {
    trace::traced(|| Call::Kill(pid, None), || kill(pid, None))?;
    // The state is that of the first thread, and others may live on without it.
    let is_zombie = |(state, threads)| matches!(state, 'Z' | 'X') && threads <= 1;
    if Proc::ours().and_then(|proc| proc.state(pid)).is_some_and(is_zombie) {
        let why = "the process has ended, and its parent has not waited for it yet";
        return Err(Error::Exited(format!("PID {pid} is a zombie: {why}")));
    }
    Ok(())
}

/// Whether the process has certainly ended: there is none with this PID, or it is a zombie.
pub fn has_exited(pid: Pid) -> bool {
    // For a process that we cannot see from here the kernel says 0 (pid_namespaces(7)).
    pid.as_raw() > 0 && ensure_exists(pid).is_err_and(|error| error.is_exited())
}

/// Whether this user ID is that of one user. In a user namespace, all users that have no ID there
/// look as if they had the overflow ID; see user_namespaces(7). (Any `/proc` knows this process.)
pub(super) fn is_unique(user: Uid) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").ok();
    let is_whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    // The overflow ID is this, unless somebody has set another one (kernel.overflowuid).
    user.as_raw() != 65534 || map.is_none_or(is_whole)
}
