//! What Linux tells of other processes in `/proc`, see proc(5). Other systems tell nothing.
//!
//! A PID means something only in its PID namespace. In a container, `/proc` may be that of another
//! one, where the same number is another process. So it is believed only if it is ours.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libc::{major, minor};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, getpid};

/// The file `name` of a process; `None` if this `/proc` is not ours, or does not tell.
fn read(pid: Pid, name: &str) -> Option<String> {
    let bytes = is_ours().then(|| fs::read(format!("/proc/{pid}/{name}")))?.ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether `/proc` is that of this PID namespace: it knows us by our PID, and by no other.
fn is_ours() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let pids = field(&status, "NSpid").unwrap_or_default();
    fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == getpid().to_string().as_str())
        && pids.split_whitespace().count() == 1
}

/// A line of the file `status`, see proc_pid_status(5).
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Whether the process has ended and has not been reaped; see proc_pid_stat(5).
pub(super) fn is_zombie(pid: Pid) -> Option<bool> {
    let (state, threads) = state(pid)?;
    // The state is that of the first thread, and others may live on without it.
    Some(matches!(state, 'Z' | 'X') && threads <= 1)
}

/// Whether a signal, such as that of Ctrl-Z, has stopped the process; `None` where the system does
/// not tell.
pub fn is_stopped(pid: Pid) -> Option<bool> {
    state(pid).map(|(state, _)| state == 'T')
}

fn state(pid: Pid) -> Option<(char, u32)> {
    let stat = read(pid, "stat")?;
    // "PID (command) state …", where the command may contain anything, parentheses too.
    let mut columns = stat.rsplit_once(") ")?.1.split(' ');
    let state = columns.next()?.chars().next()?;
    Some((state, columns.nth(16)?.parse().ok()?))
}

/// Whether the process has a handler for `signal`; `None` where the system does not tell. See
/// proc_pid_status(5), SigCgt.
pub fn has_handler(pid: Pid, signal: Signal) -> Option<bool> {
    let caught = u64::from_str_radix(field(&read(pid, "status")?, "SigCgt")?.trim(), 16).ok()?;
    // The lowest bit is signal 1.
    Some(caught & 1 << (signal as u32 - 1) != 0)
}

/// The effective user of the process; `None` where the system does not tell.
pub fn user(pid: Pid) -> Option<Uid> {
    let status = read(pid, "status")?;
    // Real, effective, saved, and for the file system.
    field(&status, "Uid")?.split_whitespace().nth(1)?.parse().ok().map(Uid::from_raw)
}

/// Whether this user ID is that of one user. In a user namespace, all users that have no ID there
/// look as if they had the overflow ID; see user_namespaces(7).
pub(super) fn is_unique(user: Uid) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").ok();
    let is_whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    user.as_raw() != OVERFLOW || map.is_none_or(is_whole)
}

/// The overflow ID, unless somebody has set another one (kernel.overflowuid).
const OVERFLOW: u32 = 65534;

/// Whether the process sees the same segments as this one, see ipc_namespaces(7); `None` where the
/// system does not tell.
pub fn shares_ipc(pid: Pid) -> Option<bool> {
    let namespace = |pid: Pid| fs::read_link(format!("/proc/{pid}/ns/ipc")).ok();
    is_ours().then(|| Some(namespace(pid)? == namespace(getpid())?))?
}

/// The process and the program that it runs, `PID 4547 ("sleep")`, as far as the system tells.
pub fn describe(pid: Pid) -> String {
    let program = read(pid, "comm").map(|name| format!(" ({:?})", name.trim_end_matches('\n')));
    format!("PID {pid}{}", program.unwrap_or_default())
}

/// The process that has locked `file` with flock(2), see proc_locks(5); `None` where the system
/// does not tell.
pub(super) fn lock_holder(file: &File) -> Option<Pid> {
    let file = file.metadata().ok()?;
    let (dev, inode) = (file.dev(), file.ino());
    let place = format!("{:02x}:{:02x}:{inode}", major(dev as _), minor(dev as _));
    // "1: FLOCK  ADVISORY  WRITE 4547 08:01:131141 0 EOF"; one that waits has an arrow.
    // Read in one piece, if it fits: between two pieces the list may change.
    let mut locks = String::with_capacity(1 << 16);
    is_ours().then(|| File::open("/proc/locks"))?.ok()?.read_to_string(&mut locks).ok()?;
    let mut locks = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let lock = locks.find(|it| it.get(1) == Some(&"FLOCK") && it.get(5) == Some(&&*place))?;
    let pid = Pid::from_raw(lock.get(4)?.parse().ok().filter(|&pid| pid > 0)?);
    // That process took the lock. If it has ended, its children hold it, and its PID may be
    // somebody else's: ours, or that of another one that waits.
    let waits = |it: Vec<&str>| it.get(1) == Some(&"->") && it.get(5) == lock.get(4);
    if pid == getpid() || locks.any(waits) {
        return None;
    }
    let is_it = |it: &Path| fs::metadata(it).is_ok_and(|it| (it.dev(), it.ino()) == (dev, inode));
    match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(files) => files.flatten().any(|it| is_it(&it.path())).then_some(pid),
        Err(error) => (error.raw_os_error() == Some(Errno::EACCES as i32)).then_some(pid),
    }
}
