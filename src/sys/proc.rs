//! What is known of other processes: by kill(2), and on Linux by `/proc`, see proc(5).
//!
//! A PID means something only in its PID namespace. In a container, `/proc` may be that of another
//! one, where the same number is another process. And a kernel or a sandbox may leave out lines. So
//! only a [`Proc`], which is ours, answers questions, and each answer is a [`Fact`]: known, or else
//! what is missing. What kill(2) answers needs no `/proc`.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use libc::{EACCES, major, minor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, getpid};

use super::error::errno;
use super::trace::{self, Call};
use super::{Error, USES_LINUX};

/// Of capabilities(7).
const CAP_KILL: u32 = 5;
pub(super) const CAP_IPC_OWNER: u32 = 15;

/// What is known of a process, or else what is missing: `/proc/4547/status has no line SigCgt`.
pub type Fact<T> = Result<T, String>;

/// What a process does when a signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    Default, // it has no handler
    Handler,
    CleanUp, // it has one, and ends
}

/// What keeps a process from going on.
#[derive(Debug)]
pub struct Hold {
    pub what: String,          // with its verb: "a signal has stopped"
    pub release: &'static str, // what lets it go on
}

/// A `/proc` that is ours. It answers one question: the next one needs a new look, since a process
/// that has forked, or a mount, may have changed whose it is.
#[derive(Debug)]
pub struct Proc(());

