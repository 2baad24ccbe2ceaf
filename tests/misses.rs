//! A listener and a sender that miss each other: each of them names the cause, and neither is told
//! only to wait longer.

use crate::support::*;
use nix::sched::{CloneFlags, unshare};

const NO_SEGMENT: &str = "ENOENT); no segment is at this key: ";

/// The sender's stop at which the segment is there and the signal has not been sent.
const SENDS: &str = "the sender sends the signal";

fn listen(scratch: &Scratch, options: &[&str]) -> Program {
    listen_as(scratch.sigshm(options))
}

fn listen_as(mut command: Command) -> Program {
    command.arg("--listen");
    let listener = Program::start(command);
    listener.until_printed("# Registering");
    wait_until("it sleeps", || state(listener.pid()) == Some('S'));
    listener
}

fn send(scratch: &Scratch, listener: &Program, options: &[&str]) -> Program {
    let mut command = scratch.sigshm(options);
    command.args(["--to", &listener.pid().to_string(), "Hello, world"]);
    Program::start(command)
}

/// As an editor does it, which writes a new file and renames it: the path is the same, the key is
/// not. (The new file is another folder's, so that nobody else uses its key.)
fn replace(scratch: &Scratch, by: &Scratch) {
    fs::rename(by.path(), scratch.path()).unwrap();
}

/// The note of a listener that goes on. It names the path, the key (or the call that could not make
/// one), and the reason.
#[track_caller]
fn assert_noted(stderr: &str, path: &Path, reasons: &[&str]) {
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), reasons.len(), "{stderr}");
    for (line, reason) in lines.iter().zip(reasons) {
        let start = format!("sigshm: SIGUSR1 came, but there is no message at {path:?}: ");
        assert!(line.starts_with(&start), "{line}");
        assert!(line.ends_with(": still listening") && line.contains(reason), "{line}");
    }
}

/// The listener goes on, and gets the next message at its own path.
#[track_caller]
fn assert_still_listens(scratch: &Scratch, listener: Program, reasons: &[&str]) {
    let pid = listener.pid();
    let sender = send(scratch, &listener, &[]).finish();
    assert_eq!((sender.code, sender.stderr.as_str()), (Some(0), ""));
    let finished = listener.finish();
    assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, "Hello, world")));
    assert_noted(&finished.stderr, &scratch.path(), reasons);
    scratch.assert_nothing_left();
}

#[test]
fn at_two_paths_the_listener_names_its_key_and_the_sender_says_that_it_has_not_looked() {
    let (here, there) = (Scratch::new(), Scratch::new());
    let listener = listen(&there, &[]);
    let finished = send(&here, &listener, &["--timeout=.3"]).finish();
    finished.assert_failed_with(&[
        "has not read the message within 0.3 seconds",
        "it has not looked at segment ",
        &format!("whose key is 0x{:08x}", here.key()),
        "listen at the same file",
    ]);
    here.assert_nothing_left();
    let note = format!("shmget(0x{:08x}, 1024, 0) failed", there.key());
    listener.until_complained(&note);
    assert_still_listens(&there, listener, &[NO_SEGMENT]);
}

#[test]
fn a_listener_in_another_ipc_namespace_is_refused_and_hears_of_nothing() {
    let scratch = Scratch::new();
    let mut elsewhere = scratch.sigshm([""; 0]);
    elsewhere.in_child(|| unshare(CloneFlags::CLONE_NEWIPC));
    if elsewhere.arg("--version").stdout(Stdio::null()).status().is_err() {
        return not_tested("another IPC namespace", "it needs root");
    }
    let listener = listen(&scratch, &[]);
    let mut sender = scratch.sigshm(["--to", &listener.pid().to_string(), "Hello, world"]);
    sender.in_child(|| unshare(CloneFlags::CLONE_NEWIPC));
    let finished = run(&mut sender);
    let who = format!("PID {} (\"sigshm\") is in another IPC namespace", listener.pid());
    finished.assert_failed_with(&[&who]);
    assert_eq!(finished.text(), "", "nothing has begun");
    assert_still_listens(&scratch, listener, &[]);
}

#[test]
fn a_listener_of_another_user_is_refused_and_says_whose_the_segment_is() {
    if !Uid::effective().is_root() {
        return not_tested("a listener of another user", "it needs root");
    }
    const OTHER: u32 = 65534;
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = Command::new(scratch.copy_for_anybody());
    command.env_remove("NO_COLOR").uid(OTHER).gid(OTHER).arg("--path").arg(scratch.path());
    let listener = listen_as(command);
    let finished = send(&scratch, &listener, &[]).finish();
    let who = format!("PID {} (\"sigshm\") is user {OTHER}'s", listener.pid());
    finished.assert_failed_with(&[&who, "run both as one user"]);
    assert_eq!(finished.text(), "", "nothing has begun");
    assert_eq!(scratch.segments(), []);

    // Another sender does not look before.
    for (mode, reason) in [(0o600, "is another user's (shmctl("), (0o666, ": it is another user's")]
    {
        let id = create(&scratch, 1024, mode);
        send_stray(listener.pid());
        listener.until_complained(reason);
        listener.until_complained(&format!("segment {id} (1024 bytes"));
        remove_segment(id);
    }
    let pid = listener.pid();
    kill(pid, SIGTERM).unwrap();
    let finished = listener.finish();
    assert_eq!(finished.text(), registered(pid));
    assert_noted(&finished.stderr, &scratch.path(), &["shmctl(", "it is another user's"]);
}

