//! A segment in a process's memory: what is read and written there is always a whole value, copied.
//!
//! The other process can write at any moment. A `&T` into the segment would promise that nobody
//! does, so there is none: values are copied in and out, word by word, as atomics.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::{ptr, slice};

use libc::{c_int, c_void};
use nix::errno::Errno;

use super::trace::{self, Call};
use super::{Error, SelfContained, status};

/// For shmat(2): attach for reading only. The libc crate does not have it for every BSD.
#[cfg(not(any(target_os = "netbsd", target_os = "openbsd")))]
pub(super) use libc::SHM_RDONLY;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
pub(super) const SHM_RDONLY: c_int = 0o10000;

/// A segment in this process's memory. Dropping it detaches the segment.
#[derive(Debug)]
pub struct Attachment<T> {
    address: *mut c_void,
    holds: PhantomData<T>,
}

impl<T: SelfContained> Attachment<T> {
    /// How many words a `T` has: the memory is read and written in words of 32 bits.
    const WORDS: usize = {
        let is_whole = size_of::<T>() > 0 && size_of::<T>() % size_of::<AtomicU32>() == 0;
        assert!(is_whole, "a shared type consists of whole words");
        size_of::<T>() / size_of::<AtomicU32>()
    };

    pub(super) fn new(id: c_int, flags: c_int) -> Result<Self, Error> {
        // SAFETY: with a null address the kernel maps the segment where nothing else is, so no
        // memory of this process changes its meaning.
        let shmat = || Errno::result(unsafe { libc::shmat(id, ptr::null(), flags) });
        let address = trace::traced(|| Call::Shmat(id, flags), shmat)?;
        let attachment = Self { address, holds: PhantomData };
        // Identifiers can be given out anew. This one cannot, now that we are attached: so the size
        // that the kernel names here is the size of what is mapped.
        let status = status::status(id)?;
        if status.size < size_of::<T>() {
            let what = format!("{status}: it is too small for what it should hold");
            return Err(Error::Rejected(what));
        }
        Ok(attachment)
    }

    /// Copies out what the segment holds. Others may write meanwhile. If the first word is one that
    /// [`write`](WritableAttachment::write) has put there, so is the rest.
    pub fn read(&self) -> T {
        let mut value = T::zeroed();
        let copies = value.bytes_mut().chunks_exact_mut(size_of::<AtomicU32>());
        for (index, (word, copy)) in self.words().iter().zip(copies).enumerate() {
            // Relaxed, because only a relaxed load is certain to work on a page that may not be
            // written (std::sync::atomic, "Atomic accesses to read-only memory").
            copy.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            if index == 0 {
                fence(Ordering::Acquire);
            }
        }
        trace::traced_event(Call::CopyOut(size_of::<T>(), self.address.addr()), trace::clock());
        value
    }

    /// The segment as words that any process may change at any moment: which is what an atomic is.
    fn words(&self) -> &[AtomicU32] {
        // SAFETY: the segment is attached for as long as `self` lives, aligned to a page, and is at
        // least as large as a T (`new` has asked the kernel). An atomic may change while it is
        // borrowed, and this process makes no other kind of reference to this memory. (In a
        // read-only attachment nothing stores.)
        unsafe { slice::from_raw_parts(self.address.cast::<AtomicU32>(), Self::WORDS) }
    }
}

impl<T> Drop for Attachment<T> {
    fn drop(&mut self) {
        // SAFETY: the address is what shmat returned, nobody else detaches it, and no reference
        // into the segment outlives the borrow of `self` that it was made from.
        let shmdt = || Errno::result(unsafe { libc::shmdt(self.address) });
        // It fails only if nothing is attached there, and then there is nothing left to do.
        let _ = trace::traced(|| Call::Shmdt(self.address.addr()), shmdt);
    }
}

/// A segment in this process's memory that this process may also write to.
#[derive(Debug)]
pub struct WritableAttachment<T>(pub(super) Attachment<T>);

impl<T: SelfContained> WritableAttachment<T> {
    /// Copies `value` into the segment, its first word last. Others may read meanwhile: if they
    /// find the new first word, they find the rest too. So of two values that begin with the same
    /// word, write only one.
    pub fn write(&mut self, value: &T) {
        let bytes = value.bytes().chunks_exact(size_of::<AtomicU32>());
        for (index, (word, bytes)) in self.0.words().iter().zip(bytes).enumerate().rev() {
            let bits = u32::from_ne_bytes(bytes.try_into().expect("as long as a word"));
            // Only the first word, which is stored last, has to come after the others.
            word.store(bits, if index == 0 { Ordering::Release } else { Ordering::Relaxed });
        }
        trace::traced_event(Call::CopyIn(size_of::<T>(), self.0.address.addr()), trace::clock());
    }
}