impl Proc {
    /// `/proc`, if it is that of this PID namespace: it knows us by our PID, and by no other.
    pub fn ours() -> Fact<Self> {
        let another = "there is no /proc of this PID namespace; mount it (unshare --mount-proc)";
        if !USES_LINUX {
            return Err(another.to_owned());
        }
        match fs::read_link("/proc/self") {
            Ok(link) if link.as_os_str() == getpid().to_string().as_str() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unreadable("/proc/self", error));
            }
            _ => return Err(another.to_owned()),
        }
        match StatusFile::of("self")?.line("NSpid") {
            Ok(pids) if pids.split_whitespace().count() != 1 => Err(another.to_owned()),
            // A kernel without PID namespaces has no such line, and one `/proc`.
            Err(why) if fs::symlink_metadata("/proc/self/ns/pid").is_ok() => {
                Err(format!("{why}, so /proc may be that of another PID namespace"))
            }
            _ => Ok(Self(())),
        }
    }

    /// What keeps the process from going on, if something does.
    pub fn hold(self, pid: Pid) -> Fact<Option<Hold>> {
        let (what, release) = match self.state(pid)?.0 {
            'T' => ("a signal has stopped".to_owned(), "let it go on (fg, kill -CONT)"),
            't' => {
                let tracer = StatusFile::of(pid).and_then(|file| file.number("TracerPid", 0));
                let tracer = tracer.map(|it| describe(Pid::from_raw(it)));
                let tracer = tracer.unwrap_or("a debugger".to_owned());
                (format!("{tracer} traces and has stopped"), "let the debugger continue it")
            }
            _ if is_frozen(pid) => ("a frozen control group holds".to_owned(), "thaw the group"),
            _ => return Ok(None),
        };
        Ok(Some(Hold { what, release }))
    }

    /// What the process does when this signal comes.
    ///
    /// A process that also catches SIGXCPU and SIGVTALRM (or was started with one of the two
    /// ignored) catches what ends a program, in order to clean up before it ends. Shells and
    /// editors do that, and our own senders. There are two exceptions:
    /// - A program in Go. Its runtime catches everything, SIGURG too, but not the signals that stop
    ///   a program. (top(1) and faked(1) catch those as well.)
    /// - Our own listener, if it is PID 1: there a signal without a handler has no effect, see
    ///   pid_namespaces(7). (A shell catches SIGTRAP too.)
    pub fn reaction(self, pid: Pid, signal: Signal) -> Fact<Reaction> {
        let status = StatusFile::of(pid)?;
        let catches = |signal| status.has_signal("SigCgt", signal);
        let ignores = |signal| status.has_signal("SigIgn", signal) == Ok(true);
        let (xcpu, vtalrm) = (catches(Signal::SIGXCPU)?, catches(Signal::SIGVTALRM)?);
        let cleans_up =
            xcpu && (vtalrm || ignores(Signal::SIGVTALRM)) || vtalrm && ignores(Signal::SIGXCPU);
        let stops = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
        let is_go =
            catches(Signal::SIGURG)? && !stops.into_iter().any(|it| catches(it) == Ok(true));
        // The last number is the PID in the process's own namespace.
        let last_is_1 = |pids: &str| pids.split('\t').next_back() == Some("1");
        let is_first = status.line("NSpid").map_or(pid.as_raw() == 1, last_is_1);
        let is_our_listener = is_first && !catches(Signal::SIGTRAP)?;
        Ok(match catches(signal)? {
            false => Reaction::Default,
            true if cleans_up && !is_go && !is_our_listener => Reaction::CleanUp,
            true => Reaction::Handler,
        })
    }

    /// Whether the signal has been sent to the process, and still waits to be let in.
    pub fn is_pending(self, pid: Pid, signal: Signal) -> Fact<bool> {
        StatusFile::of(pid)?.has_signal("ShdPnd", signal)
    }

    /// The effective user of the process.
    pub fn user(self, pid: Pid) -> Fact<Uid> {
        StatusFile::of(pid)?.number("Uid", 1).map(Uid::from_raw)
    }

    /// Whether the users of both allow this process to signal that one; see kill(2).
    pub(super) fn users_allow_signal(self, pid: Pid) -> Fact<bool> {
        // The columns are the real user, the effective, the saved, and that for the file system.
        let (us, it) = (StatusFile::of("self")?, StatusFile::of(pid)?);
        let ours = [us.number("Uid", 0)?, us.number("Uid", 1)?];
        let its = [it.number("Uid", 0)?, it.number("Uid", 2)?];
        if ours.iter().any(|&user| its.contains(&user) && !is_unique(Uid::from_raw(user))) {
            return Err("several users may have this number here".to_owned());
        }
        Ok(ours.iter().any(|user| its.contains(user)) || has_capability(CAP_KILL)?)
    }

    /// Whether the process sees the same segments as this one; see ipc_namespaces(7).
    pub fn shares_ipc(self, pid: Pid) -> Fact<bool> {
        let namespace = |pid: Pid| {
            let link = format!("/proc/{pid}/ns/ipc");
            fs::read_link(&link).map_err(|error| unreadable(&link, error))
        };
        Ok(namespace(pid)? == namespace(getpid())?)
    }

    /// The state, and the number of threads; see proc_pid_stat(5).
    fn state(self, pid: Pid) -> Fact<(char, u32)> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // "PID (command) state …", where the command may contain anything, parentheses too.
        let columns = || {
            let mut columns = stat.rsplit_once(") ")?.1.split(' ');
            let state = columns.next()?.chars().next()?;
            Some((state, columns.nth(16)?.parse().ok()?))
        };
        columns().ok_or_else(|| format!("/proc/{pid}/stat has no state"))
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
        // A descriptor that may not be looked at may be that of the file.
        let is_hidden = |error: io::Error| error.raw_os_error() == Some(EACCES);
        let is_it = |it: Metadata| (it.dev(), it.ino()) == (dev, inode);
        let has_it = fs::read_dir(format!("/proc/{pid}/fd")).map_or_else(is_hidden, |fds| {
            fds.flatten().any(|fd| fs::metadata(fd.path()).map_or_else(is_hidden, is_it))
        });
        has_it.then_some(pid)
    }
}

