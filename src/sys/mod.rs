//! The kernel's services, made safe: System V shared memory, signals, processes, a lock.
//!
//! This could be a crate of its own: it knows nothing of the program above it, and prints nothing.
//! It is the only place with `unsafe`.
//!
//! # Shared memory
//! For two processes that want to see the same bytes. They need not be related: all they have to
//! share is a file's path. One creates the segment, the other one finds it:
//!
//! ```
//! use std::time::Duration;
//!
//! use sigshm::sys::{Key, OwnedSegment, Segment};
//!
//! sigshm::self_contained! {
//!     struct Reading { sensor: u32, celsius: i32 }
//! }
//!
//! # let path = &std::env::temp_dir().join(format!("sigshm-doc-{}", std::process::id()));
//! # std::fs::write(path, "")?;
//! // One process creates the segment, attaches it and writes.
//! let key = Key::from_path(path, 1)?;
//! let (segment, _reclaimed) = OwnedSegment::<Reading>::create(&key, Duration::from_secs(5))?;
//! let mut attached = segment.attach()?;
//! attached.write(&Reading { sensor: 7, celsius: -12 });
//!
//! // Another one finds it by the same key, at an address of its own.
//! let found = Segment::<Reading>::find(&Key::from_path(path, 1)?)?;
//! let reading = found.attach_read_only()?.read();
//! assert_eq!((reading.sensor, reading.celsius), (7, -12));
//!
//! // Whoever has created it removes it.
//! drop(attached);
//! segment.remove()?;
//! assert!(Segment::<Reading>::find(&key).is_err());
//! # std::fs::remove_file(path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What may be shared:** types that mean the same in every process and for every pattern of bits:
//! no pointers, no padding. [`self_contained!`](crate::self_contained!) checks that as it compiles.
//!
//! **What it promises:** there is no `&T` into the segment, only atomics, so the other process may
//! write at any time. A segment is created exclusively, for this user alone. It is removed when its
//! owner is dropped, and after [`cleanup::install`] also when a signal ends the process. One that
//! is at the key already is removed only if it is certainly abandoned. Errors name the call, its
//! arguments, the errno and the likely cause.
//!
//! **What it leaves to you:** to tell the other process when to look (a signal, for instance); to
//! let only one process write at a time ([`RunLock`]); and to check what you read: it is a valid
//! `T`, but anybody with the right permissions may have written it.

mod attach;
mod call;
pub mod cleanup;
mod deadline;
mod error;
pub mod fd;
mod libgcc;
pub mod lock;
mod origin;
mod ownership;
pub mod proc;
pub mod process;
mod self_contained;
pub mod shm;
pub mod signal;
mod status;
pub mod trace;

pub use attach::{Attachment, WritableAttachment};
pub use call::quoted;
pub use deadline::Deadline;
pub use error::Error;
pub use lock::RunLock;
pub use self_contained::SelfContained;
#[doc(hidden)] // For the macro.
pub use self_contained::{ensure_no_padding, size_of_field};
pub use shm::{Key, OwnedSegment, Segment};
pub use status::Status;
