#![doc = include_str!("README.md")]

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
