#![doc = include_str!("README.md")]

mod answer;
mod attach;
mod call;
pub mod cleanup;
mod deadline;
mod error;
pub mod fd;
mod libgcc;
pub mod lock;
mod ownership;
pub mod path;
pub mod proc;
pub mod process;
mod self_contained;
pub mod shm;
pub mod signal;
mod status;
pub mod terminal;
pub mod trace;

/// Whether Linux's own ways are in use. `--cfg portable` turns them off: then Linux does as macOS
/// and the BSDs do, with no `/proc`, no `PR_SET_PDEATHSIG`, and no names for `si_code`.
pub const USES_LINUX: bool = cfg!(all(target_os = "linux", not(portable)));

pub use answer::Status;
pub use attach::{Attachment, WritableAttachment};
pub use call::quoted;
pub use deadline::Deadline;
pub use error::Error;
pub use lock::RunLock;
pub use self_contained::SelfContained;
pub use shm::{Key, OwnedSegment, Segment};
#[doc(hidden)] // For the macro. (A caller may have a `derive` of its own.)
pub use {
    core::prelude::v1::derive, self_contained::ensure_no_padding, self_contained::size_of_field,
};
