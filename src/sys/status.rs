//! What the kernel knows of a segment, and what follows from it.

use std::fmt;
use std::mem::MaybeUninit;

use libc::{c_int, shmid_ds};
use nix::errno::Errno;
use nix::unistd::{Pid, Uid, getpid};

use super::trace::{self, Call};
use super::{Error, proc, process};

/// The bit of the mode that marks a segment as removed: `SHM_DEST` of Linux, see shmctl(2).
const REMOVED: u32 = if cfg!(target_os = "linux") { 0o1000 } else { 0 };

/// What the kernel knows of a segment, as `shmctl(IPC_STAT)` tells it; see shmctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The segment's identifier.
    pub id: c_int,
    /// The permissions, as in chmod(2).
    pub mode: u32,
    /// Whether it has been removed, and is there only for those who are attached. `false` where the
    /// system does not tell.
    pub removed: bool,
    /// The size in bytes, as asked for at its creation.
    pub size: usize,
    /// How many attachments there are now, in all processes together.
    pub attached: u64,
    /// The user who owns it.
    pub owner: Uid,
    /// The user who created it.
    pub creator: Uid,
    /// The process that created it.
    pub creator_pid: Pid,
    /// The process that attached or detached it last; 0 if none has.
    pub last_pid: Pid,
}

impl Status {
    // The fields' widths differ from system to system, and none is wider than what it is put into.
    #[allow(clippy::unnecessary_cast)]
    fn new(id: c_int, kernel: &shmid_ds) -> Self {
        Self {
            id,
            mode: kernel.shm_perm.mode as u32 & 0o777,
            removed: kernel.shm_perm.mode as u32 & REMOVED != 0,
            size: kernel.shm_segsz as usize,
            attached: kernel.shm_nattch as u64,
            owner: Uid::from_raw(kernel.shm_perm.uid),
            creator: Uid::from_raw(kernel.shm_perm.cuid),
            creator_pid: Pid::from_raw(kernel.shm_cpid),
            last_pid: Pid::from_raw(kernel.shm_lpid),
        }
    }

    /// Why the segment must not be removed, if so, and whether that may change soon. The rules are
    /// those by which PostgreSQL reclaims its segments (`sysv_shmem.c`).
    pub(super) fn reason_to_leave_alone(&self, size: usize) -> Option<(String, bool)> {
        Some(if !self.is_ours() {
            ("it is another user's".to_owned(), false)
        } else if self.size != size {
            ("its size is not ours".to_owned(), false)
        } else if self.attached != 0 {
            ("it is attached".to_owned(), true)
        } else if self.creator_pid.as_raw() <= 0 {
            ("its creator cannot be seen from this PID namespace".to_owned(), true)
        } else if !self.creator_has_exited() {
            let process = proc::describe(self.creator_pid);
            (format!("its creator is alive, or another process has its PID: {process}"), true)
        } else {
            return None;
        })
    }

    /// Whether this user owns and has created it. Where user IDs do not tell, the mode does: nobody
    /// else could ask for the status of a segment that is its owner's alone.
    pub fn is_ours(&self) -> bool {
        let us = Uid::effective();
        let is_told = self.mode & 0o077 == 0 || proc::is_unique(us);
        self.owner == us && self.creator == us && is_told
    }

    /// Whether the creator has certainly ended: no process has its PID, or this very process has
    /// it, which has created nothing yet. (In a container the next run often gets the PID of the
    /// one that was killed.)
    pub fn creator_has_exited(&self) -> bool {
        self.creator_pid == getpid() || process::has_exited(self.creator_pid)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, size, mode, attached, owner, creator, creator_pid, .. } = self;
        let unit = if *size == 1 { "byte" } else { "bytes" };
        write!(
            f,
            "segment {id} ({size} {unit}, mode {mode:04o}, {attached} attached, owned by uid \
             {owner}, created by uid {creator} in PID {creator_pid})"
        )
    }
}

/// What is known of a segment that this user may not ask for: on Linux, what [`listed`] tells.
pub(super) fn describe(id: c_int) -> String {
    let unknown = || format!("segment {id} (owner and creator unknown)");
    listed(id).map_or_else(unknown, |status| status.to_string())
}

pub(super) fn status(id: c_int) -> Result<Status, Error> {
    let stat = || {
        let mut kernel = MaybeUninit::<shmid_ds>::zeroed();
        // SAFETY: IPC_STAT writes one shmid_ds to where it is told, and `kernel` has room for
        // exactly that.
        Errno::result(unsafe { libc::shmctl(id, libc::IPC_STAT, kernel.as_mut_ptr()) })?;
        // SAFETY: the kernel has written it. Where it has not, there are zeros, which are valid for
        // the integers of which shmid_ds consists (and for the pointer it has on some systems,
        // which nobody follows).
        Ok(Status::new(id, unsafe { kernel.assume_init_ref() }))
    };
    let fields = |status: &Status| {
        vec![
            ("shm_segsz", status.size as i64),
            ("shm_cpid", status.creator_pid.as_raw().into()),
            ("shm_lpid", status.last_pid.as_raw().into()),
            ("shm_nattch", status.attached as i64),
        ]
    };
    trace::traced_zero(stat, |status| Call::IpcStat(id, status.map(fields)))
}

/// Finds a segment in the list that Linux keeps for everybody to read, proc_sysvipc(5), which has
/// those that we may not ask for.
fn listed(id: c_int) -> Option<Status> {
    let list = std::fs::read_to_string("/proc/sysvipc/shm").ok()?;
    // key shmid perms (octal) size cpid lpid nattch uid gid cuid
    let mut lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = lines.find(|columns| columns.get(1) == Some(&&*id.to_string()))?;
    let number = |column: usize| columns.get(column)?.parse::<u32>().ok();
    let mode = u32::from_str_radix(columns.get(2)?, 8).ok()?;
    Some(Status {
        id,
        mode: mode & 0o777,
        removed: mode & REMOVED != 0,
        size: number(3)? as usize,
        creator_pid: Pid::from_raw(number(4)? as i32),
        last_pid: Pid::from_raw(number(5)? as i32),
        attached: number(6)?.into(),
        owner: Uid::from_raw(number(7)?),
        creator: Uid::from_raw(number(9)?),
    })
}
