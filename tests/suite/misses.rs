//! A listener and a sender that miss each other: each of them names the cause, and neither is told
//! only to wait longer.

use crate::support::refusal::{Refusal, refuse};
use crate::support::tracer::{Point, Side, can_trace, freeze};
use crate::support::*;

/// The sender's stop at which the segment is there and the signal has not been sent.
const SENDS: &str = "the sender sends the signal";

/// As an editor does it: the path is the same, the key is not. (The new file is another folder's, so
/// that nobody else uses its key.)
fn replace(scratch: &Scratch, by: &Scratch) {
    fs::rename(by.path(), scratch.path()).unwrap();
}

#[test]
fn at_two_paths_the_listener_names_its_key_and_the_sender_says_that_it_has_not_looked() {
    let (here, there) = (Scratch::new(), Scratch::new());
    let listener = there.listen(&[]);
    let finished = run(here.sender(listener.pid(), &["--timeout=.3"], HELLO));
    finished.assert_failed_with(&[
        "has not read the message within 0.3 seconds",
        "it has not looked at segment ",
        &format!("whose key is 0x{:08x}", here.key()),
        "listen at the same file",
    ]);
    assert_eq!(here.segments(), []);
    listener.until_complained(&format!("shmget(0x{:08x}, 1024, 0) failed", there.key()));
    there.assert_delivers(HELLO, listener, &[NO_SEGMENT]);
}

#[test]
fn a_listener_of_another_user_is_refused_and_says_whose_the_segment_is() {
    needs!(needs_linux("a listener of another user"));
    if !Uid::effective().is_root() {
        return not_tested("a listener of another user", "it needs root");
    }
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o666)).unwrap();
    let listener = Program::start(scratch.sigshm_as(65534, &["--listen"]));
    let pid = listener.pid();
    listener.until_printed("# Registering");
    let finished = run(scratch.sender(pid, &[], HELLO));
    let who = format!("PID {pid} (\"sigshm\") is user 65534's");
    finished.assert_failed_with(&[&who, "run both as one user"]);
    assert_eq!(finished.text(), "", "nothing has begun");
    assert_eq!(scratch.segments(), []);
    // Another sender does not look before.
    for (mode, reason) in [(0o600, "is another user's (shmctl("), (0o666, ": it is another user's")]
    {
        let planted = Planted::empty(&scratch, 1024, mode);
        send_stray(pid);
        listener.until_complained(reason);
        listener.until_complained(&format!("segment {} (1024 bytes", planted.id));
    }
    kill(pid, SIGTERM).unwrap();
    let finished = listener.finish();
    assert_eq!(finished.text(), registered(pid));
    scratch.assert_noted(&finished.stderr, &["shmctl(", "it is another user's"]);
}

#[test]
fn at_two_names_of_one_file_the_listener_and_the_sender_do_not_miss_each_other() {
    let scratch = Scratch::new();
    let other_name = scratch.dir().join("other name");
    fs::hard_link(scratch.path(), &other_name).unwrap();
    let listener = Program::start(sigshm_at(other_name, ["--listen"]));
    listener.until_printed("# Registering");
    let pid = listener.pid();
    scratch.assert_sends(pid, HELLO);
    assert_eq!(listener.finish_well(), received(pid, HELLO));
}

#[test]
fn a_file_that_is_replaced_while_the_listener_has_not_looked_is_named_on_both_sides() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let listener = scratch.listen(&[]);
    listener.stop();
    let sender = Program::start(scratch.sender(listener.pid(), &["--timeout=60"], HELLO));
    wait_until("the signal is sent", || is_pending(listener.pid()));
    replace(&scratch, &other);
    listener.go_on();
    listener.until_complained("still listening");
    let since = Instant::now();
    let finished = sender.finish();
    finished.assert_failed_with(&["somebody has replaced the file", "its key was 0x"]);
    assert!(since.elapsed() < Duration::from_secs(10), "not at its timeout");
    scratch.assert_delivers(HELLO, listener, &[NO_SEGMENT]);
}

#[test]
fn a_segment_of_another_size_at_the_key_is_named_on_both_sides() {
    for (size, reason) in [
        (512, "EINVAL); the segment at this key is smaller"),
        (2048, "its size is not that of a message"),
    ] {
        let scratch = Scratch::new();
        let mut bytes = message_bytes(1, 12, HELLO.as_bytes());
        bytes.resize(size, 0);
        let planted = Planted::new(&scratch, &bytes);
        let listener = scratch.listen(&[]);
        send_stray(listener.pid());
        let finished = run(scratch.sender(listener.pid(), &["--timeout=.2"], HELLO));
        let named = format!("segment {} ({size} bytes", planted.id);
        finished.assert_failed_with(&["EEXIST", &named, "its size is not ours", "ipcrm"]);
        drop(planted);
        scratch.assert_delivers(HELLO, listener, &[reason]);
    }
}

#[test]
fn a_listener_at_a_path_that_nobody_could_reach_says_so_before_it_listens() {
    let scratch = Scratch::new();
    let missing = scratch.dir().join("missing");
    let below_a_file = scratch.path().join("below");
    for (path, errno) in [(missing, "ENOENT"), (below_a_file, "ENOTDIR")] {
        let [of_listener, of_demo] = ["--listen", HELLO].map(|argument| {
            let finished = run(sigshm_at(&path, [argument]));
            finished.assert_failed_with(&[&format!("{path:?}"), errno, "another file with --path"]);
            assert_eq!(finished.text(), "");
            // The advice, without the call that has failed.
            finished.stderr.split_once(" failed: ").unwrap().1.to_owned()
        });
        assert_eq!(of_listener, of_demo);
    }
}

