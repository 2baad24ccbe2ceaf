//! System V segments without the program's own code: as the kernel lists them, created, read and
//! written.

use nix::sys::signal::raise;
use nix::unistd::{ForkResult, fork, setuid};

use super::*;

/// What the kernel tells of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub key: i32,
    pub id: i32,
    pub mode: u32,
    pub size: usize,
    pub creator_pid: i32,
    pub last_pid: i32,
    pub attached: u64,
    pub owner: u32,
    pub creator: u32,
}

/// To attach a segment for reading only. (The libc crate does not have it for every BSD.)
pub const SHM_RDONLY: i32 = 0o10000;

/// The segments at the key: one, or none.
pub fn segments_at(key: i32) -> Vec<Segment> {
    #[cfg(target_os = "linux")] // where anybody may see all of them
    return segments().into_iter().filter(|segment| segment.key == key).collect();
    #[cfg(not(target_os = "linux"))]
    {
        // SAFETY: shmget takes three numbers and touches no memory.
        let id = Errno::result(unsafe { libc::shmget(key as _, 0, 0) });
        let Ok((id, status)) = id.and_then(|id| Ok((id, segment_status(id)?))) else {
            return Vec::new();
        };
        vec![Segment {
            key,
            id,
            mode: status.shm_perm.mode as u32 & 0o777,
            size: status.shm_segsz as usize,
            creator_pid: status.shm_cpid,
            last_pid: status.shm_lpid,
            attached: status.shm_nattch as u64,
            owner: status.shm_perm.uid,
            creator: status.shm_perm.cuid,
        }]
    }
}

/// All of them, as Linux lists them; see proc_sysvipc(5).
#[cfg(target_os = "linux")]
pub fn segments() -> Vec<Segment> {
    let list = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let segment = |line: &str| {
        let column: Vec<&str> = line.split_whitespace().collect();
        Segment {
            key: column[0].parse().unwrap(),
            id: column[1].parse().unwrap(),
            mode: u32::from_str_radix(column[2], 8).unwrap(),
            size: column[3].parse().unwrap(),
            creator_pid: column[4].parse().unwrap(),
            last_pid: column[5].parse().unwrap(),
            attached: column[6].parse().unwrap(),
            owner: column[7].parse().unwrap(),
            creator: column[9].parse().unwrap(),
        }
    };
    list.lines().skip(1).map(segment).collect()
}

/// Creates a segment at the key, where none may be, and returns its id; see shmget(2). It may be
/// called between fork and exec.
pub fn create_segment(key: i32, size: usize, mode: i32) -> nix::Result<i32> {
    // SAFETY: shmget takes three numbers and touches no memory.
    Errno::result(unsafe { libc::shmget(key as _, size, libc::IPC_CREAT | libc::IPC_EXCL | mode) })
}

pub fn remove_segment(id: i32) {
    // SAFETY: IPC_RMID does not look at its third argument.
    unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
}

/// The kernel's status of the segment; see shmctl(2).
pub fn segment_status(id: i32) -> nix::Result<libc::shmid_ds> {
    // SAFETY: the status is made of integers, for which zeros are valid.
    let mut status = unsafe { mem::zeroed() };
    // SAFETY: IPC_STAT writes one such struct.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut status) })?;
    Ok(status)
}

/// Changes the mode and the owner of the segment, as its creator (root of a container may not); see
/// shmctl(2).
#[track_caller]
pub fn change_segment(segment: &Segment, mode: u16, owner: u32) {
    let change = || {
        setuid(Uid::from_raw(segment.creator))?;
        // SAFETY: the status is made of integers, for which zeros are valid.
        let mut status = unsafe { mem::zeroed::<libc::shmid_ds>() };
        (status.shm_perm.mode, status.shm_perm.uid) = (mode as _, owner);
        // SAFETY: IPC_SET reads one such struct.
        Errno::result(unsafe { libc::shmctl(segment.id, libc::IPC_SET, &mut status) }).map(drop)
    };
    Helper::doing(change).unwrap();
}

/// A process attaches the segment; see shmat(2).
pub struct Attached {
    address: *mut u8,
    size: usize,
}

impl Attached {
    /// `flags` may be [`SHM_RDONLY`].
    pub fn new(id: i32, flags: i32) -> nix::Result<Self> {
        #[allow(clippy::unnecessary_cast)] // OpenBSD has an int there.
        let size = segment_status(id)?.shm_segsz as usize;
        // SAFETY: the kernel chooses an address that is free.
        let address = unsafe { libc::shmat(id, ptr::null(), flags) };
        if address.addr() == usize::MAX {
            return Err(Errno::last());
        }
        Ok(Self { address: address.cast(), size })
    }