#[test]
fn a_file_that_is_replaced_while_the_listener_has_not_looked_is_named_on_both_sides() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let listener = listen(&scratch, &[]);
    listener.stop();
    let sender = send(&scratch, &listener, &["--timeout=60"]);
    wait_until("the signal is sent", || is_pending(listener.pid()));
    replace(&scratch, &other);
    listener.go_on();
    listener.until_complained("still listening");
    let since = Instant::now();
    let finished = sender.finish();
    finished.assert_failed_with(&["somebody has replaced the file", "its key was 0x"]);
    assert!(since.elapsed() < Duration::from_secs(10), "not at its timeout");
    assert_still_listens(&scratch, listener, &[NO_SEGMENT]);
}

#[test]
fn a_segment_of_another_size_at_the_key_is_named_on_both_sides() {
    let scratch = Scratch::new();
    for (size, reason) in [
        (512, "EINVAL); the segment at this key is smaller"),
        (2048, "its size is not that of a message"),
    ] {
        let id = create(&scratch, size, 0o600);
        let listener = listen(&scratch, &[]);
        send_stray(listener.pid());
        let finished = send(&scratch, &listener, &["--timeout=.2"]).finish();
        let named = format!("segment {id} ({size} bytes");
        finished.assert_failed_with(&["EEXIST", &named, "its size is not ours", "ipcrm"]);
        remove_segment(id);
        assert_still_listens(&scratch, listener, &[reason]);
    }
}

#[test]
fn a_listener_at_a_path_that_nobody_could_reach_says_so_before_it_listens() {
    let scratch = Scratch::new();
    let missing = scratch.dir().join("missing");
    let below_a_file = scratch.path().join("below");
    for (path, errno) in [(missing, "ENOENT"), (below_a_file, "ENOTDIR")] {
        let mut errors = Vec::new();
        for argument in ["--listen", "Hello, world"] {
            let finished = run(sigshm().arg("--path").arg(&path).arg(argument));
            finished.assert_failed_with(&[&format!("{path:?}"), errno, "another file with --path"]);
            assert_eq!(finished.text(), "");
            // The advice, without the call that has failed: it is the demo's.
            errors.push(finished.stderr.split_once(" failed: ").unwrap().1.to_owned());
        }
        assert_eq!(errors[0], errors[1]);
    }
}

#[test]
fn a_path_that_is_missing_for_a_moment_does_not_end_the_listener() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let aside = scratch.dir().join("aside");
    fs::rename(scratch.path(), &aside).unwrap();
    // Again and again: it is said once.
    for _ in 0..3 {
        send_stray(listener.pid());
    }
    fs::rename(aside, scratch.path()).unwrap();
    send_stray(listener.pid());
    assert_still_listens(&scratch, listener, &["ftok(", NO_SEGMENT]);
}

#[test]
fn step_by_step_a_segment_that_is_removed_or_a_file_that_is_replaced_ends_both_soon() {
    type Change<'a> = (&'a dyn Fn(&Scratch, &Scratch), &'a str);
    let remove = |it: &Scratch, _: &Scratch| remove_segment(it.segments()[0].id);
    let removed: Change<'_> = (&remove, "somebody else has removed segment ");
    let replaced: Change<'_> = (&replace, "somebody has replaced the file ");
    for (change, cause) in [removed, replaced] {
        // At the stop, and right after it.
        for enter in [false, true] {
            let (scratch, other) = (Scratch::new(), Scratch::new());
            let command = scratch.sigshm(["--step", "--color=never", "Hello, world"]);
            let mut demo = Program::start_at(command, SENDS);
            change(&scratch, &other);
            if enter {
                demo.enter();
            }
            // The listener may be the first to find out, or the sender, which looks once a second.
            let found = ["there is no message at ", cause];
            assert_ends_soon(demo, if enter { &found } else { &found[1..] });
        }
        let (scratch, other) = (Scratch::new(), Scratch::new());
        let listener = listen(&scratch, &[]);
        listener.stop();
        let command =
            scratch.sigshm(["--step", "--color=never", "--to", &listener.pid().to_string(), "hi"]);
        let mut sender = Program::start_at(command, SENDS);
        sender.enter();
        wait_until("the signal is sent", || is_pending(listener.pid()));
        change(&scratch, &other);
        assert_ends_soon(sender, &[cause]);
        listener.go_on();
        listener.until_complained("still listening");
        assert_still_listens(&scratch, listener, &[NO_SEGMENT]);
    }
}

#[test]
fn a_sender_at_a_stop_whose_listener_has_ended_ends_soon_without_enter() {
    let scratch = Scratch::new();
    let listener = listen(&scratch, &[]);
    let to = listener.pid().to_string();
    let command = scratch.sigshm(["--step", "--color=never", "--to", &to, "hi"]);
    let sender = Program::start_at(command, SENDS);
    drop(listener);
    assert_ends_soon(sender, &["ended before it had read the message"]);
}

/// It ends by itself within a few seconds, although `--step` knows no timeout, and says why.
#[track_caller]
fn assert_ends_soon(program: Program, causes: &[&str]) {
    let since = Instant::now();
    let finished = program.finish();
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    finished.assert_failed_with(&["sigshm: error: "]);
    let is_named = causes.iter().any(|cause| finished.stderr.contains(cause));
    assert!(is_named, "{causes:?} {finished:#?}");
    assert!(!finished.text().contains("# Received"), "{finished:#?}");
}

/// A segment at the key, which this test has created.
fn create(scratch: &Scratch, size: usize, mode: i32) -> i32 {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | mode;
    // SAFETY: shmget takes three numbers and touches no memory.
    let id = unsafe { libc::shmget(scratch.key(), size, flags) };
    assert_ne!(id, -1, "{}", std::io::Error::last_os_error());
    id
}
