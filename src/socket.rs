//! "Can we do it easier? Yes. We might use Unix sockets": the same story through a pair of sockets.
//!
//! A socket carries the message *and* wakes whoever waits for it. So most of the
//! [demo](mod@crate::demo) is not needed: no handler, no loop, no key, no segment. Nobody has to
//! clean up: the kernel frees a socket when the last process that has it open has ended, whatever
//! ended it. And runs need no lock, since nobody else can reach their sockets.
//!
//! ```text
//!   sender (parent)                            listener (child)
//!
//!   socketpair; fork ------------------------>
//!   read <------------ one byte -------------- write: waiting
//!   send ------------- the message ----------> recv
//!                                              check the message, and print it
//!   waitpid <--------- exit status ----------- end
//! ```
//!
//! The byte is only there so that the lines come in this order. The message could be sent before
//! the listener waits, even before there is a listener: it would wait in the socket.

use anyhow::Result;
use nix::unistd::getpid;

use crate::message::Message;
use crate::run::Run;
use crate::step::Step;
use crate::sys::process::{self, Fork, Parent, fork_with_sockets};
use crate::sys::signal::{self, SigSet};

/// Sends a message to a child, and waits until the child has printed it. Fails if it has not.
///
/// It returns in both processes: in the child after `listener`, in the parent at the end.
pub fn demo(message: &Message, run: &mut Run) -> Result<()> {
    signal::prepare(SigSet::empty())?; // no signal notifies anybody here

    run.tell(Step::MessageSize(message.size))?;
    run.tell(Step::CreatingMessage)?;
    run.tell(Step::Forking)?;
    match fork_with_sockets("the listener")? {
        Fork::Child(parent) => listener(&parent, run),
        // If it returns early, its child is killed and reaped.
        Fork::Parent(mut child) => {
            child.wait_until_ready(run.timeout)?;
            run.tell(Step::Sending(message.checked()?))?;
            child.send(message)?; // send(2)
            child.wait(run.timeout, || Ok(()))?; // waitpid(2)
            run.tell(Step::Done)
        }
    }
}

/// Waits for the parent's message, and prints it. Fails if the message is not valid.
fn listener(parent: &Parent, run: &mut Run) -> Result<()> {
    run.tell(Step::Listening(Some(parent.pid()), getpid()))?;
    run.tell(Step::Waiting)?;
    parent.notify_ready()?;
    // recv(2) sleeps until the message is there, all of it. This one call replaces the loop.
    let Some(message) = parent.receive::<Message>()? else {
        // The parent has ended, and nobody waits for the outcome.
        process::exit(1);
    };
    // Checks the message, and prints "# Received: …".
    run.tell(Step::Received(message.checked()?))
}
