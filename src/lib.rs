//! A parent sends a message to its child through System V shared memory, and a signal says that it
//! is there.
//!
//! Shared memory carries bytes, but tells nobody that they are there. A signal tells a process that
//! something has happened, but carries no bytes. Together they are a way for two processes to talk:
//!
//! ```text
//!   sender (parent)                            listener (child)
//!
//!   block SIGUSR1; lock ./shared_path
//!   fork ------------------------------------> sigaction: register the handler
//!   read <------------ one byte (pipe) ------- write: ready
//!   ftok, shmget: create the segment           unblock SIGUSR1, and spin (then sleep)
//!   shmat, copy the message in
//!   kill -------------- SIGUSR1 -------------> handler: store the signal and who sent it
//!   stay attached until the child's end        ftok, shmget, shmctl: find the segment; is it ours?
//!                                              shmat, copy the message out, shmdt
//!                                              check the message, and print it
//!   waitpid <----------- exit status --------- end
//!   shmctl: remove the segment; shmdt
//! ```
//!
//! # A tour
//! If you know the article, you will find its functions in files of the same names. Read them in
//! this order; you need no other file to follow the run from `demo` to `Received`:
//!
//! 1. [`demo`](mod@demo) is the article's `main`: message, lock, fork, two roles, waitpid.
//! 2. [`listener`](mod@listener) is its `listener`: register, say ready, spin, then sleep, take the
//!    message.
//! 3. [`handler`](mod@handler) is its `handler`, and says why it does so little.
//! 4. [`sender`](mod@sender) is its `sender`: key, segment, attach, write, kill.
//! 5. [`message`] is its `s_message`, with the text inside.
//!
//! [`standalone`] starts the same two roles in two terminals, as programs that share only a path.
//! [`peer`] says what differs between its listener and the demo's.
//! [`socket`] tells the same story through a pair of sockets, which is easier.
//! A [`run`](mod@run) holds what both roles need. The roles tell each [`step`] to the
//! [`transcript`], which prints it.
//!
//! Below the story are three folders:
//!
//! - [`sys`]: the kernel's services made safe, and the only `unsafe`. It needs no other folder.
//! - [`output`]: what is printed: words, colours, lines, escaping.
//! - [`explain`]: the system calls behind the lines (`--explain`, `--step`).
//!
//! [`cli`] is the command line: it says what was chosen, as data.
//!
//! Two more pages: [`guarantees`] says what is promised and what is not, and [`lesson`] is for a
//! class.

pub mod cli;
pub mod demo;
pub mod explain;
#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
pub mod handler;
#[doc = include_str!("lesson.md")]
pub mod lesson {}
pub mod listener;
pub mod message;
pub mod output;
pub mod peer;
pub mod run;
pub mod sender;
pub mod socket;
pub mod standalone;
pub mod step;
// Everywhere else `unsafe` is denied (Cargo.toml, [lints]).
#[allow(unsafe_code)]
pub mod sys;
pub mod transcript;