    #[allow(dead_code)] // For a benchmark.
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// What lies in the segment now.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: so many bytes are attached there. Others may change them meanwhile, and any byte
        // is valid.
        (0..self.size).map(|at| unsafe { self.address.add(at).read_volatile() }).collect()
    }

    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.size);
        for (byte, at) in bytes.iter().zip(at..) {
            // SAFETY: the segment has so many bytes and more.
            unsafe { self.address.add(at).write_volatile(*byte) };
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: it was attached there, and nobody has a reference to what is in it.
        unsafe { libc::shmdt(self.address.cast()) };
    }
}

/// A segment that the test itself creates at a folder's key, and removes at its end.
pub struct Planted {
    pub id: i32,
}

impl Planted {
    /// A segment with these bytes.
    #[track_caller]
    pub fn new(scratch: &Scratch, bytes: &[u8]) -> Self {
        let planted = Self::empty(scratch, bytes.len(), 0o600);
        Helper::doing(|| Attached::new(planted.id, 0).map(|it| it.write(0, bytes))).unwrap();
        planted
    }

    /// A segment of zeros, which nobody has attached yet.
    #[track_caller]
    pub fn empty(scratch: &Scratch, size: usize, mode: i32) -> Self {
        Self { id: create_segment(scratch.key(), size, mode).unwrap() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        Attached::new(self.id, SHM_RDONLY).unwrap().bytes()
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        remove_segment(self.id);
    }
}

/// A process of the test's own, which has done something and now stands still, so that it lives
/// until this is dropped.
///
/// Whatever attaches a segment does it in such a process. Every process that another test starts in
/// the meantime would otherwise inherit the attachment for a moment, and the kernel would count it.
#[derive(Debug)]
pub struct Helper(pub Pid);

impl Helper {
    /// Does the work in a new process, and waits until it is done. If it has failed there, or has
    /// not come back, the error is how the process has ended.
    pub fn doing<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Self, WaitStatus> {
        let helper = Self::start(work);
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        let mut status = WaitStatus::StillAlive;
        wait_until("the work is done", || {
            status = waitpid(helper.0, Some(flags)).unwrap();
            status != WaitStatus::StillAlive
        });
        if status == WaitStatus::Stopped(helper.0, SIGSTOP) {
            return Ok(helper);
        }
        // It is reaped, so its PID may soon be another's.
        mem::forget(helper);
        Err(status)
    }

    /// As [`doing`](Self::doing), without the waiting.
    pub fn start<E>(work: impl FnOnce() -> Result<(), E>) -> Self {
        // SAFETY: the C library keeps its memory in order across a fork, nobody waits for a lock
        // here, and the child does not return.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Self(child),
            ForkResult::Child => {
                // A pipe of another test has an end although this process has a copy of it.
                // SAFETY: nothing here uses a descriptor from before.
                (3..1024).for_each(|fd| _ = unsafe { libc::close(fd) });
                if set_default_signals().is_ok() && work().is_ok() {
                    let _ = raise(SIGSTOP);
                }
                // SAFETY: this ends the process at once.
                unsafe { libc::_exit(1) }
            }
        }
    }

    pub fn kill(&self) {
        kill(self.0, SIGKILL).unwrap();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = kill(self.0, SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// The length of the longest message: 1007 bytes, or 1015 where a size has four bytes.
pub const LONGEST: usize = 1024 - 2 * size_of::<usize>() - 1;

/// Whether a message has the bytes that the documentation shows. If not, it is said aloud that
/// `what` is not tested.
pub fn has_documented_bytes(what: &str) -> bool {
    let has = cfg!(all(target_pointer_width = "64", target_endian = "little"));
    if !has {
        not_tested(what, "this machine has numbers of another size, or in another order");
    }
    has
}

/// All 1,024 bytes of a message, well made or not, as this machine's C compiler lays them out.
pub fn message_bytes(id: i32, size: usize, text: &[u8]) -> Vec<u8> {
    let word = size_of::<usize>();
    let mut bytes = vec![0; 1024];
    bytes[..4].copy_from_slice(&id.to_ne_bytes());
    bytes[word..2 * word].copy_from_slice(&size.to_ne_bytes());
    bytes[2 * word..][..text.len()].copy_from_slice(text);
    bytes
}