#[test]
fn a_path_that_is_missing_for_a_moment_does_not_end_the_listener() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let aside = scratch.dir().join("aside");
    fs::rename(scratch.path(), &aside).unwrap();
    // Again and again: it is said once.
    for _ in 0..3 {
        send_stray(listener.pid());
    }
    fs::rename(aside, scratch.path()).unwrap();
    send_stray(listener.pid());
    scratch.assert_delivers(HELLO, listener, &["ftok(", NO_SEGMENT]);
}

#[test]
fn step_by_step_a_segment_that_is_removed_or_a_file_that_is_replaced_ends_both_soon() {
    const REMOVED: &str = "somebody else has removed segment ";
    const REPLACED: &str = "somebody has replaced the file ";
    let of = ["the demo at its stop", "the demo after its stop", "two programs"];
    let rows = [REMOVED, REPLACED].map(|cause| of.map(|of| (cause, of)));
    at_once(rows.concat(), |(cause, of)| {
        let (scratch, other) = (Scratch::new(), Scratch::new());
        let change = || match cause {
            REMOVED => remove_segment(scratch.segment().id),
            _ => replace(&scratch, &other),
        };
        let options = ["--step", "--color=never"];
        if of == "two programs" {
            let listener = scratch.listen(&[]);
            listener.stop();
            let sender = scratch.sender(listener.pid(), &options, "hi");
            let mut sender = Program::start_at(sender, SENDS);
            sender.enter();
            wait_until("the signal is sent", || is_pending(listener.pid()));
            change();
            assert_ends_soon(sender, &[cause]);
            listener.go_on();
            listener.until_complained("still listening");
            return scratch.assert_delivers(HELLO, listener, &[NO_SEGMENT]);
        }
        let mut demo = Program::start_at(scratch.sigshm(options).arg(HELLO), SENDS);
        change();
        let mut causes = vec![cause];
        if of == "the demo after its stop" {
            demo.enter();
            // The sender looks once a second. So the listener may be the first to find out.
            causes.push("there is no message at ");
        }
        assert_ends_soon(demo, &causes);
    });
}

#[test]
fn a_sender_whose_listener_does_not_read_gives_up_with_the_cause_and_the_listener_is_unharmed() {
    needs!(can_trace());
    for is_removed in [false, true] {
        let scratch = Scratch::new();
        let listener = scratch.listen(&[]);
        let pid = listener.pid();
        listener.stop();
        let mut sender = scratch.sender(pid, &["--timeout=0.3"], HELLO);
        // It has attached, and looks whether it is alone.
        let looks = Point::Call(Side::Parent, calls::SYS_shmctl);
        let frozen = freeze(&mut sender, looks).expect("it looks");
        let mut cause = format!("PID {pid} has not read the message within 0.3 seconds: ");
        if uses_linux() {
            cause += &format!("a signal has stopped PID {pid}; let it go on (fg, kill -CONT)");
        }
        if is_removed {
            remove_segment(scratch.segment().id);
            cause = "somebody else has removed segment ".into();
        }
        let finished = frozen.release().finish(TIMEOUT);
        finished.assert_failed_with(&[&cause]);
        assert!(!finished.text().contains("# All done"), "{finished:#?}");
        assert_eq!(scratch.segments(), []);
        // It finds a signal, and no message.
        listener.go_on();
        listener.until_complained("still listening");
        scratch.assert_delivers("next", listener, &[NO_SEGMENT]);
    }
}

#[test]
fn a_segment_that_somebody_else_removes_when_the_message_has_been_read_is_no_error() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let demo = scratch.sigshm(["--step", HELLO]);
    let pid = listener.pid();
    let sender = scratch.sender(pid, &["--step"], HELLO);
    for command in [demo, sender] {
        // To remove it again is no error as long as it is attached. This is as if it were not.
        let command = refuse(command, &[Refusal::shmctl(libc::IPC_RMID, Errno::EIDRM)]);
        let mut run = Program::start_at(command, "the sender removes the segment");
        remove_segment(scratch.segment().id);
        run.enter();
        assert!(run.finish_well().contains("# All done"));
    }
    assert_eq!(listener.finish_well(), received(pid, HELLO));
}

#[test]
fn a_sender_at_a_stop_whose_listener_has_ended_ends_soon_without_enter() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let sender = scratch.sender(listener.pid(), &["--step", "--color=never"], "hi");
    let sender = Program::start_at(sender, SENDS);
    drop(listener);
    assert_ends_soon(sender, &["ended before it had read the message"]);
}

/// It ends by itself within a few seconds, although `--step` knows no timeout, and says why.
#[track_caller]
fn assert_ends_soon(program: Program, causes: &[&str]) {
    let since = Instant::now();
    let finished = program.finish();
    assert!(since.elapsed() < Duration::from_secs(10));
    finished.assert_failed_with(&["sigshm: error: "]);
    let is_named = causes.iter().any(|cause| finished.stderr.contains(cause));
    assert!(is_named, "{causes:?} {finished:#?}");
    assert!(!finished.text().contains("# Received"), "{finished:#?}");
}
