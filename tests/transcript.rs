//! The transcript is a contract: compared as a whole, colours included, however it is captured.

mod support;

use support::*;

#[test]
fn captured_through_a_pipe_it_is_the_coloured_transcript() {
    let scratch = Scratch::new();
    run(&mut scratch.sigshm(["Hello, world"])).assert_delivered(12, "Hello, world");
    scratch.assert_nothing_left();
}
