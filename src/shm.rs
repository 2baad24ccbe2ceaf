//! System V shared memory, made safe: a key, the segment behind it, an attachment of it.
//!
//! # When to use it
//! When two processes that need not be related are to see the same bytes. The path of a file is all
//! they have to share: `ftok` turns it into a [`Key`], the kernel looks up the one segment with
//! that key, and each process attaches the segment at an address of its own.
//!
//! # The order, and why
//! 1. [`Key::from_path`]: both processes come by the same number without talking to each other.
//! 2. [`OwnedSegment::claim`] in the one that creates, [`Segment::find`] in the other. Creating is
//!    *exclusive*. With `IPC_CREAT` alone, as in the article, whoever comes second silently gets
//!    the segment of whoever came first, message and all. What is found at the key is looked at,
//!    and is removed only if it is certainly abandoned.
//! 3. Attach, and write or read a whole value. What crosses is a *copy*: the other process can
//!    write at any moment, so a reference into the segment would be a promise that nobody can keep.
//! 4. Detach, then remove. A segment outlives its processes, because the kernel holds it and not
//!    they: what nobody removes stays until the machine restarts. So an [`OwnedSegment`] removes
//!    itself when it is dropped. (An attachment outlives the removal: the kernel frees the memory
//!    when the last process has detached.)
//!
//! # What may be shared
//! Only types that mean the same in every process and for every pattern of bits: no pointers, no
//! references, no padding. [`SelfContained`](trait@SelfContained) marks them, and
//! [`self_contained!`](crate::self_contained!) is the way to get the mark:
//!
//! ```
//! sigshm::self_contained! {
//!     struct Reading { sensor: u32, celsius: i32 }
//! }
//! ```
//!
//! The article's message, whose text is an address, does not compile:
//!
//! ```compile_fail,E0277
//! sigshm::self_contained! {
//!     struct Reading { sensor: u32, padding: [u8; 4], name: *const u8 }
//! }
//! ```
//!
//! This module is the only home of `ftok` and `shm*`, and of their `unsafe`. See sysvipc(7).

use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use libc::{c_int, c_void, key_t, shmid_ds};
use nix::errno::Errno;
use nix::unistd::{Pid, Uid};

use crate::calls::{self, CallError, Returned};
use crate::printable::Printable;
use crate::process;

/// The project number that the article gives to ftok(3), so that its program and ours meet at the
/// same key.
const PROJECT: c_int = 1;

/// Reading and writing for the creator, nothing for anybody else.
const MODE: c_int = 0o600;

/// How many segments in a row may stand in the way of a new one. More than one means that somebody
/// goes on creating them, and then we do not go on for ever.
const MOST_RECLAIMED: usize = 3;

/// For `shmat`: attach for reading only. The libc crate does not have it for every BSD.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
use libc::SHM_RDONLY;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
const SHM_RDONLY: c_int = 0o10000;

/// The bit of the mode that marks a segment as removed: `SHM_DEST` of Linux, see shmctl(2).
const REMOVED: u32 = if cfg!(target_os = "linux") { 0o1000 } else { 0 };

/// A type that may live in shared memory: it consists of its own bytes and of nothing else.
///
/// # Safety
/// An implementor must be valid for every pattern of bits, must have no padding, and must hold
/// nothing that has a meaning in one process only, such as an address.
/// [`self_contained!`](crate::self_contained!) checks all three.
pub unsafe trait SelfContained: Copy + 'static {}

// SAFETY: integers have no padding, are valid for every pattern of bits, and point nowhere.
unsafe impl SelfContained for u8 {}
// SAFETY: as above.
unsafe impl SelfContained for u32 {}
// SAFETY: as above.
unsafe impl SelfContained for i32 {}
// SAFETY: as above.
unsafe impl SelfContained for usize {}
// SAFETY: an array is its elements side by side, and those are self-contained.
unsafe impl<T: SelfContained, const N: usize> SelfContained for [T; N] {}

