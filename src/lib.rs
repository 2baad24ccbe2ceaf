//! A message from a parent to its child, through System V shared memory, announced by a signal.

pub mod calls;
pub mod cli;
pub mod demo;
pub mod diagnostics;
pub mod listener;
pub mod message;
pub mod narrator;
pub mod printable;
pub mod process;
pub mod sender;
pub mod shm;
pub mod signals;
pub mod turn;