pub(super) fn read(path: &str) -> Fact<String> {
    if !USES_LINUX {
        return Err(format!("this system has no {path}"));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(path: &str, error: io::Error) -> String {
    let errno = errno(error);
    format!("{path} cannot be read: {} ({errno:?})", errno.desc())
}

/// The file `status` of a process, see proc_pid_status(5).
struct StatusFile {
    path: String,
    text: String,
}

impl StatusFile {
    /// That of a PID, or that of this process (`self`), which any `/proc` knows.
    fn of(process: impl ToString) -> Fact<Self> {
        let path = format!("/proc/{}/status", process.to_string());
        Ok(Self { text: read(&path)?, path })
    }

    fn line(&self, name: &str) -> Fact<&str> {
        let mut lines = self.text.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).ok_or_else(|| format!("{} has no line {name}", self.path))
    }

    fn number<T: FromStr>(&self, name: &str, column: usize) -> Fact<T> {
        let number = self.line(name)?.split_whitespace().nth(column);
        number.and_then(|it| it.parse().ok()).ok_or_else(|| self.misses_number(name))
    }

    /// Whether a bit is set: that of a capability, for instance.
    fn has_bit(&self, name: &str, bit: u32) -> Fact<bool> {
        let set = u128::from_str_radix(self.line(name)?, 16);
        Ok(set.map_err(|_| self.misses_number(name))? & 1 << bit != 0)
    }

    fn has_signal(&self, name: &str, signal: Signal) -> Fact<bool> {
        self.has_bit(name, signal as u32 - 1) // The lowest bit is signal 1.
    }

    fn misses_number(&self, name: &str) -> String {
        format!("{} has no number in its line {name}", self.path)
    }
}

/// Whether the control group of the process is frozen; see cgroups(7). (`docker pause` does that.)
fn is_frozen(pid: Pid) -> bool {
    let groups = read(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
    // "0::/path" in version 2, "7:freezer:/path" in version 1.
    let mut groups = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let says = |file: String, what| fs::read_to_string(file).is_ok_and(|it| it.contains(what));
    groups.any(|(controllers, path)| match controllers {
        "" => ["", "/unified"]
            .iter()
            .any(|at| says(format!("/sys/fs/cgroup{at}{path}/cgroup.events"), "frozen 1")),
        "freezer" => says(format!("/sys/fs/cgroup/freezer{path}/freezer.state"), "FROZEN"),
        _ => false,
    })
}

/// The effective user of this process, as the kernel sees it. geteuid(2) may be faked: fakeroot(1)
/// has a library say 0.
pub fn own_user() -> Uid {
    let user = StatusFile::of("self").and_then(|status| status.number("Uid", 1));
    user.map_or_else(|_| Uid::effective(), Uid::from_raw)
}

/// The process and the program that it runs, `PID 4547 ("sleep")`, as far as the system tells.
pub fn describe(pid: Pid) -> String {
    let program = Proc::ours().and_then(|_| read(&format!("/proc/{pid}/comm")));
    let program = program.map(|name| format!(" ({:?})", name.trim_end_matches('\n')));
    format!("PID {pid}{}", program.unwrap_or_default())
}

/// The same error; but if a wait for the process has timed out and something holds the process,
/// it is [`Error::Held`].
pub(super) fn with_hold(error: Error, pid: Pid) -> Error {
    match (error, Proc::ours().and_then(|proc| proc.hold(pid))) {
        (Error::TimedOut(what), Ok(Some(hold))) => Error::Held(format!("{what}: {} it", hold.what)),
        (error, _) => error,
    }
}

/// Makes sure that there is such a process and that this user may signal it. Fails as kill(2) does
/// (ESRCH if there is none, EPERM if this user may not), or with [`Error::Exited`] for a zombie.
pub fn ensure_exists(pid: Pid) -> Result<(), Error> {
    trace::traced(|| Call::Kill(pid, None), || kill(pid, None))?;
    // The state is that of the first thread, and others may live on without it.
    let is_zombie = |(state, threads)| matches!(state, 'Z' | 'X') && threads <= 1;
    if Proc::ours().and_then(|proc| proc.state(pid)).is_ok_and(is_zombie) {
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
/// look as if they had the overflow ID, which is this, unless somebody has set another one
/// (kernel.overflowuid).
pub(super) fn is_unique(user: Uid) -> bool {
    user.as_raw() != 65534 || knows_all_users()
}

/// Whether this process has this capability, and has it over all users; see capabilities(7).
pub(super) fn has_capability(capability: u32) -> Fact<bool> {
    Ok(StatusFile::of("self")?.has_bit("CapEff", capability)? && knows_all_users())
}

/// Whether this is no user namespace in which some users have no ID; see user_namespaces(7).
fn knows_all_users() -> bool {
    let map = read("/proc/self/uid_map");
    map.map_or(true, |map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}
