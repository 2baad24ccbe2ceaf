//! A parent sends a message to its child through System V shared memory, and announces it with a
//! signal.
//!
//! Shared memory carries bytes, but tells nobody that they are there. A signal tells a process that
//! something has happened, but carries no bytes. Together they are a way for two processes to talk:
//!
//! ```text
//!   sender (parent)                            listener (child)
//!
//!   take the turn (flock on the path)
//!   fork ------------------------------------> install the SIGUSR1 handler
//!   wait for it <-------- one byte (pipe) ---- say: ready
//!   ftok, shmget: create the segment           wait for a signal
//!   shmat, write the message
//!   kill -------------- SIGUSR1 -------------> handler: note that it has come
//!   wait for its end                           ftok, shmget, shmat: find it, read-only
//!                                              read, check and print the message
//!   waitpid <----------- exit status --------- end
//!   shmdt, shmctl: remove the segment
//! ```
//!
//! # A tour
//! The story is told by four functions. Who knows the article finds each of its functions in a file
//! of that name:
//!
//! 1. [`demo::run`] is the article's `main`: message, fork, two parts, reaping.
//! 2. [`listener::listen`] is its `listener`, and does what its `handler` did.
//! 3. [`sender::send`] is its `sender`.
//! 4. [`message::Message`] is its struct, with the text inside.
//!
//! What follows the signal is the [`delivery`]: how the sender learns that its message has been
//! read. [`strangers`] starts the same two parts in two terminals, as programs that share only a
//! path.
//!
//! They speak through the [`narrator`], and call one safe function per step. Those are the ground
//! below, where the `unsafe` is argued, and which can be read without the story:
//!
//! - [`shm`]: keys, segments and attachments, typed. Start here to see what a safe wrapper takes.
//! - [`signals`]: one handler, and the one place where signals are let in.
//! - [`process`]: fork, and how each process learns of the other's end.
//! - [`turn`]: one run at a time for each path.
//!
//! The narrator says the words of the transcript. If the run is to be explained, it tells the
//! [`explain`]er of each step, who prints the [`lessons`] and the [`pictures`]; what those show
//! comes from the record of system calls in [`calls`] and from each process's [`diary`], and the
//! [`floor`] says whose turn it is to speak.
//!
//! [`cli`] says what can be asked for, [`screen`] prints lines, [`diagnostics`] speaks on standard
//! error, and [`printable`] keeps a message from being obeyed by the terminal.

pub mod calls;
pub mod cli;
pub mod delivery;
pub mod demo;
pub mod diagnostics;
pub mod diary;
pub mod explain;
pub mod floor;
pub mod lessons;
pub mod listener;
pub mod message;
pub mod narrator;
pub mod pictures;
pub mod printable;
pub mod process;
pub mod screen;
pub mod sender;
pub mod shm;
pub mod signals;
pub mod strangers;
pub mod turn;
