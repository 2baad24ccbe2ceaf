//! The story from top to bottom: the article's `main`.

use anyhow::Result;

use crate::listener::listener;
use crate::message::Message;
use crate::output::note;
use crate::run::Run;
use crate::sender::sender;
use crate::step::Step;
use crate::sys::process::{Fork, fork};
use crate::sys::{RunLock, signal};

/// Sends a message to a child, and waits until the child has printed it. Fails if it has not.
///
/// It returns in both processes: in the child after `listener`, in the parent at the end.
pub fn demo(message: &Message, run: &mut Run) -> Result<()> {
    signal::prepare(run.signal)?; // undoes what our starter did; SIGUSR1 is blocked from here on
    run.tell(Step::Locking)?;
    // flock(2): two runs at one path would use the same segment. The kernel drops the lock when
    // both processes have closed the file.
    let _lock = RunLock::take(&run.path, run.timeout, note::waiting_for_lock)?;

    run.tell(Step::MessageSize(message.size))?;
    run.tell(Step::CreatingMessage)?;
    run.tell(Step::Forking)?;
    // In the child, the signal is blocked from its start: one that comes too early stays pending.
    match fork("the listener", run.signal)? {
        // This is the child. `parent` is its end of two pipes, one in each direction.
        Fork::Child(parent) => listener(&parent, run),
        // This is the parent. If it returns early, its child is killed and reaped.
        Fork::Parent(mut child) => {
            // The article's parent goes on at once, and its signal often comes too early.
            child.wait_until_ready(run.timeout)?;
            let pid = child.pid();
            let shared = sender(message, pid, run)?;
            // waitpid(2). A child that has failed is an error here. When the time is over (with
            // --step: once a second), it checks that the child can still find the segment.
            child.wait(run.timeout, || shared.segment.ensure_reachable(pid))?;
            run.tell(Step::AllDone)?;
            shared.free()
        }
    }
}
