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