/// Declares a `#[repr(C)]` struct that is [`SelfContained`](trait@crate::shm::SelfContained).
///
/// It compiles only if every field is self-contained and no padding lies between them; where C
/// would leave a gap, give the gap a name. The examples are in [`shm`](crate::shm).
///
/// ```compile_fail,E0080
/// sigshm::self_contained! {
///     struct WithAGap { id: u8, size: u32 }
/// }
/// ```
#[macro_export]
macro_rules! self_contained {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility struct $name {
            $($(#[$field_attribute])* $field_visibility $field: $type),+
        }

        const _: () = {
            const fn size_of_self_contained<T: $crate::shm::SelfContained>() -> usize {
                ::core::mem::size_of::<T>()
            }
            let fields = 0 $(+ size_of_self_contained::<$type>())+;
            assert!(fields == ::core::mem::size_of::<$name>(), "there is padding between the fields");
        };

        // SAFETY: the constant above does not compile unless every field is self-contained, which
        // covers bit patterns and addresses, and unless the fields fill the struct, which leaves no
        // padding.
        unsafe impl $crate::shm::SelfContained for $name {}
    };
}

/// The number that two processes derive from the same file to find the same segment; see ftok(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(key_t);

impl Key {
    /// Derives the key from the file's device and inode number. The file is not read.
    ///
    /// # Errors
    /// Those of stat(2): there must be a file at `path`.
    pub fn from_path(path: &Path) -> Result<Self, CallError> {
        let ftok = || {
            let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
            // SAFETY: ftok only reads its path, a NUL-terminated string that lives until the call
            // has returned.
            Errno::result(unsafe { libc::ftok(path.as_ptr(), PROJECT) }).map(Self)
        };
        calls::made(ftok, |_| {
            format!("ftok(\"{}\", {PROJECT})", Printable::os(path))
        })
    }
}

impl Returned for Key {
    fn returned(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Key {
    /// As ipcs(1) writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// What the kernel knows of a segment, as `shmctl(IPC_STAT)` tells it; see shmctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The segment's identifier.
    pub id: c_int,
    /// The key, or 0 (`IPC_PRIVATE`) once it has been removed; 0 also where the system does not
    /// tell.
    pub key: Key,
    /// The permissions, as in chmod(2).
    pub mode: u32,
    /// Whether it has been removed, and is there only for those who are attached. Where the system
    /// does not tell, `false`.
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

impl Record {
    // The fields' widths differ from system to system, and none is wider than what it is put into.
    #[allow(clippy::unnecessary_cast)]
    fn new(id: c_int, kernel: &shmid_ds) -> Self {
        Self {
            id,
            #[cfg(all(target_os = "linux", not(target_env = "musl")))]
            key: Key(kernel.shm_perm.__key),
            #[cfg(all(target_os = "linux", target_env = "musl"))]
            key: Key(kernel.shm_perm.__ipc_perm_key),
            #[cfg(not(target_os = "linux"))]
            key: Key(libc::IPC_PRIVATE),
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

    /// The fields as strace(1) writes them.
    fn fields(&self) -> String {
        let Self {
            key,
            mode,
            size,
            attached,
            owner,
            creator,
            creator_pid,
            last_pid,
            ..
        } = self;
        format!(
            "{{shm_perm={{key={key}, uid={owner}, cuid={creator}, mode={mode:04o}}}, \
             shm_segsz={size}, shm_nattch={attached}, shm_cpid={creator_pid}, \
             shm_lpid={last_pid}}}"
        )
    }

    /// Why this segment must be left alone, or `None` if it is certainly abandoned and of the kind
    /// we make.
    ///
    /// These are the rules by which PostgreSQL reclaims its segments (`sysv_shmem.c`), and the kind
    /// is ours: this user's, of `size` bytes.
    fn reason_to_leave_alone(&self, size: usize) -> Option<&'static str> {
        let us = Uid::effective();
        if self.owner != us || self.creator != us {
            Some("it is another user's")
        } else if self.size != size {
            Some("its size is not ours")
        } else if self.attached != 0 {
            Some("it is attached")
        } else if !process::is_gone(self.creator_pid) {
            Some("its creator is alive")
        } else {
            None
        }
    }
}

impl Returned for Record {}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            mode,
            size,
            attached,
            owner,
            creator,
            creator_pid,
            ..
        } = self;
        write!(
            f,
            "segment {id} ({size} bytes, mode {mode:04o}, {attached} attached, owned by uid \
             {owner}, created by uid {creator} in PID {creator_pid})"
        )
    }
}

/// A segment that is there: its identifier, and the type of what it holds.
///
/// It may be removed by its creator at any time; every use of it can fail for that reason.
#[derive(Debug)]
pub struct Segment<T> {
    id: c_int,
    holds: PhantomData<T>,
}

impl<T: SelfContained> Segment<T> {
    /// Asks for the segment at `key`; `None` if there is none that could hold a `T`.
    ///
    /// # Errors
    /// Those of shmget(2), but for the two that say that there is no such segment.
    pub fn find(key: Key) -> Result<Option<Self>, CallError> {
        match shmget(key, size_of::<T>(), 0) {
            Ok(id) => Ok(Some(Self::new(id))),
            // EINVAL: the segment there is smaller than a `T`.
            Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(id: c_int) -> Self {
        Self {
            id,
            holds: PhantomData,
        }
    }

    /// Asks the kernel what it knows of the segment.
    ///
    /// # Errors
    /// Those of shmctl(2): EACCES if it is not ours to read, EINVAL or EIDRM if it has been
    /// removed.
    pub fn record(&self) -> Result<Record, CallError> {
        record(self.id)
    }

    /// Attaches the segment for reading, at an address that the kernel chooses.
    ///
    /// # Errors
    /// Those of shmat(2), among them EINVAL and EIDRM if it has been removed meanwhile.
    pub fn attach_read_only(&self) -> Result<Attachment<T>, CallError> {
        Attachment::new(self.id, SHM_RDONLY)
    }

    /// Attaches the segment for reading and writing, at an address that the kernel chooses.
    ///
    /// # Errors
    /// As for [`attach_read_only`](Self::attach_read_only).
    pub fn attach(&self) -> Result<WritableAttachment<T>, CallError> {
        Attachment::new(self.id, 0).map(WritableAttachment)
    }
}

/// A segment that this process has created. Dropping it removes it.
///
/// Create it after `fork`, not before: both processes would think that it is theirs to remove.
#[derive(Debug)]
pub struct OwnedSegment<T>(Segment<T>);

impl<T: SelfContained> OwnedSegment<T> {
    /// Creates the segment at `key`, filled with zeros, for this user alone.
    ///
    /// A segment that is there already is removed first if it is certainly abandoned: owned and
    /// created by this user, as large as a `T`, attached by nobody, its creator gone. Its record is
    /// returned beside the new segment.
    ///
    /// # Errors
    /// [`ClaimError::Occupied`] if the segment that is there must be left alone, else the errors of
    /// shmget(2).
    pub fn claim(key: Key) -> Result<(Self, Option<Record>), ClaimError> {
        let mut reclaimed = None;
        let mut attempts = 0;
        loop {
            match shmget(key, size_of::<T>(), libc::IPC_CREAT | libc::IPC_EXCL | MODE) {
                Ok(id) => return Ok((Self(Segment::new(id)), reclaimed)),
                Err(error) if error.errno() == Errno::EEXIST && attempts < MOST_RECLAIMED => {
                    reclaimed = reclaim::<T>(key)?.or(reclaimed);
                    attempts += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes the segment. The kernel frees its memory as soon as nobody is attached.
    ///
    /// # Errors
    /// Those of shmctl(2). That it has been removed already is none.
    pub fn remove(self) -> Result<(), CallError> {
        let id = self.id;
        // What Drop would do, but here somebody can be told how it went.
        std::mem::forget(self);
        match remove(id) {
            Err(error) if !matches!(error.errno(), Errno::EINVAL | Errno::EIDRM) => Err(error),
            _ => Ok(()),
        }
    }
}

impl<T> Deref for OwnedSegment<T> {
    type Target = Segment<T>;

    fn deref(&self) -> &Segment<T> {
        &self.0
    }
}

impl<T> Drop for OwnedSegment<T> {
    fn drop(&mut self) {
        // We are here because something else has failed already, and that is what the user is told.
        let _ = remove(self.0.id);
    }
}

/// Removes the segment at `key` if it is certainly abandoned, and returns its record; `None` if
/// there is none any more.
fn reclaim<T: SelfContained>(key: Key) -> Result<Option<Record>, ClaimError> {
    let id = match shmget(key, 0, 0) {
        Err(error) if error.errno() == Errno::ENOENT => return Ok(None),
        id => id?,
    };
    let occupant = match record(id) {
        Err(error) if matches!(error.errno(), Errno::EINVAL | Errno::EIDRM) => return Ok(None),
        // It is not ours to ask for. On Linux the list of all segments is there for everybody to
        // read.
        Err(error) if error.errno() == Errno::EACCES => {
            return Err(ClaimError::Occupied {
                key,
                id,
                record: listed(id),
                reason: "it is another user's",
            });
        }
        record => record?,
    };
    if let Some(reason) = occupant.reason_to_leave_alone(size_of::<T>()) {
        return Err(ClaimError::Occupied {
            key,
            id,
            record: Some(occupant),
            reason,
        });
    }
    remove(id)?;
    Ok(Some(occupant))
}

/// Why a segment could not be created.
#[derive(Debug)]
pub enum ClaimError {
    /// A system call failed.
    Call(CallError),
    /// There is a segment at the key already, and it must be left alone.
    Occupied {
        /// The key at which it is.
        key: Key,
        /// Its identifier.
        id: c_int,
        /// What is known of it; `None` where the system does not tell us.
        record: Option<Record>,
        /// Why it must be left alone.
        reason: &'static str,
    },
}

impl From<CallError> for ClaimError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Occupied {
                key,
                id,
                record,
                reason,
            } => {
                let flags = Flags(libc::IPC_CREAT | libc::IPC_EXCL | MODE);
                write!(
                    f,
                    "shmget({key}, …, {flags}) failed: {} (EEXIST); ",
                    Errno::EEXIST.desc()
                )?;
                match record {
                    Some(record) => write!(f, "{record}")?,
                    None => write!(f, "segment {id} (owner and creator unknown to us)")?,
                }
                write!(
                    f,
                    " is left alone, because {reason}; if nobody needs it: ipcrm -m {id}"
                )
            }
        }
    }
}

impl std::error::Error for ClaimError {}

/// A segment in this process's memory. Dropping it detaches the segment.
#[derive(Debug)]
pub struct Attachment<T> {
    address: NonNull<c_void>,
    holds: PhantomData<T>,
}

impl<T: SelfContained> Attachment<T> {
    /// The memory is read and written in words of this type.
    const WORDS: usize = {
        assert!(size_of::<T>() >= size_of::<AtomicU32>());
        assert!(
            size_of::<T>() % size_of::<AtomicU32>() == 0,
            "a shared type consists of whole words"
        );
        size_of::<T>() / size_of::<AtomicU32>()
    };

    fn new(id: c_int, flags: c_int) -> Result<Self, CallError> {
        let shmat = || {
            // SAFETY: with a null address the kernel maps the segment where nothing else is, so no
            // memory of this process changes its meaning.
            let address = unsafe { libc::shmat(id, ptr::null(), flags) };
            // shmat(2) returns -1 on error, not null.
            if address.addr() == usize::MAX {
                Err(Errno::last())
            } else {
                Ok(address)
            }
        };
        let address = calls::made(
            || shmat().map(|address| NonNull::new(address).expect("nothing is mapped at 0")),
            |_| format!("shmat({id}, NULL, {})", AttachFlags(flags)),
        )?;
        let attachment = Self {
            address,
            holds: PhantomData,
        };
        // Identifiers can be given out anew. This one cannot, now that we are attached: so the size
        // that the kernel names here is the size of what is mapped.
        let record = record(id)?;
        if record.size < size_of::<T>() {
            let flags = AttachFlags(flags);
            let words =
                |_: Option<&()>| format!("shmat({id}, NULL, {flags}) of {} bytes", record.size);
            calls::made(|| Err(Errno::EINVAL), words)?;
        }
        Ok(attachment)
    }

    /// Copies out what the segment holds.
    ///
    /// Others may write meanwhile. If the first word is one that
    /// [`write`](WritableAttachment::write) has put there, so is the rest.
    pub fn read(&self) -> T {
        let words = self.words();
        let mut value = MaybeUninit::<T>::uninit();
        let copy = value.as_mut_ptr().cast::<u32>();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: `index` is less than WORDS, so the place is within `value`; it need not be
            // aligned. Relaxed, because only a relaxed load is certain to work on a page that may
            // not be written (std::sync::atomic, "Atomic accesses to read-only memory").
            unsafe {
                copy.add(index)
                    .write_unaligned(word.load(Ordering::Relaxed))
            };
            if index == 0 {
                fence(Ordering::Acquire);
            }
        }
        calls::happened(|| format!("copied {} bytes from {:p}", size_of::<T>(), self.address));
        // SAFETY: all WORDS of it are written, which is the whole of it, and a T is valid for every
        // pattern of bits.
        unsafe { value.assume_init() }
    }

    /// The segment as words that any process may change at any moment: which is what an atomic is.
    fn words(&self) -> &[AtomicU32] {
        // SAFETY: the segment is attached for as long as `self` lives, at an address aligned to a
        // page, and it is at least as large as a T (`new` has asked the kernel). An atomic may
        // change while it is borrowed, and our own process makes no other kind of reference to this
        // memory. (In a read-only attachment nothing stores.)
        unsafe { slice::from_raw_parts(self.address.as_ptr().cast::<AtomicU32>(), Self::WORDS) }
    }
}

impl<T> Drop for Attachment<T> {
    fn drop(&mut self) {
        let address = self.address;
        // SAFETY: the address is what shmat returned, nobody else detaches it, and no reference
        // into the segment outlives the borrow of `self` that it was made from.
        let shmdt = || Errno::result(unsafe { libc::shmdt(address.as_ptr()) });
        // It fails only if nothing is attached there, and then there is nothing left to do.
        let _ = calls::made(shmdt, |_| format!("shmdt({address:p})"));
    }
}

/// A segment in this process's memory that this process may also write to.
#[derive(Debug)]
pub struct WritableAttachment<T>(Attachment<T>);

impl<T: SelfContained> WritableAttachment<T> {
    /// Copies `value` into the segment, its first word last.
    ///
    /// Others may read meanwhile. Who finds the new first word finds the rest of `value` too; so of
    /// two values that begin with the same word, write only one.
    pub fn write(&mut self, value: &T) {
        let source = ptr::from_ref(value).cast::<u32>();
        for (index, word) in self.0.words().iter().enumerate().rev() {
            // SAFETY: `index` is less than WORDS, so the place is within `value`, all of whose
            // bytes are initialised, since a T has no padding; it need not be aligned.
            let bits = unsafe { source.add(index).read_unaligned() };
            let order = if index == 0 {
                Ordering::Release
            } else {
                Ordering::Relaxed
            };
            word.store(bits, order);
        }
        calls::happened(|| format!("copied {} bytes to {:p}", size_of::<T>(), self.0.address));
    }
}

impl<T> Deref for WritableAttachment<T> {
    type Target = Attachment<T>;

    fn deref(&self) -> &Attachment<T> {
        &self.0
    }
}

fn shmget(key: Key, size: usize, flags: c_int) -> Result<c_int, CallError> {
    // SAFETY: shmget takes three numbers and touches no memory of ours.
    let shmget = || Errno::result(unsafe { libc::shmget(key.0, size, flags) });
    let words = |_: Option<&c_int>| format!("shmget({key}, {size}, {})", Flags(flags));
    calls::made(shmget, words).map_err(|error| match error.errno() {
        // The limits are those of shmget(2) and of proc_sys_kernel(5).
        Errno::ENOSPC => error.advise(
            "the system may have no more segments (kernel.shmmni) or no more pages in them \
             (kernel.shmall): remove those that nobody needs (ipcs -m, ipcrm -m ID) or raise the \
             limit (sysctl)",
        ),
        Errno::EINVAL => error
            .advise("the size may be outside the kernel's limits: raise kernel.shmmax (sysctl)"),
        Errno::ENOSYS => error.advise(
            "this kernel has no System V IPC: run on one that has it (CONFIG_SYSVIPC), or outside \
             this sandbox",
        ),
        _ => error,
    })
}

fn record(id: c_int) -> Result<Record, CallError> {
    let stat = || {
        let mut kernel = MaybeUninit::<shmid_ds>::zeroed();
        // SAFETY: IPC_STAT writes one shmid_ds to where it is told, and `kernel` has room for
        // exactly that.
        Errno::result(unsafe { libc::shmctl(id, libc::IPC_STAT, kernel.as_mut_ptr()) })?;
        // SAFETY: the kernel has written it. Where it has not, there are zeros, which are valid for
        // the integers of which shmid_ds consists (and for the pointer it has on some systems,
        // which nobody follows).
        Ok(Record::new(id, unsafe { kernel.assume_init_ref() }))
    };
    calls::made(stat, |record: Option<&Record>| match record {
        Some(record) => format!("shmctl({id}, IPC_STAT, {})", record.fields()),
        None => format!("shmctl({id}, IPC_STAT, …)"),
    })
}

fn remove(id: c_int) -> Result<(), CallError> {
    // SAFETY: IPC_RMID does not look at its third argument. Whoever is attached stays attached, so
    // no memory goes away.
    let rmid = || Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) });
    calls::made(
        || rmid().map(drop),
        |_| format!("shmctl({id}, IPC_RMID, NULL)"),
    )
}

/// Finds a segment in the list that Linux keeps for everybody to read, which has those that we may
/// not ask for.
fn listed(id: c_int) -> Option<Record> {
    let list = std::fs::read_to_string("/proc/sysvipc/shm").ok()?;
    list.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let key = Key(columns.next()?.parse().ok()?);
        let mut number = || columns.next()?.parse::<u64>().ok();
        if number()? != u64::try_from(id).ok()? {
            return None;
        }
        // perms (octal, printed as such) size cpid lpid nattch uid gid cuid
        let mode = u32::from_str_radix(&number()?.to_string(), 8).ok()?;
        let size = usize::try_from(number()?).ok()?;
        let creator_pid = Pid::from_raw(i32::try_from(number()?).ok()?);
        let last_pid = Pid::from_raw(i32::try_from(number()?).ok()?);
        let attached = number()?;
        let owner = Uid::from_raw(u32::try_from(number()?).ok()?);
        let _group = number()?;
        let creator = Uid::from_raw(u32::try_from(number()?).ok()?);
        Some(Record {
            id,
            key,
            mode: mode & 0o777,
            removed: mode & REMOVED != 0,
            size,
            attached,
            owner,
            creator,
            creator_pid,
            last_pid,
        })
    })
}

/// The flags of shmget(2) as strace(1) writes them.
struct Flags(c_int);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flag, name) in [
            (libc::IPC_CREAT, "IPC_CREAT|"),
            (libc::IPC_EXCL, "IPC_EXCL|"),
        ] {
            if self.0 & flag != 0 {
                f.write_str(name)?;
            }
        }
        match self.0 & 0o777 {
            0 => f.write_str("0"),
            mode => write!(f, "0{mode:o}"),
        }
    }
}

/// The flags of shmat(2) as strace(1) writes them.
struct AttachFlags(c_int);

impl fmt::Display for AttachFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 & SHM_RDONLY != 0 {
            "SHM_RDONLY"
        } else {
            "0"
        })
    }
}
