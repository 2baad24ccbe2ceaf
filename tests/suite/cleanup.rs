//! `sys::cleanup` for whoever uses it alone: which segment a signal removes.

use crate::support::*;
use nix::sys::signal::raise;
use sigshm::sys::{Error, Key, OwnedSegment, cleanup};

/// Does the work in a new process. SIGTERM must end it there.
#[track_caller]
fn assert_sigterm_ends(work: impl FnOnce() -> Result<(), Error>) {
    match Helper::doing(work) {
        Err(WaitStatus::Signaled(_, SIGTERM, false)) => {}
        other => panic!("SIGTERM has not ended it: {other:?}"),
    }
}

fn create(scratch: &Scratch) -> Result<OwnedSegment<u32>, Error> {
    let key = Key::from_path(&scratch.path(), 1)?;
    Ok(OwnedSegment::create(&key, Duration::from_secs(5))?.0)
}

#[test]
fn a_signal_removes_the_segment_that_was_created_after_the_handler_was_installed() {
    let scratch = Scratch::new();
    assert_sigterm_ends(|| {
        cleanup::install()?;
        let _segment = create(&scratch)?;
        let _ = raise(SIGTERM);
        Ok(())
    });
}

#[test]
fn to_remove_another_segment_does_not_make_the_handler_forget_its_own() {
    let (earlier, later) = (Scratch::new(), Scratch::new());
    assert_sigterm_ends(|| {
        let other = create(&earlier)?;
        cleanup::install()?;
        let _segment = create(&later)?;
        other.remove()?;
        let _ = raise(SIGTERM);
        Ok(())
    });
}
