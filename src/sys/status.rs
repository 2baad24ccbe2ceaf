//! What the kernel knows of a segment: asked of it, or found in its list.

use std::mem;

use libc::{c_int, shmid_ds};
use nix::errno::Errno;
use nix::unistd::{Pid, Uid};

use super::Error;
use super::answer::Status;
use super::proc::{self, Proc};
use super::trace::{self, Call};

/// The bit of the mode that marks a segment as removed: `SHM_DEST` of Linux, see shmctl(2).
const REMOVED: u32 = if cfg!(target_os = "linux") { 0o1000 } else { 0 };

// The fields' widths differ from system to system, and none is wider than what it is put into.
#[allow(clippy::unnecessary_cast)]
pub(super) fn status(id: c_int) -> Result<Status, Error> {
    let stat = || {
        // SAFETY: zeros are valid for the integers of which shmid_ds consists, and for the pointer
        // that it has on some systems.
        let mut kernel: shmid_ds = unsafe { mem::zeroed() };
        // SAFETY: IPC_STAT writes one shmid_ds to where it is told, and `kernel` is one.
        Errno::result(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut kernel) })?;
        Ok(Status {
            id,
            mode: kernel.shm_perm.mode as u32 & 0o777,
            removed: kernel.shm_perm.mode as u32 & REMOVED != 0,
            size: kernel.shm_segsz as usize,
            attached: kernel.shm_nattch as u64,
            owner: Uid::from_raw(kernel.shm_perm.uid),
            creator: Uid::from_raw(kernel.shm_perm.cuid),
            creator_pid: Pid::from_raw(kernel.shm_cpid),
            last_pid: Pid::from_raw(kernel.shm_lpid),
        })
    };
    trace::traced(|| Call::IpcStat(id), stat)
}

/// What is known of a segment that this user may not ask for.
pub(super) fn describe(id: c_int) -> String {
    let unknown = || format!("segment {id} (owner and creator unknown)");
    // (The PIDs in the list are those of the namespace that `/proc` belongs to.)
    let listed = Proc::ours().ok().and_then(|_| listed(id));
    listed.map_or_else(unknown, |status| status.to_string())
}

/// Why this user may not read the status of a segment.
pub(super) enum Denial {
    Anothers, // it is another user's
    Mode,     // it is ours, and its mode does not let its owner read it
    Policy,   // neither explains it
    Unknown,
}

/// Why the kernel has not told the status of this segment, as far as the system tells. (The list
/// names the users rightly in any `/proc`.)
pub(super) fn denial(id: c_int) -> Denial {
    let us = proc::own_user();
    match (listed(id), proc::has_capability(proc::CAP_IPC_OWNER)) {
        (None, _) | (_, Err(_)) => Denial::Unknown,
        (_, Ok(true)) => Denial::Policy,
        (Some(status), _) if status.owner != us && status.creator != us => Denial::Anothers,
        (Some(status), _) if status.mode & 0o400 == 0 => Denial::Mode,
        _ => Denial::Policy,
    }
}

/// The status in the list that Linux keeps for everybody to read; see proc_sysvipc(5).
fn listed(id: c_int) -> Option<Status> {
    let list = proc::read("/proc/sysvipc/shm").ok()?;
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
